//! Owner, rights and settings of a database: what belongs to it, and is in no dump of it.

use std::fmt::Write as _;

use dxdr_environment::database::{DatabaseGrant, DatabaseSetting};

use crate::{quoting::identifier, setting};

/// What belongs to a database itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties {
    /// The role that owns it; empty: nobody knows.
    pub owner: String,
    /// Settings that belong to it.
    pub settings: Vec<DatabaseSetting>,
    /// Rights to it that are not those of every new one; `None`: nobody changed them.
    pub grants: Option<Vec<DatabaseGrant>>,
}

impl Properties {
    /// The statements that give them to a new database, all or none. Executed again, they change nothing.
    pub fn statements(&self, database: &str) -> String {
        let name = identifier(database);
        let mut script = "BEGIN;\n".to_owned();
        // Writing to a String cannot fail, here and below.
        for setting in &self.settings {
            let value = setting::value(&setting.name, &setting.value);
            // A setting of an extension has dots in its name, each part quoted by itself.
            let setting_name = setting.name.split('.').map(identifier).collect::<Vec<_>>().join(".");
            let _ = match &setting.role {
                Some(role) => {
                    writeln!(script, "ALTER ROLE {} IN DATABASE {name} SET {setting_name} TO {value};", identifier(role))
                }
                None => writeln!(script, "ALTER DATABASE {name} SET {setting_name} TO {value};"),
            };
        }
        match &self.grants {
            None => {
                let _ = writeln!(script, "GRANT CONNECT ON DATABASE {name} TO PUBLIC;");
            }
            Some(grants) => {
                let _ = writeln!(script, "REVOKE ALL ON DATABASE {name} FROM PUBLIC;");
                // Words of SQL, which are not quoted: what is none comes from no server.
                let is_word = |grant: &&DatabaseGrant| grant.privilege.bytes().all(|byte| byte.is_ascii_uppercase());
                for grant in grants.iter().filter(is_word) {
                    let role = grant.role.as_deref().map_or_else(|| "PUBLIC".to_owned(), identifier);
                    let option = if grant.grantable { " WITH GRANT OPTION" } else { "" };
                    let _ = writeln!(script, "GRANT {} ON DATABASE {name} TO {role}{option};", grant.privilege);
                }
            }
        }
        // Last: who is no superuser may do the rest only while it is the owner.
        if !self.owner.is_empty() {
            let _ = writeln!(script, "ALTER DATABASE {name} OWNER TO {};", identifier(&self.owner));
        }
        script.push_str("COMMIT;\n");
        script
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_dump_has_is_put_back_and_nothing_breaks_out_of_its_quotation() {
        let properties = Properties {
            owner: "sh\"op".to_owned(),
            settings: vec![
                DatabaseSetting { role: None, name: "search_path".to_owned(), value: "\"a b\", public".to_owned() },
                DatabaseSetting { role: Some("r".to_owned()), name: "my.thing".to_owned(), value: "it's".to_owned() },
            ],
            grants: Some(vec![
                DatabaseGrant { role: None, privilege: "CONNECT".to_owned(), grantable: false },
                DatabaseGrant { role: None, privilege: "ALL ON DATABASE x TO y;".to_owned(), grantable: false },
            ]),
        };
        assert_eq!(
            properties.statements("a\"; DROP"),
            "BEGIN;\n\
             ALTER DATABASE \"a\"\"; DROP\" SET \"search_path\" TO 'a b', 'public';\n\
             ALTER ROLE \"r\" IN DATABASE \"a\"\"; DROP\" SET \"my\".\"thing\" TO 'it''s';\n\
             REVOKE ALL ON DATABASE \"a\"\"; DROP\" FROM PUBLIC;\n\
             GRANT CONNECT ON DATABASE \"a\"\"; DROP\" TO PUBLIC;\n\
             ALTER DATABASE \"a\"\"; DROP\" OWNER TO \"sh\"\"op\";\n\
             COMMIT;\n"
        );
    }
}
