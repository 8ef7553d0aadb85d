//! Databases whose instance keeps a log: a point names the instant in it, and nothing of the database is in the point.

use dxdr_environment::{DatabaseUnit, InstanceName};
use dxdr_policy::{Consistency, DatabaseMethod, DatabasePolicy, References};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::database::{DatabaseFate, DatabasePlan, text};

/// Snapshots tell whole seconds, cut off: a volume may be that much newer than it says.
const WHOLE_SECOND: SignedDuration = SignedDuration::from_secs(1);

/// How what a point lacks begins, where it has no instant in a log.
const INSTANT_OF: &str = "the instant of ";

/// How the instant is chosen that a point names in the log of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPlan {
    /// The instance, which others may share.
    pub instance: InstanceName,
    /// What is wanted of the database and the volumes.
    pub consistency: Consistency,
    /// Which of the two points to the other.
    pub references: References,
}

impl LogPlan {
    /// What a point lacks without it. It names the instance: who looks again later may find the database on another one.
    pub fn what(&self, unit: &DatabaseUnit) -> String {
        format!("{INSTANT_OF}{unit} in the log of {}", self.instance)
    }

    /// Whether that is what a point lacks, of whatever database and instance.
    pub fn is_lacking(what: &str) -> bool {
        what.starts_with(INSTANT_OF)
    }

    /// What can be promised: no reference dangles, as far as the clocks of the storage and of the service agree. Nobody's database holds still.
    pub fn promise(&self) -> Consistency {
        self.consistency.min(Consistency::Aligned)
    }

    /// The instant, from those of the volumes and of the objects: what is pointed to is never older than what points to it.
    pub fn instant(&self, volumes: &[Timestamp], objects: Timestamp) -> Timestamp {
        let (first, last) = (volumes.iter().min().copied(), volumes.iter().max().copied());
        match (self.consistency, self.references, first.zip(last)) {
            (Consistency::Independent, ..) | (_, _, None) => objects,
            (_, References::DatabaseToVolumes, Some((first, _))) => first,
            (_, References::VolumesToDatabase, Some((_, last))) => last.checked_add(WHOLE_SECOND).unwrap_or(last),
        }
    }

    /// How it is chosen, in words.
    pub fn instant_text(&self, volumes: bool) -> &'static str {
        match (self.consistency, self.references, volumes) {
            (Consistency::Independent, ..) | (_, _, false) => "at which the objects were read",
            (_, References::DatabaseToVolumes, true) => {
                "of the first snapshot of a volume: rows name files, so the database has to be the older one"
            }
            (_, References::VolumesToDatabase, true) => {
                "behind the last snapshot of a volume: files name rows, so the volumes have to be older"
            }
        }
    }
}

/// What becomes of a database of Cloud SQL by its instance's log, where the policy relies on that.
pub(super) fn planned(unit: &DatabaseUnit, instance: &InstanceName, policy: DatabasePolicy) -> Option<DatabasePlan> {
    matches!(policy.method, DatabaseMethod::PointInTime | DatabaseMethod::Both).then(|| DatabasePlan {
        unit: unit.clone(),
        fate: DatabaseFate::Log(LogPlan {
            instance: instance.clone(),
            consistency: policy.consistency,
            references: policy.references,
        }),
    })
}

/// For a journal.
pub(super) fn parameters(log: &LogPlan) -> Value {
    json!({
        "project": log.instance.project, "instance": log.instance.instance, "consistency": log.consistency.word(),
        "references": log.references.word(),
    })
}

/// What a journal has; `None` where something is missing.
pub(super) fn recorded(value: &Value) -> Option<LogPlan> {
    Some(LogPlan {
        instance: InstanceName::new(text(value, "/project")?, text(value, "/instance")?),
        consistency: Consistency::of_word(&text(value, "/consistency")?)?,
        references: References::of_word(&text(value, "/references")?)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn what_is_pointed_to_is_never_older_than_what_points_to_it() {
        let log = |consistency, references| LogPlan { instance: InstanceName::new("p", "i"), consistency, references };
        let (rows, files) = (References::DatabaseToVolumes, References::VolumesToDatabase);
        let volumes = [at(12), at(10), at(11)];
        for level in [Consistency::Aligned, Consistency::Quiesced, Consistency::Logged] {
            assert_eq!(log(level, rows).instant(&volumes, at(20)), at(10));
            // The last snapshot may have been cut up to a second behind what it says.
            assert_eq!(log(level, files).instant(&volumes, at(20)), at(13));
            assert_eq!(log(level, rows).instant(&[], at(20)), at(20));
            assert_eq!(log(level, rows).promise(), Consistency::Aligned);
        }
        assert_eq!(log(Consistency::Independent, rows).instant(&volumes, at(20)), at(20));
        assert_eq!(log(Consistency::Independent, rows).promise(), Consistency::Independent);
        let plan = log(Consistency::Logged, files);
        assert_eq!(recorded(&parameters(&plan)), Some(plan));
    }
}
