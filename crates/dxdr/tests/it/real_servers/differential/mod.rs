//! dxdr and a real Velero, side by side: one state of a cluster backed up by both, and one backup restored by both.
//!
//! ```text
//! seeds ─► namespaces ─┬─ dxdr backup now, one each ─► archives ─┐
//!                      └─ one Backup of Velero's ────► archive ──┴─► compared item by item
//!                                                        │
//!                      ┌─ dxdr restore, one each ◄───────┤
//!                      └─ one Restore of Velero's ◄──────┘  ───────► compared object by object
//! ```
//!
//! Every difference must be in the table of `docs/velero-differences.md`. `DXDR_TEST_SEEDS` says how many namespaces there are,
//! `DXDR_TEST_FIRST_SEED` from which number on.

mod comparison;
mod corpus;
mod explained;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    env,
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use dxdr_environment::{ObjectReference, ResourceKind};
use dxdr_format::velero::archive::{ArchiveReader, Limits};
use dxdr_object_storage::S3Storage;
use dxdr_provider::{Cluster, ObjectStorage, cluster::ListScope};
use futures::{StreamExt, stream};
use serde_json::{Value, json};

use self::{
    comparison::{Found, Live, Objects, compare, normalised},
    corpus::Surroundings,
    explained::Explained,
};
use super::{Servers, World, options, velero::Velero};
use crate::objects;

/// As many as fit into the time of a test among others.
const SEEDS: u64 = 12;
/// Namespaces in one backup of Velero's: each restore of dxdr's reads it whole.
const BATCH: usize = 25;
/// Programs that run at the same time.
const PROGRAMS: usize = 3;
/// How often a restore is asked for that fails before it begins.
const ATTEMPTS: u32 = 3;
/// Kinds that change by themselves, and that nobody restores.
const RESTLESS: [&str; 3] = ["events", "events.events.k8s.io", "leases.coordination.k8s.io"];

#[test]
fn dxdr_and_velero_differ_only_where_the_table_says_so() {
    let Some(velero) = Velero::named() else { return };
    let number = |name: &str| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (first, count) = (number("DXDR_TEST_FIRST_SEED").unwrap_or(0), number("DXDR_TEST_SEEDS").unwrap_or(SEEDS));
    let table = Explained::table();
    let (mut explained, mut unexplained) = (0, Vec::new());
    let seeds: Vec<u64> = (first..first + count).collect();
    for seeds in seeds.chunks(BATCH) {
        for found in differences(&velero, seeds) {
            if table.iter().any(|row| row.explains(&found)) {
                explained += 1;
            } else {
                unexplained.push(found);
            }
        }
        eprintln!("up to seed {}: {explained} differences with a reason, {} without", seeds.last().unwrap(), unexplained.len());
    }
    table.iter().for_each(|row| eprintln!("{}", row.told()));
    assert!(unexplained.is_empty(), "{}", summary(&unexplained));
    if count >= 200 {
        let idle: Vec<String> = table.iter().filter(|row| row.idle()).map(Explained::told).collect();
        assert!(idle.is_empty(), "nothing of this kind was met, so that the rows can go:\n{}", idle.join("\n"));
    }
}

/// Backs namespaces up and restores them, by both.
fn differences(velero: &Velero, seeds: &[u64]) -> Vec<Found> {
    let suite = Suite::new(velero, seeds);
    suite.fill();
    suite.settle();
    let points = suite.back_up();
    let backup = suite.back_up_by_velero();
    let mut found = suite.compare_archives(&points, &backup);
    let restore = suite.ask_velero_to_restore(&backup, 1);
    suite.restore(&backup);
    suite.restored_by_velero(&backup, restore);
    suite.settle();
    found.extend(suite.compare_restored());
    velero.delete(&suite.world, &backup);
    found
}

