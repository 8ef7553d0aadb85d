//! The program against a real API server with a real S3 server, where the environment names them: `cargo xtask end-to-end` does.

mod access;
mod bucket;
mod databases;
mod differential;
mod files;
mod groups;
mod hooks;
mod journey;
mod keys;
mod node;
mod refusals;
mod restarts;
mod retained;
mod schedules;
mod sealing;
mod unfinished;
mod velero;
mod volumes;

use std::{cell::RefCell, env, thread, time::Duration};

use bytes::Bytes;
use dxdr_environment::{ObjectReference, ResourceKind};
use dxdr_kubernetes::{ConnectOptions, KubernetesCluster};
use dxdr_object_storage::{S3Options, S3Storage, s3::S3Credentials};
use dxdr_provider::{
    Cluster, ClusterError,
    cluster::{ListScope, WriteOptions},
};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::{
    objects,
    place::{Place, Said},
};

/// How to reach the servers.
#[derive(Clone)]
struct Servers {
    kubeconfig: String,
    endpoint: String,
    bucket: String,
    access_key: String,
    secret_key: String,
    /// Where in the bucket; without one, a test's own.
    prefix: Option<String>,
}

impl Servers {
    /// Those of the environment; without them, says which tests did not run.
    fn named() -> Option<Self> {
        let named = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let found = (|| {
            Some(Self {
                kubeconfig: named("DXDR_TEST_KUBECONFIG")?,
                endpoint: named("DXDR_TEST_S3_ENDPOINT")?,
                bucket: named("DXDR_TEST_S3_BUCKET")?,
                access_key: named("DXDR_TEST_S3_ACCESS_KEY")?,
                secret_key: named("DXDR_TEST_S3_SECRET_KEY")?,
                prefix: None,
            })
        })();
        if found.is_none() {
            missing("servers", "no real servers are named by DXDR_TEST_KUBECONFIG and DXDR_TEST_S3_*");
        }
        found
    }

    /// The bucket.
    fn storage(&self, runtime: &Runtime) -> S3Storage {
        let options = S3Options {
            bucket: self.bucket.clone(),
            region: Some("us-east-1".to_owned()),
            endpoint: Some(self.endpoint.clone()),
            force_path_style: true,
            credentials: Some(S3Credentials {
                access_key_id: self.access_key.clone(),
                secret_access_key: self.secret_key.clone(),
                session_token: None,
            }),
            ..S3Options::default()
        };
        runtime.block_on(S3Storage::connect(options)).unwrap()
    }
}

/// Says that a test does not run for want of `part`. Where whoever started the servers says that it is there, that is a failure.
#[track_caller]
fn missing(part: &str, reason: &str) {
    let required = env::var("DXDR_TEST_REQUIRED").unwrap_or_default();
    assert!(!required.split(',').any(|one| one == part), "DXDR_TEST_REQUIRED names {part}, and {reason}");
    eprintln!("did not run: {reason}");
}

/// An environment `journey` in a namespace of its own on the real servers; what a test makes there is removed with it.
struct World {
    place: Place,
    namespace: String,
    kubeconfig: String,
    runtime: Runtime,
    cluster: KubernetesCluster,
    made: RefCell<Vec<ObjectReference>>,
}

impl World {
    /// `name` keeps the namespaces of tests that run at the same time apart. The namespace is not made.
    fn new(servers: &Servers, name: &str) -> Self {
        let namespace = format!("dxdr-{name}-{}", std::process::id());
        let place = Place::with_environment(vec![
            ("AWS_ACCESS_KEY_ID", servers.access_key.clone()),
            ("AWS_SECRET_ACCESS_KEY", servers.secret_key.clone()),
        ]);
        let Servers { endpoint, bucket, .. } = servers;
        let prefix = servers.prefix.as_deref().unwrap_or(&namespace);
        place.write(
            "policies/journey.yaml",
            &format!(
                "apiVersion: dxdr.io/v1alpha1\nkind: Environment\nmetadata: {{name: journey}}\nspec: {{namespace: {namespace}, tier: non-production}}\n---\nkind: BackupStore\nmetadata: {{name: primary}}\nspec: {{s3: {{bucket: {bucket}, prefix: {prefix}, region: us-east-1, endpoint: \"{endpoint}\", forcePathStyle: true}}}}\n"
            ),
        );
        place.write(".dxdr/config.yaml", &format!("manifests: [policies]\nleaseNamespace: {namespace}-leases\n"));
        let runtime = Runtime::new().unwrap();
        let options = ConnectOptions { kubeconfig: Some(servers.kubeconfig.clone().into()), ..ConnectOptions::default() };
        let cluster = runtime.block_on(dxdr_kubernetes::connect(options)).unwrap();
        let world = Self { place, namespace, kubeconfig: servers.kubeconfig.clone(), runtime, cluster, made: RefCell::default() };
        // Runs make it.
        world.made.borrow_mut().push(objects::namespace(&world.lease_namespace()).0);
        world
    }

