//! The same scenarios on the sandbox, always, and on a real server when `DXDR_TEST_KUBECONFIG` names its kubeconfig.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, missing_docs)]

mod faults;
mod history;
mod kubectl;
mod port;
mod scenarios;
mod transcript;
mod versions;

use std::future::Future;

use dxdr_sandbox::{Options, Sandbox};
use kube::Client;

/// A client and a namespace of its own.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    /// Present when this is the sandbox.
    pub(crate) sandbox: Option<Sandbox>,
}

/// Runs a scenario on the sandbox, and on the real server if there is one.
pub(crate) async fn on_both<F, Done>(name: &str, scenario: F)
where
    F: Fn(Cluster) -> Done,
    Done: Future<Output = ()>,
{
    let sandbox = Sandbox::new(Options::default());
    let client = Client::new(sandbox.router(), "default");
    let namespace = format!("sandbox-{name}");
    create_namespace(&client, &namespace).await;
    scenario(Cluster { client, namespace: namespace.clone(), sandbox: Some(sandbox) }).await;
    let Ok(file) = std::env::var("DXDR_TEST_KUBECONFIG") else { return };
    let kubeconfig = kube::config::Kubeconfig::read_from(file).expect("a kubeconfig");
    let config =
        kube::Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default()).await.expect("a context");
    let client = Client::try_from(config).expect("a client");
    let namespace = format!("{namespace}-{}", std::process::id());
    create_namespace(&client, &namespace).await;
    scenario(Cluster { client: client.clone(), namespace: namespace.clone(), sandbox: None }).await;
    let namespaces: kube::Api<k8s_openapi::api::core::v1::Namespace> = kube::Api::all(client);
    // Gone already where the scenario is about that.
    let _ = namespaces.delete(&namespace, &kube::api::DeleteParams::default()).await;
}

async fn create_namespace(client: &Client, name: &str) {
    let namespaces: kube::Api<k8s_openapi::api::core::v1::Namespace> = kube::Api::all(client.clone());
    let mut namespace = k8s_openapi::api::core::v1::Namespace::default();
    namespace.metadata.name = Some(name.to_owned());
    namespaces.create(&kube::api::PostParams::default(), &namespace).await.expect("a namespace");
}
