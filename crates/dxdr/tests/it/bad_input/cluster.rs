//! Clusters that cannot be reached, or do not let us in.

use std::time::Duration;

use dxdr_sandbox::{Failing, Fault, Options, Sandbox};

use crate::{objects, served::Served};

const BACKUP: [&str; 3] = ["backup", "now", "staging"];

#[test]
fn a_server_that_is_gone_is_named() {
    let mut served = Served::new();
    let point = served.point();
    served.stop();
    for command in [&BACKUP[..], &["restore", "--point", &point, "staging", "--yes"], &["environment", "diff", "staging"]] {
        let said = served.refuses_and_changes_nothing(command, 7);
        assert!(said.stderr.contains("connection refused") && said.stderr.contains("http://127.0.0.1:"), "{}", said.stderr);
    }
    // The store alone is enough for these.
    served.run(&["points", "staging"]).exits(0);
    served.run(&["restore", "--point", &point, "staging", "--plan"]).exits(0);
}

#[test]
fn a_kubeconfig_that_leads_nowhere_is_a_matter_of_configuration() {
    let served = Served::new();
    let refuses = |arguments: &[&str], words: &str| {
        let said = served.refuses_and_changes_nothing(&[&BACKUP[..], arguments].concat(), 8);
        assert!(said.stderr.contains(words), "{}", said.stderr);
    };
    refuses(&["--kubeconfig", "nowhere"], "the kubeconfig nowhere named by --kubeconfig does not exist");
    refuses(&["--kubeconfig", "kubeconfig", "--context", "sandbux"], "hint: did you mean `--context sandbox`?");
    let kubeconfig = std::fs::read_to_string(served.place.path().join("kubeconfig")).unwrap();
    served.place.write("no-context", &kubeconfig.replace("current-context: sandbox\n", ""));
    refuses(&["--kubeconfig", "no-context"], "no context was chosen");
    served.place.write("no-user", &kubeconfig.replace("user: sandbox", "user: somebody"));
    refuses(&["--kubeconfig", "no-user"], "its user `somebody` does not exist");
    served.place.write("torn", "apiVersion: v1\nkind: [");
    refuses(&["--kubeconfig", "torn"], "torn is not a kubeconfig");
    // No file is named at all, and none is at the usual place.
    refuses(&["--context", "sandbox"], "there is no kubeconfig");
}

#[test]
fn a_token_that_is_not_accepted_is_not_shown() {
    let served = Served::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let guarded = Sandbox::new(Options { token: Some("open-sesame".to_owned()), ..Options::default() });
    let server = runtime.block_on(guarded.serve_on("127.0.0.1:0".parse().unwrap())).unwrap();
    served.place.write("stranger", &guarded.kubeconfig(server.address()).replace("open-sesame", "hunter2"));
    let said = served.refuses_and_changes_nothing(&["backup", "now", "staging", "--kubeconfig", "stranger"], 7);
    assert!(said.stderr.contains("hint: log in to the cluster again") && !said.stderr.contains("hunter2"), "{}", said.stderr);
    runtime.block_on(server.stop());
}

#[test]
fn a_busy_or_slow_server_is_waited_for() {
    let served = Served::new();
    served.sandbox.faults().add(Fault::new(Failing::TooManyRequests { retry_after: 1 }).path("/configmaps").times(1));
    served.sandbox.faults().add(Fault::new(Failing::Slow(Duration::from_millis(300))).path("/secrets").times(2));
    served.sandbox.faults().add(Fault::new(Failing::Unavailable).path("/namespaces/staging").times(1));
    let point = served.point();
    served.delete(&objects::core("ConfigMap", Some("staging"), "one"));
    served
        .sandbox
        .faults()
        .add(Fault::new(Failing::TooManyRequests { retry_after: 1 }).method("POST").path("/configmaps").times(2));
    served.run(&["restore", "--point", &point, "staging", "--in-place", "--yes"]).exits(0);
    assert!(served.get(&objects::core("ConfigMap", Some("staging"), "one")).is_some());
}

#[test]
fn a_server_that_fails_for_ever_is_given_up_on() {
    let served = Served::new();
    for failing in [Failing::Unavailable, Failing::TooManyRequests { retry_after: 0 }] {
        served.sandbox.faults().add(Fault::new(failing));
        let said = served.refuses_and_changes_nothing(&BACKUP, 7);
        assert!(said.stderr.contains("hint: the API server"), "{}", said.stderr);
        served.sandbox.faults().clear();
    }
}
