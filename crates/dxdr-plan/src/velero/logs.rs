//! On which instances databases were when Velero made a backup, whose point names an instant in their logs.
//!
//! Who makes a recovery point of a backup comes later, and a manifest says where a database is now. So the Schedule says it, in an annotation, which Velero copies to each
//! Backup that it makes.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::backup::{
    DatabaseFate, DatabasePlan,
    database::{parameters, recorded},
};

/// Annotation of Schedules and Backups: the databases whose instance's log is relied on, as journals have them.
pub(super) const ANNOTATION: &str = "dxdr.io/database-logs";

/// What the annotation says, also where it is nothing: what is not written any more would stay in the cluster.
pub(super) fn annotation(databases: &[DatabasePlan]) -> Value {
    let logs: Vec<DatabasePlan> = databases.iter().filter(|database| database.log().is_some()).cloned().collect();
    parameters(&logs).to_string().into()
}

/// The databases in logs, as the annotations of a backup have them; `None` where they do not say, or cannot be understood.
pub fn logs_then(annotations: &BTreeMap<String, String>) -> Option<Vec<DatabasePlan>> {
    let logs = recorded(&serde_json::from_str(annotations.get(ANNOTATION)?).ok()?)?;
    logs.iter().all(|database| database.log().is_some()).then_some(logs)
}

/// What became of databases in a backup with these annotations, of which a manifest says `now`. An instant in a log is named of the instance that the backup says, and of no other.
pub fn databases_then(annotations: &BTreeMap<String, String>, now: &[DatabasePlan]) -> Vec<DatabasePlan> {
    let mut then = logs_then(annotations).unwrap_or_default();
    let told: Vec<String> = then.iter().map(|database| database.unit.name.clone()).collect();
    then.extend(now.iter().filter_map(|database| match &database.fate {
        DatabaseFate::Log(_) if told.contains(&database.unit.name) => None,
        DatabaseFate::Log(_) => Some(DatabasePlan { fate: DatabaseFate::Unprotected(UNTOLD.to_owned()), ..database.clone() }),
        _ => Some(database.clone()),
    }));
    then
}

/// Why an instant in a log is not named, though the policy relies on it.
const UNTOLD: &str = "nothing says on which instance it was when Velero made the backup, whose Schedule was applied before it was said there, or before the policy relied on the \
    instance's log; `dxdr schedule apply` says it for backups to come";

#[cfg(test)]
mod tests {
    use dxdr_environment::{DatabaseLocation, DatabaseUnit};
    use dxdr_policy::{DatabaseMethod, DatabasePolicy};

    use super::*;
    use crate::backup::planned_databases;

    fn on(name: &str, instance: &str, method: DatabaseMethod) -> Vec<DatabasePlan> {
        let databases = vec![name.to_owned()];
        let location = DatabaseLocation::CloudSql { project: "p".to_owned(), instance: instance.to_owned(), databases };
        let unit = DatabaseUnit { name: name.to_owned(), database: Some(name.to_owned()), location };
        planned_databases(vec![unit], Some(DatabasePolicy::by(method)), Some("all"), None)
    }

    fn annotated(databases: &[DatabasePlan]) -> BTreeMap<String, String> {
        BTreeMap::from([(ANNOTATION.to_owned(), annotation(databases).as_str().unwrap().to_owned())])
    }

    #[test]
    fn an_instant_is_named_in_the_log_of_the_instance_of_then_and_nothing_else_of_then_counts() {
        let then = on("orders", "old", DatabaseMethod::Both);
        let log = then.iter().find(|database| database.log().is_some()).unwrap().clone();
        let moved = on("orders", "new", DatabaseMethod::PointInTime);
        assert_eq!(databases_then(&annotated(&then), &moved), std::slice::from_ref(&log));
        // What is promised by now beside it is lacking, and what is not promised any more was promised then.
        let exported = on("orders", "new", DatabaseMethod::Export);
        assert_eq!(databases_then(&annotated(&then), &exported), [log.clone(), exported[0].clone()]);
        assert_eq!(databases_then(&annotated(&then), &[]), [log]);
    }

    #[test]
    fn where_the_backup_does_not_say_the_instance_none_is_named() {
        let now = on("orders", "new", DatabaseMethod::PointInTime);
        let unreadable = BTreeMap::from([(ANNOTATION.to_owned(), "[{}]".to_owned())]);
        let of_another = annotated(&on("carts", "new", DatabaseMethod::PointInTime));
        for annotations in [BTreeMap::new(), annotated(&[]), unreadable, of_another] {
            let then = databases_then(&annotations, &now);
            let orders = then.iter().find(|database| database.unit.name == "orders").unwrap();
            let gap = orders.gap().unwrap();
            assert_eq!(gap.what, "database orders");
            assert!(gap.reason.contains("nothing says on which instance") && orders.log().is_none(), "{gap:?}");
        }
        // A dump in it is no log.
        let dumped =
            BTreeMap::from([(ANNOTATION.to_owned(), parameters(&on("orders", "i", DatabaseMethod::Export)).to_string())]);
        assert_eq!(logs_then(&dumped), None);
    }
}
