//! What is dumped, destroyed and loaded again is as it was.

use dxdr_provider::{Database as _, database::Swap};

use crate::{server, world};

/// Quotes of every kind, an equals sign, and what ends a connection string.
const NAME: &str = r#"or"de'rs \ host=evil"#;
const ROLE: &str = r#"sh"op's"#;

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Everything in it that a query can see, in one text.
const CONTENT: &str = r#"
SELECT json_agg(t ORDER BY "na""me") FROM "sch""ema"."ta'ble
two" t;
SELECT encode(lo_get(oid), 'hex') FROM pg_largeobject_metadata;
SELECT nextval('"sch""ema".numbers'), last_value FROM "sch""ema".numbers;
SELECT * FROM "sch""ema".doubled;
SELECT obj_description('"sch""ema".doubled'::regclass);
SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'doubled';
SELECT extname FROM pg_extension ORDER BY 1;
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_database_comes_back_as_it_was_with_everything_that_no_dump_has() {
    let Some(server) = server::start(true) else { return };
    server.sql(
        "postgres",
        &format!(
            "CREATE ROLE {role}; CREATE ROLE reader; CREATE DATABASE {name} OWNER {role};
             COMMENT ON DATABASE {name} IS 'it''s ours';
             ALTER DATABASE {name} SET search_path TO \"a b\", public;
             ALTER DATABASE {name} SET my.thing TO 'it''s';
             ALTER ROLE reader IN DATABASE {name} SET work_mem TO '8MB';
             REVOKE ALL ON DATABASE {name} FROM PUBLIC; GRANT CONNECT ON DATABASE {name} TO reader WITH GRANT OPTION;",
            role = quoted(ROLE),
            name = quoted(NAME)
        ),
    );
    server.sql(
        NAME,
        &format!(
            r#"CREATE EXTENSION IF NOT EXISTS plpgsql;
               CREATE SCHEMA "sch""ema" AUTHORIZATION {role};
               CREATE TABLE "sch""ema"."ta'ble
two" ("na""me" text PRIMARY KEY, bytes bytea, json jsonb);
               INSERT INTO "sch""ema"."ta'ble
two" VALUES (E'a\nb\t\\. '' " $$', '\x00ff0a0d5c', '{{"a": "\u00e9"}}'), ('', '', NULL), ('\N', NULL, '[]');
               SELECT lo_from_bytea(0, decode(repeat('00ff', 5000), 'hex'));
               CREATE SEQUENCE "sch""ema".numbers START 41; SELECT nextval('"sch""ema".numbers');
               CREATE VIEW "sch""ema".doubled AS SELECT "na""me" || "na""me" AS twice FROM "sch""ema"."ta'ble
two";
               GRANT SELECT ON "sch""ema"."ta'ble
two" TO {role};
               COMMENT ON VIEW "sch""ema".doubled IS 'it''s; DROP TABLE x; --';
               ALTER VIEW "sch""ema".doubled OWNER TO {role}; GRANT SELECT ON "sch""ema".doubled TO reader;"#,
            role = quoted(ROLE)
        ),
    );
    let properties = format!(
        "SELECT pg_get_userbyid(datdba), datacl, shobj_description(d.oid, 'pg_database'), array_agg((setrole = 0, setconfig) ORDER BY setrole)
         FROM pg_database d JOIN pg_db_role_setting ON setdatabase = d.oid WHERE datname = {} GROUP BY d.oid;",
        literal(NAME)
    );
    let was_outside = server.sql("postgres", &properties);
    let database = world::database(&server, NAME);
    database.inspect().await.unwrap();
    let mut place = world::place();
    let (dumped, load) = world::dumped(&database, &mut place, "orders_restored").await;
    let was = server.sql(NAME, CONTENT);
    assert!(was.contains("00ff00ff"), "{was}");
    assert!(dumped.size > 0);
    assert_eq!(load.facts.owner, ROLE);
    assert!(load.facts.roles.iter().any(|role| role == "reader"), "{:?}", load.facts.roles);

    server.sql("postgres", &format!("DROP DATABASE {};", quoted(NAME)));
    let examined = database.examine(&load).await.unwrap();
    assert_eq!((examined.problems.as_slice(), examined.original), ([].as_slice(), false));
    database.load(&load, &place).await.unwrap();
    // Again, as a run that is resumed would.
    database.load(&load, &place).await.unwrap();
    let swap = Swap { name: NAME.to_owned(), from: load.name.clone(), kept: "orders_before".to_owned(), run: load.run.clone() };
    assert!(!database.swapped(&swap).await.unwrap());
    database.swap(&swap).await.unwrap();
    // Nothing was kept that could tell that it was done: what is live does. Nobody drops it for that, or takes it for put back.
    assert!(database.swapped(&swap).await.unwrap());
    database.swap(&swap).await.unwrap();
    database.swap(&swap.reversed()).await.unwrap_err();
    database.discard(NAME, &load.run).await.unwrap_err();
    assert_eq!(database.inspect().await.unwrap().comment.as_deref(), Some("it's ours"));
    server.sql("postgres", &format!("COMMENT ON DATABASE {} IS 'it''s ours';", quoted(NAME)));

    assert_eq!(server.sql(NAME, CONTENT), was);
    assert_eq!(server.sql("postgres", &properties), was_outside);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_cuts_connections_keeps_the_old_one_and_can_be_undone_and_neighbours_feel_nothing() {
    let Some(server) = server::start(true) else { return };
    server.sql("postgres", "CREATE DATABASE orders;");
    server.sql("postgres", "CREATE DATABASE neighbour;");
    server.sql("orders", "CREATE TABLE t (n int); INSERT INTO t VALUES (1);");
    let database = world::database(&server, "orders");
    let mut place = world::place();
    let (_, load) = world::dumped(&database, &mut place, "orders_restored").await;
    server.sql("orders", "INSERT INTO t VALUES (2);");
    database.load(&load, &place).await.unwrap();

    let mut application = server.psql("orders").args(["-c", "SELECT pg_sleep(600)"]).spawn().unwrap();
    let mut neighbour = server.psql("neighbour").args(["-c", "SELECT pg_sleep(600)"]).spawn().unwrap();
    let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid();";
    while server.sql("postgres", sleeping) != "2" {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let examined = database.examine(&load).await.unwrap();
    assert_eq!((examined.original, examined.connections), (true, 1));
    assert!(examined.problems[0].message.contains("`orders_restored` already"), "{examined:?}");

    let swap =
        Swap { name: "orders".into(), from: "orders_restored".into(), kept: "orders_before".into(), run: load.run.clone() };
    assert!(!database.swapped(&swap).await.unwrap());
    database.swap(&swap).await.unwrap();
    assert!(database.swapped(&swap).await.unwrap());
    assert!(!application.wait().unwrap().success());
    assert_eq!(neighbour.try_wait().unwrap(), None);
    assert_eq!(server.sql("orders", "SELECT count(*) FROM t;"), "1");
    assert_eq!(server.sql("orders_before", "SELECT count(*) FROM t;"), "2");
    // What is live has no mark, and is dropped by nobody.
    let refused = database.discard("orders", &load.run).await.unwrap_err();
    assert!(refused.message.contains("does not carry the mark of run"), "{refused}");
    database.discard("orders_before", "another-run").await.unwrap_err();

    // Again, as a run that is resumed would.
    database.swap(&swap).await.unwrap();
    database.swap(&swap.reversed()).await.unwrap();
    database.swap(&swap.reversed()).await.unwrap();
    assert_eq!(server.sql("orders", "SELECT count(*) FROM t;"), "2");
    assert!(database.discard("orders_restored", &load.run).await.unwrap());
    assert!(!database.discard("orders_restored", &load.run).await.unwrap());
    // What was to take the place is gone: that is no swap that was done.
    database.swap(&swap).await.unwrap_err();
    database.swap(&swap.reversed()).await.unwrap_err();
    assert_eq!(server.sql("postgres", "SELECT count(*) FROM pg_database WHERE datname LIKE 'orders%';"), "1");
    neighbour.kill().unwrap();
    neighbour.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_role_has_the_server_keep_is_no_statement_of_the_restore() {
    let Some(server) = server::shared() else { return };
    server.sql("postgres", "CREATE ROLE mallory; CREATE DATABASE crafted;");
    for (setting, value) in [
        ("search_path", "public;ALTER/**/ROLE/**/mallory/**/SUPERUSER"),
        ("temp_tablespaces", "pg_default;ALTER/**/ROLE/**/mallory/**/SUPERUSER"),
    ] {
        let kept = format!("ALTER ROLE mallory IN DATABASE crafted SET {setting} FROM CURRENT;");
        // Not every list takes every text, and what the server refuses to keep cannot come back.
        let _ = server.try_sql(
            "crafted",
            &format!("SET SESSION AUTHORIZATION mallory; SELECT set_config('{setting}', '{value}', false); {kept}"),
        );
    }
    let kept = "SELECT setconfig FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = setrole WHERE rolname = 'mallory' AND setdatabase = (SELECT oid FROM pg_database WHERE datname = 'NAME');";
    let was = server.sql("postgres", &kept.replace("NAME", "crafted"));
    assert!(was.contains("public;ALTER"), "{was}");

    let database = world::database(&server, "crafted");
    let mut place = world::place();
    let (_, load) = world::dumped(&database, &mut place, "crafted_restored").await;
    database.load(&load, &place).await.unwrap();
    assert_eq!(server.sql("postgres", "SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory';"), "f");
    let is = server.sql("postgres", &kept.replace("NAME", "crafted_restored"));
    assert!(is.contains("public;ALTER"), "{is}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_and_not_marked_yet_is_taken_up_and_cleaned_up() {
    let Some(server) = server::shared() else { return };
    server.sql("postgres", "CREATE DATABASE unmarked;");
    let database = world::database(&server, "unmarked");
    let mut place = world::place();
    let (_, load) = world::dumped(&database, &mut place, "unmarked_restored").await;
    // As it is when a process dies between the first statement of a load and the second.
    let unborn = "CREATE DATABASE unmarked_restored ALLOW_CONNECTIONS false CONNECTION LIMIT 0 TEMPLATE template0;";
    server.sql("postgres", unborn);
    database.load(&load, &place).await.unwrap();
    let state = "SELECT datallowconn, datconnlimit FROM pg_database WHERE datname = 'unmarked_restored';";
    assert_eq!(server.sql("postgres", state), "t|-1");
    assert!(database.discard("unmarked_restored", &load.run).await.unwrap());
    server.sql("postgres", unborn);
    assert!(database.discard("unmarked_restored", &load.run).await.unwrap());
    // Closed or limited by somebody, and somebody's.
    for options in ["ALLOW_CONNECTIONS false", "CONNECTION LIMIT 0"] {
        server.sql("postgres", &format!("CREATE DATABASE unmarked_restored {options};"));
        database.discard("unmarked_restored", &load.run).await.unwrap_err();
        server.sql("postgres", "DROP DATABASE unmarked_restored;");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_asked_to_stop_while_a_database_is_made_leaves_it_marked() {
    let Some(server) = server::start(false) else { return };
    server.sql("postgres", "CREATE DATABASE stopped;");
    let database = world::database(&server, "stopped");
    let mut place = world::place();
    let (_, load) = world::dumped(&database, &mut place, "stopped_restored").await;
    let count = |question: &str| server.sql("postgres", &format!("SELECT count(*) FROM {question};"));
    let wait = async |question: &str| {
        for _ in 0..2_400 {
            if count(question) == "1" {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("{question}");
    };
    // Nothing is made while somebody holds this.
    let lock = "BEGIN; LOCK TABLE pg_database IN SHARE MODE; SELECT pg_sleep(600);";
    let mut locking = server.psql("postgres").args(["-c", lock]).spawn().unwrap();
    wait("pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND state = 'active' AND pid <> pg_backend_pid()").await;
    let loading = {
        let (database, load, place) = (database.clone(), load.clone(), place.clone());
        tokio::spawn(async move { database.load(&load, &place).await })
    };
    wait("pg_stat_activity WHERE query LIKE 'CREATE DATABASE%' AND wait_event_type = 'Lock'").await;
    loading.abort();
    assert!(loading.await.unwrap_err().is_cancelled());
    server.sql(
        "postgres",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid();",
    );
    locking.wait().unwrap();
    wait("pg_database WHERE datname = 'stopped_restored' AND datallowconn").await;
    assert!(database.discard("stopped_restored", &load.run).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collation_comes_back_from_where_it_was_whatever_the_server_has() {
    let Some(server) = server::start_with(false, &["--locale-provider=icu", "--icu-locale=en"]) else { return };
    server.sql("postgres", "CREATE DATABASE by_libc TEMPLATE template0 LOCALE_PROVIDER libc; CREATE DATABASE by_icu;");
    for (name, provider) in [("by_libc", "c"), ("by_icu", "i")] {
        let database = world::database(&server, name);
        let mut place = world::place();
        let restored = format!("{name}_restored");
        let (_, load) = world::dumped(&database, &mut place, &restored).await;
        database.load(&load, &place).await.unwrap();
        let question = format!("SELECT datlocprovider FROM pg_database WHERE datname = '{restored}';");
        assert_eq!(server.sql("postgres", &question), provider, "{name}");
    }
}
