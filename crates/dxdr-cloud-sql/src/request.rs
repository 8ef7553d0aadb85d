//! What is asked of the service, in its words.

use std::collections::BTreeMap;

use dxdr_environment::InstanceName;
use dxdr_provider::instance::InstanceRequest;
use google_cloud_sql_v1::model;
use google_cloud_wkt::Timestamp;

/// The kinds of server that exports differ by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    PostgreSql,
    MySql,
    SqlServer,
}

impl Engine {
    /// Of `POSTGRES_15`; what is unknown is taken for PostgreSQL, whose exports need no special words.
    pub(crate) fn of(version: &str) -> Self {
        if version.starts_with("MYSQL") {
            Self::MySql
        } else if version.starts_with("SQLSERVER") {
            Self::SqlServer
        } else {
            Self::PostgreSql
        }
    }
}

/// Without `clean`: what is imported into a database that is not empty is to fail, not to replace what is there.
pub(crate) fn export(database: &str, uri: &str, offload: bool, engine: Engine) -> model::ExportContext {
    let context =
        model::ExportContext::new().set_kind("sql#exportContext").set_uri(uri).set_databases([database]).set_offload(offload);
    match engine {
        Engine::PostgreSql => context.set_file_type(model::SqlFileType::Sql),
        // The position in the binary log, as a comment.
        Engine::MySql => {
            let options = model::export_context::SqlExportOptions::new().set_mysql_export_options(
                model::export_context::sql_export_options::MysqlExportOptions::new().set_master_data(2),
            );
            context.set_file_type(model::SqlFileType::Sql).set_sql_export_options(options)
        }
        Engine::SqlServer => context.set_file_type(model::SqlFileType::Bak),
    }
}

pub(crate) fn import(database: &str, uri: &str, engine: Engine) -> model::ImportContext {
    let file_type = if engine == Engine::SqlServer { model::SqlFileType::Bak } else { model::SqlFileType::Sql };
    model::ImportContext::new().set_kind("sql#importContext").set_uri(uri).set_database(database).set_file_type(file_type)
}

pub(crate) fn clone(destination: &str, at: Option<jiff::Timestamp>) -> model::CloneContext {
    let context = model::CloneContext::new().set_kind("sql#cloneContext").set_destination_instance_name(destination);
    match at {
        Some(at) => context.set_point_in_time(Timestamp::clamp(at.as_second(), at.subsec_nanosecond())),
        None => context,
    }
}

/// With settings that only a new instance can have: nothing is to be restored over one that is there.
pub(crate) fn restore(
    instance: &InstanceName,
    backup: &str,
    labels: &BTreeMap<String, String>,
) -> model::InstancesRestoreBackupRequest {
    let labels = labels.iter().map(|(key, value)| (key.clone(), value.clone()));
    let settings = model::Settings::new().set_user_labels(labels).set_deletion_protection_enabled(false);
    let new = model::DatabaseInstance::new().set_name(&instance.instance).set_project(&instance.project).set_settings(settings);
    model::InstancesRestoreBackupRequest::new().set_backup(backup).set_restore_instance_settings(new)
}

/// Whether a name means the same when it is a part of a URL. The client puts it there as it is, encodes most of what has to be, and leaves what is encoded
/// or a separator: `a%62c` would be another database's name, and so would what is behind `..`.
pub(crate) fn names_itself(database: &str) -> bool {
    !matches!(database, "" | "." | "..")
        && !database.contains(|letter: char| matches!(letter, '/' | '\\' | '%') || letter.is_control())
}

/// What was tried, for errors, and the permission that it takes.
pub(crate) fn action(request: &InstanceRequest) -> (&'static str, &'static str) {
    match request {
        InstanceRequest::Export { .. } => ("export", "cloudsql.instances.export"),
        InstanceRequest::Import { .. } => ("import into", "cloudsql.instances.import"),
        InstanceRequest::Backup { .. } => ("back up", "cloudsql.backupRuns.create"),
        InstanceRequest::Clone { .. } => ("clone", "cloudsql.instances.clone"),
        InstanceRequest::Restore { .. } => ("make", "cloudsql.instances.restoreBackup"),
        InstanceRequest::DeleteBackup { .. } => ("delete", "cloudsql.backupRuns.delete"),
        InstanceRequest::CreateDatabase { .. } => ("create", "cloudsql.databases.create"),
        InstanceRequest::DeleteDatabase { .. } => ("delete", "cloudsql.databases.delete"),
        InstanceRequest::Label { .. } => ("label", "cloudsql.instances.update"),
        InstanceRequest::Delete => ("delete", "cloudsql.instances.delete"),
    }
}

/// What it was tried with, for errors.
pub(crate) fn subject(instance: &InstanceName, request: &InstanceRequest) -> String {
    match request {
        InstanceRequest::Export { database, .. }
        | InstanceRequest::Import { database, .. }
        | InstanceRequest::CreateDatabase { database }
        | InstanceRequest::DeleteDatabase { database } => format!("database `{database}` of `{instance}`"),
        InstanceRequest::Restore { backup, .. } => format!("instance `{instance}` out of backup `{backup}`"),
        InstanceRequest::DeleteBackup { backup } => format!("backup `{backup}` of `{instance}`"),
        _ => format!("instance `{instance}`"),
    }
}
