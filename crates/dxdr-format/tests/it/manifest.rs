//! Manifests: what was once written is read forever.

use dxdr_catalog::{
    CapturedKind, Component, DatabaseComponent, Engine, Gap, Interval, KeptBackup, KeptLog, KeysComponent, RecoveryPoint,
    ResourcesComponent, Sha256, SourceCluster, StoredObject, Trigger, VolumeComponent,
};
use dxdr_environment::{
    DatabaseFacts, EnvironmentName, InstanceName,
    database::{DatabaseGrant, DatabaseSetting},
};
use dxdr_format::{FormatError, hashing::sha256, manifest};
use proptest::prelude::*;

const GOLDEN: &str = include_str!("../golden/manifest-v1.json");

fn full() -> RecoveryPoint {
    let instant = |text: &str| text.parse().unwrap();
    RecoveryPoint {
        name: "staging-20240501t100000z-x7k2m".into(),
        environment: EnvironmentName::parse("staging").unwrap(),
        namespaces: vec!["staging".into()],
        engine: Engine::Native,
        policy: Some("non-production".into()),
        trigger: Trigger::Protective { restore_run: "20240501t100000z-restore-staging-b4z0c".into() },
        run: "20240501t100000z-backup-staging-x7k2m".into(),
        started: instant("2024-05-01T10:00:00.25Z"),
        instant: instant("2024-05-01T10:00:04.123456Z"),
        expires: Some(instant("2024-05-31T10:00:00.25Z")),
        cluster: SourceCluster { version: "v1.36.3".into(), identity: Some("0d5b6b1e-5f4e-4c0f-9d1e-2f6c0a1b2c3d".into()) },
        environment_digest: Some(sha256(b"model")),
        components: vec![
            Component::Resources(ResourcesComponent {
                instant: instant("2024-05-01T10:00:03Z"),
                between: None,
                items: 61,
                bytes: 123_456,
                kinds: vec![
                    CapturedKind {
                        group_resource: "deployments.apps".into(),
                        version: "v1".into(),
                        namespace: Some("staging".into()),
                        resource_version: "4711".into(),
                        items: 5,
                    },
                    CapturedKind {
                        group_resource: "customresourcedefinitions.apiextensions.k8s.io".into(),
                        version: "v1".into(),
                        namespace: None,
                        resource_version: "4712".into(),
                        items: 1,
                    },
                ],
            }),
            Component::Volume(VolumeComponent {
                namespace: "staging".into(),
                claim: "data-redis-0".into(),
                pod: None,
                instant: instant("2024-05-01T10:00:04Z"),
                between: Some(Interval { first: instant("2024-05-01T10:00:02Z"), last: instant("2024-05-01T10:00:05.5Z") }),
                method: "csi-snapshot".into(),
                driver: "pd.csi.storage.gke.io".into(),
                handle: "projects/dx/global/snapshots/snapshot-1".into(),
                size: Some(10 << 30),
                late: true,
            }),
            Component::Database(DatabaseComponent {
                name: "orders".into(),
                instant: instant("2024-05-01T10:00:04.123456Z"),
                between: Some(Interval { first: instant("2024-05-01T10:00:04Z"), last: instant("2024-05-01T10:07:00.25Z") }),
                method: "export".into(),
                location: "gs://dx-exports/staging/orders.sql.gz".into(),
                size: None,
                consistency: None,
                facts: None,
                log: None,
                backup: None,
                users: Vec::new(),
            }),
            Component::Database(DatabaseComponent {
                name: "orders".into(),
                instant: instant("2024-05-01T10:00:04Z"),
                between: None,
                method: "pointInTime".into(),
                location: "projects/dx/instances/orders".into(),
                size: None,
                consistency: Some("aligned".into()),
                facts: None,
                log: Some(KeptLog {
                    earliest: instant("2024-04-24T10:00:00Z"),
                    latest: instant("2024-05-01T10:00:00Z"),
                    until: instant("2024-05-08T10:00:04Z"),
                    database: None,
                }),
                backup: None,
                users: Vec::new(),
            }),
            Component::Database(DatabaseComponent {
                name: "orders".into(),
                instant: instant("2024-05-01T10:00:04Z"),
                between: None,
                method: "backup".into(),
                location: "projects/dx/backups/1714557604000".into(),
                size: None,
                consistency: None,
                facts: None,
                log: None,
                backup: Some(KeptBackup {
                    instance: InstanceName::new("dx", "orders"),
                    database: Some("app".into()),
                    ended: instant("2024-05-01T10:03:00Z"),
                }),
                users: vec!["app".into(), "postgres".into()],
            }),
            Component::Database(DatabaseComponent {
                name: "shop/queue".into(),
                instant: instant("2024-05-01T10:00:05Z"),
                between: None,
                method: "dump".into(),
                location: "databases/shop%2Fqueue.dump".into(),
                size: Some(1234),
                consistency: Some("aligned".into()),
                facts: Some(Box::new(DatabaseFacts {
                    engine: "postgresql".into(),
                    version: "15.14".into(),
                    program: "pg_dump (PostgreSQL) 15.14".into(),
                    database: "queue".into(),
                    size: Some(1 << 20),
                    owner: "shop".into(),
                    encoding: "UTF8".into(),
                    collation: "C".into(),
                    character_type: "C".into(),
                    locale_provider: Some("icu".into()),
                    icu_locale: Some("de".into()),
                    builtin_locale: None,
                    comment: Some("what people wrote".into()),
                    extensions: vec![("hstore".into(), "1.8".into())],
                    roles: vec!["reader".into(), "shop".into()],
                    settings: vec![DatabaseSetting { role: None, name: "search_path".into(), value: "\"a b\", public".into() }],
                    grants: Some(vec![DatabaseGrant {
                        role: Some("reader".into()),
                        privilege: "CONNECT".into(),
                        grantable: false,
                    }]),
                    coordinates: Some("0/15A3B58".into()),
                    replica: false,
                })),
                log: None,
                backup: None,
                users: Vec::new(),
            }),
            Component::Keys(KeysComponent { instant: instant("2024-05-01T09:00:00Z"), fingerprints: vec!["SHA256:abc".into()] }),
        ],
        objects: vec![StoredObject {
            key: "staging-20240501t100000z-x7k2m.tar.gz".into(),
            size: 4567,
            sha256: sha256(b"archive"),
        }],
        gaps: vec![Gap { what: "secrets in staging".into(), reason: "forbidden".into() }],
    }
}

