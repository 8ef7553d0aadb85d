//! kubectl prints the same on the sandbox as on a real server.
//!
//! What a real server answered lies in `transcripts/`. With `DXDR_TEST_KUBECTL` the commands run on the sandbox and must print
//! that; with `DXDR_TEST_KUBECONFIG` as well, they run on the real server too, which has the last word: with
//! `DXDR_TEST_RECORD=1` what it prints is written down.

use std::path::{Path, PathBuf};

use dxdr_sandbox::{Options, Sandbox};
use kube::config::Kubeconfig;

use crate::transcript::{self, Place};

async fn same_on_both(name: &'static str) {
    let Ok(kubectl) = std::env::var("DXDR_TEST_KUBECTL") else {
        eprintln!("skipped: DXDR_TEST_KUBECTL names no kubectl (`cargo xtask end-to-end` sets it)");
        return;
    };
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/transcripts/{name}.txt"));
    let mut expected = std::fs::read_to_string(&file).expect("a transcript");
    if let Ok(kubeconfig) = std::env::var("DXDR_TEST_KUBECONFIG") {
        let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
        let namespace = format!("kubectl-{name}-{}", std::process::id());
        let printed = in_namespace(kubeconfig, kubectl.clone().into(), namespace, expected.clone()).await;
        if std::env::var_os("DXDR_TEST_RECORD").is_some() {
            std::fs::write(&file, &printed).expect("a file that can be written");
            expected = printed;
        } else {
            assert!(printed == expected, "the real server differs:\n{}", transcript::difference(&expected, &printed));
        }
    }
    let sandbox = Sandbox::new(Options::default());
    let serving = sandbox.serve_on("127.0.0.1:0".parse().expect("an address")).await.expect("a port");
    let kubeconfig = Kubeconfig::from_yaml(&sandbox.kubeconfig(serving.address())).expect("a kubeconfig");
    let printed = in_namespace(kubeconfig, kubectl.into(), format!("kubectl-{name}"), expected.clone()).await;
    serving.stop().await;
    assert!(printed == expected, "the sandbox differs:\n{}", transcript::difference(&expected, &printed));
}

/// Runs a transcript in a namespace of its own, which is deleted afterwards.
async fn in_namespace(mut kubeconfig: Kubeconfig, kubectl: PathBuf, namespace: String, text: String) -> String {
    for context in &mut kubeconfig.contexts {
        if let Some(context) = &mut context.context {
            context.namespace = Some(namespace.clone());
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let json = serde_json::to_string(&kubeconfig).expect("a kubeconfig");
    std::fs::write(folder.path().join("kubeconfig"), json).expect("a file");
    let place = Place { folder: folder.path().to_owned(), kubectl, namespace };
    // The sandbox answers on this thread.
    tokio::task::spawn_blocking(move || {
        transcript::run(
            "$ kubectl create namespace $NAMESPACE\n~$ kubectl get serviceaccount default -o name\n    serviceaccount/default\n",
            &place,
        );
        let printed = transcript::run(&text, &place);
        transcript::run("$ kubectl delete namespace $NAMESPACE --ignore-not-found --wait=false\n", &place);
        drop(folder);
        printed
    })
    .await
    .expect("no panic")
}

macro_rules! transcripts {
    ($($test:ident: $name:literal,)*) => {
        $(
            #[tokio::test]
            async fn $test() {
                same_on_both($name).await;
            }
        )*
    };
}

transcripts! {
    kubectl_reads: "reading",
    kubectl_describes: "describing",
    kubectl_writes: "writing",
    kubectl_applies: "applying",
    kubectl_deletes: "deleting",
    kubectl_waits_and_watches: "waiting",
    kubectl_discovers: "discovering",
    kubectl_defines_kinds: "defining",
    kubectl_meets_limits: "limits",
}
