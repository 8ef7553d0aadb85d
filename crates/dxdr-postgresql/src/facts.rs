//! What a database is like, asked of its server in one statement.

use dxdr_environment::{
    DatabaseFacts,
    database::{DatabaseGrant, DatabaseSetting},
};
use dxdr_provider::mark::unmarked;
use jiff::Timestamp;
use serde::Deserialize;

/// One statement, whose answer is [`Answer`]. `{snapshot}` is what exports the snapshot, or nothing. Columns that only some versions
/// have are read through `to_jsonb`.
const QUESTION: &str = "SELECT json_build_object(
 'snapshot', {snapshot},
 'version', current_setting('server_version'),
 'database', d.datname,
 'size', pg_database_size(d.oid),
 'owner', pg_get_userbyid(d.datdba),
 'encoding', pg_encoding_to_char(d.encoding),
 'collation', d.datcollate,
 'characterType', d.datctype,
 'provider', to_jsonb(d)->>'datlocprovider',
 'locale', coalesce(to_jsonb(d)->>'daticulocale', to_jsonb(d)->>'datlocale'),
 'comment', shobj_description(d.oid, 'pg_database'),
 'replica', pg_is_in_recovery(),
 'coordinates', (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END)::text,
 'extensions', (SELECT coalesce(json_agg(json_build_array(extname, extversion) ORDER BY extname), '[]')
   FROM pg_extension WHERE extname <> 'plpgsql'),
 'roles', (SELECT coalesce(json_agg(rolname ORDER BY rolname), '[]') FROM pg_roles WHERE oid IN (
   SELECT d.datdba
   UNION SELECT refobjid FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass
     AND (dbid = d.oid OR dbid = 0 AND classid = 'pg_database'::regclass AND objid = d.oid)
   UNION SELECT relowner FROM pg_class WHERE oid >= 16384
   UNION SELECT proowner FROM pg_proc WHERE oid >= 16384
   UNION SELECT typowner FROM pg_type WHERE oid >= 16384
   UNION SELECT nspowner FROM pg_namespace WHERE oid >= 16384
   UNION SELECT lomowner FROM pg_largeobject_metadata
   UNION SELECT setrole FROM pg_db_role_setting WHERE setdatabase = d.oid AND setrole <> 0)),
 'settings', (SELECT coalesce(json_agg(json_build_object('role', r.rolname, 'entry', e.entry) ORDER BY r.rolname, e.place), '[]')
   FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole,
   unnest(s.setconfig) WITH ORDINALITY AS e(entry, place) WHERE s.setdatabase = d.oid),
 'grants', CASE WHEN d.datacl IS NOT NULL THEN (SELECT coalesce(json_agg(json_build_object(
     'role', r.rolname, 'privilege', a.privilege_type, 'grantable', a.is_grantable) ORDER BY r.rolname, a.privilege_type), '[]')
   FROM aclexplode(d.datacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee) END)
 FROM pg_database d WHERE d.datname = current_database();\n";

/// The instant on the server, before whatever comes behind it. See [`Clock`].
///
/// A replica has certainly had what was committed before the last transaction that it replayed. Where its primary is idle that lies far
/// back; so if it has replayed all that there was when its primary spoke last, it is as of then. One that has heard of neither is
/// as of the checkpoint that it began from.
pub(crate) const INSTANT: &str = "SELECT json_build_object(
 'clock', clock_timestamp(),
 'replica', pg_is_in_recovery(),
 'replayed', CASE WHEN pg_is_in_recovery() THEN coalesce(
   greatest(pg_last_xact_replay_timestamp(),
     (SELECT last_msg_send_time FROM pg_stat_wal_receiver WHERE pg_last_wal_replay_lsn() >= latest_end_lsn)),
   (SELECT checkpoint_time FROM pg_control_checkpoint())) END);\n";

/// What the server says to [`INSTANT`].
#[derive(Debug, Deserialize)]
pub(crate) struct Clock {
    clock: Timestamp,
    replica: bool,
    replayed: Option<Timestamp>,
}

