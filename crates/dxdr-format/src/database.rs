//! What a database was like, as manifests and journals write it.

use dxdr_environment::database as model;
use serde::{Deserialize, Serialize};

/// The facts of a database. Fields may be added.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DatabaseFacts {
    engine: String,
    version: String,
    program: String,
    database: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    owner: String,
    encoding: String,
    collation: String,
    character_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    locale_provider: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icu_locale: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    builtin_locale: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    extensions: Vec<Extension>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    roles: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    settings: Vec<Setting>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grants: Option<Vec<Grant>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    coordinates: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replica: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Extension {
    name: String,
    version: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Setting {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    name: String,
    value: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Grant {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    privilege: String,
    #[serde(default)]
    grantable: bool,
}

impl From<model::DatabaseFacts> for DatabaseFacts {
    fn from(facts: model::DatabaseFacts) -> Self {
        let extensions = facts.extensions.into_iter().map(|(name, version)| Extension { name, version });
        let settings =
            facts.settings.into_iter().map(|model::DatabaseSetting { role, name, value }| Setting { role, name, value });
        let grant = |model::DatabaseGrant { role, privilege, grantable }| Grant { role, privilege, grantable };
        Self {
            engine: facts.engine,
            version: facts.version,
            program: facts.program,
            database: facts.database,
            size: facts.size,
            owner: facts.owner,
            encoding: facts.encoding,
            collation: facts.collation,
            character_type: facts.character_type,
            locale_provider: facts.locale_provider,
            icu_locale: facts.icu_locale,
            builtin_locale: facts.builtin_locale,
            comment: facts.comment,
            extensions: extensions.collect(),
            roles: facts.roles,
            settings: settings.collect(),
            grants: facts.grants.map(|grants| grants.into_iter().map(grant).collect()),
            coordinates: facts.coordinates,
            replica: facts.replica,
        }
    }
}

impl From<DatabaseFacts> for model::DatabaseFacts {
    fn from(facts: DatabaseFacts) -> Self {
        let settings =
            facts.settings.into_iter().map(|Setting { role, name, value }| model::DatabaseSetting { role, name, value });
        let grant = |Grant { role, privilege, grantable }| model::DatabaseGrant { role, privilege, grantable };
        Self {
            engine: facts.engine,
            version: facts.version,
            program: facts.program,
            database: facts.database,
            size: facts.size,
            owner: facts.owner,
            encoding: facts.encoding,
            collation: facts.collation,
            character_type: facts.character_type,
            locale_provider: facts.locale_provider,
            icu_locale: facts.icu_locale,
            builtin_locale: facts.builtin_locale,
            comment: facts.comment,
            extensions: facts.extensions.into_iter().map(|Extension { name, version }| (name, version)).collect(),
            roles: facts.roles,
            settings: settings.collect(),
            grants: facts.grants.map(|grants| grants.into_iter().map(grant).collect()),
            coordinates: facts.coordinates,
            replica: facts.replica,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_it_was_a_replica_is_written_and_without_a_word_it_was_none() {
        let facts = |replica| DatabaseFacts::from(model::DatabaseFacts { replica, ..model::DatabaseFacts::default() });
        let text = serde_json::to_string(&facts(true)).unwrap();
        assert!(text.contains(r#""replica":true"#), "{text}");
        let read: model::DatabaseFacts = serde_json::from_str::<DatabaseFacts>(&text).unwrap().into();
        assert!(read.replica);
        let text = serde_json::to_string(&facts(false)).unwrap();
        assert!(!text.contains("replica"), "{text}");
        assert!(!model::DatabaseFacts::from(serde_json::from_str::<DatabaseFacts>(&text).unwrap()).replica);
    }
}
