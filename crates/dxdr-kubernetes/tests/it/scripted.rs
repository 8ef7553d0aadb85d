//! A server on loopback that plays a script: each request gets the next reply, whatever it asks.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use dxdr_environment::{ObjectReference, ResourceKind};
use dxdr_kubernetes::{ConnectOptions, KubernetesCluster, RetryPolicy, Surroundings, Timeouts, connect_from};
use dxdr_provider::cluster::{ListScope, WriteOptions};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What the server does with a request.
pub(crate) enum Reply {
    Json(u16, String),
    /// The same with one more header.
    With(u16, &'static str, String),
    /// Promises more bytes than it sends, and closes.
    CutShort(String),
    /// Closes without a word.
    Close,
    /// Nothing for this long, then an empty object.
    Late(Duration),
}

pub(crate) struct ScriptedServer {
    pub(crate) port: u16,
    heard: Arc<Mutex<Vec<Heard>>>,
    task: JoinHandle<()>,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    /// `GET /api/v1/pods?limit=1`
    pub(crate) line: String,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl ScriptedServer {
    pub(crate) async fn playing(script: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let script = Arc::new(Mutex::new(script.into_iter()));
        let ears = Arc::clone(&heard);
        let task = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(answer(connection, Arc::clone(&ears), Arc::clone(&script)));
            }
        });
        Self { port, heard, task }
    }

    pub(crate) async fn cluster(&self) -> KubernetesCluster {
        cluster_at(self.port).await
    }

    /// The same, waiting for an answer no longer than [`SHORT`].
    pub(crate) async fn impatient_cluster(&self) -> KubernetesCluster {
        cluster_with(self.port, SHORT).await
    }

    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.heard().into_iter().map(|heard| heard.line).collect()
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(mut connection: TcpStream, heard: Arc<Mutex<Vec<Heard>>>, script: Arc<Mutex<std::vec::IntoIter<Reply>>>) {
    let mut text = Vec::new();
    let head_end = loop {
        if let Some(end) = text.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if connection.read_buf(&mut text).await.unwrap_or(0) == 0 {
            return;
        }
    };
    let head = String::from_utf8_lossy(&text[..head_end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    while text.len() < head_end + length {
        if connection.read_buf(&mut text).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let line = String::from_utf8_lossy(&text[..head_end]).lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
    let body = String::from_utf8_lossy(&text[head_end..]).into_owned();
    heard.lock().unwrap().push(Heard { line, head, body });
    let reply = script.lock().unwrap().next();
    let (code, header, body, missing) = match reply {
        Some(Reply::Json(code, body)) => (code, "", body, 0),
        Some(Reply::With(code, header, body)) => (code, header, body, 0),
        Some(Reply::CutShort(body)) => (200, "", body, 1000),
        Some(Reply::Late(wait)) => {
            tokio::time::sleep(wait).await;
            (200, "", "{}".into(), 0)
        }
        Some(Reply::Close) => return,
        None => (418, "", "the script is over".into(), 0),
    };
    let header = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
    let answer = format!(
        "HTTP/1.1 {code} x\r\ncontent-type: application/json\r\nconnection: close\r\n{header}content-length: {}\r\n\r\n{body}",
        body.len() + missing
    );
    let _ = connection.write_all(answer.as_bytes()).await;
    let _ = connection.shutdown().await;
}

/// A time limit for answers that will not come.
pub(crate) const SHORT: Duration = Duration::from_millis(400);

pub(crate) async fn cluster_at(port: u16) -> KubernetesCluster {
    cluster_with(port, Duration::from_secs(20)).await
}

async fn cluster_with(port: u16, time_limit: Duration) -> KubernetesCluster {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kubeconfig");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: lab\ncontexts:\n- name: lab\n  context: {{cluster: lab}}\n\
         clusters:\n- name: lab\n  cluster: {{server: 'http://127.0.0.1:{port}'}}\n"
    );
    std::fs::write(&file, text).unwrap();
    let options = ConnectOptions {
        kubeconfig: Some(file),
        timeouts: Timeouts { connect: Duration::from_secs(10), list: time_limit, request: time_limit },
        retry_policy: RetryPolicy { first_wait: Duration::from_millis(5), ..RetryPolicy::default() },
        ..ConnectOptions::default()
    };
    // Another proxy in the environment must not matter on loopback.
    let surroundings = Surroundings { http_proxy: Some("http://127.0.0.1:9".into()), ..Surroundings::default() };
    connect_from(options, &surroundings).await.unwrap()
}

pub(crate) fn config_maps() -> ResourceKind {
    ResourceKind {
        group: String::new(),
        version: "v1".into(),
        kind: "ConfigMap".into(),
        plural: "configmaps".into(),
        namespaced: true,
    }
}

pub(crate) fn config_map(namespace: &str, name: &str) -> ObjectReference {
    ObjectReference { kind: config_maps(), namespace: Some(namespace.into()), name: name.into() }
}

pub(crate) fn scope(namespace: &str) -> ListScope {
    ListScope { namespace: Some(namespace.into()), label_selector: None }
}

pub(crate) fn options() -> WriteOptions {
    WriteOptions { manager: "dxdr-test".into(), dry_run: false, retry: true }
}

pub(crate) fn status(code: u16, reason: &str, message: &str) -> Reply {
    Reply::Json(code, status_text(code, reason, message))
}

pub(crate) fn status_text(code: u16, reason: &str, message: &str) -> String {
    let (reason, message) = (serde_json::json!(reason), serde_json::json!(message));
    format!(r#"{{"kind":"Status","apiVersion":"v1","status":"Failure","message":{message},"reason":{reason},"code":{code}}}"#)
}
