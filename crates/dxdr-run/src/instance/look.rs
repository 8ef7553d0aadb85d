//! Looking at instances. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use dxdr_environment::InstanceName;
use dxdr_plan::{
    instance::{DatabaseSeen, InstanceExamined, InstanceSeen, InstanceUse, PERMISSIONS},
    readiness::Trouble,
};
use dxdr_provider::{InstanceError, InstanceErrorKind, Instances};

use super::{
    operation_of,
    statement::{self, ADMINISTRATION, plainly},
};

/// Looks at an instance that environments use.
pub async fn look(instances: &dyn Instances, used: &InstanceUse) -> Result<InstanceSeen, InstanceError> {
    let name = &used.instance;
    let found = instances.instance(name).await?;
    // Of one that is stopped, the service shows neither databases nor a window.
    let (databases, window) = if found.stopped {
        (Vec::new(), None)
    } else {
        (instances.databases(name).await?, instances.recovery_window(name).await?)
    };
    let operations = instances.operations(name).await?.iter().map(operation_of).collect();
    Ok(InstanceSeen {
        version: found.version,
        state: found.state,
        stopped: found.stopped,
        region: found.region,
        service_account: found.service_account,
        deletion_protection: found.deletion_protection,
        automatic_backups: found.automatic_backups,
        statements_allowed: found.statements_allowed,
        account_login: found.account_login,
        window: window.map(|window| (window.earliest, window.latest)),
        databases,
        operations,
    })
}

/// Looks at an instance, at what we may do in its project, and into those of its databases that the model names. `told` says how an error is told.
pub async fn examine(
    instances: &dyn Instances,
    used: &InstanceUse,
    told: impl Fn(InstanceError) -> Trouble,
) -> Result<InstanceExamined, InstanceError> {
    let seen = look(instances, used).await?;
    let permissions = PERMISSIONS.map(|(permission, _)| permission);
    let granted = instances.granted(&used.instance.project, &permissions).await.map_err(&told);
    // Of one that is stopped the service shows none, and it is not looked at further.
    let users = if seen.stopped { Ok(Vec::new()) } else { instances.users(&used.instance).await.map_err(&told) };
    let (mut administration, mut databases) = (None, BTreeMap::new());
    // Where statements are not allowed, each would say so again.
    if !seen.stopped && seen.is_postgresql() && seen.statements_allowed && seen.account_login {
        administration = Some(described(instances, used, ADMINISTRATION).await.map_err(&told));
        let named: BTreeSet<&String> = used.parts.iter().flat_map(|part| &part.databases).collect();
        for name in named.into_iter().filter(|name| seen.databases.contains(name)) {
            databases.insert(name.clone(), described(instances, used, name).await.map_err(&told));
        }
    }
    Ok(InstanceExamined { seen, granted, users, administration, buckets: BTreeMap::new(), databases })
}

/// What to do about an answer of a server that is none to what it was asked.
pub(super) fn not_understood(instance: &InstanceName) -> String {
    let InstanceName { project, instance } = instance;
    format!(
        "`dxdr check --cloud` asks again; if it stays so, is `{instance}` of project `{project}` a plain PostgreSQL? `gcloud sql instances describe {instance} \
         --project {project}` says which version it has"
    )
}

async fn described(instances: &dyn Instances, used: &InstanceUse, database: &str) -> Result<DatabaseSeen, InstanceError> {
    let rows = instances.execute(&used.instance, database, &plainly(statement::DESCRIPTION)).await?;
    statement::description(&rows).ok_or_else(|| InstanceError {
        kind: InstanceErrorKind::Malformed,
        action: "look into",
        what: format!("database `{database}` of `{}`", used.instance),
        message: "what it says of itself is not understood".to_owned(),
        hint: Some(not_understood(&used.instance)),
        source: None,
    })
}