    /// With the namespace, and two ConfigMaps in it.
    fn with_objects(servers: &Servers, name: &str) -> Self {
        let world = Self::new(servers, name);
        world.create(objects::namespace(&world.namespace));
        for name in ["one", "two"] {
            world.create(objects::config_map(&world.namespace, name, "as it was"));
        }
        world
    }

    fn lease_namespace(&self) -> String {
        format!("{}-leases", self.namespace)
    }

    /// Another namespace of the test, which is not made.
    fn beside(&self, name: &str) -> String {
        let namespace = format!("{}-{name}", self.namespace);
        self.made.borrow_mut().push(objects::namespace(&namespace).0);
        namespace
    }

    fn run(&self, arguments: &[&str]) -> Said {
        self.run_as(&self.kubeconfig, arguments)
    }

    fn run_as(&self, kubeconfig: &str, arguments: &[&str]) -> Said {
        self.place.run(&[arguments, &["--kubeconfig", kubeconfig]].concat())
    }

    /// Takes a recovery point and answers its name.
    fn point(&self) -> String {
        self.run(&["backup", "now", "journey"]).exits(0).stdout.trim().to_owned()
    }

    fn create(&self, (reference, object): (ObjectReference, Value)) {
        self.try_create(&reference, &object, false).unwrap();
        if reference.namespace.is_none() {
            self.made.borrow_mut().push(reference);
        }
    }

    fn try_create(&self, reference: &ObjectReference, object: &Value, dry_run: bool) -> Result<Bytes, ClusterError> {
        let options = WriteOptions { dry_run, ..options() };
        self.runtime.block_on(self.cluster.create(reference, Bytes::from(object.to_string()), &options))
    }

    fn replace(&self, reference: &ObjectReference, object: &Value) {
        self.runtime.block_on(self.cluster.replace(reference, Bytes::from(object.to_string()), &options())).unwrap();
    }

    fn delete(&self, reference: &ObjectReference) {
        self.runtime.block_on(self.cluster.delete(reference, None, &options())).unwrap();
    }

    fn get(&self, reference: &ObjectReference) -> Option<Value> {
        let found = self.runtime.block_on(self.cluster.get(reference)).unwrap();
        found.map(|json| serde_json::from_slice(&json).unwrap())
    }

    /// The names of a kind's objects, `of_namespace` only where one is given.
    fn names(&self, kind: &ResourceKind, of_namespace: Option<&str>) -> Vec<String> {
        let scope = ListScope { namespace: of_namespace.map(str::to_owned), label_selector: None };
        let page = self.runtime.block_on(self.cluster.list(kind, &scope, 500, None)).unwrap();
        let names = page.items.iter().map(|item| serde_json::from_slice::<Value>(item).unwrap()["metadata"]["name"].take());
        names.map(|name| name.as_str().unwrap().to_owned()).collect()
    }

    /// Waits for what a controller does; Velero looks for some things once a minute only, and restores one at a time.
    #[track_caller]
    fn wait_until(&self, what: &str, mut happened: impl FnMut(&Self) -> bool) {
        for _ in 0..3600 {
            if happened(self) {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("not within six minutes: {what}");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let root = objects::namespace(&self.namespace).0;
        for reference in self.made.borrow().iter().rev().chain([&root]) {
            if let Err(error) = self.runtime.block_on(self.cluster.delete(reference, None, &options())) {
                eprintln!("could not remove {reference}: {error}");
            }
        }
    }
}

fn options() -> WriteOptions {
    WriteOptions { manager: "test".to_owned(), dry_run: false, retry: true }
}
