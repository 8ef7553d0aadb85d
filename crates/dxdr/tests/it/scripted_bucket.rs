//! A bucket that refuses as told.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{Method, Request, Response, StatusCode},
};
use tokio::{runtime::Runtime, task::JoinHandle};

/// What the server answers to a method.
pub(crate) type Answer = fn(&Method) -> (u16, &'static str);

/// A server with one bucket, `dx`, on loopback.
pub(crate) struct ScriptedBucket {
    endpoint: String,
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
    // Dropped last: the task runs on it.
    _runtime: Runtime,
}

/// An answer of S3: the status, and the code of the error if it is one.
pub(crate) const EMPTY: (u16, &str) = (200, "");

impl ScriptedBucket {
    pub(crate) fn start(answer: Answer) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let asked = Arc::default();
        let state = (answer, Arc::clone(&asked));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let task = runtime.spawn(async move {
            axum::serve(listener, Router::new().fallback(respond).with_state(state)).await.unwrap();
        });
        Self { endpoint, asked, task, _runtime: runtime }
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The manifest of a store in it.
    pub(crate) fn manifest(&self) -> String {
        manifest(&self.endpoint)
    }

    /// Methods and paths of the requests so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// The manifest of a store in bucket `dx` of a server.
pub(crate) fn manifest(endpoint: &str) -> String {
    format!(
        "---\nkind: BackupStore\nmetadata: {{name: primary}}\nspec: {{s3: {{bucket: dx, prefix: velero, region: us-east-1, endpoint: \"{endpoint}\", forcePathStyle: true}}}}\n"
    )
}

impl Drop for ScriptedBucket {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Script = (Answer, Arc<Mutex<Vec<String>>>);

async fn respond(State((answer, asked)): State<Script>, request: Request<Body>) -> Response<Body> {
    asked.lock().unwrap().push(format!("{} {}", request.method(), request.uri().path()));
    let (mut status, mut code) = answer(request.method());
    let is_list = request.uri().query().is_some_and(|query| query.contains("list-type=2"));
    if status == 200 && request.method() == Method::GET && !is_list {
        (status, code) = (404, "NoSuchKey");
    }
    let body = match code {
        "" => r#"<?xml version="1.0"?><ListBucketResult><Name>dx</Name><IsTruncated>false</IsTruncated></ListBucketResult>"#
            .to_owned(),
        code => format!(r#"<?xml version="1.0"?><Error><Code>{code}</Code><Message>as told</Message></Error>"#),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response.headers_mut().insert("content-type", "application/xml".parse().unwrap());
    response
}
