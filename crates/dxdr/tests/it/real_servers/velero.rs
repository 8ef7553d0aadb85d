//! What dxdr and a real Velero server read of each other's, through one storage location.

use std::{env, fs, path::PathBuf};

use dxdr_environment::ObjectReference;
use dxdr_plan::{restore::volume, velero::VeleroVersion};
use serde_json::{Value, json};

use super::{Servers, World, missing};
use crate::objects::{self, core, reference};

pub(super) const CONTENT: &str = "rows of a database";
/// How often something is asked for that a server ends which cannot reach its store for a moment.
const ATTEMPTS: u32 = 3;

/// Velero, and the driver whose volumes it takes snapshots of.
pub(super) struct Velero {
    pub(super) servers: Servers,
    pub(super) version: VeleroVersion,
    /// Whether something real copies files on the node.
    pub(super) has_node_agent: bool,
    namespace: String,
    pub(super) location: String,
    pub(super) storage_class: String,
    pub(super) waiting_storage_class: String,
    pub(super) volumes: PathBuf,
}

impl Velero {
    /// That of the environment; without one, says which tests did not run.
    pub(super) fn named() -> Option<Self> {
        let named = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let servers = Servers::named()?;
        let found = (|| {
            Some(Self {
                version: VeleroVersion::parse(&named("DXDR_TEST_VELERO_VERSION")?)?,
                has_node_agent: named("DXDR_TEST_VELERO_NODE_AGENT").is_some(),
                servers: Servers { prefix: Some(named("DXDR_TEST_VELERO_PREFIX")?), ..servers },
                namespace: named("DXDR_TEST_VELERO_NAMESPACE")?,
                location: named("DXDR_TEST_VELERO_LOCATION")?,
                storage_class: named("DXDR_TEST_STORAGE_CLASS")?,
                waiting_storage_class: named("DXDR_TEST_WAITING_STORAGE_CLASS")?,
                volumes: PathBuf::from(named("DXDR_TEST_CSI_DATA")?).join("volumes"),
            })
        })();
        if found.is_none() {
            missing("velero", "no Velero is named by DXDR_TEST_VELERO_*, or no CSI driver by DXDR_TEST_CSI_DATA");
        }
        found
    }

    /// Whether it is of this version or newer; of an older one, says what it cannot do.
    pub(super) fn has_since(&self, (major, minor, patch): (u32, u32, u32), what: &str) -> bool {
        let has = self.version >= VeleroVersion { major, minor, patch };
        if !has {
            eprintln!("did not run: Velero {} does not {what}; v{major}.{minor}.{patch} and newer do", self.version);
        }
        has
    }