/// The differences without a reason, each kind of them once, with how often it was met and an example.
fn summary(found: &[Found]) -> String {
    let mut kinds: BTreeMap<(&str, &str, &str), (u32, &Found)> = BTreeMap::new();
    for one in found {
        kinds.entry((one.stage, &one.kind, &one.what)).or_insert((0, one)).0 += 1;
    }
    let lines = kinds.into_iter().map(|((stage, kind, what), (count, example))| {
        let detail: String = example.detail.chars().take(300).collect();
        format!("{count:5} × {stage} | {kind} | {what}   for example {}: {detail}", example.object)
    });
    format!("{} differences without a row in docs/velero-differences.md:\n{}", found.len(), lines.collect::<Vec<_>>().join("\n"))
}

struct Suite<'a> {
    velero: &'a Velero,
    world: World,
    seeds: Vec<u64>,
    storage: S3Storage,
    kinds: Vec<ResourceKind>,
    began: Instant,
}

impl<'a> Suite<'a> {
    fn new(velero: &'a Velero, seeds: &[u64]) -> Self {
        let servers = &velero.servers;
        let world = World::new(servers, &format!("differ-{}", seeds[0]));
        let seeds = seeds.to_vec();
        let mut manifests = String::new();
        for seed in &seeds {
            let environment = environment(*seed);
            let namespace = namespace(&world.namespace, *seed);
            manifests.push_str(&format!(
                "---\napiVersion: dxdr.io/v1alpha1\nkind: Environment\nmetadata: {{name: {environment}}}\nspec: {{namespace: {namespace}, tier: non-production}}\n"
            ));
        }
        let Servers { endpoint, bucket, .. } = servers;
        manifests.push_str(&format!(
            "---\napiVersion: dxdr.io/v1alpha1\nkind: BackupStore\nmetadata: {{name: own}}\nspec: {{s3: {{bucket: {bucket}, prefix: {}, region: us-east-1, endpoint: \"{endpoint}\", forcePathStyle: true}}}}\n",
            world.namespace
        ));
        // Snapshots of volumes have tests of their own, and take Velero five seconds each.
        let environments: Vec<String> = seeds.iter().map(|seed| environment(*seed)).collect();
        manifests.push_str(&format!(
            "---\napiVersion: dxdr.io/v1alpha1\nkind: BackupPolicy\nmetadata: {{name: corpus}}\nspec: {{environments: [{}], objectives: {{dataLoss: 2h, recoveryTime: 1h}}, store: own, volumes: {{method: none}}, retention: {{daily: 1}}}}\n",
            environments.join(", ")
        ));
        world.place.write("policies/corpus.yaml", &manifests);
        let storage = servers.storage(&world.runtime);
        let kinds = world.runtime.block_on(world.cluster.discover()).unwrap().kinds;
        let listed = |kind: &dxdr_environment::DiscoveredKind| kind.verbs.iter().any(|verb| verb == "list");
        let kinds = kinds.iter().filter(|kind| listed(kind) && kind.kind.namespaced).map(|kind| kind.kind.clone());
        let kinds = kinds.filter(|kind| !RESTLESS.contains(&kind.group_resource().as_str())).collect();
        for seed in &seeds {
            world.beside(&format!("{seed:03}"));
            world.beside(&format!("{seed:03}-d"));
            world.beside(&format!("{seed:03}-v"));
        }
        Self { velero, world, seeds, storage, kinds, began: Instant::now() }
    }

    fn tell(&self, what: &str) {
        eprintln!("{:6.1} s  {what}", self.began.elapsed().as_secs_f64());
    }

