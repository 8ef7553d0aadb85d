//! A small cluster inside the test's process, so that it can be made to fail, and a place whose program uses it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use bytes::Bytes;
use dxdr_environment::{ObjectReference, ResourceKind};
use dxdr_kubernetes::KubernetesCluster;
use dxdr_provider::{
    Cluster,
    cluster::{ListScope, WriteOptions},
};
use dxdr_sandbox::{Options, Sandbox, ServingSandbox};
use kube::{
    Api,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams},
};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::{
    gated::Running,
    objects,
    place::{Place, Said},
};

/// Namespace `staging` with a few objects, an environment of that name, and a directory store.
pub(crate) struct Served {
    pub(crate) place: Place,
    pub(crate) sandbox: Sandbox,
    cluster: KubernetesCluster,
    server: Option<ServingSandbox>,
    runtime: Runtime,
}

pub(crate) const ENVIRONMENT: &str = "apiVersion: dxdr.io/v1alpha1\nkind: Environment\nmetadata: {name: staging}\nspec: {namespace: staging, tier: non-production}\n";

impl Served {
    pub(crate) fn new() -> Self {
        let place = Place::empty();
        let store = format!(
            "---\nkind: BackupStore\nmetadata: {{name: primary}}\nspec: {{directory: {{path: {}}}}}\n",
            Value::from(place.path().join("store").to_string_lossy().into_owned())
        );
        fs::create_dir(place.path().join("store")).unwrap();
        Self::with_store(place, &store)
    }

    /// The same with another store, by its manifest.
    pub(crate) fn with_store(place: Place, store: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let sandbox = Sandbox::new(Options::default());
        let server = runtime.block_on(sandbox.serve_on("127.0.0.1:0".parse().unwrap())).unwrap();
        let cluster =
            runtime.block_on(async { KubernetesCluster::new(kube::Client::new(sandbox.router(), "default"), "sandbox") });
        place.write("kubeconfig", &sandbox.kubeconfig(server.address()));
        place.write(".dxdr/config.yaml", "kubeconfig: kubeconfig\nmanifests: [policies]\n");
        place.write("policies/staging.yaml", &format!("{ENVIRONMENT}{store}"));
        let served = Self { place, sandbox, cluster, server: Some(server), runtime };
        served.create(objects::namespace("staging"));
        served.create(objects::config_map("staging", "one", "as it was"));
        served.create(objects::config_map("staging", "two", "as it was"));
        served.create(objects::secret("staging", "password"));
        served
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        self.place.run(arguments)
    }

    /// Takes a recovery point and answers its name.
    pub(crate) fn point(&self) -> String {
        self.run(&["backup", "now", "staging"]).exits(0).stdout.trim().to_owned()
    }

    pub(crate) fn create(&self, (reference, object): (ObjectReference, Value)) {
        self.runtime.block_on(self.cluster.create(&reference, Bytes::from(object.to_string()), &options())).unwrap();
    }

    /// Changes an object, as somebody else.
    pub(crate) fn change(&self, reference: &ObjectReference, change: impl FnOnce(&mut Value)) {
        let mut object = self.get(reference).unwrap();
        change(&mut object);
        self.runtime.block_on(self.cluster.replace(reference, Bytes::from(object.to_string()), &options())).unwrap();
    }

    /// Sets the status of an object, as its controller.
    pub(crate) fn set_status(&self, reference: &ObjectReference, status: &Value) {
        let kind = &reference.kind;
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(&kind.group, &kind.version, &kind.kind));
        let namespace = reference.namespace.as_deref().unwrap_or_default();
        self.runtime.block_on(async {
            let client = kube::Client::new(self.sandbox.router(), "default");
            let objects: Api<DynamicObject> = Api::namespaced_with(client, namespace, &resource);
            let patch = Patch::Merge(serde_json::json!({"status": status}));
            objects.patch_status(&reference.name, &PatchParams::default(), &patch).await.unwrap();
        });
    }

    pub(crate) fn delete(&self, reference: &ObjectReference) {
        self.runtime.block_on(self.cluster.delete(reference, None, &options())).unwrap();
    }

    pub(crate) fn get(&self, reference: &ObjectReference) -> Option<Value> {
        let found = self.runtime.block_on(self.cluster.get(reference)).unwrap();
        found.map(|json| serde_json::from_slice(&json).unwrap())
    }

    /// The objects of a kind in a namespace.
    pub(crate) fn list(&self, kind: &ResourceKind, namespace: &str) -> Vec<Value> {
        let scope = ListScope { namespace: Some(namespace.to_owned()), label_selector: None };
        let page = self.runtime.block_on(self.cluster.list(kind, &scope, 500, None)).unwrap();
        page.items.iter().map(|item| serde_json::from_slice(item).unwrap()).collect()
    }

    /// Starts the program, which goes on by itself.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.place.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Running::start(command)
    }

    /// Every object of the cluster but the Leases of runs and their namespace. Faults are taken away before it is read.
    pub(crate) fn objects(&self) -> BTreeMap<String, String> {
        self.sandbox.faults().clear();
        self.runtime.block_on(async {
            let mut objects = BTreeMap::new();
            for kind in self.cluster.discover().await.unwrap().kinds {
                if !kind.verbs.iter().any(|verb| verb == "list") {
                    continue;
                }
                let scope = ListScope { namespace: None, label_selector: None };
                for item in self.cluster.list(&kind.kind, &scope, 500, None).await.unwrap().items {
                    let object: Value = serde_json::from_slice(&item).unwrap();
                    let metadata = &object["metadata"];
                    if metadata["namespace"] == "dxdr-system" || metadata["name"] == "dxdr-system" {
                        continue;
                    }
                    objects.insert(format!("{} {} {}", kind.kind, metadata["namespace"], metadata["name"]), object.to_string());
                }
            }
            objects
        })
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.place.path().join("store")
    }

    /// Every object of the store.
    pub(crate) fn stored(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        collect(&self.store(), &mut found);
        found
    }

    /// What a command that is refused with this code must leave as it is: the objects of the cluster and those of the store.
    #[track_caller]
    pub(crate) fn refuses_and_changes_nothing(&self, arguments: &[&str], code: i32) -> Said {
        let (revision, stored) = (self.sandbox.revision(), self.stored());
        let said = self.run(arguments).refuses(code);
        assert_eq!(self.sandbox.revision(), revision, "dxdr {} wrote into the cluster", arguments.join(" "));
        assert!(self.stored() == stored, "dxdr {} wrote into the store", arguments.join(" "));
        said
    }

    /// Nothing listens any more.
    pub(crate) fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            self.runtime.block_on(server.stop());
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop();
    }
}

fn options() -> WriteOptions {
    WriteOptions { manager: "test".to_owned(), dry_run: false, retry: true }
}

fn collect(folder: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, found);
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
}
