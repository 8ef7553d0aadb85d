//! Version 1 of the manifest. Fields may be added when an older reader loses nothing that matters by not knowing them; whatever else
//! changes makes version 2.

use dxdr_catalog as catalog;
use dxdr_environment::{EnvironmentName, InstanceName};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{KIND, WHAT};
use crate::database::DatabaseFacts;
use crate::{FormatError, version::API_VERSION};

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    api_version: String,
    kind: String,
    name: String,
    environment: String,
    namespaces: Vec<String>,
    engine: Engine,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    trigger: Trigger,
    run: String,
    started: Timestamp,
    instant: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<Timestamp>,
    #[serde(default)]
    cluster: SourceCluster,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    environment_digest: Option<String>,
    components: Vec<Component>,
    objects: Vec<StoredObject>,
    #[serde(default)]
    gaps: Vec<Gap>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Engine {
    Native,
    Velero,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
enum Trigger {
    Requested,
    Scheduled,
    Protective { restore_run: String },
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SourceCluster {
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
enum Component {
    Resources {
        instant: Timestamp,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        between: Option<Between>,
        items: u64,
        bytes: u64,
        kinds: Vec<CapturedKind>,
    },
    Volume {
        instant: Timestamp,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        between: Option<Between>,
        namespace: String,
        claim: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pod: Option<PodVolume>,
        method: String,
        driver: String,
        handle: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size: Option<u64>,
        /// An older reader takes it for one like any other: a restore waits until it can be used, and fails where it never can.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        late: bool,
    },
    Database {
        instant: Timestamp,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        between: Option<Between>,
        name: String,
        method: String,
        location: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        consistency: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        facts: Option<Box<DatabaseFacts>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        log: Option<KeptLog>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        backup: Option<KeptBackup>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        users: Vec<String>,
    },
    Keys {
        instant: Timestamp,
        fingerprints: Vec<String>,
    },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeptBackup {
    project: String,
    instance: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    database: Option<String>,
    ended: Timestamp,
}

impl From<catalog::KeptBackup> for KeptBackup {
    fn from(catalog::KeptBackup { instance, database, ended }: catalog::KeptBackup) -> Self {
        Self { project: instance.project, instance: instance.instance, database, ended }
    }
}

impl From<KeptBackup> for catalog::KeptBackup {
    fn from(KeptBackup { project, instance, database, ended }: KeptBackup) -> Self {
        Self { instance: InstanceName { project, instance }, database, ended }
    }
}

/// First and last instant. An older reader takes the component's instant for all that is known.
type Between = (Timestamp, Timestamp);

fn between(interval: Option<catalog::Interval>) -> Option<Between> {
    interval.map(|interval| (interval.first, interval.last))
}

fn interval(between: Option<Between>) -> Option<catalog::Interval> {
    between.map(|(first, last)| catalog::Interval { first, last })
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeptLog {
    earliest: Timestamp,
    latest: Timestamp,
    until: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    database: Option<String>,
}

impl From<catalog::KeptLog> for KeptLog {
    fn from(log: catalog::KeptLog) -> Self {
        let catalog::KeptLog { earliest, latest, until, database } = log;
        Self { earliest, latest, until, database }
    }
}

impl From<KeptLog> for catalog::KeptLog {
    fn from(log: KeptLog) -> Self {
        let KeptLog { earliest, latest, until, database } = log;
        Self { earliest, latest, until, database }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodVolume {
    name: String,
    volume: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CapturedKind {
    resource: String,
    version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    resource_version: String,
    items: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredObject {
    key: String,
    size: u64,
    sha256: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Gap {
    what: String,
    reason: String,
}

impl Manifest {
    #[expect(clippy::expect_used, reason = "only maps whose keys are no text, and values that refuse, fail; there are none here")]
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("all of it is JSON");
        bytes.push(b'\n');
        bytes
    }
}

impl From<&catalog::RecoveryPoint> for Manifest {
    fn from(point: &catalog::RecoveryPoint) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            name: point.name.clone(),
            environment: point.environment.to_string(),
            namespaces: point.namespaces.clone(),
            engine: match point.engine {
                catalog::Engine::Native => Engine::Native,
                catalog::Engine::Velero => Engine::Velero,
            },
            policy: point.policy.clone(),
            trigger: match &point.trigger {
                catalog::Trigger::Requested => Trigger::Requested,
                catalog::Trigger::Scheduled => Trigger::Scheduled,
                catalog::Trigger::Protective { restore_run } => Trigger::Protective { restore_run: restore_run.clone() },
            },
            run: point.run.clone(),
            started: point.started,
            instant: point.instant,
            expires: point.expires,
            cluster: SourceCluster { version: point.cluster.version.clone(), identity: point.cluster.identity.clone() },
            environment_digest: point.environment_digest.map(|digest| digest.to_string()),
            components: point.components.iter().map(Component::from).collect(),
            objects: point.objects.iter().map(StoredObject::from).collect(),
            gaps: point.gaps.iter().map(|gap| Gap { what: gap.what.clone(), reason: gap.reason.clone() }).collect(),
        }
    }
}

impl TryFrom<Manifest> for catalog::RecoveryPoint {
    type Error = FormatError;

    fn try_from(manifest: Manifest) -> Result<Self, FormatError> {
        let environment = EnvironmentName::parse(&manifest.environment)
            .map_err(|error| field("environment", &manifest.environment, &error.to_string()))?;
        if manifest.name.is_empty() || manifest.name.contains('/') {
            return Err(field("name", &manifest.name, "it is not the name of a folder"));
        }
        let environment_digest =
            manifest.environment_digest.as_deref().map(|digest| sha256("environmentDigest", digest)).transpose()?;
        Ok(Self {
            name: manifest.name,
            environment,
            namespaces: manifest.namespaces,
            engine: match manifest.engine {
                Engine::Native => catalog::Engine::Native,
                Engine::Velero => catalog::Engine::Velero,
            },
            policy: manifest.policy,
            trigger: match manifest.trigger {
                Trigger::Requested => catalog::Trigger::Requested,
                Trigger::Scheduled => catalog::Trigger::Scheduled,
                Trigger::Protective { restore_run } => catalog::Trigger::Protective { restore_run },
            },
            run: manifest.run,
            started: manifest.started,
            instant: manifest.instant,
            expires: manifest.expires,
            cluster: catalog::SourceCluster { version: manifest.cluster.version, identity: manifest.cluster.identity },
            environment_digest,
            components: manifest.components.into_iter().map(catalog::Component::from).collect(),
            objects: manifest.objects.into_iter().map(catalog::StoredObject::try_from).collect::<Result<_, _>>()?,
            gaps: manifest.gaps.into_iter().map(|gap| catalog::Gap { what: gap.what, reason: gap.reason }).collect(),
        })
    }
}

impl From<&catalog::Component> for Component {
    fn from(component: &catalog::Component) -> Self {
        match component.clone() {
            catalog::Component::Resources(resources) => {
                let catalog::ResourcesComponent { instant, between: watched, items, bytes, kinds } = resources;
                let kinds = kinds.into_iter().map(CapturedKind::from).collect();
                Self::Resources { instant, between: between(watched), items, bytes, kinds }
            }
            catalog::Component::Volume(volume) => {
                let catalog::VolumeComponent {
                    namespace,
                    claim,
                    pod,
                    instant,
                    between: watched,
                    method,
                    driver,
                    handle,
                    size,
                    late,
                } = volume;
                let pod = pod.map(|catalog::PodVolume { pod, volume }| PodVolume { name: pod, volume });
                Self::Volume { instant, between: between(watched), namespace, claim, pod, method, driver, handle, size, late }
            }
            catalog::Component::Database(database) => {
                let catalog::DatabaseComponent {
                    name,
                    instant,
                    between: watched,
                    method,
                    location,
                    size,
                    consistency,
                    facts,
                    log,
                    backup,
                    users,
                } = database;
                Self::Database {
                    instant,
                    between: between(watched),
                    name,
                    method,
                    location,
                    size,
                    consistency,
                    facts: facts.map(|facts| Box::new((*facts).into())),
                    log: log.map(KeptLog::from),
                    backup: backup.map(KeptBackup::from),
                    users,
                }
            }
            catalog::Component::Keys(catalog::KeysComponent { instant, fingerprints }) => Self::Keys { instant, fingerprints },
        }
    }
}

impl From<Component> for catalog::Component {
    fn from(component: Component) -> Self {
        match component {
            Component::Resources { instant, between, items, bytes, kinds } => {
                let kinds = kinds.into_iter().map(catalog::CapturedKind::from).collect();
                Self::Resources(catalog::ResourcesComponent { instant, between: interval(between), items, bytes, kinds })
            }
            Component::Volume { instant, between, namespace, claim, pod, method, driver, handle, size, late } => {
                let between = interval(between);
                let pod = pod.map(|PodVolume { name, volume }| catalog::PodVolume { pod: name, volume });
                Self::Volume(catalog::VolumeComponent {
                    namespace,
                    claim,
                    pod,
                    instant,
                    between,
                    method,
                    driver,
                    handle,
                    size,
                    late,
                })
            }
            Component::Database { instant, between, name, method, location, size, consistency, facts, log, backup, users } => {
                let (between, facts) = (interval(between), facts.map(|facts| Box::new((*facts).into())));
                let log = log.map(catalog::KeptLog::from);
                Self::Database(catalog::DatabaseComponent {
                    name,
                    instant,
                    between,
                    method,
                    location,
                    size,
                    consistency,
                    facts,
                    log,
                    backup: backup.map(catalog::KeptBackup::from),
                    users,
                })
            }
            Component::Keys { instant, fingerprints } => Self::Keys(catalog::KeysComponent { instant, fingerprints }),
        }
    }
}

impl From<catalog::CapturedKind> for CapturedKind {
    fn from(kind: catalog::CapturedKind) -> Self {
        let catalog::CapturedKind { group_resource, version, namespace, resource_version, items } = kind;
        Self { resource: group_resource, version, namespace, resource_version, items }
    }
}

impl From<CapturedKind> for catalog::CapturedKind {
    fn from(kind: CapturedKind) -> Self {
        let CapturedKind { resource, version, namespace, resource_version, items } = kind;
        Self { group_resource: resource, version, namespace, resource_version, items }
    }
}

impl From<&catalog::StoredObject> for StoredObject {
    fn from(object: &catalog::StoredObject) -> Self {
        Self { key: object.key.clone(), size: object.size, sha256: object.sha256.to_string() }
    }
}

impl TryFrom<StoredObject> for catalog::StoredObject {
    type Error = FormatError;

    fn try_from(object: StoredObject) -> Result<Self, FormatError> {
        // Keys are appended to the folder of the point: none may lead out of it.
        if object.key.is_empty() || object.key.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(field("objects.key", &object.key, "it is not a key within the point's folder"));
        }
        Ok(Self { sha256: sha256("objects.sha256", &object.sha256)?, key: object.key, size: object.size })
    }
}

fn sha256(name: &'static str, text: &str) -> Result<catalog::Sha256, FormatError> {
    catalog::Sha256::parse(text).ok_or_else(|| field(name, text, "it is not a SHA-256"))
}

fn field(field: &'static str, found: &str, problem: &str) -> FormatError {
    FormatError::Field { what: WHAT, field, found: found.to_owned(), problem: problem.to_owned() }
}
