//! Databases of Cloud SQL whose emulated instance is a real PostgreSQL server, where one is installed: what dxdr says in SQL is understood there.

use crate::{cloud_sql::Cloud, cloud_sql_routes::policy, databases::next_second};

const PROJECT: &str = "dx-nonprod";

/// The numbers in a database of the shared instance.
fn numbers(cloud: &Cloud, database: &str) -> Vec<String> {
    let rows = cloud.emulator.query(PROJECT, "shared", database, "SELECT n FROM t ORDER BY n").unwrap();
    rows.into_iter().map(|row| row[0].clone().unwrap()).collect()
}

fn run(cloud: &Cloud, database: &str, statements: &str) {
    cloud.emulator.query(PROJECT, "shared", database, statements).unwrap();
}

/// `preview` and `dev` share a real server.
fn world() -> Option<Cloud> {
    let cloud = Cloud::on_postgresql()?;
    run(&cloud, "preview_orders", "CREATE TABLE t (n int PRIMARY KEY); INSERT INTO t VALUES (1), (2)");
    run(&cloud, "dev_orders", "CREATE TABLE t (n int PRIMARY KEY); INSERT INTO t VALUES (7)");
    run(&cloud, "preview_orders", "COMMENT ON DATABASE preview_orders IS 'what it''s for'");
    Some(cloud)
}

fn comment(cloud: &Cloud, database: &str) -> Option<String> {
    let query = format!("SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = '{database}'");
    cloud.emulator.query(PROJECT, "shared", "postgres", &query).unwrap().remove(0).remove(0)
}

#[test]
fn an_export_changes_places_with_the_original_on_a_real_server_and_back() {
    let Some(cloud) = world() else { return };
    let point = cloud.json(&["backup", "now", "preview"], 0)["name"].as_str().unwrap().to_owned();
    run(&cloud, "preview_orders", "INSERT INTO t VALUES (3); DELETE FROM t WHERE n = 1");
    let done = cloud.json(&["restore", "preview", "--point", &point, "--in-place", "--yes"], 0);
    let (run_id, kept) = (done["run"].as_str().unwrap(), done["databases"][0]["kept"].as_str().unwrap());
    assert_eq!(
        (numbers(&cloud, "preview_orders"), numbers(&cloud, kept)),
        (vec!["1".into(), "2".into()], vec!["2".into(), "3".into()])
    );
    assert_eq!(comment(&cloud, kept), Some(format!("dxdr run {run_id}\nwhat it's for")));
    assert_eq!(comment(&cloud, "preview_orders").as_deref(), Some("what it's for"));
    cloud.run(&["databases", "undo", run_id, "--yes"]).exits(0);
    assert_eq!(numbers(&cloud, "preview_orders"), ["2", "3"]);
    assert_eq!(comment(&cloud, "preview_orders").as_deref(), Some("what it's for"));
    cloud.run(&["databases", "discard", run_id, "--yes"]).exits(0);
    let query = "SELECT datname FROM pg_database WHERE datname LIKE '%orders%' ORDER BY datname";
    let databases = cloud.emulator.query(PROJECT, "shared", "postgres", query).unwrap();
    assert_eq!(databases.concat(), [Some("dev_orders".to_owned()), Some("preview_orders".to_owned())]);
    assert_eq!((numbers(&cloud, "dev_orders"), comment(&cloud, "dev_orders")), (vec!["7".to_owned()], None));
}

