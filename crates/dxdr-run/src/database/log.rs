//! Databases of Cloud SQL whose point is an instant in their instance's log: nothing is copied, and what is looked at is how far the log goes.

use dxdr_catalog::{Interval, KeptLog};
use dxdr_environment::InstanceName;
use dxdr_plan::{
    backup::{DatabasePlan, LogPlan},
    instance::CLOCK_SKEW,
};
use dxdr_provider::InstanceError;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Dumped, Failed};
use crate::{active::chain, instance::InstanceAccess};

/// An instant in a log, for the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OneLog {
    pub(super) name: String,
    pub(super) location: String,
    pub(super) instant: Timestamp,
    pub(super) consistency: String,
    pub(super) earliest: Timestamp,
    pub(super) latest: Timestamp,
    pub(super) until: Timestamp,
    pub(super) database: Option<String>,
}

impl OneLog {
    /// The service goes by its own clock, whoever chose the instant.
    pub(super) fn between(&self) -> Interval {
        Interval::told(self.instant).on_another_clock(CLOCK_SKEW)
    }

    pub(super) fn kept(&self) -> KeptLog {
        KeptLog { earliest: self.earliest, latest: self.latest, until: self.until, database: self.database.clone() }
    }
}

/// Fixes the instants, and looks at each log. `volumes` are the instants of the snapshots, `objects` is the one of the objects.
pub(crate) async fn logs(
    instances: Option<&dyn InstanceAccess>,
    databases: &[DatabasePlan],
    volumes: &[Timestamp],
    objects: Timestamp,
) -> Dumped {
    let mut dumped = Dumped::default();
    for (database, log) in databases.iter().filter_map(|database| Some((database, database.log()?))) {
        let instant = log.instant(volumes, objects);
        match look(instances, &log.instance, instant).await {
            Ok(kept) => {
                let kept = KeptLog { database: database.unit.database.clone(), ..kept };
                dumped.logs.push(one(database.unit.name.clone(), log, instant, kept));
            }
            Err(reason) => dumped.failed.push(Failed { what: log.what(&database.unit), reason }),
        }
    }
    dumped
}

fn one(name: String, log: &LogPlan, instant: Timestamp, kept: KeptLog) -> OneLog {
    OneLog {
        name,
        location: log.instance.to_string(),
        instant,
        consistency: log.promise().word().to_owned(),
        earliest: kept.earliest,
        latest: kept.latest,
        until: kept.until,
        database: kept.database,
    }
}

/// From when to when the log goes, and until when `instant` stays in it; an error is why not, with what to do.
async fn look(instances: Option<&dyn InstanceAccess>, instance: &InstanceName, instant: Timestamp) -> Result<KeptLog, String> {
    let Some(access) = instances else {
        return Err("this program has no way to Cloud SQL".to_owned());
    };
    let service = access.connect().await?;
    let told = |error: InstanceError| match &error.hint {
        Some(hint) => format!("{}; {hint}", chain(&error)),
        None => chain(&error),
    };
    let found = service.instance(instance).await.map_err(told)?;
    let window = service.recovery_window(instance).await.map_err(told)?;
    let Some((window, days)) = window.zip(found.log_days) else {
        let InstanceName { project, instance: name } = instance;
        return Err(format!(
            "the log of {instance} is not kept; `gcloud sql instances patch {name} --project {project} --enable-point-in-time-recovery` keeps it"
        ));
    };
    if instant < window.earliest {
        return Err(format!(
            "the log of {instance} begins at {:.0}, behind the instant {instant:.0}; take another point",
            window.earliest
        ));
    }
    let kept = SignedDuration::from_hours(24 * i64::from(days));
    let until = instant.checked_add(kept).unwrap_or(Timestamp::MAX);
    Ok(KeptLog { earliest: window.earliest, latest: window.latest, until, database: None })
}
