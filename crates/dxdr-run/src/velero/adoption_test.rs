use std::{
    ops::Range,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use dxdr_catalog::{Gap, ResourcesComponent, SourceCluster, Trigger};
use dxdr_cloud_sql::CloudSql;
use dxdr_database_emulator::{Emulator, Instance, Options};
use dxdr_format::layout::StoreLayout;
use dxdr_provider::{
    Instances, ObjectStorage, StorageError,
    object_storage::{ListPage, ListRequest, ObjectBody, ObjectReader, ObjectStat},
};
use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::instance::InstanceAccess;

const NAME: &str = "dxdr-staging-20240501100000";
const LACKS: &str = "the instant of database orders in the log of projects/p/instances/i";

/// Objects, which somebody may delete with their folder in the moment in which the manifest was read.
#[derive(Debug, Default)]
struct Bucket {
    objects: Mutex<BTreeMap<String, Bytes>>,
    deleted_when_read: bool,
}

impl Bucket {
    fn objects(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stat_of(&self, key: &str) -> Result<(ObjectStat, Bytes), StorageError> {
        let (action, store) = ("read", self.describe());
        let missing = || StorageError { kind: StorageErrorKind::NotFound, action, key: key.to_owned(), store, source: None };
        let bytes = self.objects().get(key).cloned().ok_or_else(missing)?;
        Ok((ObjectStat { key: key.to_owned(), size: bytes.len() as u64, modified: None, tag: None }, bytes))
    }
}

#[async_trait]
impl ObjectStorage for Bucket {
    fn describe(&self) -> String {
        "bucket".to_owned()
    }

    async fn put(&self, key: &str, body: ObjectBody, _: PutCondition) -> Result<ObjectStat, StorageError> {
        let ObjectBody::Bytes(bytes) = body else { unreachable!("nobody streams") };
        self.objects().insert(key.to_owned(), bytes);
        Ok(self.stat_of(key)?.0)
    }

    async fn get(&self, key: &str, _: Option<Range<u64>>) -> Result<ObjectReader, StorageError> {
        let (stat, bytes) = self.stat_of(key)?;
        if self.deleted_when_read && key.ends_with(MANIFEST) {
            self.objects().remove(key);
        }
        Ok(ObjectReader { stat, stream: stream::iter([Ok(bytes)]).boxed() })
    }

    async fn list(&self, _: &ListRequest) -> Result<ListPage, StorageError> {
        unreachable!("nobody asks")
    }

    async fn stat(&self, key: &str) -> Result<ObjectStat, StorageError> {
        Ok(self.stat_of(key)?.0)
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.objects().remove(key);
        Ok(())
    }
}

struct Service(String);

#[async_trait]
impl InstanceAccess for Service {
    async fn connect(&self) -> Result<Arc<dyn Instances>, String> {
        let options = dxdr_cloud_sql::Options { endpoint: Some(self.0.clone()), credentials: None };
        let service = CloudSql::connect(options).await.map_err(|error| error.to_string())?;
        Ok(Arc::new(service))
    }
}

/// A point of now that lacks an instant in a log.
fn point() -> RecoveryPoint {
    let now = Timestamp::now();
    let resources = ResourcesComponent { instant: now, between: None, items: 0, bytes: 0, kinds: Vec::new() };
    RecoveryPoint {
        name: NAME.to_owned(),
        environment: EnvironmentName::parse("staging").unwrap(),
        namespaces: vec!["staging".to_owned()],
        engine: Engine::Velero,
        policy: Some("all".to_owned()),
        trigger: Trigger::Scheduled,
        run: String::new(),
        started: now,
        instant: now,
        expires: None,
        cluster: SourceCluster::default(),
        environment_digest: None,
        components: vec![Component::Resources(resources)],
        objects: Vec::new(),
        gaps: vec![Gap { what: LACKS.to_owned(), reason: "nobody answered".to_owned() }],
    }
}

/// A store with the point and its backup.
fn store(deleted_when_read: bool) -> (Store, Arc<Bucket>) {
    let bucket = Arc::new(Bucket { deleted_when_read, ..Bucket::default() });
    let store = Store { name: "primary".to_owned(), storage: bucket.clone(), layout: StoreLayout::new("") };
    let on = json!({"project": "p", "instance": "i", "databases": ["orders"]});
    let log = json!({"project": "p", "instance": "i", "consistency": "aligned", "references": "databaseToVolumes"});
    let logs = json!([{"name": "orders", "database": "orders", "location": {"cloudSql": on}, "log": log}]).to_string();
    let backup = json!({
        "kind": "Backup", "apiVersion": "velero.io/v1", "metadata": {"name": NAME, "annotations": {"dxdr.io/database-logs": logs}},
        "spec": {}, "status": {"phase": "Completed"},
    });
    let point = point();
    for (key, bytes) in [
        (store.layout.manifest_key(NAME), manifest::encode(&point)),
        (store.layout.backup_key(NAME), backup.to_string().into_bytes()),
        (store.layout.point_index_key("staging", point.instant, NAME), Vec::new()),
    ] {
        bucket.objects().insert(key, bytes.into());
    }
    (store, bucket)
}

async fn mended(store: &Store, emulator: &Emulator) -> Vec<String> {
    let manifest = store.storage.stat(&store.layout.manifest_key(NAME)).await.unwrap();
    assert!(manifest.size > 0);
    let logs = Arc::new(InstanceLogs::of(Some(Arc::new(Service(emulator.endpoint())))));
    let adopters = BTreeMap::from([(point().environment, Adopter { keys: None, databases: Vec::new(), logs })]);
    let points = [Entry::Ours(point())];
    let mended = mend(store, &points, &adopters).await.unwrap();
    mended.into_iter().map(|(name, says)| format!("{name}: {}", says.unwrap())).collect()
}

#[tokio::test]
async fn a_point_that_is_deleted_while_it_is_mended_stays_deleted() {
    let emulator = Emulator::start(Options::default()).await.unwrap();
    emulator.create_instance("p", "i", Instance::default());
    emulator.create_database("p", "i", "orders");
    let (there, bucket) = store(false);
    assert_eq!(mended(&there, &emulator).await, [format!("{NAME}: which instant it stands for in the logs of its databases")]);
    let mended_manifest = bucket.objects()[&there.layout.manifest_key(NAME)].clone();
    let point = manifest::decode(&mended_manifest).unwrap();
    assert!(point.complete(), "{point:#?}");
    // Whoever comes later finds nothing to do.
    assert_eq!(mended(&there, &emulator).await, Vec::<String>::new());
    assert_eq!(bucket.objects()[&there.layout.manifest_key(NAME)], mended_manifest);

    let (gone, bucket) = store(true);
    assert_eq!(mended(&gone, &emulator).await, Vec::<String>::new());
    assert!(!bucket.objects().contains_key(&gone.layout.manifest_key(NAME)));
}
