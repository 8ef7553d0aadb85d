//! Accounts that may not hold an environment.

use dxdr_sandbox::{Failing, Fault};

use crate::served::Served;

#[test]
fn a_run_that_may_not_write_its_lease_does_not_begin() {
    for method in ["GET", "POST"] {
        let served = Served::new();
        let point = served.point();
        let before = (served.objects(), served.stored());
        if method == "POST" {
            served.delete(&crate::objects::core("Namespace", None, "dxdr-system"));
        }
        served.sandbox.faults().add(Fault::new(Failing::Forbidden).method(method).path("/leases"));
        for command in
            [&["backup", "now", "staging"][..], &["restore", "--point", &point, "staging", "--into", "beside", "--yes"]]
        {
            let said = served.run(command).refuses(7);
            assert!(said.stderr.contains("error: cannot hold environment `staging` by its Lease in namespace `dxdr-system`"));
            let role = "kubectl create role dxdr-leases --namespace dxdr-system --verb=get,create,update --resource=leases.coordination.k8s.io";
            assert!(said.stderr.contains(role), "{}", said.stderr);
        }
        assert!(served.objects() == before.0, "something was written into the cluster");
        assert!(served.stored() == before.1, "something was written into the store");
    }
}

#[test]
fn a_run_that_may_not_make_the_namespace_of_leases_says_which() {
    let served = Served::new();
    served.sandbox.faults().add(Fault::new(Failing::Forbidden).method("POST").path("/api/v1/namespaces?"));
    let said = served.refuses_and_changes_nothing(&["backup", "now", "staging"], 7);
    assert!(said.stderr.contains("`kubectl create namespace dxdr-system`"), "{}", said.stderr);
}

#[test]
fn an_account_that_may_not_read_the_namespace_learns_which_right_it_lacks() {
    let served = Served::new();
    served.sandbox.faults().add(Fault::new(Failing::Forbidden).method("GET").path("/api/v1/namespaces/staging?"));
    served.sandbox.faults().add(Fault::new(Failing::Forbidden).method("GET").path("/api/v1/namespaces/staging"));
    let said = served.refuses_and_changes_nothing(&["backup", "now", "staging"], 7);
    assert!(said.stderr.contains("lacks the verb `get` on `namespaces`"), "{}", said.stderr);
}

#[test]
fn an_environment_that_may_not_be_applied_is_named_with_what_is_missing() {
    let served = Served::new();
    served.sandbox.faults().add(Fault::new(Failing::Forbidden).method("PATCH"));
    let said = served.refuses_and_changes_nothing(&["environment", "apply", "staging", "--yes"], 3);
    assert!(said.stderr.contains("lacks the verb `patch`"), "{}", said.stderr);
}