/// What a query of the shared instance answers, as text, whatever is set in the database.
fn asked(cloud: &Cloud, database: &str, query: &str) -> String {
    let query = format!("SET search_path TO ''; SET quote_all_identifiers TO off; SET statement_timeout TO 0; {query}");
    let rows = cloud.emulator.query(PROJECT, "shared", database, &query).unwrap();
    rows.into_iter()
        .map(|row| row.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join("; ")
}

/// Whose a database is, and who may do what with it.
fn rights(cloud: &Cloud, database: &str) -> String {
    let of_database = format!(
        "SELECT pg_get_userbyid(datdba), datacl::text, (SELECT string_agg(setconfig::text, ' ' ORDER BY setrole) FROM pg_db_role_setting \
         WHERE setdatabase = d.oid) FROM pg_database d WHERE datname = '{database}'"
    );
    let inside = "SELECT relname, pg_get_userbyid(relowner), relacl::text FROM pg_class WHERE relnamespace = 'public'::regnamespace \
                  AND relkind IN ('r', 'S', 'v') UNION ALL SELECT proname, pg_get_userbyid(proowner), proacl::text FROM pg_proc \
                  WHERE pronamespace = 'public'::regnamespace UNION ALL SELECT typname, pg_get_userbyid(typowner), typacl::text FROM pg_type \
                  WHERE typnamespace = 'public'::regnamespace AND typtype = 'e' ORDER BY 1";
    format!("{} / {}", asked(cloud, "postgres", &of_database), asked(cloud, database, inside))
}

#[test]
fn what_takes_the_place_of_a_database_belongs_to_whom_that_belongs_with_its_rights_and_settings() {
    let Some(cloud) = world() else { return };
    cloud.emulator.change_instance(PROJECT, "shared", |instance| instance.owners_in_exports = false);
    run(
        &cloud,
        "preview_orders",
        "CREATE ROLE app LOGIN; CREATE ROLE report LOGIN; GRANT app TO postgres; ALTER DATABASE preview_orders OWNER TO app; \
         ALTER ROLE report IN DATABASE preview_orders SET work_mem TO '8MB'; \
         REVOKE ALL ON DATABASE preview_orders FROM PUBLIC; GRANT CONNECT ON DATABASE preview_orders TO report; \
         CREATE TYPE mood AS ENUM ('good'); ALTER TYPE mood OWNER TO app; CREATE TABLE numbered (n serial); ALTER TABLE numbered OWNER TO app; \
         CREATE VIEW seen AS SELECT n FROM t; ALTER VIEW seen OWNER TO app; ALTER TABLE t OWNER TO app; GRANT SELECT ON t, seen TO report; \
         CREATE FUNCTION one(n int) RETURNS int LANGUAGE sql AS 'SELECT 1'; ALTER FUNCTION one(int) OWNER TO app; \
         REVOKE EXECUTE ON FUNCTION one(int) FROM PUBLIC; GRANT USAGE ON SEQUENCE numbered_n_seq TO report; \
         CREATE FUNCTION felt(mood) RETURNS int LANGUAGE sql AS 'SELECT 1'; ALTER FUNCTION felt(mood) OWNER TO app",
    );
    // Whoever asks in this database without taking care finds nothing, writes names in another way, and has a millisecond.
    run(
        &cloud,
        "preview_orders",
        "CREATE SCHEMA odd; CREATE TABLE odd.pg_class (relname text); CREATE TABLE odd.pg_namespace (nspname text); \
         ALTER DATABASE preview_orders SET search_path TO odd, pg_catalog, public; \
         ALTER DATABASE preview_orders SET quote_all_identifiers TO on; ALTER DATABASE preview_orders SET statement_timeout TO '1ms'",
    );
    let before = (rights(&cloud, "preview_orders"), rights(&cloud, "dev_orders"));
    assert!(before.0.starts_with("app {") && before.0.contains("report=c/app"), "{}", before.0);
    let point = cloud.json(&["backup", "now", "preview"], 0)["name"].as_str().unwrap().to_owned();
    asked(&cloud, "preview_orders", "DELETE FROM public.t");
    let beside = cloud.run(&["restore", "preview", "--point", &point, "--into", "copy", "--dry-run"]).exits(0).stdout;
    assert!(beside.contains("comes back beside as `cloudsqlsuperuser`'s"), "{beside}");
    let done = cloud.json(&["restore", "preview", "--point", &point, "--in-place", "--yes"], 0);
    assert_eq!(asked(&cloud, "preview_orders", "SELECT n FROM public.t ORDER BY n"), "1; 2");
    assert_eq!(comment(&cloud, "preview_orders").as_deref(), Some("what it's for"));
    assert_eq!((rights(&cloud, "preview_orders"), rights(&cloud, "dev_orders")), before);
    cloud.run(&["databases", "undo", done["run"].as_str().unwrap(), "--yes"]).exits(0);
    assert_eq!((rights(&cloud, "preview_orders"), rights(&cloud, "dev_orders")), before);

    // Whoever is no member of the owner cannot give it anything: that is known before anything is done.
    next_second();
    run(&cloud, "postgres", "REVOKE app FROM postgres");
    let said = cloud.run(&["restore", "preview", "--point", &point, "--in-place", "--yes"]).refuses(4);
    assert!(said.stderr.contains("it belongs to `app`") && said.stderr.contains("GRANT \"app\" TO"), "{}", said.stderr);
}

#[test]
fn one_database_of_a_recovered_clone_takes_the_place_of_the_original() {
    let Some(cloud) = world() else { return };
    let policy = "apiVersion: dxdr.io/v1alpha1\nkind: BackupPolicy\nmetadata: {name: exports}\nspec: {environments: [preview], objectives: {dataLoss: 2h, recoveryTime: 1h}, engine: native, store: primary, databases: {method: pointInTime}, retention: {daily: 7}}\n";
    cloud.served.place.write("policies/policy.yaml", policy);
    next_second();
    let point = cloud.json(&["backup", "now", "preview"], 0)["name"].as_str().unwrap().to_owned();
    next_second();
    run(&cloud, "preview_orders", "DELETE FROM t");
    cloud.run(&["restore", "preview", "--point", &point, "--in-place", "--yes"]).exits(0);
    assert_eq!(numbers(&cloud, "preview_orders"), ["1", "2"]);

    // It has another name by now, and had this one then.
    next_second();
    run(&cloud, "preview_orders", "DELETE FROM t");
    run(&cloud, "postgres", "ALTER DATABASE preview_orders RENAME TO preview_shop");
    let path = cloud.served.place.path().join("policies/cloud.yaml");
    let manifests = std::fs::read_to_string(path).unwrap().replace("[preview_orders]", "[preview_shop]");
    cloud.served.place.write("policies/cloud.yaml", &manifests);
    let restore = ["restore", "preview", "--point", &point, "--in-place"];
    let plan = cloud.run(&[&restore[..], &["--dry-run"]].concat()).exits(0).stdout;
    assert!(plan.contains("`preview_orders` of it, as it was called then, is imported as `preview_shop_restored_"), "{plan}");
    cloud.run(&[&restore[..], &["--yes"]].concat()).exits(0);
    assert_eq!(numbers(&cloud, "preview_shop"), ["1", "2"]);
    assert_eq!(numbers(&cloud, "dev_orders"), ["7"]);
    assert_eq!(cloud.emulator.instance_names(PROJECT), ["shared"]);
}

#[test]
fn one_database_of_a_backup_takes_the_place_of_the_original() {
    let Some(cloud) = world() else { return };
    cloud.served.place.write("policies/policy.yaml", &policy("preview", "method: backup"));
    cloud.emulator.change_instance(PROJECT, "shared", |instance| instance.log = None);
    let point = cloud.json(&["backup", "now", "preview"], 0)["name"].as_str().unwrap().to_owned();
    run(&cloud, "preview_orders", "DELETE FROM t");
    cloud.run(&["restore", "preview", "--point", &point, "--in-place", "--yes"]).exits(0);
    assert_eq!(
        (numbers(&cloud, "preview_orders"), numbers(&cloud, "dev_orders")),
        (vec!["1".into(), "2".into()], vec!["7".into()])
    );
    assert_eq!(cloud.emulator.instance_names(PROJECT), ["shared"]);
}

#[test]
fn who_is_not_on_the_instance_any_more_is_named_before_anything_is_imported() {
    let Some(cloud) = world() else { return };
    run(&cloud, "postgres", "CREATE ROLE app LOGIN");
    let point = cloud.json(&["backup", "now", "preview"], 0)["name"].as_str().unwrap().to_owned();
    run(&cloud, "postgres", "DROP ROLE app");
    let plan = || cloud.run(&["restore", "preview", "--point", &point, "--in-place", "--dry-run"]).exits(0).stdout;
    let said = plan();
    assert!(said.contains("`app` could log in to projects/dx-nonprod/instances/shared then, and cannot now"), "{said}");
    assert!(said.contains("gcloud sql users create app --instance shared --project dx-nonprod"), "{said}");
    run(&cloud, "postgres", "CREATE ROLE app LOGIN");
    assert!(!plan().contains("could log in"));
}
