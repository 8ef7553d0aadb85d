//! Instances, and the databases on them.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    failure::Failure,
    postgresql::{Cluster, SqlError},
};

/// How an instance is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// `POSTGRES_15`
    pub version: String,
    /// `europe-west1`
    pub region: String,
    /// `RUNNABLE`, `SUSPENDED`, `MAINTENANCE`.
    pub state: String,
    /// `ALWAYS`, or `NEVER`: somebody stopped it.
    pub activation: String,
    /// The account that reads and writes buckets.
    pub service_account: String,
    /// The bearer token of that account at Cloud Storage, if it needs one.
    pub storage_token: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it may not be deleted.
    pub deletion_protection: bool,
    /// Whether it is backed up every day.
    pub backups: bool,
    /// Whether its backups stay when it is deleted.
    pub retains_backups: bool,
    /// For how long its log is kept; `None`: not at all.
    pub log: Option<SignedDuration>,
    /// Gigabytes.
    pub disk: u64,
    /// Whether `executeSql` is allowed.
    pub data_api: bool,
    /// Whether exports say who owns what, and who may do what with it: whether those of the service do is documented nowhere.
    pub owners_in_exports: bool,
    /// Whether accounts may log in as themselves.
    pub account_login: bool,
}

impl Default for Instance {
    fn default() -> Self {
        Self {
            version: "POSTGRES_15".to_owned(),
            region: "europe-west1".to_owned(),
            state: "RUNNABLE".to_owned(),
            activation: "ALWAYS".to_owned(),
            service_account: "p123-abc@gcp-sa-cloud-sql.iam.gserviceaccount.com".to_owned(),
            storage_token: None,
            labels: BTreeMap::new(),
            deletion_protection: true,
            backups: true,
            retains_backups: false,
            log: Some(SignedDuration::from_hours(24 * 7)),
            disk: 10,
            data_api: true,
            owners_in_exports: true,
            account_login: true,
        }
    }
}

impl Instance {
    /// Whether anything can be done on it.
    pub(crate) fn runs(&self) -> bool {
        self.activation == "ALWAYS" && self.state == "RUNNABLE"
    }

    /// Takes the settings that are named.
    pub(crate) fn patch(&mut self, settings: &Value) {
        for (key, value) in settings["userLabels"].as_object().into_iter().flatten() {
            self.labels.insert(key.clone(), value.as_str().unwrap_or_default().to_owned());
        }
        if let Some(protection) = settings["deletionProtectionEnabled"].as_bool() {
            self.deletion_protection = protection;
        }
    }

    pub(crate) fn json(&self, project: &str, name: &str, created: Timestamp) -> Value {
        let days = self.log.map(|log| log.as_hours() / 24);
        json!({
            "kind": "sql#instance",
            "project": project,
            "name": name,
            "connectionName": format!("{project}:{}:{name}", self.region),
            "state": self.state,
            "databaseVersion": self.version,
            "region": self.region,
            "serviceAccountEmailAddress": self.service_account,
            "createTime": created.to_string(),
            "instanceType": "CLOUD_SQL_INSTANCE",
            "backendType": "SECOND_GEN",
            "settings": {
                "kind": "sql#settings",
                "settingsVersion": "1",
                "activationPolicy": self.activation,
                "dataDiskSizeGb": self.disk.to_string(),
                "deletionProtectionEnabled": self.deletion_protection,
                "retainBackupsOnDelete": self.retains_backups,
                "userLabels": self.labels,
                "dataApiAccess": if self.data_api { "ALLOW_DATA_API" } else { "DISALLOW_DATA_API" },
                "databaseFlags": [{"name": "cloudsql.iam_authentication", "value": if self.account_login { "on" } else { "off" }}],
                "backupConfiguration": {
                    "kind": "sql#backupConfiguration",
                    "enabled": self.backups,
                    "startTime": "02:00",
                    "pointInTimeRecoveryEnabled": self.log.is_some(),
                    "transactionLogRetentionDays": days,
                },
            },
        })
    }
}

/// A statement that was executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statement {
    pub(crate) at: Timestamp,
    pub(crate) text: String,
}

/// What an instance held until its databases, or what they are called, changed.
#[derive(Debug, Clone)]
pub(crate) struct Earlier {
    until: Timestamp,
    databases: BTreeMap<String, Vec<Statement>>,
    comments: BTreeMap<String, String>,
}

