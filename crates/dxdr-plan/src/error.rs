//! Why there is no plan.

use crate::{glob::InvalidGlob, label::InvalidLabelSelector};

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Old-style and scoped resource filters were given together.
    #[error("the resource filters `{old}` and `{scoped}` exclude each other")]
    MixedFilters {
        /// A filter of the old style.
        old: &'static str,
        /// A filter of the scoped style.
        scoped: &'static str,
    },
    /// One label selector and alternatives were given together.
    #[error("a label selector and alternative label selectors exclude each other")]
    MixedSelectors,
    /// A pattern that is none.
    #[error(transparent)]
    Glob(#[from] InvalidGlob),
    /// A label selector that is none.
    #[error(transparent)]
    LabelSelector(#[from] InvalidLabelSelector),
    /// A backup of nothing.
    #[error("there is nothing to back up: {reason}")]
    Nothing {
        /// Why nothing is selected.
        reason: String,
    },
    /// An archive's item that is no object, or not the one its path names.
    #[error("item {index} of the archive, `{item}`, is not usable: {reason}")]
    Item {
        /// Number of the item in the archive.
        index: u32,
        /// Its path, as people read it.
        item: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Removing what was not there, when it is not known what was there.
    #[error("what was not there cannot be told from what was not captured: {reason}")]
    Prune {
        /// Why it is not known.
        reason: String,
    },
    /// A backup of Velero's that is not at an end from which something can be restored.
    #[error("from backup `{backup}` nothing can be restored: {reason}")]
    Unrestorable {
        /// Which.
        backup: String,
        /// What is the matter with it.
        reason: String,
    },
    /// A live object that cannot be read.
    #[error("what the cluster says of `{object}` cannot be read: {reason}")]
    Live {
        /// Which object.
        object: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl PlanError {
    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::MixedFilters { .. } => Some(
                "use either included, excluded and includeClusterResources, or the four lists for cluster-scoped and namespace-scoped kinds"
                    .to_owned(),
            ),
            Self::MixedSelectors => Some("put the one selector among the alternatives".to_owned()),
            Self::Item { .. } => Some("the archive is damaged or was not written by Velero or dxdr; choose another recovery point".to_owned()),
            Self::Prune { .. } => Some("restore without `--prune`, or go back to a complete recovery point of dxdr's".to_owned()),
            Self::Unrestorable { backup, .. } => Some(format!(
                "wait until it is over (`velero backup describe {backup}`), or choose another recovery point: `dxdr points` lists them"
            )),
            Self::Nothing { .. } | Self::Glob(_) | Self::LabelSelector(_) | Self::Live { .. } => None,
        }
    }
}
