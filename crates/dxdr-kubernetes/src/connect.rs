//! From a kubeconfig, or from inside a Pod, to a cluster.

use std::{path::PathBuf, time::Duration};

use http::Uri;
use kube::config::{Config, KubeConfigOptions};

use crate::{
    cluster::KubernetesCluster,
    connect_error::ConnectError,
    failure,
    kubeconfig::{Chosen, Surroundings, choose},
    proxy::proxy_for,
    retry::RetryPolicy,
};

/// Which cluster, and how patient to be with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectOptions {
    /// `--kubeconfig`; otherwise `KUBECONFIG`, `~/.kube/config`, or the service account of the Pod we run in.
    pub kubeconfig: Option<PathBuf>,
    /// `--context`; otherwise the kubeconfig's current one.
    pub context: Option<String>,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// How often they are tried.
    pub retry_policy: RetryPolicy,
}

/// How long things may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// Until a connection stands, TLS included.
    pub connect: Duration,
    /// For one page of a list, to its last byte.
    pub list: Duration,
    /// For any other request.
    pub request: Duration,
}

impl Default for Timeouts {
    /// An API server ends a request after 60 seconds by itself, and calls webhooks for up to 30.
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), list: Duration::from_secs(60), request: Duration::from_secs(30) }
    }
}

/// Prepares the way to a cluster. No server is asked: a credential plugin may run, and files are read.
///
/// Must be called inside a tokio runtime.
pub async fn connect(options: ConnectOptions) -> Result<KubernetesCluster, ConnectError> {
    connect_from(options, &Surroundings::of_process()).await
}

/// The same with an environment of one's own making.
pub async fn connect_from(options: ConnectOptions, surroundings: &Surroundings) -> Result<KubernetesCluster, ConnectError> {
    // An error means that one is installed already, which is all that is wanted.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let place = match choose(options.kubeconfig.as_deref(), options.context.as_deref(), surroundings)? {
        Some(chosen) => Place::Context(Box::new(chosen)),
        None => Place::Pod,
    };
    let mut config = place.config().await?;
    if !matches!(&place, Place::Context(chosen) if chosen.proxy.is_some()) {
        let proxy = proxy_for(
            &config.cluster_url,
            surroundings.https_proxy.as_deref(),
            surroundings.http_proxy.as_deref(),
            surroundings.no_proxy.as_deref(),
        );
        let proxy = proxy.map(parse_proxy).transpose();
        config.proxy_url = proxy.map_err(|problem| place.unusable(problem))?;
    }
    config.connect_timeout = Some(options.timeouts.connect);
    config.read_timeout = None;
    config.default_retry = false;
    let description = place.describe(&config.cluster_url);
    let client = kube::Client::try_from(config).map_err(|error| place.client_error(&error))?;
    Ok(KubernetesCluster::with_limits(client, description, options.timeouts, options.retry_policy))
}

/// A server without credentials.
pub(crate) fn plain(
    server: &Uri,
    timeouts: Timeouts,
    retry_policy: RetryPolicy,
    surroundings: &Surroundings,
) -> Result<KubernetesCluster, ConnectError> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let unusable = |problem: String| ConnectError::Server { server: server.to_string(), problem };
    let mut config = Config::new(server.clone());
    let proxy = proxy_for(
        server,
        surroundings.https_proxy.as_deref(),
        surroundings.http_proxy.as_deref(),
        surroundings.no_proxy.as_deref(),
    );
    config.proxy_url = proxy.map(parse_proxy).transpose().map_err(unusable)?;
    config.connect_timeout = Some(timeouts.connect);
    config.read_timeout = None;
    config.default_retry = false;
    let client = kube::Client::try_from(config).map_err(|error| unusable(error.to_string()))?;
    Ok(KubernetesCluster::with_limits(client, server.to_string(), timeouts, retry_policy))
}

enum Place {
    Context(Box<Chosen>),
    Pod,
}

impl Place {
    async fn config(&self) -> Result<Config, ConnectError> {
        match self {
            Self::Context(chosen) => {
                let options = KubeConfigOptions { context: Some(chosen.context.clone()), ..KubeConfigOptions::default() };
                let config = Config::from_custom_kubeconfig(chosen.kubeconfig.clone(), &options).await;
                let mut config = config.map_err(|error| self.unusable(error.to_string()))?;
                without_spaces_around_the_token(&mut config);
                Ok(config)
            }
            Self::Pod => Config::incluster().map_err(|error| self.unusable(error.to_string())),
        }
    }

    fn describe(&self, server: &Uri) -> String {
        let scheme = server.scheme_str().unwrap_or("https");
        // The authority may carry a password.
        let host = server.host().unwrap_or_default();
        let port = server.port().map_or_else(String::new, |port| format!(":{port}"));
        let path = server.path().trim_end_matches('/');
        let server = format!("{scheme}://{host}{port}{path}");
        match self {
            Self::Context(chosen) => format!("context `{}` ({server})", chosen.context),
            Self::Pod => format!("the cluster of this Pod ({server})"),
        }
    }

    fn unusable(&self, problem: String) -> ConnectError {
        match self {
            Self::Context(chosen) => {
                ConnectError::Unusable { files: chosen.files.clone(), context: chosen.context.clone(), problem }
            }
            Self::Pod => ConnectError::Pod { problem },
        }
    }

    fn client_error(&self, error: &kube::Error) -> ConnectError {
        match (error, self) {
            (kube::Error::Auth(error), Self::Context(chosen)) => {
                ConnectError::Credentials { context: chosen.context.clone(), problem: failure::credential_problem(error) }
            }
            (kube::Error::Auth(error), Self::Pod) => ConnectError::Pod { problem: failure::credential_problem(error) },
            (kube::Error::InferKubeconfig(error), _) => self.unusable(error.to_string()),
            (kube::Error::RustlsTls(error), _) => self.unusable(error.to_string()),
            (error, _) => self.unusable(error.to_string()),
        }
    }
}

/// A token file that somebody wrote by hand ends in a newline, which cannot be sent; kubectl takes it off, too. Files that are renewed are
/// written by programs, end without one, and stay files.
fn without_spaces_around_the_token(config: &mut Config) {
    let user = &mut config.auth_info;
    let Some(text) = user.token_file.as_ref().and_then(|file| std::fs::read_to_string(file).ok()) else { return };
    if user.token.is_none() && text.trim() != text {
        user.token = Some(text.trim().to_owned().into());
        user.token_file = None;
    }
}

/// People write proxies without a scheme.
fn parse_proxy(proxy: &str) -> Result<Uri, String> {
    let spelled = if proxy.contains("://") { proxy.to_owned() } else { format!("http://{proxy}") };
    // The text is not repeated: it may hold a password.
    spelled.parse().map_err(|error| format!("the proxy in the environment is no URL ({error})"))
}