impl Clock {
    /// Everything that was committed before it is there; `None` when a replica does not say how far it is. By the primary's clock on a
    /// replica, and never later than now.
    pub(crate) fn instant(&self) -> Option<Timestamp> {
        if self.replica { self.replayed.map(|replayed| replayed.min(self.clock)) } else { Some(self.clock) }
    }
}

/// The question, and whether its transaction's snapshot is exported.
pub(crate) fn question(exporting: bool) -> String {
    // One line: psql's answers are lines, and so are its complaints' numbers.
    QUESTION.replace("{snapshot}", if exporting { "pg_export_snapshot()" } else { "NULL" })
}

/// What the server says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answer {
    pub(crate) snapshot: Option<String>,
    version: String,
    database: String,
    size: Option<u64>,
    owner: String,
    encoding: String,
    collation: String,
    character_type: String,
    provider: Option<String>,
    locale: Option<String>,
    comment: Option<String>,
    coordinates: Option<String>,
    replica: bool,
    extensions: Vec<(String, String)>,
    roles: Vec<String>,
    settings: Vec<SettingAnswer>,
    grants: Option<Vec<GrantAnswer>>,
}

#[derive(Debug, Deserialize)]
struct SettingAnswer {
    role: Option<String>,
    entry: String,
}

#[derive(Debug, Deserialize)]
struct GrantAnswer {
    role: Option<String>,
    privilege: String,
    grantable: bool,
}

impl Answer {
    /// The facts, with the program that writes the dump.
    pub(crate) fn facts(self, program: &str) -> DatabaseFacts {
        let setting = |SettingAnswer { role, entry }| {
            let (name, value) = entry.split_once('=')?;
            Some(DatabaseSetting { role, name: name.to_owned(), value: value.to_owned() })
        };
        let grant = |GrantAnswer { role, privilege, grantable }| DatabaseGrant { role, privilege, grantable };
        let provider = match self.provider.as_deref() {
            Some("c") => Some("libc"),
            Some("i") => Some("icu"),
            Some("b") => Some("builtin"),
            // Another one that is later than this.
            _ => None,
        };
        let locale_of = |word| self.locale.clone().filter(|_| provider == Some(word));
        DatabaseFacts {
            engine: "postgresql".to_owned(),
            // What a distribution adds behind the number tells nothing.
            version: self.version.split(' ').next().unwrap_or_default().to_owned(),
            program: program.to_owned(),
            database: self.database,
            size: self.size,
            owner: self.owner,
            encoding: self.encoding,
            collation: self.collation,
            character_type: self.character_type,
            locale_provider: provider.map(str::to_owned),
            icu_locale: locale_of("icu"),
            builtin_locale: locale_of("builtin"),
            comment: self.comment.and_then(|comment| unmarked(&comment)),
            extensions: self.extensions,
            roles: self.roles,
            settings: self.settings.into_iter().filter_map(setting).collect(),
            grants: self.grants.map(|grants| grants.into_iter().map(grant).collect()),
            coordinates: self.coordinates,
            replica: self.replica,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_as_of_what_it_replayed_and_never_of_the_future() {
        let instant = |text: &str| serde_json::from_str::<Clock>(text).unwrap().instant().map(|instant| instant.to_string());
        let clock = r#""clock": "2024-05-01T10:00:00.5+00:00""#;
        let said = |rest: &str| instant(&format!("{{{clock}, {rest}}}"));
        assert_eq!(said(r#""replica": false, "replayed": null"#).as_deref(), Some("2024-05-01T10:00:00.5Z"));
        assert_eq!(said(r#""replica": true, "replayed": "2024-05-01T09:00:00+00:00""#).as_deref(), Some("2024-05-01T09:00:00Z"));
        // The primary's clock is ahead.
        assert_eq!(
            said(r#""replica": true, "replayed": "2024-05-01T10:00:07+00:00""#).as_deref(),
            Some("2024-05-01T10:00:00.5Z")
        );
        assert_eq!(said(r#""replica": true, "replayed": null"#), None);
    }
}