    /// Makes the namespaces.
    fn fill(&self) {
        let snapshot_class = env::var("DXDR_TEST_SNAPSHOT_CLASS").expect("DXDR_TEST_SNAPSHOT_CLASS");
        let surroundings = Surroundings {
            storage_class: &self.velero.storage_class,
            waiting_storage_class: &self.velero.waiting_storage_class,
            snapshot_class: &snapshot_class,
        };
        let discovered = self.world.runtime.block_on(self.world.cluster.discover()).unwrap().kinds;
        let kinds: HashMap<(String, &str), &ResourceKind> =
            discovered.iter().map(|kind| ((kind.kind.api_version(), kind.kind.kind.as_str()), &kind.kind)).collect();
        let made = AtomicUsize::new(0);
        self.world.runtime.block_on(async {
            let namespaces = stream::iter(&self.seeds).map(|seed| {
                let namespace = namespace(&self.world.namespace, *seed);
                let (surroundings, kinds, made) = (&surroundings, &kinds, &made);
                async move {
                    let mut uids: HashMap<(String, String), Value> = HashMap::new();
                    for mut object in corpus::objects(*seed, &namespace, surroundings) {
                        for owner in
                            object.pointer_mut("/metadata/ownerReferences").and_then(Value::as_array_mut).into_iter().flatten()
                        {
                            let text = |key: &str| owner[key].as_str().unwrap().to_owned();
                            owner["uid"] = uids[&(text("kind"), text("name"))].clone();
                        }
                        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
                        let (kind, name) = (text("/kind"), text("/metadata/name"));
                        let kind = kinds.get(&(text("/apiVersion"), kind.as_str())).unwrap_or_else(|| panic!("{object:#}"));
                        let reference = ObjectReference {
                            kind: ResourceKind::clone(kind),
                            namespace: kind.namespaced.then(|| namespace.clone()),
                            name: name.clone(),
                        };
                        self.create(&reference, &object, &mut uids).await;
                        if !kind.namespaced && kind.plural != "namespaces" {
                            self.world.made.borrow_mut().push(reference);
                        }
                        made.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
            namespaces.buffer_unordered(8).collect::<Vec<()>>().await;
        });
        self.end_pods();
        self.tell(&format!("{} objects in {} namespaces", made.into_inner(), self.seeds.len()));
    }

    async fn create(&self, reference: &ObjectReference, object: &Value, uids: &mut HashMap<(String, String), Value>) {
        // Accounts appear a moment after their namespace, classes are seen a moment after they were made, and pods need both.
        for _ in 0..100 {
            match self.world.cluster.create(reference, Bytes::from(object.to_string()), &options()).await {
                Ok(answer) => {
                    let answer: Value = serde_json::from_slice(&answer).unwrap();
                    uids.insert((reference.kind.kind.clone(), reference.name.clone()), answer["metadata"]["uid"].clone());
                    return;
                }
                Err(error)
                    if ["serviceaccount \"default\" not found", "no PriorityClass with name"]
                        .iter()
                        .any(|late| error.message.contains(late)) =>
                {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => panic!("{reference}: {error}\n{object:#}"),
            }
        }
        panic!("{reference} still lacks an account or a class");
    }

    /// Says what a kubelet would say of pods that have done their work.
    fn end_pods(&self) {
        let kubectl = env::var("DXDR_TEST_KUBECTL").expect("DXDR_TEST_KUBECTL");
        for pod in self.live().iter().filter(|object| object.kind == "pods" && object.name() == corpus::ENDED_POD) {
            let mut command = Command::new(&kubectl);
            command.args(["--kubeconfig", &self.world.kubeconfig, "--namespace", pod.namespace(), "patch", "pod", pod.name()]);
            let output =
                command.args(["--subresource=status", "--patch", r#"{"status": {"phase": "Succeeded"}}"#]).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    }

    /// Everything in the namespaces of the suite.
    fn live(&self) -> Vec<Live> {
        let prefix = format!("{}-", self.world.namespace);
        self.world.runtime.block_on(async {
            let mut live = Vec::new();
            let scope = ListScope { namespace: None, label_selector: None };
            for kind in &self.kinds {
                let mut continuation = None::<String>;
                loop {
                    let page = self.world.cluster.list(kind, &scope, 500, continuation.as_deref()).await.unwrap();
                    for item in page.items {
                        let mut object: Value = serde_json::from_slice(&item).unwrap();
                        let fields = object.as_object_mut().unwrap();
                        fields.remove("apiVersion");
                        fields.remove("kind");
                        live.push(Live { kind: kind.group_resource(), singular: kind.kind.clone(), object });
                    }
                    continuation = page.continuation;
                    if continuation.is_none() {
                        break;
                    }
                }
            }
            live.retain(|object| object.namespace().starts_with(&prefix));
            live
        })
    }

    /// Waits until controllers have nothing to do any more.
    fn settle(&self) {
        let mut before = BTreeSet::new();
        for _ in 0..60 {
            thread::sleep(Duration::from_secs(2));
            let version = |object: &Live| {
                (
                    object.kind.clone(),
                    object.object["metadata"]["uid"].to_string(),
                    object.object["metadata"]["resourceVersion"].to_string(),
                )
            };
            let now: BTreeSet<_> = self.live().iter().map(version).collect();
            if now == before {
                self.tell(&format!("settled at {} objects", now.len()));
                return;
            }
            before = now;
        }
        panic!("the controllers do not come to rest");
    }

    /// Runs something for every seed, a few at a time.
    fn each<T: Send>(&self, run: impl Fn(u64) -> T + Sync) -> Vec<(u64, T)> {
        let seeds = self.seeds.as_slice();
        let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        thread::scope(|scope| {
            for _ in 0..PROGRAMS {
                scope.spawn(|| {
                    while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let result = run(*seed);
                        results.lock().unwrap().push((*seed, result));
                    }
                });
            }
        });
        results.into_inner().unwrap()
    }

    /// Takes a point of each namespace; answers their names.
    fn back_up(&self) -> Vec<(u64, String)> {
        let (place, kubeconfig) = (&self.world.place, &self.world.kubeconfig);
        let points = self.each(|seed| {
            let arguments = ["backup", "now", &environment(seed), "--store", "own", "--kubeconfig", kubeconfig];
            place.run(&arguments).exits(0).stdout.trim().to_owned()
        });
        self.tell("backed up by dxdr");
        points
    }

    fn back_up_by_velero(&self) -> String {
        let namespaces: Vec<String> = self.seeds.iter().map(|seed| namespace(&self.world.namespace, *seed)).collect();
        let specification = json!({
            "includedNamespaces": namespaces, "storageLocation": self.velero.location, "snapshotVolumes": false, "ttl": "1h0m0s"
        });
        let name = format!("{}-by-velero", self.world.namespace);
        let backup = self.velero.create(&self.world, "Backup", &name, &specification);
        // A claim without a volume is an error for Velero.
        let status = super::velero::ended(&self.world, &backup);
        self.tell(&format!("backed up by Velero: {status}"));
        assert!(["Completed", "PartiallyFailed"].contains(&status["phase"].as_str().unwrap()), "{status:#}");
        backup.name
    }

    fn archive(&self, prefix: &str, name: &str) -> Objects {
        let bytes = self.world.runtime.block_on(async {
            let key = format!("{prefix}/backups/{name}/{name}.tar.gz");
            let mut reader = self.storage.get(&key, None).await.unwrap();
            let mut bytes = Vec::new();
            while let Some(chunk) = reader.stream.next().await {
                bytes.extend_from_slice(&chunk.unwrap());
            }
            bytes
        });
        let mut reader = ArchiveReader::new(bytes.as_slice(), Limits::default());
        let mut objects = Objects::new();
        while let Some(item) = reader.next_item().unwrap() {
            let place = item
                .path
                .namespace
                .as_ref()
                .map_or_else(|| item.path.name.clone(), |namespace| format!("{namespace}/{}", item.path.name));
            let version = item.path.version.clone().unwrap_or_default();
            let mut object: Value = serde_json::from_slice(item.json).unwrap();
            // Where it lies is compared as well.
            object["version of the path"] = version.into();
            objects.insert((item.path.group_resource.clone(), place), object);
        }
        objects
    }

    fn compare_archives(&self, points: &[(u64, String)], backup: &str) -> Vec<Found> {
        let mut ours = Objects::new();
        for (_, point) in points {
            ours.extend(self.archive(&self.world.namespace, point));
        }
        let theirs = self.archive(self.velero.servers.prefix.as_deref().unwrap_or_default(), backup);
        // What changed between the two backups says nothing about them.
        let version = |object: &Value| object.pointer("/metadata/resourceVersion").cloned();
        let changed = ours.keys().filter(|key| theirs.get(*key).is_some_and(|there| version(there) != version(&ours[*key])));
        let changed: Vec<_> = changed.cloned().collect();
        self.tell(&format!("{} items of dxdr's, {} of Velero's, {} changed in between", ours.len(), theirs.len(), changed.len()));
        assert!(changed.len() * 50 <= ours.len(), "too many changed in between: {changed:?}");
        let stays = |objects: Objects| -> Objects {
            objects.into_iter().filter(|(key, _)| !changed.contains(key) && !RESTLESS[..2].contains(&key.0.as_str())).collect()
        };
        compare("archive", &stays(ours), &stays(theirs))
    }

    fn ask_velero_to_restore(&self, backup: &str, attempt: u32) -> ObjectReference {
        let root = &self.world.namespace;
        let pairs = self.seeds.iter().map(|seed| (namespace(root, *seed), Value::from(format!("{}-v", namespace(root, *seed)))));
        let mapping: serde_json::Map<String, Value> = pairs.collect();
        let specification = json!({"backupName": backup, "namespaceMapping": mapping});
        self.velero.create(&self.world, "Restore", &format!("{root}-{attempt}"), &specification)
    }

    /// Waits for a restore of Velero's. One that failed before it began is asked for again: a server that is busy now and then reads its
    /// credentials while it writes them.
    fn restored_by_velero(&self, backup: &str, mut restore: ObjectReference) {
        for attempt in 2.. {
            let status = super::velero::ended(&self.world, &restore);
            self.tell(&format!("restored by Velero: {status}"));
            match status["phase"].as_str() {
                Some("Completed") => return,
                Some("Failed") if attempt <= ATTEMPTS => restore = self.ask_velero_to_restore(backup, attempt),
                _ => panic!("{restore}: {status:#}"),
            }
        }
    }

    fn restore(&self, backup: &str) {
        let (place, kubeconfig, root) = (&self.world.place, &self.world.kubeconfig, &self.world.namespace);
        self.each(|seed| {
            let into = format!("{}-d", namespace(root, seed));
            let environment = environment(seed);
            let arguments = [
                "restore",
                &environment,
                "--point",
                backup,
                "--into",
                &into,
                "--store",
                "primary",
                "--allow-partial",
                "--yes",
                "--kubeconfig",
                kubeconfig,
            ];
            let said = place.run(&arguments);
            // A claim on a volume of which there is no copy is named.
            let lacking =
                said.stderr.contains("is there without its data") || said.stderr.contains("are there without their data");
            said.exits(if lacking { 3 } else { 0 });
        });
        self.tell("restored by dxdr");
    }

    fn compare_restored(&self) -> Vec<Found> {
        let live = self.live();
        let mut namespaces: BTreeMap<String, Vec<Live>> = BTreeMap::new();
        for object in live {
            namespaces.entry(object.namespace().to_owned()).or_default().push(object);
        }
        let mut found = Vec::new();
        for seed in &self.seeds {
            let side = |suffix: &str| {
                let namespace = format!("{}-{suffix}", namespace(&self.world.namespace, *seed));
                let mut objects = namespaces.get(&namespace).cloned().unwrap_or_default();
                let reference = objects::namespace(&namespace).0;
                if let Some(object) = self.world.get(&reference) {
                    objects.push(Live { kind: "namespaces".to_owned(), singular: "Namespace".to_owned(), object });
                }
                normalised(&namespace, &objects)
            };
            found.extend(
                compare("restore", &side("d"), &side("v"))
                    .into_iter()
                    .map(|one| Found { object: format!("seed {seed}: {}", one.object), ..one }),
            );
        }
        found
    }
}

/// Finalizers of the corpus keep namespaces from going.
impl Drop for Suite<'_> {
    fn drop(&mut self) {
        for held in self
            .live()
            .into_iter()
            .filter(|object| !object.object["metadata"]["finalizers"].is_null() && object.kind == "configmaps")
        {
            let reference = objects::core("ConfigMap", Some(held.namespace()), held.name());
            let mut object = held.object.clone();
            object["metadata"]["finalizers"] = json!([]);
            self.world.replace(&reference, &object);
        }
    }
}

fn environment(seed: u64) -> String {
    format!("seed-{seed:03}")
}

fn namespace(root: &str, seed: u64) -> String {
    format!("{root}-{seed:03}")
}
