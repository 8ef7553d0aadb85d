//! Connections that do not come about, break or hang.

use std::time::{Duration, Instant};

use dxdr_kubernetes::{ConnectOptions, KubernetesCluster, RetryPolicy, Surroundings, connect_from, hints};
use dxdr_provider::{Cluster as _, ClusterErrorKind};
use tokio::{io::AsyncWriteExt as _, net::TcpListener};

use crate::scripted::{Reply, ScriptedServer, cluster_at, config_map, config_maps, options, scope};

#[tokio::test]
async fn a_refused_connection_is_said_so_in_three_words() {
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let cluster = cluster_at(port).await;
    let error = cluster.version().await.unwrap_err();
    assert_eq!(error.kind, ClusterErrorKind::Unreachable);
    let expected =
        format!("cannot ask the version on context `lab` (http://127.0.0.1:{port}): connection refused (tried 5 times)");
    assert_eq!(error.to_string(), expected);
    assert!(hints(&error)[0].contains("check that the API server runs"));
    // Nothing was sent, so writes may be tried again as well.
    let error = cluster.create(&config_map("a", "b"), "{}".into(), &options()).await.unwrap_err();
    assert!(error.message.ends_with("(tried 5 times)"), "{error}");
}

#[tokio::test]
async fn an_answer_cut_short_is_no_answer() {
    let half = r#"{"kind":"ConfigMapList","metadata":{},"items":[]}"#;
    let script = (0..4).map(|_| Reply::CutShort(half.into())).chain([Reply::Json(200, half.into())]).collect();
    let server = ScriptedServer::playing(script).await;
    let page = server.cluster().await.list(&config_maps(), &scope("a"), 2, None).await.unwrap();
    assert!(page.items.is_empty());
    assert_eq!(server.lines().len(), 5);
}

#[tokio::test]
async fn a_slow_answer_is_waited_for_twice_and_no_longer() {
    let script = (0..5).map(|_| Reply::Late(Duration::from_secs(60))).collect();
    let server = ScriptedServer::playing(script).await;
    let begun = Instant::now();
    let error = server.impatient_cluster().await.get(&config_map("a", "b")).await.unwrap_err();
    assert_eq!(error.kind, ClusterErrorKind::TimedOut);
    assert_eq!(error.message, "no answer within 400ms (tried 2 times)");
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn something_else_that_listens_there_is_no_api_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let _ = connection.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").await;
        }
    });
    let error = cluster_at(port).await.version().await.unwrap_err();
    task.abort();
    assert_eq!(error.kind, ClusterErrorKind::Unreachable);
}

#[tokio::test]
async fn https_to_a_server_without_tls_is_explained_and_not_repeated() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cluster = https_cluster(listener.local_addr().unwrap().port()).await;
    let task = tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let _ = connection.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n").await;
        }
    });
    let error = cluster.version().await.unwrap_err();
    task.abort();
    assert_eq!(error.kind, ClusterErrorKind::Unreachable);
    assert_eq!(error.message, "what answers there does not speak TLS");
    assert!(hints(&error)[0].contains("certificate-authority"));
}

async fn https_cluster(port: u16) -> KubernetesCluster {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kubeconfig");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: lab\ncontexts:\n- name: lab\n  context: {{cluster: lab}}\n\
         clusters:\n- name: lab\n  cluster: {{server: 'https://127.0.0.1:{port}', insecure-skip-tls-verify: true}}\n"
    );
    std::fs::write(&file, text).unwrap();
    let retry_policy = RetryPolicy { first_wait: Duration::from_millis(5), ..RetryPolicy::default() };
    let options = ConnectOptions { kubeconfig: Some(file), retry_policy, ..ConnectOptions::default() };
    connect_from(options, &Surroundings::default()).await.unwrap()
}

#[tokio::test]
async fn a_router_in_this_process_is_a_cluster_too() {
    let version = || async { axum::Json(serde_json::json!({"gitVersion": "v1.36.3", "major": "1", "minor": "36"})) };
    let router = axum::Router::new().route("/version", axum::routing::get(version));
    let cluster = KubernetesCluster::new(kube::Client::new(router, "default"), "the sandbox");
    assert_eq!(cluster.version().await.unwrap().git_version, "v1.36.3");
    assert_eq!(cluster.describe(), "the sandbox");
    assert_eq!(format!("{cluster:?}"), "KubernetesCluster(\"the sandbox\")");
}
