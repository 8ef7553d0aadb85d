//! Looking at instances. Changes nothing.

use dxdr_plan::instance::{InstanceSeen, InstanceUse};
use dxdr_provider::{InstanceError, Instances};

use super::operation_of;

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
        window: window.map(|window| (window.earliest, window.latest)),
        databases,
        operations,
    })
}
