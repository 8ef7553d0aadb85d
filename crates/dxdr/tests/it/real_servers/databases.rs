//! A database of a real PostgreSQL server in points that a real Velero server takes.

use std::fs;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dxdr_provider::object_storage::{ListRequest, ObjectStorage as _};
use serde_json::{Value, json};

use super::velero::{CONTENT, Velero};
use crate::{
    objects::core,
    postgresql_server::{self, PASSWORD},
};

#[test]
fn a_database_is_dumped_beside_a_backup_of_velero_and_goes_with_it() {
    let Some(velero) = Velero::named() else { return };
    let Some(server) = postgresql_server::start(true) else { return };
    server.sql("postgres", "CREATE DATABASE orders;");
    server.sql("orders", "CREATE TABLE t (n int); INSERT INTO t VALUES (1), (2);");
    let rows = || server.sql("orders", "SELECT json_agg(n ORDER BY n) FROM t;");
    let world = velero.world("databases");
    let encoded = |text: &str| STANDARD.encode(text);
    world.create((
        core("Secret", Some(&world.namespace), "orders-db"),
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "orders-db", "namespace": world.namespace},
            "data": {"username": encoded("postgres"), "password": encoded(PASSWORD)},
        }),
    ));
    let store = fs::read_to_string(world.place.path().join("policies/journey.yaml")).unwrap();
    let (_, store) = store.split_once("---\n").unwrap();
    world.place.write(
        "policies/journey.yaml",
        &format!(
            "apiVersion: dxdr.io/v1alpha1\nkind: Environment\nmetadata: {{name: journey}}\nspec:\n  namespace: {}\n  tier: non-production\n  databases: [{{name: orders, postgresql: {{service: postgres, databases: [orders], credentialsSecret: orders-db, address: '127.0.0.1:{}'}}}}]\n---\n{store}---\nkind: BackupPolicy\nmetadata: {{name: all}}\nspec: {{environments: [journey], objectives: {{dataLoss: 2h, recoveryTime: 1h}}, engine: velero, volumes: {{method: csiSnapshot}}, databases: {{method: export}}, store: primary, retention: {{daily: 7}}}}\n",
            world.namespace, server.port
        ),
    );
    let taken = world.run(&["backup", "now", "journey", "--output", "json"]).exits(0);
    let point: Value = serde_json::from_str(&taken.stdout).unwrap();
    let name = point["name"].as_str().unwrap();
    let components = point["components"].as_array().unwrap();
    let database = components.iter().find(|component| component["kind"] == "database").unwrap();
    assert_eq!((&database["method"], &database["consistency"]), (&json!("dump"), &json!("aligned")), "{point:#}");
    assert!(components.iter().any(|component| component["kind"] == "volume"), "{point:#}");
    assert_eq!((&point["engine"], &point["state"]), (&json!("velero"), &json!("complete")));

    server.sql("orders", "DELETE FROM t;");
    fs::write(velero.volume_of(&world, &world.namespace).join("content"), "damaged").unwrap();
    let beside = world.beside("again");
    world.run(&["restore", "journey", "--point", name, "--into", &beside, "--yes"]).exits(0);
    assert_eq!(fs::read_to_string(velero.volume_of(&world, &beside).join("content")).unwrap(), CONTENT);
    world.run(&["restore", "journey", "--point", name, "--in-place", "--yes"]).exits(0);
    assert_eq!(rows(), "[1, 2]");

    // Velero's location is as it was for everybody, and what Velero deletes leaves nothing of ours.
    let storage = velero.servers.storage(&world.runtime);
    let stored = || {
        let prefix = format!("{}/backups/{name}/", velero.servers.prefix.as_deref().unwrap());
        let everything = ListRequest { prefix, ..ListRequest::default() };
        world.runtime.block_on(storage.list(&everything)).unwrap().objects
    };
    assert!(stored().iter().any(|object| object.key.ends_with("/databases/orders.dump")), "{:?}", stored());
    velero.delete(&world, name);
    assert!(stored().is_empty(), "{:?}", stored());
}