    /// A namespace with settings, a Service on a port that the API server chose, and a volume with content.
    pub(super) fn world(&self, name: &str) -> World {
        let world = World::with_objects(&self.servers, name);
        let at = Some(world.namespace.as_str());
        world.create((
            core("Service", at, "web"),
            json!({
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": world.namespace},
                "spec": {"type": "NodePort", "selector": {"app": "web"}, "ports": [{"port": 80}]}
            }),
        ));
        world.create((
            claim(&world.namespace),
            json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": world.namespace},
                "spec": {
                    "storageClassName": self.storage_class, "accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": "1Mi"}}
                }
            }),
        ));
        fs::write(self.volume_of(&world, &world.namespace).join("content"), CONTENT).unwrap();
        world
    }

    /// The folder of the volume that the claim `data` of a namespace is bound to.
    #[track_caller]
    pub(super) fn volume_of(&self, world: &World, namespace: &str) -> PathBuf {
        self.volume_of_claim(world, namespace, "data")
    }

    /// The same of any claim.
    #[track_caller]
    pub(super) fn volume_of_claim(&self, world: &World, namespace: &str, name: &str) -> PathBuf {
        let claim = core("PersistentVolumeClaim", Some(namespace), name);
        world.wait_until("the claim is bound", |world| {
            world.get(&claim).is_some_and(|object| object["status"]["phase"] == "Bound")
        });
        let name = world.get(&claim).unwrap()["spec"]["volumeName"].as_str().unwrap().to_owned();
        let volume = world.get(&core("PersistentVolume", None, &name)).unwrap();
        self.volumes.join(volume["spec"]["csi"]["volumeHandle"].as_str().unwrap())
    }

    pub(super) fn object(&self, kind: &str, name: &str) -> ObjectReference {
        let plural = format!("{}s", kind.to_lowercase());
        reference("velero.io", "v1", kind, &plural, Some(&self.namespace), name)
    }

    pub(super) fn create(&self, world: &World, kind: &str, name: &str, specification: &Value) -> ObjectReference {
        let reference = self.object(kind, name);
        let object = json!({
            "apiVersion": "velero.io/v1", "kind": kind, "metadata": {"name": name, "namespace": self.namespace},
            "spec": specification
        });
        world.create((reference.clone(), object));
        reference
    }

    /// Has Velero back the namespace up, with a snapshot of the volume.
    #[track_caller]
    pub(super) fn back_up(&self, world: &World) -> String {
        let specification = json!({
            "includedNamespaces": [world.namespace], "storageLocation": self.location, "snapshotVolumes": true, "ttl": "1h0m0s"
        });
        let backup = self.create(world, "Backup", &format!("{}-by-velero", world.namespace), &specification);
        completed(world, &backup);
        backup.name
    }

    /// Has Velero restore a backup into another namespace.
    #[track_caller]
    pub(super) fn restore(&self, world: &World, backup: &str, into: &str) {
        let specification = json!({
            "backupName": backup, "includedNamespaces": [world.namespace], "namespaceMapping": {&world.namespace: into}
        });
        let mut restore = self.create(world, "Restore", into, &specification);
        let mut status = ended(world, &restore);
        // A server that is busy now and then reads its credentials while it writes them, and takes its location for unavailable.
        for attempt in 2..=ATTEMPTS {
            if status["phase"] == "FailedValidation" && status["validationErrors"].to_string().contains("is unavailable") {
                restore = self.create(world, "Restore", &format!("{into}-{attempt}"), &specification);
                status = ended(world, &restore);
            }
        }
        assert_eq!(status["phase"], "Completed", "{restore}: {status:#}");
        assert_eq!(status.get("errors"), None, "{status:#}");
    }

    /// Has Velero delete a backup, with all that is stored of it.
    #[track_caller]
    pub(super) fn delete(&self, world: &World, backup: &str) {
        let object = self.object("Backup", backup);
        for attempt in 1..=ATTEMPTS {
            let name = format!("{backup}-{attempt}");
            let request = self.create(world, "DeleteBackupRequest", &name, &json!({"backupName": backup}));
            let mut errors = Value::Null;
            world.wait_until("the backup is deleted", |world| {
                errors = world.get(&request).map(|mut request| request["status"]["errors"].take()).unwrap_or_default();
                world.get(&object).is_none() || errors.is_array()
            });
            if world.get(&object).is_none() {
                return;
            }
            eprintln!("Velero did not delete {backup}: {errors}");
        }
        panic!("Velero does not delete {backup}");
    }
}

fn claim(namespace: &str) -> ObjectReference {
    core("PersistentVolumeClaim", Some(namespace), "data")
}

/// Waits for an end, which must be a good one, and answers the status.
#[track_caller]
pub(super) fn completed(world: &World, reference: &ObjectReference) -> Value {
    let status = ended(world, reference);
    assert_eq!(status["phase"], "Completed", "{reference}: {status:#}");
    status
}

/// Waits for an end, and answers the status.
#[track_caller]
pub(super) fn ended(world: &World, reference: &ObjectReference) -> Value {
    const ENDS: [&str; 4] = ["Completed", "PartiallyFailed", "Failed", "FailedValidation"];
    let mut status = Value::Null;
    world.wait_until(&format!("{reference} comes to an end"), |world| {
        status = world.get(reference).map(|mut object| object["status"].take()).unwrap_or_default();
        status["phase"].as_str().is_some_and(|phase| ENDS.contains(&phase))
    });
    status
}

