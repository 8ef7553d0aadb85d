//! What a database that was imported lacks of the one that it takes the place of: owner, rights and settings, its own and those of what is in it.
//!
//! ```text
//! the original: properties, objects ─┐
//! what was imported:        objects ─┴─► what differs ─► statements in it, some in a transaction
//! ```
//!
//! Whether an export of the service's has the owners and rights of objects is documented nowhere. So both databases are looked at, and only what differs is said: done
//! again, nothing is left. What is not in both, and rights to single columns, are left alone.

use std::collections::{BTreeMap, BTreeSet};

use dxdr_environment::database::{DatabaseGrant, DatabaseSetting};
use dxdr_provider::{instance::Rows, properties::Properties, quoting::literal};

/// Objects that one look shows.
pub(super) const PAGE: usize = 5_000;
/// Statements of one transaction.
const AT_ONCE: usize = 200;

/// Asks for the properties of a database: a row each for the owner (and whether we are a member of it), settings, and rights.
pub(super) fn properties_of(database: &str) -> String {
    format!(
        "SELECT 'owner' AS kind, NULL AS role, pg_get_userbyid(d.datdba)::text AS name, \
CASE WHEN pg_has_role(d.datdba, CASE WHEN current_setting('server_version_num')::int < 160000 THEN 'MEMBER' ELSE 'SET' END) \
THEN 'yes' ELSE 'no' END AS value FROM pg_database d WHERE d.datname = {name} \
UNION ALL SELECT 'setting', r.rolname::text, split_part(e, '=', 1), substr(e, strpos(e, '=') + 1) FROM pg_database d \
JOIN pg_db_role_setting s ON s.setdatabase = d.oid LEFT JOIN pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) e WHERE d.datname = {name} \
UNION ALL SELECT 'changed', NULL, NULL, NULL FROM pg_database d WHERE d.datname = {name} AND d.datacl IS NOT NULL \
UNION ALL SELECT 'grant', r.rolname::text, a.privilege_type, CASE WHEN a.is_grantable THEN 'yes' ELSE 'no' END FROM pg_database d, \
aclexplode(d.datacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee WHERE d.datname = {name}",
        name = literal(database)
    )
}

/// What a database has, and whether we may give it to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) properties: Properties,
    /// Whether we are a member of its owner, and may give it something: since version 16 a membership may be without that.
    pub(super) member: bool,
}

/// The answer to [`properties_of`]; `Ok(None)` when there is no such database, an error when it is no such answer.
pub(super) fn held(rows: &Rows) -> Result<Option<Held>, ()> {
    if rows.truncated {
        return Err(());
    }
    let (mut held, mut changed) = (None, false);
    let (mut settings, mut grants) = (Vec::new(), Vec::new());
    for row in &rows.values {
        let [Some(kind), role, name, value] = row.as_slice() else { return Err(()) };
        let (role, name, value) = (role.clone(), name.clone().unwrap_or_default(), value.clone().unwrap_or_default());
        match kind.as_str() {
            "owner" => held = Some((name, value == "yes")),
            "setting" => settings.push(DatabaseSetting { role, name, value }),
            "changed" => changed = true,
            "grant" => grants.push(DatabaseGrant { role, privilege: name, grantable: value == "yes" }),
            _ => return Err(()),
        }
    }
    Ok(held.map(|(owner, member)| Held { properties: Properties { owner, settings, grants: changed.then_some(grants) }, member }))
}

