use std::time::Duration;

use dxdr_sandbox::{Failing, Fault, Options, Sandbox};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};

fn code(error: &kube::Error) -> u16 {
    match error {
        kube::Error::Api(status) => status.code,
        other => panic!("not an answer of the API: {other}"),
    }
}

#[tokio::test]
async fn a_fault_picks_its_requests_and_ends_after_its_count() {
    let sandbox = Sandbox::new(Options::default());
    let client = Client::new(sandbox.router(), "default");
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let secrets: Api<Secret> = Api::default_namespaced(client);
    sandbox.faults().add(Fault::new(Failing::InternalError).method("GET").path("/configmaps").after(1).times(2));
    maps.list(&ListParams::default()).await.unwrap();
    for _ in 0..2 {
        assert_eq!(code(&maps.list(&ListParams::default()).await.unwrap_err()), 500);
    }
    maps.list(&ListParams::default()).await.unwrap();
    sandbox.faults().add(Fault::new(Failing::Forbidden).path("/secrets"));
    assert_eq!(code(&secrets.list(&ListParams::default()).await.unwrap_err()), 403);
    maps.list(&ListParams::default()).await.unwrap();
    sandbox.faults().clear();
    secrets.list(&ListParams::default()).await.unwrap();
}

#[tokio::test]
async fn a_dropped_answer_is_no_answer_and_the_write_may_have_happened() {
    let sandbox = Sandbox::new(Options::default());
    let maps: Api<ConfigMap> = Api::default_namespaced(Client::new(sandbox.router(), "default"));
    let mut map = ConfigMap::default();
    map.metadata.name = Some("a".to_owned());
    sandbox.faults().add(Fault::new(Failing::Dropped).times(1));
    assert!(!matches!(maps.create(&PostParams::default(), &map).await.unwrap_err(), kube::Error::Api(_)));
    assert!(maps.get_opt("a").await.unwrap().is_none());
    sandbox.faults().add(Fault::new(Failing::DroppedAfter).times(1));
    assert!(!matches!(maps.create(&PostParams::default(), &map).await.unwrap_err(), kube::Error::Api(_)));
    assert!(maps.get_opt("a").await.unwrap().is_some());
}

#[tokio::test]
async fn a_read_only_server_answers_reads() {
    let sandbox = Sandbox::new(Options::default());
    let maps: Api<ConfigMap> = Api::default_namespaced(Client::new(sandbox.router(), "default"));
    sandbox.faults().read_only();
    let mut map = ConfigMap::default();
    map.metadata.name = Some("a".to_owned());
    assert_eq!(code(&maps.create(&PostParams::default(), &map).await.unwrap_err()), 403);
    maps.list(&ListParams::default()).await.unwrap();
}

#[tokio::test]
async fn latency_delays_the_answer() {
    let sandbox = Sandbox::new(Options::default());
    let maps: Api<ConfigMap> = Api::default_namespaced(Client::new(sandbox.router(), "default"));
    sandbox.faults().add(Fault::new(Failing::Slow(Duration::from_millis(50))).times(1));
    let start = std::time::Instant::now();
    maps.list(&ListParams::default()).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(50));
}
