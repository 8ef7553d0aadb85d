//! A cluster behind a gate: chosen requests wait at it until the test lets them through. What happens in between is what a signal, a
//! crash or a second process meets in the middle of a run; nothing here depends on how fast anything is.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStderr, Command, Stdio},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    extract::{Request, State},
    http::Method,
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use bytes::Bytes;
use dxdr_environment::{ObjectReference, ResourceKind};
use dxdr_kubernetes::KubernetesCluster;
use dxdr_provider::{
    Cluster,
    cluster::{ListScope, WriteOptions},
};
use dxdr_sandbox::Sandbox;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::{runtime::Runtime, sync::watch};

use crate::place::Place;

/// How long a test waits for what must come. Only a broken program makes it wait that long.
const PATIENCE: Duration = Duration::from_secs(120);

/// Which requests wait at the gate.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    /// Writes, or reads.
    pub(crate) writes: bool,
    /// What their path ends in: `/configmaps`.
    pub(crate) path: &'static str,
    /// How many of them pass first.
    pub(crate) behind: u64,
}

#[derive(Debug)]
struct Gate {
    held: Mutex<Option<Held>>,
    waiting: watch::Sender<u64>,
    open: watch::Sender<u64>,
    writes: AtomicU64,
}

impl Gate {
    /// Whether the request has to wait.
    fn holds(&self, write: bool, path: &str) -> bool {
        let mut held = self.held.lock().unwrap();
        match held.as_mut() {
            Some(held) if held.writes == write && path.ends_with(held.path) => {
                if held.behind > 0 {
                    held.behind -= 1;
                    return false;
                }
                true
            }
            _ => false,
        }
    }
}

async fn gate(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let write = request.method() != Method::GET;
    if write {
        gate.writes.fetch_add(1, Ordering::SeqCst);
    }
    // Which opening is waited for is settled before anybody is told that somebody waits.
    let mut open = gate.open.subscribe();
    let opened = *open.borrow_and_update();
    if gate.holds(write, &path) {
        gate.waiting.send_modify(|waiting| *waiting += 1);
        // The gate lives as long as the server: an error cannot be, and would mean that the test is over.
        let _ = open.wait_for(|openings| *openings > opened).await;
    }
    next.run(request).await
}

/// An environment `staging` of some objects in a sandbox behind a gate, and a folder whose configuration leads there.
pub(crate) struct World {
    pub(crate) place: Place,
    runtime: Runtime,
    gate: Arc<Gate>,
    cluster: KubernetesCluster,
}