/// Asks a database for what is in it, a page from `offset` on: a row an object, with its rights as the lines of one text. Names and roles come quoted. What is an
/// extension's comes with that.
pub(super) fn objects_from(offset: usize) -> String {
    format!(
        "WITH objects AS (\
SELECT 'SCHEMA' AS kind, quote_ident(nspname) AS name, nspowner AS owner, coalesce(nspacl, acldefault('n', nspowner)) AS acl, \
'pg_namespace'::regclass AS class, oid, false AS follows FROM pg_namespace \
UNION ALL SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, format('%I.%I', nspname, relname), relowner, \
coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::\"char\", relowner)), 'pg_class'::regclass, c.oid, \
relkind = 'S' AND EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid \
AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')) \
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S') \
UNION ALL SELECT 'ROUTINE', format('%I.%I(%s)', nspname, proname, pg_get_function_identity_arguments(p.oid)), proowner, \
coalesce(proacl, acldefault('f', proowner)), 'pg_proc'::regclass, p.oid, false FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace \
UNION ALL SELECT 'TYPE', format('%I.%I', nspname, typname), typowner, coalesce(typacl, acldefault('T', typowner)), 'pg_type'::regclass, t.oid, false \
FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace LEFT JOIN pg_class c ON c.oid = typrelid \
WHERE typtype IN ('d', 'e', 'r') OR typtype = 'c' AND c.relkind = 'c') \
SELECT o.kind, o.name, quote_ident(pg_get_userbyid(o.owner)) AS owner, CASE WHEN o.follows THEN 'yes' ELSE 'no' END AS follows, \
(SELECT string_agg(a.privilege_type || CASE WHEN a.is_grantable THEN '*' ELSE '' END || ' ' || \
CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END, E'\\n') FROM aclexplode(o.acl) a) AS rights \
FROM objects o WHERE split_part(o.name, '.', 1) <> 'information_schema' AND o.name NOT LIKE 'pg\\_%' \
AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = o.class AND d.objid = o.oid AND d.deptype = 'e') \
ORDER BY o.kind, o.name LIMIT {PAGE} OFFSET {offset}"
    )
}

/// Something in a database: its kind and its name, which is quoted.
type Name = (String, String);

/// Whose it is, and who may do what with it. All of it is quoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owned {
    owner: String,
    /// Whether its owner is that of the table that it belongs to.
    follows: bool,
    /// By role and privilege, whether it may be given on.
    rights: BTreeMap<(String, String), bool>,
}

/// What is in a database.
pub(super) type Objects = BTreeMap<Name, Owned>;

/// The answer to [`objects_from`]; `None` when it is no such answer.
pub(super) fn objects(rows: &Rows) -> Option<Objects> {
    if rows.truncated {
        return None;
    }
    let is_word = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b' ');
    let one = |row: &Vec<Option<String>>| {
        let [Some(kind), Some(name), Some(owner), Some(follows), rights] = row.as_slice() else { return None };
        let right = |line: &str| {
            let (privilege, role) = line.split_once(' ')?;
            let (privilege, grantable) = privilege.strip_suffix('*').map_or((privilege, false), |privilege| (privilege, true));
            (is_word(privilege) && is_quoted(role)).then(|| ((role.to_owned(), privilege.to_owned()), grantable))
        };
        // All of them, or no answer: what is in no quotation would become part of a statement.
        let rights = rights
            .as_deref()
            .unwrap_or_default()
            .split('\n')
            .filter(|line| !line.is_empty())
            .map(right)
            .collect::<Option<_>>()?;
        Some(((kind.clone(), name.clone()), Owned { owner: owner.clone(), follows: follows == "yes", rights }))
    };
    rows.values.iter().map(one).collect()
}

/// Whether a text is one name as `quote_ident` writes it: a plain word, or something in quotation marks.
fn is_quoted(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    match text.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').is_some_and(|name| !name.is_empty() && !name.replace("\"\"", "").contains('"')),
        None => text == "PUBLIC" || !text.is_empty() && text.bytes().all(plain),
    }
}

/// One change of something in a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Handover {
    Owner { kind: String, name: String, role: String },
    Grant { kind: String, name: String, privilege: String, role: String, grantable: bool },
    Revoke { kind: String, name: String, privilege: String, role: String },
}

impl Handover {
    fn statement(&self) -> String {
        match self {
            Self::Owner { kind, name, role } => format!("ALTER {kind} {name} OWNER TO {role}"),
            Self::Grant { kind, name, privilege, role, grantable } => {
                let option = if *grantable { " WITH GRANT OPTION" } else { "" };
                format!("GRANT {privilege} ON {kind} {name} TO {role}{option}")
            }
            Self::Revoke { kind, name, privilege, role } => format!("REVOKE {privilege} ON {kind} {name} FROM {role}"),
        }
    }
}

/// What makes the owners and rights in `brought` those of `original`. Schemas come first, since who is to own something has to have a right to its schema; and owners
/// before rights, since rights are given by them.
pub(super) fn handover(original: &Objects, brought: &Objects) -> Vec<Handover> {
    let is_schema = |(kind, _): &Name| kind == "SCHEMA";
    let of = |schemas: bool| {
        let some = original.iter().filter(move |(name, _)| is_schema(name) == schemas);
        differing(some.filter_map(|(name, was)| Some((name, was, brought.get(name)?))).collect())
    };
    [of(true), of(false)].concat()
}