#[test]
fn a_backup_by_velero_is_a_point_that_is_planned_and_restored() {
    let Some(velero) = Velero::named() else { return };
    let world = velero.world("by-velero");
    let backup = velero.back_up(&world);

    assert!(world.run(&["points", "journey"]).exits(0).stdout.contains(&backup));
    let beside = world.beside("by-dxdr");
    let restore = ["restore", "journey", "--point", &backup, "--into", &beside];
    let planned = world.run(&[&restore[..], &["--plan"]].concat()).exits(0).stdout;
    for object in ["configmaps", "services", "persistentvolumeclaims"] {
        assert!(planned.contains(&format!("+ {object} {beside}/")), "{planned}");
    }
    assert!(planned.contains("filled from snapshot"), "{planned}");
    let original = velero.volume_of(&world, &world.namespace);
    fs::write(original.join("content"), "damaged").unwrap();
    world.run(&[&restore[..], &["--yes"]].concat()).exits(0);
    assert_eq!(world.get(&core("ConfigMap", Some(&beside), "one")).unwrap()["data"]["value"], "as it was");
    assert!(world.get(&core("Service", Some(&beside), "web")).is_some());
    let restored = velero.volume_of(&world, &beside);
    assert_ne!(restored, original);
    assert_eq!(fs::read_to_string(restored.join("content")).unwrap(), CONTENT);
    // Nothing that stands for the snapshot is left, and the storage has it all the same.
    assert_eq!(world.names(&volume::snapshots(), Some(&beside)), [""; 0]);
    let again = world.beside("again");
    world.run(&["restore", "journey", "--point", &backup, "--into", &again, "--yes"]).exits(0);
    assert_eq!(fs::read_to_string(velero.volume_of(&world, &again).join("content")).unwrap(), CONTENT);
    assert!(!world.names(&volume::contents(), None).iter().any(|name| name.starts_with("dxdr-")));
    velero.delete(&world, &backup);
}

#[test]
fn a_claim_that_was_lost_is_filled_from_its_snapshot_in_place() {
    let Some(velero) = Velero::named() else { return };
    let world = velero.world("lost-claim");
    let backup = velero.back_up(&world);
    let original = velero.volume_of(&world, &world.namespace);
    world.delete(&claim(&world.namespace));
    world.wait_until("the claim is gone", |world| world.get(&claim(&world.namespace)).is_none());
    world.run(&["restore", "journey", "--point", &backup, "--in-place", "--yes"]).exits(0);
    let restored = velero.volume_of(&world, &world.namespace);
    assert_ne!(restored, original);
    assert_eq!(fs::read_to_string(restored.join("content")).unwrap(), CONTENT);
    let again = world.run(&["restore", "journey", "--point", &backup, "--in-place", "--yes"]).exits(0);
    assert!(
        again.stdout.contains("nothing to do") || again.stderr.contains("nothing to do"),
        "{}\n{}",
        again.stdout,
        again.stderr
    );
    velero.delete(&world, &backup);
}

#[test]
fn a_restore_that_velero_carries_out_is_held_against_the_plan() {
    let Some(velero) = Velero::named() else { return };
    let world = velero.world("carried-out");
    let backup = velero.back_up(&world);
    let beside = world.beside("by-executor");
    let said =
        world.run(&["restore", "journey", "--point", &backup, "--into", &beside, "--executor", "velero", "--yes"]).exits(0);
    assert!(said.stderr.contains("Have Velero carry it out"), "{}", said.stderr);
    assert_eq!(world.get(&core("ConfigMap", Some(&beside), "one")).unwrap()["data"]["value"], "as it was");
    assert_eq!(fs::read_to_string(velero.volume_of(&world, &beside).join("content")).unwrap(), CONTENT);
    velero.delete(&world, &backup);
}

