//! Whether a dump can be taken, or loaded, before anything is done.

use dxdr_provider::{
    DatabaseError, DatabaseErrorKind,
    database::{DatabaseProblem, Examined, Load},
};
use serde::Deserialize;

use crate::{
    database::PostgresqlDatabase,
    program::{Program, major},
    quoting::{identifier, literal},
};

/// Relations that the user may not read, with their number. Those of extensions come with these.
const UNREADABLE: &str = "SELECT json_build_object('count', count(*), 'first', min(format('%I.%I', n.nspname, c.relname)))
 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'm', 'S') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
 AND NOT (has_table_privilege(c.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE'))
 AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e');\n";

/// Fails when there is something in the database that the user may not read: a dump would break off there.
pub(crate) async fn readable(database: &PostgresqlDatabase) -> Result<(), DatabaseError> {
    #[derive(Deserialize)]
    struct Unreadable {
        count: u64,
        first: Option<String>,
    }
    let server = database.server();
    let answer = server.run("inspect", &database.name, UNREADABLE).await?.into_iter().next().unwrap_or_default();
    let Ok(Unreadable { count, first: Some(first) }) = serde_json::from_value(answer) else { return Ok(()) };
    let others = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
    let user = &database.connection.user;
    Err(DatabaseError {
        hint: Some(format!("`GRANT pg_read_all_data TO {}`, or put the owner's credentials into the Secret", identifier(user))),
        ..server.error(DatabaseErrorKind::Forbidden, "dump", format!("`{user}` may not read {first}{others}"))
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    version: String,
    replica: bool,
    superuser: bool,
    create: bool,
    taken: bool,
    original: bool,
    connections: u64,
    roles: Vec<String>,
    strangers: Vec<String>,
    extensions: Vec<Extension>,
}

#[derive(Deserialize)]
struct Extension {
    name: String,
    trusted: bool,
}

/// What loading would meet.
pub(crate) async fn examine(database: &PostgresqlDatabase, load: &Load) -> Result<Examined, DatabaseError> {
    let (_, program) = Program::Restore.version(&database.described).await?;
    let server = database.server();
    let answer = server.administer("examine", &question(&database.name, load)).await?;
    let answer: Answer = serde_json::from_value(answer)
        .map_err(|error| server.error(DatabaseErrorKind::Other, "examine", format!("its answer is not understood: {error}")))?;
    let problems = problems(&answer, load, program, &database.connection.user);
    Ok(Examined { problems, original: answer.original, connections: answer.connections, ..Examined::default() })
}

fn question(name: &str, load: &Load) -> String {
    let list = |names: &mut dyn Iterator<Item = &str>| {
        let names: Vec<String> = names.map(literal).collect();
        format!("ARRAY[{}]::text[]", names.join(", "))
    };
    let roles = list(&mut load.facts.roles.iter().map(String::as_str));
    let extensions = list(&mut load.facts.extensions.iter().map(|(name, _)| name.as_str()));
    let (original, new) = (literal(name), literal(&load.name));
    format!(
        "SELECT json_build_object(
 'version', current_setting('server_version'),
 'replica', pg_is_in_recovery(),
 'superuser', r.rolsuper,
 'create', r.rolsuper OR r.rolcreatedb,
 'taken', EXISTS (SELECT FROM pg_database WHERE datname = {new}),
 'original', EXISTS (SELECT FROM pg_database WHERE datname = {original}),
 'connections', (SELECT count(*) FROM pg_stat_activity WHERE datname = {original} AND pid <> pg_backend_pid()),
 'roles', (SELECT coalesce(json_agg(name ORDER BY name), '[]') FROM unnest({roles}) name WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)),
 'strangers', (SELECT coalesce(json_agg(rolname ORDER BY rolname), '[]') FROM pg_roles WHERE rolname = ANY({roles}) AND NOT pg_has_role(oid, 'MEMBER')),
 'extensions', (SELECT coalesce(json_agg(json_build_object('name', name, 'trusted', coalesce(trusted, false)) ORDER BY name), '[]')
   FROM (SELECT name, bool_or(trusted) AS trusted FROM pg_available_extension_versions WHERE name = ANY({extensions}) GROUP BY name) known))
 FROM pg_roles r WHERE r.rolname = current_user;\n"
    )
}

fn problems(answer: &Answer, load: &Load, program: u32, user: &str) -> Vec<DatabaseProblem> {
    let mut problems = Vec::new();
    let mut problem = |message: String, remedy: String| problems.push(DatabaseProblem { message, remedy });
    let facts = &load.facts;
    if let Some(dumped) = major(&facts.program).filter(|dumped| *dumped > program) {
        problem(
            format!("the dump was written by {}, and pg_restore here is version {program}", facts.program),
            format!("install PostgreSQL's client programs of version {dumped} or newer"),
        );
    }
    if let (Some(was), Some(is)) = (major(&facts.version), major(&answer.version))
        && was > is
    {
        problem(
            format!("the database comes from PostgreSQL {}, and the server is version {}", facts.version, answer.version),
            format!("restore to a server of version {was} or newer"),
        );
    }
    if answer.replica {
        problem(
            "the server is a replica, which nothing can be written to".to_owned(),
            "name its primary in the environment".to_owned(),
        );
    }
    if answer.taken {
        problem(
            format!("there is a database `{}` already", load.name),
            "drop it if nobody needs it, and try again: another run takes another name".to_owned(),
        );
    }
    if !answer.create {
        problem(
            format!("`{user}` may not create databases"),
            format!("`ALTER ROLE {} CREATEDB`, or put a superuser's credentials into the Secret", identifier(user)),
        );
    }
    if !answer.roles.is_empty() {
        let create: Vec<String> = answer.roles.iter().map(|role| format!("CREATE ROLE {}", identifier(role))).collect();
        problem(format!("the server has no role {}", quoted(&answer.roles)), format!("`{}`", create.join("; ")));
    }
    if !answer.superuser && !answer.strangers.is_empty() {
        let grants: Vec<&str> = answer.strangers.iter().map(String::as_str).collect();
        problem(
            format!("`{user}` is not a member of {}, and cannot give anything to them", quoted(&answer.strangers)),
            format!(
                "`GRANT {} TO {}`",
                grants.iter().map(|role| identifier(role)).collect::<Vec<_>>().join(", "),
                identifier(user)
            ),
        );
    }
    for (name, version) in &facts.extensions {
        match answer.extensions.iter().find(|extension| extension.name == *name) {
            None => problem(
                format!("the server does not have the extension `{name}` ({version})"),
                "install its package on the server".to_owned(),
            ),
            Some(extension) if !answer.superuser && !extension.trusted => problem(
                format!("only a superuser may create the extension `{name}`, and `{user}` is none"),
                "put a superuser's credentials into the Secret for the restore".to_owned(),
            ),
            Some(_) => {}
        }
    }
    problems
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use dxdr_environment::DatabaseFacts;

    use super::*;

    #[test]
    fn everything_in_the_way_is_named_with_what_to_do() {
        let facts = DatabaseFacts {
            version: "16.1".to_owned(),
            program: "pg_dump (PostgreSQL) 17.0".to_owned(),
            extensions: vec![("postgis".to_owned(), "3".to_owned()), ("plpython3u".to_owned(), "1".to_owned())],
            ..DatabaseFacts::default()
        };
        let load = Load { name: "orders_restored".to_owned(), facts, size: None, run: "run".to_owned() };
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let answer = Answer {
            version: "15.3".to_owned(),
            replica: true,
            superuser: false,
            create: false,
            taken: true,
            original: true,
            connections: 0,
            roles: names(&["a\"b"]),
            strangers: names(&["shop"]),
            extensions: vec![Extension { name: "plpython3u".to_owned(), trusted: false }],
        };
        let found: Vec<String> = problems(&answer, &load, 15, "me").iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "the dump was written by pg_dump (PostgreSQL) 17.0, and pg_restore here is version 15: install PostgreSQL's client programs of version 17 or newer",
                "the database comes from PostgreSQL 16.1, and the server is version 15.3: restore to a server of version 16 or newer",
                "the server is a replica, which nothing can be written to: name its primary in the environment",
                "there is a database `orders_restored` already: drop it if nobody needs it, and try again: another run takes another name",
                "`me` may not create databases: `ALTER ROLE \"me\" CREATEDB`, or put a superuser's credentials into the Secret",
                "the server has no role `a\"b`: `CREATE ROLE \"a\"\"b\"`",
                "`me` is not a member of `shop`, and cannot give anything to them: `GRANT \"shop\" TO \"me\"`",
                "the server does not have the extension `postgis` (3): install its package on the server",
                "only a superuser may create the extension `plpython3u`, and `me` is none: put a superuser's credentials into the Secret for the restore",
            ]
        );
    }
}