#[test]
fn version_1_is_written_as_it_always_was() {
    assert_eq!(String::from_utf8(manifest::encode(&full())).unwrap(), GOLDEN);
}

#[test]
fn version_1_is_read() {
    assert_eq!(manifest::decode(GOLDEN.as_bytes()).unwrap(), full());
}

#[test]
fn fields_of_a_later_minor_change_are_passed_over() {
    let later = GOLDEN
        .replacen("\"name\"", "\"later\": {\"a\": [1]},\n  \"name\"", 1)
        .replace("\"items\": 61", "\"items\": 61, \"later\": null");
    assert_eq!(manifest::decode(later.as_bytes()).unwrap(), full());
}

#[test]
fn what_a_database_was_called_at_its_instant_comes_back() {
    let mut point = full();
    for component in &mut point.components {
        if let Component::Database(DatabaseComponent { log: Some(log), .. }) = component {
            log.database = Some("shop".into());
        }
    }
    assert_eq!(manifest::decode(&manifest::encode(&point)).unwrap(), point);
    assert_ne!(point, full());
}

#[test]
fn a_manifest_from_the_future_names_its_version_and_what_to_do() {
    let future = GOLDEN.replace("dxdr.io/v1", "dxdr.io/v2").replace("\"components\"", "\"parts\"");
    let error = manifest::decode(future.as_bytes()).unwrap_err();
    assert!(matches!(&error, FormatError::Future { found, .. } if found == "dxdr.io/v2"), "{error:?}");
    assert!(error.to_string().contains("dxdr.io/v2"), "{error}");
    assert!(error.hint().contains("upgrade dxdr"), "{}", error.hint());
}

#[test]
fn what_is_no_manifest_is_refused() {
    for (what, text) in [
        ("nothing", String::new()),
        ("cut off", GOLDEN[..GOLDEN.len() / 2].to_owned()),
        ("another kind", GOLDEN.replace("RecoveryPointManifest", "JournalEntry")),
        ("a version that never was", GOLDEN.replace("dxdr.io/v1", "dxdr.io/v0")),
        ("somebody else's", GOLDEN.replace("dxdr.io/v1", "velero.io/v1")),
        ("a key that leads out", GOLDEN.replace("staging-20240501t100000z-x7k2m.tar.gz", "../other/a.tar.gz")),
        ("no SHA-256", GOLDEN.replace(&sha256(b"archive").to_string(), "abc")),
        ("no environment", GOLDEN.replace("\"environment\": \"staging\"", "\"environment\": \"Not A Name\"")),
        ("an unknown component", GOLDEN.replace("\"type\": \"keys\"", "\"type\": \"teapot\"")),
        ("a name with a slash", GOLDEN.replace("\"name\": \"staging-20240501t100000z-x7k2m\"", "\"name\": \"a/b\"")),
    ] {
        assert!(manifest::decode(text.as_bytes()).is_err(), "{what}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_points_come_back(
        text in "\\PC{0,40}",
        nanoseconds in -1_000_000_000_000_000_000i128..4_000_000_000_000_000_000,
        number in any::<u64>(),
        digest in any::<[u8; 32]>(),
        kind in 0..3u8,
    ) {
        let instant = jiff::Timestamp::from_nanosecond(nanoseconds).unwrap();
        let mut point = full();
        point.instant = instant;
        point.policy = Some(text.clone());
        point.expires = None;
        point.trigger = match kind {
            0 => Trigger::Requested,
            1 => Trigger::Scheduled,
            _ => Trigger::Protective { restore_run: text.clone() },
        };
        point.environment_digest = Some(Sha256(digest));
        point.objects[0].size = number;
        point.gaps = vec![Gap { what: text.clone(), reason: text }];
        prop_assert_eq!(manifest::decode(&manifest::encode(&point)).unwrap(), point);
    }

    #[test]
    fn arbitrary_bytes_are_no_manifest(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(manifest::decode(&bytes).is_err());
    }
}