#[test]
fn a_snapshot_by_velero_brings_the_content_of_a_volume_back() {
    let Some(velero) = Velero::named() else { return };
    let world = velero.world("content");
    let backup = velero.back_up(&world);
    let original = velero.volume_of(&world, &world.namespace);
    fs::write(original.join("content"), "damaged").unwrap();

    let beside = world.beside("again");
    velero.restore(&world, &backup, &beside);
    let restored = velero.volume_of(&world, &beside);
    assert_ne!(restored, original);
    assert_eq!(fs::read_to_string(restored.join("content")).unwrap(), CONTENT);
    velero.delete(&world, &backup);
}

#[test]
fn a_point_of_dxdr_is_found_and_restored_by_velero() {
    let Some(velero) = Velero::named() else { return };
    let world = velero.world("by-dxdr");
    let point = world.point();
    let backup = velero.object("Backup", &point);
    world.wait_until("Velero has found the point", |world| world.get(&backup).is_some());

    let beside = world.beside("by-velero");
    velero.restore(&world, &point, &beside);
    for name in ["one", "two"] {
        assert_eq!(world.get(&core("ConfigMap", Some(&beside), name)).unwrap()["data"]["value"], "as it was");
    }
    assert!(world.get(&core("Service", Some(&beside), "web")).is_some());
    assert!(world.get(&objects::namespace(&beside).0).is_some());
    velero.delete(&world, &point);
    world.run(&["restore", "journey", "--point", &point, "--plan"]).refuses(5);
}

#[test]
fn a_check_of_the_cluster_finds_what_velero_would_stumble_over() {
    let Some(velero) = Velero::named() else { return };
    let world = velero.world("check");
    let policy = "apiVersion: dxdr.io/v1alpha1\nkind: BackupPolicy\nmetadata: {name: all}\nspec: {environments: [journey], objectives: {dataLoss: 2h, recoveryTime: 1h}, engine: velero, volumes: {method: csiSnapshot}, store: primary, retention: {daily: 7}}\n";
    world.place.write("policies/policy.yaml", policy);
    velero.volume_of(&world, &world.namespace);
    let namespaced = ["check", "--cluster", "--output", "json", "--velero-namespace", &velero.namespace];
    let page: Value = serde_json::from_str(&world.run(&namespaced).exits(0).stdout).unwrap();
    let rows = page["rows"].as_array().unwrap();
    let result = |what: &str| rows.iter().find(|row| row["what"] == what).map(|row| row["result"].as_str().unwrap_or_default());
    let server = rows.iter().find(|row| row["what"] == "velero: server").unwrap()["detail"].as_str().unwrap();
    assert!(server.starts_with(&velero.version.to_string()), "{server}");
    for difference in velero.version.differences() {
        assert!(server.contains(difference), "{server}");
    }
    let driver = format!("snapshots: class for driver {}", env::var("DXDR_TEST_CSI_DRIVER").unwrap());
    for what in [
        "velero: server",
        "velero: plugin velero.io/aws",
        "velero: feature EnableCSI",
        "velero: location of store primary",
        "velero: location of store primary: credential",
        "store primary: writable",
        "store primary: folders of Velero's prefix",
        driver.as_str(),
        "rights: back up journey",
    ] {
        assert_eq!(result(what), Some("ok"), "{what}: {page:#}");
    }

    // The bucket itself as a location: there is none for it, and there are folders in it that Velero does not know.
    let elsewhere = World::with_objects(&Servers { prefix: None, ..velero.servers.clone() }, "folder");
    elsewhere.point();
    let other = World::with_objects(&Servers { prefix: Some("\"\"".to_owned()), ..velero.servers.clone() }, "unknown-folder");
    other.place.write("policies/policy.yaml", policy);
    let said = other.run(&["check", "--cluster", "--velero-namespace", &velero.namespace]).exits(3).stdout;
    assert!(said.contains("`dxdr schedule apply` makes it"), "{said}");
    assert!(said.contains(&format!("`{}/`", elsewhere.namespace)), "{said}");
    assert!(said.contains("aws s3 mv --recursive"), "{said}");
}