impl World {
    /// With so many ConfigMaps.
    pub(crate) fn of(config_maps: u32) -> Self {
        let runtime = Runtime::new().unwrap();
        let place = Place::empty();
        let sandbox = Sandbox::new(dxdr_sandbox::Options::default());
        let gate = Arc::new(Gate {
            held: Mutex::new(None),
            waiting: watch::Sender::new(0),
            open: watch::Sender::new(0),
            writes: AtomicU64::new(0),
        });
        let router = sandbox.router().layer(from_fn_with_state(Arc::clone(&gate), self::gate));
        let cluster = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(async move { axum::serve(listener, router).await });
            fs::write(place.path().join("kubeconfig"), sandbox.kubeconfig(address)).unwrap();
            // The test's own way in passes no gate.
            KubernetesCluster::new(kube::Client::new(sandbox.router(), "default"), "sandbox")
        });
        for folder in [".dxdr", "policies"] {
            fs::create_dir(place.path().join(folder)).unwrap();
        }
        fs::write(place.path().join(".dxdr/config.yaml"), "manifests: [policies]\nkubeconfig: kubeconfig\n").unwrap();
        let world = Self { place, runtime, gate, cluster };
        world.declare("staging", "");
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "staging"}});
        world.create(&reference("Namespace", "namespaces", None, "staging"), &namespace);
        for number in 0..config_maps {
            world.config_map(&format!("settings-{number:03}"), "as it was");
        }
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "database", "namespace": "staging"}, "data": {"password": "c2VjcmV0"}});
        world.create(&reference("Secret", "secrets", Some("staging"), "database"), &secret);
        world
    }

    /// Writes the manifests, with `staging` in a namespace, and further documents.
    pub(crate) fn declare(&self, namespace: &str, further: &str) {
        let store = json!(self.place.path().join("store"));
        let manifests = format!(
            "apiVersion: dxdr.io/v1alpha1\nkind: Environment\nmetadata: {{name: staging}}\nspec: {{namespace: {namespace}, tier: non-production}}\n---\napiVersion: dxdr.io/v1alpha1\nkind: BackupStore\nmetadata: {{name: primary}}\nspec: {{directory: {{path: {store}}}}}\n{further}"
        );
        fs::create_dir_all(self.place.path().join("store")).unwrap();
        fs::write(self.place.path().join("policies/staging.yaml"), manifests).unwrap();
    }

    pub(crate) fn create(&self, reference: &ObjectReference, object: &Value) {
        self.runtime.block_on(self.cluster.create(reference, Bytes::from(object.to_string()), &options())).unwrap();
    }

    pub(crate) fn get(&self, reference: &ObjectReference) -> Option<Value> {
        let found = self.runtime.block_on(self.cluster.get(reference)).unwrap();
        found.map(|json| serde_json::from_slice(&json).unwrap())
    }

    pub(crate) fn config_map(&self, name: &str, value: &str) {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "staging"}, "data": {"value": value}});
        self.create(&reference("ConfigMap", "configmaps", Some("staging"), name), &object);
    }

    pub(crate) fn delete(&self, plural: &'static str, name: &str) {
        let kind = if plural == "secrets" { "Secret" } else { "ConfigMap" };
        let reference = reference(kind, plural, Some("staging"), name);
        assert!(self.runtime.block_on(self.cluster.delete(&reference, None, &options())).unwrap(), "{name} was not there");
    }

    /// Takes a recovery point and loses everything, then has something that was not there.
    pub(crate) fn lost(&self) -> (String, BTreeMap<String, Value>) {
        let (point, before) = (self.point(), self.state());
        for name in before.keys() {
            match name.split_once('/') {
                Some(("configmaps", name)) => self.delete("configmaps", name),
                Some((_, name)) => self.delete("secrets", name),
                None => unreachable!("names have a kind"),
            }
        }
        self.config_map("stray", "was not there");
        (point, before)
    }

    /// Takes a recovery point.
    pub(crate) fn point(&self) -> String {
        self.place.run(&["backup", "now", "staging"]).exits(0).stdout.trim().to_owned()
    }

    /// What lives in the environment, without what the server adds.
    pub(crate) fn state(&self) -> BTreeMap<String, Value> {
        let mut state = BTreeMap::new();
        for (kind, plural) in [("ConfigMap", "configmaps"), ("Secret", "secrets")] {
            let scope = ListScope { namespace: Some("staging".to_owned()), label_selector: None };
            let kind = reference(kind, plural, Some("staging"), "").kind;
            let page = self.runtime.block_on(self.cluster.list(&kind, &scope, 1_000, None)).unwrap();
            for item in page.items {
                let mut object: Value = serde_json::from_slice(&item).unwrap();
                let name = object["metadata"]["name"].as_str().unwrap().to_owned();
                // The namespace's own, which the server makes again.
                if name == "kube-root-ca.crt" {
                    continue;
                }
                for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields"] {
                    object["metadata"].as_object_mut().unwrap().remove(field);
                }
                state.insert(format!("{plural}/{name}"), object);
            }
        }
        state
    }

    /// Lets requests wait from now on.
    pub(crate) fn hold(&self, held: Held) {
        self.gate.waiting.send_replace(0);
        *self.gate.held.lock().unwrap() = Some(held);
    }

    /// Returns once a request waits.
    pub(crate) fn until_somebody_waits(&self) {
        let mut waiting = self.gate.waiting.subscribe();
        let arrived = async { tokio::time::timeout(PATIENCE, waiting.wait_for(|waiting| *waiting > 0)).await.map(|_| ()) };
        self.runtime.block_on(arrived).expect("no request came to the gate");
    }

    /// Lets everybody through, now and later.
    pub(crate) fn open(&self) {
        *self.gate.held.lock().unwrap() = None;
        self.gate.open.send_modify(|openings| *openings += 1);
    }

    /// Requests so far that could change something.
    pub(crate) fn writes(&self) -> u64 {
        self.gate.writes.load(Ordering::SeqCst)
    }

    /// Starts the program, which goes on by itself.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.place.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Running::start(command)
    }

    /// The run that did not come to its end.
    pub(crate) fn unfinished(&self) -> String {
        let said = self.place.run(&["runs", "list", "--output", "json"]).exits(0).stdout;
        let runs: Value = serde_json::from_str(&said).unwrap();
        let unfinished: Vec<&Value> =
            runs["runs"].as_array().unwrap().iter().filter(|run| run["state"] == "unfinished").collect();
        assert_eq!(unfinished.len(), 1, "{said}");
        unfinished[0]["run"].as_str().unwrap().to_owned()
    }

    /// What lies in the store, as paths below it, without journals.
    pub(crate) fn stored(&self) -> Vec<String> {
        let root = self.place.path().join("store");
        let (mut folders, mut files) = (vec![root.clone()], Vec::new());
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files.push(path.strip_prefix(&root).unwrap().to_string_lossy().into_owned());
                }
            }
        }
        // What a killed writer was writing is never listed, and swept away by the store itself.
        files.retain(|file| !file.contains("/runs/") && !file.starts_with(".dxdr-incoming/"));
        files.sort();
        files
    }
}