fn differing(both: Vec<(&Name, &Owned, &Owned)>) -> Vec<Handover> {
    let both = || both.iter().copied();
    let owners = both().filter(|(_, was, is)| was.owner != is.owner && !was.follows);
    let owners =
        owners.map(|((kind, name), was, _)| Handover::Owner { kind: kind.clone(), name: name.clone(), role: was.owner.clone() });
    let rights = both().flat_map(|((kind, name), was, is)| {
        // Whoever becomes the owner gets what the owner has.
        let role = |role: &String| if *role == is.owner { was.owner.clone() } else { role.clone() };
        let mut has: BTreeMap<(String, String), bool> = BTreeMap::new();
        for ((of, privilege), grantable) in &is.rights {
            *has.entry((role(of), privilege.clone())).or_default() |= grantable;
        }
        let missing = was.rights.iter().filter(|(right, grantable)| has.get(*right).is_none_or(|has| **grantable && !has));
        let granted = missing.map(|((role, privilege), grantable)| Handover::Grant {
            kind: kind.clone(),
            name: name.clone(),
            privilege: privilege.clone(),
            role: role.clone(),
            grantable: *grantable,
        });
        let beyond: BTreeSet<&(String, String)> = has.keys().filter(|right| !was.rights.contains_key(*right)).collect();
        let revoked = beyond.into_iter().map(|(role, privilege)| Handover::Revoke {
            kind: kind.clone(),
            name: name.clone(),
            privilege: privilege.clone(),
            role: role.clone(),
        });
        granted.chain(revoked).collect::<Vec<_>>()
    });
    owners.chain(rights).collect()
}

