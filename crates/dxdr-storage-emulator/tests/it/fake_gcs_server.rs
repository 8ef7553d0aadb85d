//! The same requests to this emulator and to another one, fake-gcs-server, where that one does as Google does. What it does otherwise is not
//! asked here: it ignores conditions but on multipart uploads, holds and retention.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

use crate::client::{Answer, Server};

/// The other emulator, which ends with this.
struct Other {
    child: Child,
    base: String,
    _folder: tempfile::TempDir,
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Other {
    async fn start(program: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Free a moment ago; where somebody else has taken it, another one is tried.
        for _ in 0..5 {
            let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let base = format!("http://127.0.0.1:{port}");
            let mut command = Command::new(program);
            command.args(["-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-port", &port.to_string()]);
            command.args(["-external-url", &base]).current_dir(folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = command.spawn().unwrap();
            let begin = Instant::now();
            while child.try_wait().unwrap().is_none() {
                assert!(begin.elapsed() < Duration::from_secs(60), "fake-gcs-server does not answer");
                if Client::new().get(format!("{base}/storage/v1/b?project=p")).send().await.is_ok() {
                    return Self { child, base, _folder: folder };
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        panic!("fake-gcs-server does not start");
    }
}

#[tokio::test]
async fn both_emulators_answer_alike() {
    let Ok(program) = std::env::var("DXDR_TEST_FAKE_GCS_SERVER") else {
        return eprintln!("skipped: both_emulators_answer_alike (DXDR_TEST_FAKE_GCS_SERVER is not set)");
    };
    let (ours, other) = (Server::start().await, Other::start(&program).await);
    let ours = told(&ours.emulator.endpoint()).await;
    let other = told(&other.base).await;
    assert!(ours.len() > 20);
    for (ours, other) in ours.iter().zip(&other) {
        assert_eq!(ours, other, "this emulator on the left, fake-gcs-server on the right");
    }
    assert_eq!(ours.len(), other.len());
}

struct Asking {
    client: Client,
    base: String,
    told: Vec<(&'static str, Value)>,
}

impl Asking {
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    fn tell(&mut self, what: &'static str, value: Value) {
        self.told.push((what, value));
    }

    /// Asks, and remembers the status and what of the object's metadata is not of the moment.
    async fn object(&mut self, what: &'static str, request: RequestBuilder) -> Value {
        let answer = Answer::of(request).await;
        let json: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let known = ["name", "bucket", "size", "crc32c", "md5Hash", "contentType", "metadata", "kind"];
        let known: Vec<_> = known.iter().map(|key| json.get(*key).cloned().unwrap_or_default()).collect();
        self.tell(what, json!([answer.status, known]));
        json
    }

    async fn bytes(&mut self, what: &'static str, request: RequestBuilder) {
        let answer = Answer::of(request).await;
        let text = if answer.status < 300 { answer.text() } else { String::new() };
        let crc32c = answer.header("x-goog-hash").split(',').find(|hash| hash.starts_with("crc32c=")).map(str::to_owned);
        self.tell(what, json!([answer.status, text, answer.header("content-range"), crc32c]));
    }

    async fn status(&mut self, what: &'static str, request: RequestBuilder) {
        let answer = Answer::of(request).await;
        // Whether there is something in an answer of success is nobody's business.
        let status = if answer.status / 100 == 2 { 200 } else { answer.status };
        self.tell(what, json!(status));
    }

    async fn page(&mut self, what: &'static str, query: &str) {
        let (mut token, mut names, mut prefixes) = (String::new(), Vec::new(), Vec::new());
        loop {
            let path = format!("/storage/v1/b/cross/o?{query}&pageToken={token}");
            let page = Answer::of(self.request(Method::GET, &path)).await.json();
            names.extend(page["items"].as_array().into_iter().flatten().map(|item| item["name"].clone()));
            prefixes.extend(page["prefixes"].as_array().into_iter().flatten().cloned());
            match page["nextPageToken"].as_str().filter(|token| !token.is_empty()) {
                Some(next) => token = next.to_owned(),
                None => break,
            }
        }
        self.tell(what, json!([names, prefixes]));
    }
}

fn multipart(metadata: &Value, body: &str) -> String {
    format!("--x\r\ncontent-type: application/json\r\n\r\n{metadata}\r\n--x\r\ncontent-type: text/plain\r\n\r\n{body}\r\n--x--")
}

async fn told(base: &str) -> Vec<(&'static str, Value)> {
    let mut asking = Asking { client: Client::new(), base: base.to_owned(), told: Vec::new() };
    let object = |name: &str| format!("/storage/v1/b/cross/o/{name}");
    let create = asking.request(Method::POST, "/storage/v1/b?project=p").json(&json!({"name": "cross"}));
    asking.status("create the bucket", create).await;
    let again = asking.request(Method::POST, "/storage/v1/b?project=p").json(&json!({"name": "cross"}));
    asking.status("create the bucket again", again).await;
    let missing = asking.request(Method::GET, "/storage/v1/b/missing");
    asking.status("a missing bucket", missing).await;

    let upload = |asking: &Asking, name: &str, query: &str, body: &str| {
        let metadata = json!({"name": name, "contentType": "text/plain", "metadata": {"k": "v"}});
        asking
            .request(Method::POST, &format!("/upload/storage/v1/b/cross/o?uploadType=multipart{query}"))
            .header("content-type", "multipart/related; boundary=x")
            .body(multipart(&metadata, body))
    };
    let first = upload(&asking, "a/one", "&ifGenerationMatch=0", "123456789");
    asking.object("multipart, only if there is none", first).await;
    let second = upload(&asking, "a/one", "&ifGenerationMatch=0", "other");
    asking.status("multipart, but there is one", second).await;
    let stat = asking.request(Method::GET, &object("a%2Fone"));
    asking.object("metadata", stat).await;
    let read = asking.request(Method::GET, &format!("{}?alt=media", object("a%2Fone")));
    asking.bytes("bytes", read).await;
    for range in ["bytes=0-3", "bytes=4-", "bytes=-2", "bytes=7-100"] {
        let read = asking.request(Method::GET, &format!("{}?alt=media", object("a%2Fone"))).header("range", range);
        asking.bytes("a range", read).await;
    }
    let missing = asking.request(Method::GET, &object("none"));
    asking.status("a missing object", missing).await;
    let missing = asking.request(Method::GET, &format!("{}?alt=media", object("none")));
    asking.status("a missing object's bytes", missing).await;

    let media = asking.request(Method::POST, "/upload/storage/v1/b/cross/o?uploadType=media&name=b");
    asking.object("media", media.header("content-type", "text/plain").body("bytes")).await;
    resumable(&mut asking).await;

    for name in ["a/two", "a/b/three", "c/four"] {
        let request = upload(&asking, name, "", name);
        asking.status("another one", request).await;
    }
    for query in [
        "",
        "prefix=a/",
        "delimiter=/",
        "prefix=a/&delimiter=/",
        "startOffset=a/two",
        "endOffset=b",
        "maxResults=2",
        "maxResults=1&prefix=a/",
    ] {
        asking.page("a listing", query).await;
    }
    let compose = asking
        .request(Method::POST, "/storage/v1/b/cross/o/whole/compose")
        .json(&json!({"sourceObjects": [{"name": "a/one"}, {"name": "b"}], "destination": {"contentType": "text/plain"}}));
    assert_eq!(Answer::of(compose).await.status, 200);
    let read = asking.request(Method::GET, &format!("{}?alt=media", object("whole")));
    asking.bytes("what was composed", read).await;
    let patch = asking.request(Method::PATCH, &object("b")).json(&json!({"metadata": {"l": "w"}}));
    asking.status("changed metadata", patch).await;
    let delete = asking.request(Method::DELETE, &object("b"));
    asking.status("deleted", delete).await;
    let delete = asking.request(Method::DELETE, &object("b"));
    asking.status("deleted again", delete).await;
    asking.page("what is left", "").await;
    asking.told
}

/// Two pieces, with the question in between how far the upload is.
async fn resumable(asking: &mut Asking) {
    let begin = asking
        .request(Method::POST, "/upload/storage/v1/b/cross/o?uploadType=resumable&name=large")
        .json(&json!({"contentType": "text/plain", "metadata": {"k": "v"}}));
    let begin = Answer::of(begin).await;
    asking.tell("a session", json!([begin.status, begin.header("location").starts_with(&asking.base)]));
    let url = begin.header("location").to_owned();
    let quantum = 256 * 1024;
    let put = |range: String, body: Vec<u8>| {
        asking.client.put(&url).header("content-type", "text/plain").header("content-range", range).body(body)
    };
    let first = Answer::of(put(format!("bytes 0-{}/*", quantum - 1), vec![b'x'; quantum])).await;
    let last = put(format!("bytes {quantum}-{}/{}", quantum + 9, quantum + 10), vec![b'y'; 10]);
    asking.tell("the first piece", json!([first.status, first.header("range")]));
    asking.object("the last piece", last).await;
    let read = asking.request(Method::GET, "/storage/v1/b/cross/o/large?alt=media").header("range", "bytes=262140-262150");
    asking.bytes("the border of the pieces", read).await;
}