fn reference(kind: &str, plural: &str, namespace: Option<&str>, name: &str) -> ObjectReference {
    let kind = ResourceKind {
        group: String::new(),
        version: "v1".to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
        namespaced: namespace.is_some(),
    };
    ObjectReference { kind, namespace: namespace.map(str::to_owned), name: name.to_owned() }
}

fn options() -> WriteOptions {
    WriteOptions { manager: "test".to_owned(), dry_run: false, retry: true }
}

/// Stands behind all that a program said.
const END: char = '\u{4}';

/// The program while it runs.
pub(crate) struct Running {
    child: Child,
    said: Arc<(Mutex<String>, Condvar)>,
}

impl Running {
    /// Starts a command whose stderr is piped.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let said = Arc::new((Mutex::new(String::new()), Condvar::new()));
        match child.stderr.take() {
            Some(stderr) => listen(stderr, Arc::clone(&said)),
            None => said.0.lock().unwrap().push(END),
        }
        Self { child, said }
    }

    /// Returns once the program has said this on stderr.
    #[track_caller]
    pub(crate) fn until_it_says(&self, text: &str) {
        let (said, changed) = &*self.said;
        let (said, timeout) = changed.wait_timeout_while(said.lock().unwrap(), PATIENCE, |said| !said.contains(text)).unwrap();
        assert!(!timeout.timed_out(), "it never said `{text}`, but:\n{said}");
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The first line that begins so, of what it has said.
    #[track_caller]
    pub(crate) fn line(&self, start: &str) -> String {
        let said = self.said.0.lock().unwrap();
        said.lines()
            .find(|line| line.starts_with(start))
            .unwrap_or_else(|| panic!("no line begins with `{start}`:\n{said}"))
            .to_owned()
    }

    /// All that it said, once it is over.
    pub(crate) fn over(&self) -> Option<String> {
        let said = self.said.0.lock().unwrap();
        said.ends_with(END).then(|| said.trim_end_matches(END).to_owned())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end: the exit code, and what it said on stderr.
    pub(crate) fn ends(self) -> (Option<i32>, String) {
        let (code, _, said) = self.ends_with_output();
        (code, said)
    }

    /// The same, with what it said on stdout in between.
    pub(crate) fn ends_with_output(mut self) -> (Option<i32>, String, String) {
        let mut stdout = String::new();
        if let Some(mut pipe) = self.child.stdout.take() {
            pipe.read_to_string(&mut stdout).unwrap();
        }
        let status = self.child.wait().unwrap();
        // The pipe ends with the process; its listener takes the last lines.
        let (said, changed) = &*self.said;
        let (said, _) = changed.wait_timeout_while(said.lock().unwrap(), PATIENCE, |said| !said.ends_with(END)).unwrap();
        (status.code(), stdout, said.trim_end_matches(END).to_owned())
    }
}

/// Collects what the program says, and marks its end.
fn listen(stderr: ChildStderr, said: Arc<(Mutex<String>, Condvar)>) {
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stderr);
        let mut line = String::new();
        loop {
            line.clear();
            let more = lines.read_line(&mut line).is_ok_and(|count| count > 0);
            let (text, changed) = &*said;
            text.lock().unwrap().push_str(if more { line.as_str() } else { "\u{4}" });
            changed.notify_all();
            if !more {
                return;
            }
        }
    });
}
