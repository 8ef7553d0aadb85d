//! What an instance of a database service can be brought back to, as it was looked at.

use jiff::Timestamp;

use super::choice::Window;

/// What an instance can be brought back to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovery {
    /// From when to when it can be cloned.
    pub window: Option<Window>,
    /// Backups of it that are whole.
    pub backups: Vec<SeenBackup>,
    /// Why nobody knows which there are.
    pub no_backups: Option<String>,
    /// Whether it is not there any more.
    pub gone: bool,
}

/// A backup that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenBackup {
    /// The service's name for it.
    pub name: String,
    /// Everything that was written up to then is in it.
    pub started: Timestamp,
    /// Nothing that was written later is in it.
    pub ended: Timestamp,
}

impl Recovery {
    /// The newest backup in which nothing is later than `instant`: whoever goes back to an instant goes back behind what happened after it.
    pub fn newest_by(&self, instant: Timestamp) -> Option<&SeenBackup> {
        self.backups.iter().filter(|backup| backup.ended <= instant).max_by_key(|backup| (backup.started, &backup.name))
    }

    /// The first backup that there is.
    pub fn first(&self) -> Option<&SeenBackup> {
        self.backups.iter().min_by_key(|backup| (backup.started, &backup.name))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_714_557_600 + second).unwrap()
    }

    proptest! {
        #[test]
        fn no_backup_that_holds_nothing_later_loses_less(
            spans in proptest::collection::vec((0_i64..20, 0_i64..5), 0..8), instant in 0_i64..25,
        ) {
            let backup = |(number, (started, took)): (usize, &(i64, i64))| {
                SeenBackup { name: number.to_string(), started: at(*started), ended: at(started + took) }
            };
            let recovery = Recovery { backups: spans.iter().enumerate().map(backup).collect(), ..Recovery::default() };
            // What each would lose, in seconds; those that hold something later do not count.
            let losses: Vec<i64> = spans.iter().filter(|(started, took)| started + took <= instant).map(|(started, _)| instant - started).collect();
            let chosen = recovery.newest_by(at(instant)).map(|backup| at(instant).duration_since(backup.started).as_secs());
            prop_assert_eq!(chosen, losses.into_iter().min());
        }
    }
}
