//! Databases of Cloud SQL whose point is an instant in their instance's log: nothing is copied, and what is looked at is how far the log goes.

use std::{collections::BTreeMap, sync::Arc};

use dxdr_catalog::{Interval, KeptLog};
use dxdr_environment::InstanceName;
use dxdr_plan::{
    backup::{DatabasePlan, LogPlan},
    instance::CLOCK_SKEW,
};
use dxdr_provider::{InstanceError, instance::RecoveryWindow};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

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
    instances: &InstanceLogs,
    databases: &[DatabasePlan],
    volumes: &[Timestamp],
    objects: Timestamp,
) -> Dumped {
    let mut dumped = Dumped::default();
    for (database, log) in databases.iter().filter_map(|database| Some((database, database.log()?))) {
        let instant = log.instant(volumes, objects);
        match instances.of_instance(&log.instance).await.and_then(|reach| reach.kept(&log.instance, instant)) {
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

/// How far the logs of instances go. Each is asked for once, however many points name an instant in it.
pub struct InstanceLogs {
    access: Option<Arc<dyn InstanceAccess>>,
    asked: Mutex<BTreeMap<InstanceName, Result<Reach, String>>>,
}

/// How far a log goes.
#[derive(Debug, Clone, Copy)]
struct Reach {
    window: RecoveryWindow,
    /// How many days it is kept.
    days: u32,
}

impl InstanceLogs {
    /// By that way to the service, if there is one.
    pub fn of(access: Option<Arc<dyn InstanceAccess>>) -> Self {
        Self { access, asked: Mutex::default() }
    }

    /// An error is why nobody knows, with what to do.
    async fn of_instance(&self, instance: &InstanceName) -> Result<Reach, String> {
        // Held while it is asked: who wants to know the same meanwhile waits for the answer.
        let mut asked = self.asked.lock().await;
        if let Some(known) = asked.get(instance) {
            return known.clone();
        }
        let found = self.look(instance).await;
        asked.insert(instance.clone(), found.clone());
        found
    }

    async fn look(&self, instance: &InstanceName) -> Result<Reach, String> {
        let Some(access) = &self.access else {
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
        Ok(Reach { window, days })
    }
}

impl Reach {
    /// From when to when the log goes, and until when `instant` stays in it; an error is why it is not in it.
    fn kept(self, instance: &InstanceName, instant: Timestamp) -> Result<KeptLog, String> {
        let RecoveryWindow { earliest, latest } = self.window;
        if instant < earliest {
            return Err(format!(
                "the log of {instance} begins at {earliest:.0}, behind the instant {instant:.0}; take another point"
            ));
        }
        let kept = SignedDuration::from_hours(24 * i64::from(self.days));
        Ok(KeptLog { earliest, latest, until: instant.checked_add(kept).unwrap_or(Timestamp::MAX), database: None })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use dxdr_environment::{DatabaseLocation, DatabaseUnit};
    use dxdr_plan::backup::planned_databases;
    use dxdr_policy::{DatabaseMethod, DatabasePolicy};
    use dxdr_provider::Instances;

    use super::*;

    /// A service that nobody reaches, and how often that was tried.
    #[derive(Default)]
    struct Away(AtomicUsize);

    #[async_trait]
    impl InstanceAccess for Away {
        async fn connect(&self) -> Result<Arc<dyn Instances>, String> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Err("nobody answers".to_owned())
        }
    }

    #[tokio::test]
    async fn an_instance_is_asked_once_however_many_points_name_an_instant_in_its_log() {
        let unit = |name: &str, instance: &str| DatabaseUnit {
            name: name.to_owned(),
            database: Some(name.to_owned()),
            location: DatabaseLocation::CloudSql {
                project: "p".to_owned(),
                instance: instance.to_owned(),
                databases: vec![name.to_owned()],
            },
        };
        let units = vec![unit("orders", "one"), unit("carts", "one"), unit("stock", "two")];
        let databases = planned_databases(units, Some(DatabasePolicy::by(DatabaseMethod::PointInTime)), Some("all"), None);
        let service = Arc::new(Away::default());
        let instances = InstanceLogs::of(Some(service.clone()));
        for second in 0..3 {
            let logged = logs(&instances, &databases, &[], Timestamp::from_second(second).unwrap()).await;
            let gaps: Vec<String> = logged.gaps().map(|gap| format!("{}: {}", gap.what, gap.reason)).collect();
            assert_eq!(gaps.len(), 3);
            assert_eq!(gaps[2], "the instant of database stock in the log of projects/p/instances/two: nobody answers");
        }
        assert_eq!(service.0.load(Ordering::SeqCst), 2, "once an instance");
    }
}
