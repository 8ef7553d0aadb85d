//! Requests in few words.

use dxdr_storage_emulator::{Bucket, Emulator, Options};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;

/// A server with the bucket `dx`.
pub(crate) struct Server {
    pub(crate) emulator: Emulator,
    client: Client,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, body: response.bytes().await.unwrap().to_vec() }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{} {}", self.status, self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// `404 notFound`, or the status alone.
    pub(crate) fn outcome(&self) -> String {
        let json: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        match json["error"]["errors"][0]["reason"].as_str() {
            Some(reason) => format!("{} {reason}", self.status),
            None => self.status.to_string(),
        }
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(Options::default(), Bucket::default()).await
    }

    pub(crate) async fn start_with(options: Options, bucket: Bucket) -> Self {
        let emulator = Emulator::start(options).await.unwrap();
        emulator.create_bucket("dx", bucket);
        Self { emulator, client: Client::new() }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.emulator.endpoint()))
    }

    pub(crate) fn to(&self, method: Method, url: &str) -> RequestBuilder {
        self.client.request(method, url)
    }

    pub(crate) async fn send(&self, method: Method, path: &str) -> Answer {
        Answer::of(self.request(method, path)).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path).await
    }

    /// Writes an object by `uploadType=media`; `query` begins with `&`, if there is any.
    pub(crate) async fn put(&self, name: &str, query: &str, body: &'static str) -> Answer {
        let path = format!("/upload/storage/v1/b/dx/o?uploadType=media&name={name}{query}");
        Answer::of(self.request(Method::POST, &path).body(body)).await
    }

    pub(crate) async fn patch(&self, name: &str, change: Value) -> Answer {
        Answer::of(self.request(Method::PATCH, &format!("/storage/v1/b/dx/o/{name}")).json(&change)).await
    }

    pub(crate) async fn delete(&self, name: &str, query: &str) -> Answer {
        self.send(Method::DELETE, &format!("/storage/v1/b/dx/o/{name}{query}")).await
    }
}
