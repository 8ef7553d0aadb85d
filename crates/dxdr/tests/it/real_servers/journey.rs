//! An environment that is damaged, and then lost, and comes back.

use serde_json::{Value, json};

use super::{Servers, World};
use crate::objects::{self, reference};

fn deployment(namespace: &str, replicas: u32) -> Value {
    let labels = json!({"app": "api"});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api", "namespace": namespace},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"containers": [{"name": "api", "image": "registry.example.org/api:1"}]}}}
    })
}

#[test]
fn an_environment_comes_back_on_real_servers_after_its_namespace_is_lost() {
    let Some(servers) = Servers::named() else { return };
    let world = World::new(&servers, "journey");
    let namespace = world.namespace.as_str();
    let root = objects::namespace(namespace).0;
    let api = reference("apps", "v1", "Deployment", "deployments", Some(namespace), "api");
    let (settings, object) = objects::config_map(namespace, "settings", "as it was");
    world.create(objects::namespace(namespace));
    world.create((api.clone(), deployment(namespace, 3)));
    world.create((settings.clone(), object));

    let point = world.point();
    let restore = ["restore", "journey", "--point", &point, "--in-place", "--prune", "--yes"];

    // Changed, and added to.
    let mut changed = world.get(&settings).unwrap();
    changed["data"] = json!({"value": "damaged", "other": "was not there"});
    world.replace(&settings, &changed);
    let (stray, object) = objects::config_map(namespace, "stray", "was not there");
    world.create((stray.clone(), object));
    world.run(&restore).exits(0);
    assert_eq!(world.get(&settings).unwrap()["data"], json!({"value": "as it was"}));
    assert_eq!(world.get(&stray), None);

    // Lost altogether.
    world.delete(&root);
    world.wait_until("the namespace is gone", |world| world.get(&root).is_none());
    world.run(&restore).exits(0);
    assert_eq!(world.get(&settings).unwrap()["data"], json!({"value": "as it was"}));
    assert_eq!(world.get(&api).unwrap()["spec"]["replicas"], 3);
    assert!(world.run(&restore).exits(0).stderr.contains("nothing to do"));
    world.run(&["points", "journey"]).exits(0);
}
