//! What is asked of a restore.

use std::collections::BTreeMap;

use dxdr_environment::{EnvironmentName, ResourceKind};
use jiff::Timestamp;

/// What is asked of a restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreRequest {
    /// The environment that comes back.
    pub environment: EnvironmentName,
    /// Name of the recovery point or of Velero's backup.
    pub point: String,
    /// The instant it stands for.
    pub instant: Timestamp,
    /// The namespace in the archive.
    pub source_namespace: String,
    /// Where it goes.
    pub target: Target,
    /// What becomes of objects that are there and differ.
    pub existing: Existing,
    /// In place: remove what was not there at the instant.
    pub prune: bool,
    /// Only these kinds, by any of their names; empty: all.
    pub include: Vec<String>,
    /// Not these kinds.
    pub exclude: Vec<String>,
    /// Who carries it out.
    pub executor: Executor,
    /// What new volumes are made from.
    pub volumes: Volumes,
    /// Storage classes that have another name in the target: the archive's, and the target's.
    pub storage_classes: BTreeMap<String, String>,
}

impl RestoreRequest {
    /// The namespace that is written to.
    pub fn target_namespace(&self) -> &str {
        match &self.target {
            Target::Beside { namespace } => namespace,
            Target::InPlace => &self.source_namespace,
        }
    }

    /// Whether production goes on beside what is restored.
    pub fn beside(&self) -> bool {
        matches!(self.target, Target::Beside { .. })
    }

    /// Whether an object of this kind is the whole cluster's, and is left as it is where it is there.
    pub fn leaves_shared(&self, kind: &ResourceKind) -> bool {
        let is_own_namespace = kind.plural == "namespaces" && kind.group.is_empty() && !self.beside();
        !kind.namespaced && !is_own_namespace
    }

    /// All that it takes to ask the same again, for the journal. [`from_parameters`](Self::from_parameters) reads it.
    pub fn parameters(&self) -> BTreeMap<String, String> {
        let mut parameters = BTreeMap::from([
            ("point", self.point.clone()),
            ("instant", self.instant.to_string()),
            ("source-namespace", self.source_namespace.clone()),
            ("existing", if self.existing == Existing::Update { "update" } else { "leave" }.to_owned()),
            ("prune", self.prune.to_string()),
            ("include", self.include.join(",")),
            ("exclude", self.exclude.join(",")),
            ("executor", self.executor.word().to_owned()),
            ("volumes", self.volumes.word().to_owned()),
            (
                "storage-classes",
                self.storage_classes.iter().map(|(from, to)| format!("{from}={to}")).collect::<Vec<_>>().join(","),
            ),
        ]);
        if let Target::Beside { namespace } = &self.target {
            parameters.insert("beside", namespace.clone());
        }
        parameters.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// The request of a journal; `None` when something is missing or not understood.
    pub fn from_parameters(environment: EnvironmentName, parameters: &BTreeMap<String, String>) -> Option<Self> {
        let text = |key: &str| parameters.get(key);
        let list = |key: &str| -> Option<Vec<String>> {
            Some(text(key)?.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect())
        };
        Some(Self {
            environment,
            point: text("point")?.clone(),
            instant: text("instant")?.parse().ok()?,
            source_namespace: text("source-namespace")?.clone(),
            target: text("beside").map_or(Target::InPlace, |namespace| Target::Beside { namespace: namespace.clone() }),
            existing: match text("existing")?.as_str() {
                "update" => Existing::Update,
                "leave" => Existing::Leave,
                _ => return None,
            },
            prune: text("prune")?.parse().ok()?,
            include: list("include")?,
            exclude: list("exclude")?,
            executor: [Executor::Dxdr, Executor::Velero]
                .into_iter()
                .find(|executor| text("executor").is_some_and(|word| word == executor.word()))?,
            volumes: [Volumes::Captured, Volumes::Empty]
                .into_iter()
                .find(|volumes| text("volumes").is_some_and(|word| word == volumes.word()))?,
            storage_classes: list("storage-classes")?
                .iter()
                .map(|pair| pair.split_once('=').map(|(from, to)| (from.to_owned(), to.to_owned())))
                .collect::<Option<_>>()?,
        })
    }
}

/// Where a restore goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Another namespace; what runs is not touched.
    Beside {
        /// Its name.
        namespace: String,
    },
    /// The namespace it came from.
    InPlace,
}

/// What becomes of objects that are there and differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// They become what they were.
    Update,
    /// They stay what they are.
    Leave,
}

/// Who carries a restore out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Executor {
    /// dxdr itself.
    Dxdr,
    /// A Velero server, by a Restore of its own.
    Velero,
}

impl Executor {
    /// What people call it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Dxdr => "dxdr",
            Self::Velero => "velero",
        }
    }
}

/// What the new volumes of claims are made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Volumes {
    /// What was captured of the old ones, where something was.
    Captured,
    /// Nothing.
    Empty,
}

impl Volumes {
    fn word(self) -> &'static str {
        match self {
            Self::Captured => "captured",
            Self::Empty => "empty",
        }
    }
}