/// An instance with what is on it.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) instance: Instance,
    pub(crate) created: Timestamp,
    /// The server that it really is. `None`: it is what follows.
    pub(crate) server: Option<Arc<Cluster>>,
    pub(crate) databases: BTreeMap<String, Vec<Statement>>,
    /// What people wrote about databases, by their names.
    pub(crate) comments: BTreeMap<String, String>,
    pub(crate) users: Vec<String>,
    /// Oldest first.
    pub(crate) earlier: Vec<Earlier>,
}

impl Machine {
    pub(crate) fn new(instance: Instance, created: Timestamp) -> Self {
        let databases = BTreeMap::from([("postgres".to_owned(), Vec::new())]);
        let (comments, users) = (BTreeMap::new(), vec!["postgres".to_owned()]);
        Self { instance, created, server: None, databases, comments, users, earlier: Vec::new() }
    }

    /// What its databases are called. A server is asked, so that nobody must hold the state meanwhile.
    pub(crate) fn database_names(&self) -> Result<Vec<String>, Failure> {
        match &self.server {
            Some(server) => server.database_names().map_err(does_not_answer),
            None => Ok(self.databases.keys().cloned().collect()),
        }
    }

    /// What its users are called.
    pub(crate) fn user_names(&self) -> Result<Vec<String>, Failure> {
        match &self.server {
            Some(server) => server.user_names().map_err(does_not_answer),
            None => Ok(self.users.clone()),
        }
    }

    /// Whether it has a database.
    pub(crate) fn has_database(&self, name: &str) -> Result<bool, Failure> {
        Ok(self.database_names()?.iter().any(|own| own == name))
    }

    /// From when to when a clone can be made.
    pub(crate) fn window(&self, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let log = self.instance.log?;
        let first = now.saturating_sub(log).unwrap_or(self.created);
        Some((first.max(self.created), now))
    }

    /// Keeps what it holds, before databases come, go, or are called otherwise.
    pub(crate) fn keep(&mut self, now: Timestamp) {
        self.earlier.push(Earlier { until: now, databases: self.databases.clone(), comments: self.comments.clone() });
    }

    /// Has it hold what `source` held.
    pub(crate) fn become_as_of(&mut self, source: &Self, at: Timestamp) {
        let earlier = source.earlier.iter().find(|earlier| at < earlier.until);
        let (databases, comments) =
            earlier.map_or((&source.databases, &source.comments), |earlier| (&earlier.databases, &earlier.comments));
        let executed = |statements: &Vec<Statement>| statements.iter().filter(|statement| statement.at <= at).cloned().collect();
        self.databases = databases.iter().map(|(name, statements)| (name.clone(), executed(statements))).collect();
        self.comments.clone_from(comments);
    }
}

fn does_not_answer(error: SqlError) -> Failure {
    Failure::new(503, "backendError", error.0)
}

/// First line of what an export writes.
const DUMP: &str = "--\n-- PostgreSQL database dump\n--\n\n";
/// Between two statements.
const BETWEEN: &str = "\n-- statement\n";

/// A database as text.
pub(crate) fn dump(statements: &[Statement]) -> String {
    let texts: Vec<&str> = statements.iter().map(|statement| statement.text.as_str()).collect();
    format!("{DUMP}{}\n", texts.join(BETWEEN))
}

/// The statements of such a text; `None` when it is none.
pub(crate) fn read_dump(text: &str) -> Option<Vec<String>> {
    let body = text.strip_prefix(DUMP)?.strip_suffix('\n')?;
    if body.is_empty() {
        return Some(Vec::new());
    }
    Some(body.split(BETWEEN).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_reads_back_as_what_was_written() {
        for statements in
            [vec![], vec!["create table a (b int)"], vec!["insert into a values (1)", "insert into a values ('\n--')"]]
        {
            let written: Vec<Statement> =
                statements.iter().map(|text| Statement { at: Timestamp::UNIX_EPOCH, text: (*text).to_owned() }).collect();
            assert_eq!(read_dump(&dump(&written)).unwrap(), statements);
        }
        assert_eq!(read_dump("PGDMP"), None);
    }
}
