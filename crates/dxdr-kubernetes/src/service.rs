//! What answers HTTP behind an API server, or anywhere else.

use bytes::Bytes;
use dxdr_environment::{ObjectReference, ResourceKind};
use dxdr_provider::{Cluster as _, ClusterError, ClusterErrorKind};
use http::{Method, Uri};
use serde::Deserialize;

use crate::{
    call::Call,
    cluster::KubernetesCluster,
    connect::{self, ConnectOptions, Timeouts},
    connect_error::ConnectError,
    failure::Failure,
    kubeconfig::{Surroundings, choose},
    retry::RetryPolicy,
};

/// A Service, reached through the proxy of its API server: plain HTTP to its first port, as kubeseal does.
#[derive(Debug)]
pub struct ServiceProxy<'cluster> {
    cluster: &'cluster KubernetesCluster,
    base: String,
    object: String,
}

#[derive(Deserialize)]
struct Service {
    #[serde(default)]
    spec: ServiceSpec,
}

#[derive(Default, Deserialize)]
struct ServiceSpec {
    #[serde(default)]
    ports: Vec<ServicePort>,
}

#[derive(Deserialize)]
struct ServicePort {
    #[serde(default)]
    name: String,
    port: u16,
}

impl KubernetesCluster {
    /// Looks the Service up; `None` when there is none.
    pub async fn service(&self, namespace: &str, name: &str) -> Result<Option<ServiceProxy<'_>>, ClusterError> {
        let kind = ResourceKind {
            group: String::new(),
            version: "v1".to_owned(),
            kind: "Service".to_owned(),
            plural: "services".to_owned(),
            namespaced: true,
        };
        let reference = ObjectReference { kind, namespace: Some(namespace.to_owned()), name: name.to_owned() };
        let Some(body) = self.get(&reference).await? else { return Ok(None) };
        let object = reference.to_string();
        let call = Call::read(String::new(), "reach", object.clone(), self.timeouts().request);
        let service: Service =
            serde_json::from_slice(&body).map_err(|error| self.malformed(&call, "the answer is no Service", error))?;
        let Some(port) = service.spec.ports.first() else {
            return Err(self.exchange().error(&call, Failure::new(ClusterErrorKind::Invalid, "it has no ports")));
        };
        let port = if port.name.is_empty() { port.port.to_string() } else { port.name.clone() };
        // Namespace and name were good for the Service's own path.
        Ok(Some(ServiceProxy {
            cluster: self,
            base: format!("/api/v1/namespaces/{namespace}/services/http:{name}:{port}/proxy"),
            object,
        }))
    }

    /// What stands at a path and query of the server itself.
    pub async fn document(&self, target: &str) -> Result<Bytes, ClusterError> {
        let call = Call::read(target.to_owned(), "get", target.to_owned(), self.timeouts().request);
        self.exchange().body(&call).await
    }
}

impl ServiceProxy<'_> {
    /// What it answers at a path.
    pub async fn get(&self, path: &str) -> Result<Bytes, ClusterError> {
        self.cluster.exchange().body(&self.call(path)).await
    }

    /// What it answers to a document. Sent again where the server is busy or away: only for what changes nothing there.
    pub async fn post(&self, path: &str, body: Bytes) -> Result<Bytes, ClusterError> {
        self.cluster.exchange().body(&Call { method: Method::POST, body, ..self.call(path) }).await
    }

    fn call(&self, path: &str) -> Call {
        Call::read(format!("{}{path}", self.base), "ask", self.object.clone(), self.cluster.timeouts().request)
    }
}

/// A server anywhere, without credentials, through the proxies that the environment names. Nothing is asked yet.
pub fn plain_server(server: &Uri) -> Result<KubernetesCluster, ConnectError> {
    connect::plain(server, Timeouts::default(), RetryPolicy::default(), &Surroundings::of_process())
}

/// The namespace of the context that the options mean; `None` where there is no kubeconfig, `default` where it names none. Reads files
/// only.
pub fn context_namespace(options: &ConnectOptions) -> Result<Option<String>, ConnectError> {
    let chosen = match choose(options.kubeconfig.as_deref(), options.context.as_deref(), &Surroundings::of_process()) {
        Ok(chosen) => chosen,
        Err(ConnectError::NoKubeconfig { .. }) => return Ok(None),
        Err(ConnectError::NoCurrentContext { .. }) => return Ok(Some("default".to_owned())),
        Err(error) => return Err(error),
    };
    Ok(chosen.map(|chosen| chosen.namespace().unwrap_or_else(|| "default".to_owned())))
}