/// The changes as texts to be executed, each all or none.
pub(super) fn transactions(changes: &[Handover]) -> Vec<String> {
    let text = |changes: &[Handover]| {
        let statements: Vec<String> = changes.iter().map(Handover::statement).collect();
        // Said, because a setting that was handed over may be to read only.
        format!("BEGIN READ WRITE;\n{};\nCOMMIT;", statements.join(";\n"))
    };
    changes.chunks(AT_ONCE).map(text).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows(values: &[&[Option<&str>]]) -> Rows {
        let text = |value: &Option<&str>| value.map(str::to_owned);
        Rows { columns: Vec::new(), values: values.iter().map(|row| row.iter().map(text).collect()).collect(), truncated: false }
    }

    #[test]
    fn properties_are_read_with_whether_we_may_give_them_away() {
        let answer = rows(&[
            &[Some("owner"), None, Some("app"), Some("no")],
            &[Some("setting"), None, Some("search_path"), Some("a, b")],
            &[Some("setting"), Some("r"), Some("work_mem"), Some("8MB")],
            &[Some("changed"), None, None, None],
            &[Some("grant"), None, Some("CONNECT"), Some("no")],
        ]);
        let found = held(&answer).unwrap().unwrap();
        assert_eq!((found.properties.owner.as_str(), found.member, found.properties.settings.len()), ("app", false, 2));
        assert_eq!(found.properties.grants.unwrap().len(), 1);
        assert_eq!(held(&rows(&[])), Ok(None), "there is none");
        assert_eq!(held(&rows(&[&[None, None, None, None]])), Err(()));
        // Nobody may have any right at all, which is not the same as that nobody changed them.
        let nobody = held(&rows(&[&[Some("owner"), None, Some("app"), Some("yes")], &[Some("changed"), None, None, None]]));
        assert_eq!(nobody.unwrap().unwrap().properties.grants, Some(Vec::new()));
    }

    #[test]
    fn only_what_differs_is_said_and_owners_come_first() {
        let was = objects(&rows(&[
            &[Some("SCHEMA"), Some("public"), Some("pg_database_owner"), Some("no"), Some("USAGE PUBLIC")],
            &[Some("SEQUENCE"), Some("public.t_n_seq"), Some("app"), Some("yes"), Some("USAGE app")],
            &[Some("TABLE"), Some("public.t"), Some("app"), Some("no"), Some("SELECT* app\nINSERT app\nSELECT \"a b\"")],
            &[Some("TABLE"), Some("public.later"), Some("app"), Some("no"), None],
        ]));
        let is = objects(&rows(&[
            &[Some("SCHEMA"), Some("public"), Some("pg_database_owner"), Some("no"), Some("USAGE PUBLIC")],
            &[Some("SEQUENCE"), Some("public.t_n_seq"), Some("postgres"), Some("yes"), Some("USAGE postgres")],
            &[
                Some("TABLE"),
                Some("public.t"),
                Some("postgres"),
                Some("no"),
                Some("SELECT* postgres\nINSERT postgres\nSELECT PUBLIC"),
            ],
        ]));
        let texts = transactions(&handover(&was.unwrap(), &is.unwrap()));
        assert_eq!(
            texts,
            [
                "BEGIN READ WRITE;\nALTER TABLE public.t OWNER TO app;\nGRANT SELECT ON TABLE public.t TO \"a b\";\nREVOKE SELECT ON TABLE public.t FROM PUBLIC;\nCOMMIT;"
            ]
        );
    }

    #[test]
    fn what_is_in_no_quotation_is_no_answer() {
        let objects_with =
            |rights: &str| objects(&rows(&[&[Some("TABLE"), Some("public.t"), Some("app"), Some("no"), Some(rights)]]));
        for rights in ["SELECT app", "SELECT* \"a b\"", "SELECT \"a\"\"b\"\nUSAGE PUBLIC", "SELECT \"a;b\""] {
            assert!(objects_with(rights).is_some(), "{rights}");
        }
        for rights in [
            "SELECT \"a\nSELECT public; DROP TABLE t; --\"",
            "SELECT \"a\" ; --",
            "SELECT a b",
            "select app",
            "SELECT \"a\"b\"",
            "SELECT",
        ] {
            assert_eq!(objects_with(rights), None, "{rights}");
        }
    }

    fn any_objects() -> impl Strategy<Value = Objects> {
        let role = || prop_oneof![Just("app"), Just("postgres"), Just("PUBLIC")].prop_map(str::to_owned);
        let owner = prop_oneof![Just("app"), Just("postgres")].prop_map(str::to_owned);
        let privilege = prop_oneof![Just("SELECT"), Just("INSERT")].prop_map(str::to_owned);
        let rights = proptest::collection::btree_map((role(), privilege), any::<bool>(), 0..5);
        let owned = (owner, rights).prop_map(|(owner, rights)| Owned { owner, follows: false, rights });
        proptest::collection::btree_map((Just("TABLE".to_owned()), "[a-c]"), owned, 0..4)
    }

    /// What the server does.
    fn make(objects: &mut Objects, change: &Handover) {
        match change.clone() {
            Handover::Owner { kind, name, role } => {
                let object = objects.get_mut(&(kind, name)).unwrap();
                let before = std::mem::replace(&mut object.owner, role.clone());
                let rights = std::mem::take(&mut object.rights);
                for ((of, privilege), grantable) in rights {
                    let of = if of == before { role.clone() } else { of };
                    *object.rights.entry((of, privilege)).or_default() |= grantable;
                }
            }
            Handover::Grant { kind, name, privilege, role, grantable } => {
                *objects.get_mut(&(kind, name)).unwrap().rights.entry((role, privilege)).or_default() |= grantable;
            }
            Handover::Revoke { kind, name, privilege, role } => {
                assert!(objects.get_mut(&(kind, name)).unwrap().rights.remove(&(role, privilege)).is_some());
            }
        }
    }

    proptest! {
        #[test]
        fn whoever_has_something_in_the_original_has_it_in_what_was_brought_and_done_again_nothing_is_left(
            original in any_objects(), brought in any_objects(),
        ) {
            let mut made = brought.clone();
            for change in handover(&original, &brought) {
                make(&mut made, &change);
            }
            for (name, object) in &made {
                let Some(was) = original.get(name) else {
                    prop_assert_eq!(object, &brought[name], "what is not in both is left alone");
                    continue;
                };
                prop_assert_eq!(&object.owner, &was.owner);
                prop_assert_eq!(object.rights.keys().collect::<Vec<_>>(), was.rights.keys().collect::<Vec<_>>());
                prop_assert!(was.rights.iter().all(|(right, grantable)| !grantable || object.rights[right]));
            }
            prop_assert_eq!(handover(&original, &made), Vec::new());
        }
    }
}
