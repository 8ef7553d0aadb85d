//! The API's words into ours.

use dxdr_environment::InstanceName;
use dxdr_provider::instance::{BackupOrigin, Instance, InstanceBackup, InstanceOperation, OperationState, Rows};
use google_cloud_sql_v1::model;
use google_cloud_wkt::Timestamp;

use crate::failure;

/// The flag of PostgreSQL's instances that lets accounts log in.
const IAM_LOGIN: &str = "cloudsql.iam_authentication";

pub(crate) fn instance(project: &str, instance: &model::DatabaseInstance) -> Instance {
    let settings = instance.settings.clone().unwrap_or_default();
    let backup = settings.backup_configuration.clone().unwrap_or_default();
    let activation = settings.activation_policy.name().unwrap_or_default();
    let state = instance.state.name().unwrap_or("UNKNOWN").to_owned();
    Instance {
        name: InstanceName::new(project, instance.name.clone()),
        version: instance.database_version.name().unwrap_or("UNKNOWN").to_owned(),
        stopped: activation == "NEVER" || state == "SUSPENDED",
        state,
        region: instance.region.clone(),
        service_account: instance.service_account_email_address.clone(),
        deletion_protection: settings.deletion_protection_enabled.unwrap_or_default(),
        automatic_backups: backup.enabled.unwrap_or_default(),
        log_kept: backup.point_in_time_recovery_enabled.unwrap_or_default() || backup.binary_log_enabled.unwrap_or_default(),
        log_days: backup.transaction_log_retention_days.and_then(|days| u32::try_from(days).ok()),
        statements_allowed: settings.data_api_access.is_some_and(|access| access.name() == Some("ALLOW_DATA_API")),
        account_login: settings.database_flags.iter().any(|flag| flag.name == IAM_LOGIN && flag.value == "on"),
        labels: settings.user_labels.into_iter().collect(),
        disk_gigabytes: settings.data_disk_size_gb.and_then(|size| u64::try_from(size).ok()),
        created: instance.create_time.and_then(instant),
    }
}

pub(crate) fn operation(project: &str, operation: &model::Operation, description: Option<String>) -> InstanceOperation {
    let status = operation.status.name().unwrap_or_default();
    let state = match (status, &operation.error) {
        ("DONE", Some(errors)) => {
            let instance = InstanceName::new(project, operation.target_id.clone());
            let export = operation.export_context.as_ref().map(|export| export.uri.as_str());
            let uri = export.or_else(|| operation.import_context.as_ref().map(|import| import.uri.as_str()));
            OperationState::Failed(failure::of_operation(&instance, uri, errors))
        }
        ("DONE", None) => OperationState::Succeeded,
        ("PENDING", _) => OperationState::Pending,
        // What is unknown is not over.
        _ => OperationState::Running,
    };
    let (export, import) = (operation.export_context.as_ref(), operation.import_context.as_ref());
    let imported = import.map(|import| vec![import.database.clone()]);
    InstanceOperation {
        name: operation.name.clone(),
        kind: operation.operation_type.name().unwrap_or("UNKNOWN").to_owned(),
        uri: export.map(|export| export.uri.clone()).or_else(|| import.map(|import| import.uri.clone())),
        databases: export.map(|export| export.databases.clone()).or(imported).unwrap_or_default(),
        offloaded: export.and_then(|export| export.offload).unwrap_or_default(),
        target: operation.target_id.clone(),
        description,
        user: operation.user.clone(),
        accepted: operation.insert_time.and_then(instant),
        started: operation.start_time.and_then(instant),
        ended: operation.end_time.and_then(instant),
        state,
    }
}

/// Whether a backup is of this instance, which it names with its project or without.
pub(crate) fn is_of(backup: &model::Backup, instance: &InstanceName) -> bool {
    let (project, name) = (&instance.project, &instance.instance);
    backup.instance == *name
        || backup.instance == format!("{project}:{name}")
        || backup.instance == format!("projects/{project}/instances/{name}")
}

pub(crate) fn backup(backup: &model::Backup) -> InstanceBackup {
    let between = backup.backup_interval.clone().unwrap_or_default();
    let expires = match &backup.expiration {
        Some(model::backup::Expiration::ExpiryTime(at)) => instant(**at),
        _ => None,
    };
    InstanceBackup {
        name: backup.name.clone(),
        origin: match backup.r#type.name().unwrap_or_default() {
            "AUTOMATED" => BackupOrigin::Automatic,
            "ON_DEMAND" => BackupOrigin::Requested,
            "FINAL" => BackupOrigin::Final,
            _ => BackupOrigin::Other,
        },
        description: backup.description.clone(),
        whole: backup.state.name() == Some("SUCCESSFUL"),
        started: between.start_time.and_then(instant),
        ended: between.end_time.and_then(instant),
        size: backup.max_chargeable_bytes.and_then(|size| u64::try_from(size).ok()),
        expires,
    }
}

/// The rows of a query that was asked for `most`. Whether the service says that a result was cut off there is documented nowhere: what is full
/// may have been.
pub(crate) fn rows(result: model::QueryResult, most: u32) -> Rows {
    let value = |value: model::Value| (!value.null_value).then_some(value.value);
    Rows {
        truncated: result.partial_result || result.rows.len() >= most as usize,
        columns: result.columns.into_iter().map(|column| column.name).collect(),
        values: result.rows.into_iter().map(|row| row.values.into_iter().map(value).collect()).collect(),
    }
}

pub(crate) fn instant(timestamp: Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::new(timestamp.seconds(), timestamp.nanos()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_that_is_full_counts_as_cut_off_whatever_the_service_says() {
        let of = |rows: usize, partial: bool| {
            let row = model::Row::new().set_values([model::Value::new().set_value("1")]);
            model::QueryResult::new().set_rows(vec![row; rows]).set_partial_result(partial)
        };
        for (rows_found, partial, truncated) in [(1, false, false), (1, true, true), (2, false, true)] {
            assert_eq!(rows(of(rows_found, partial), 2).truncated, truncated, "{rows_found} {partial}");
        }
    }
}
