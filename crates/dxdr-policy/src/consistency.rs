//! How the instants of databases and volumes in one recovery point belong together.
//!
//! ```text
//! quiesce ──► [before] ──► snapshots of volumes ──► [behind] ──► thaw ──► [whenever] objects, dumps
//! ```
//!
//! A database's instant is fixed at one of the three places; its dump is read from there on, however long that takes. What a level
//! promises follows from the order of what was done, never from comparing clocks of different machines.

/// What is promised about a database and the volumes beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Consistency {
    /// Nothing but the skew.
    Independent,
    /// No reference in the policy's direction dangles.
    #[default]
    Aligned,
    /// Both are of a moment in which pods' hooks had the applications hold still.
    Quiesced,
    /// The same, and the database's own coordinates of the moment are kept.
    Logged,
}

impl Consistency {
    /// All of them, the weakest first.
    pub const ALL: [Self; 4] = [Self::Independent, Self::Aligned, Self::Quiesced, Self::Logged];

    /// As manifests write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Independent => "independent",
            Self::Aligned => "aligned",
            Self::Quiesced => "quiesced",
            Self::Logged => "logged",
        }
    }

    /// The level of that word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.word() == word)
    }

    /// Whether applications have to hold still for it.
    pub fn needs_hooks(self) -> bool {
        self >= Self::Quiesced
    }

    /// When a database's instant is fixed.
    pub fn hold_time(self, references: References) -> HoldTime {
        match (self, references) {
            (Self::Independent, _) => HoldTime::Whenever,
            (_, References::DatabaseToVolumes) => HoldTime::BeforeSnapshots,
            (_, References::VolumesToDatabase) => HoldTime::BehindSnapshots,
        }
    }
}

/// Which of the two points to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum References {
    /// Rows name files: a file is there before its row, so the database has to be the older one.
    #[default]
    DatabaseToVolumes,
    /// Files name rows: the volumes have to be older.
    VolumesToDatabase,
}

impl References {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::DatabaseToVolumes, Self::VolumesToDatabase];

    /// As manifests write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::DatabaseToVolumes => "databaseToVolumes",
            Self::VolumesToDatabase => "volumesToDatabase",
        }
    }

    /// The direction of that word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|direction| direction.word() == word)
    }

    /// What would dangle if the instants were the other way round.
    pub fn dangling(self) -> &'static str {
        match self {
            Self::DatabaseToVolumes => "rows may name files that the volumes do not have",
            Self::VolumesToDatabase => "files may name rows that the database does not have",
        }
    }
}

/// When the instant of a database is fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HoldTime {
    /// Just before the snapshots of volumes are asked for, behind the hooks before them.
    BeforeSnapshots,
    /// Just behind the last snapshot that was cut, before the hooks after them.
    BehindSnapshots,
    /// When the applications go on.
    Whenever,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pointed_to_is_never_older_than_what_points_to_it() {
        for level in [Consistency::Aligned, Consistency::Quiesced, Consistency::Logged] {
            assert_eq!(level.hold_time(References::DatabaseToVolumes), HoldTime::BeforeSnapshots);
            assert_eq!(level.hold_time(References::VolumesToDatabase), HoldTime::BehindSnapshots);
        }
        assert_eq!(Consistency::Independent.hold_time(References::DatabaseToVolumes), HoldTime::Whenever);
    }

    #[test]
    fn every_word_is_read_back() {
        assert!(Consistency::ALL.iter().all(|level| Consistency::of_word(level.word()) == Some(*level)));
        assert!(References::ALL.iter().all(|direction| References::of_word(direction.word()) == Some(*direction)));
        assert_eq!(Consistency::of_word("C1"), None);
    }
}
