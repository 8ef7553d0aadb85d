//! How a command fails: what happened, to what, what to do next, and the exit code a script can act on.

use std::{fmt, process::ExitCode};

use dxdr_format::{FormatError, velero::archive::ArchiveError};
use dxdr_kubernetes::ConnectError;
use dxdr_plan::{PlanError, readiness::Trouble};
use dxdr_provider::{ClusterError, ClusterErrorKind, InstanceError, InstanceErrorKind, StorageError, StorageErrorKind};
use dxdr_run::{RunError, velero::restore::OTHER_BACKUP};

use crate::{commands::databases::of_database, configuration::hints};

/// Why a command failed, as an exit code. Documented in `docs/reference/exit-codes.md`, which is generated from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Something went wrong on the way.
    Failed,
    /// The command line makes no sense.
    Usage,
    /// Done, but not all of it: something was left out or failed, and is named.
    Partial,
    /// The plan must not be carried out, or nobody consented.
    Refused,
    /// No recovery point leads back to the instant.
    NoWayBack,
    /// Another run holds the environment.
    Locked,
    /// A cluster or a store does not answer, or does not let us in.
    Unreachable,
    /// A manifest or a configuration is wrong.
    BadInput,
    /// What is stored is not what was written.
    Corrupt,
    /// Stopped on request, at a safe place.
    Interrupted,
}

impl Kind {
    /// Every kind, in the order of the codes.
    pub(crate) const ALL: [Self; 10] = [
        Self::Failed,
        Self::Usage,
        Self::Partial,
        Self::Refused,
        Self::NoWayBack,
        Self::Locked,
        Self::Unreachable,
        Self::BadInput,
        Self::Corrupt,
        Self::Interrupted,
    ];

    /// The process's exit code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Partial => 3,
            Self::Refused => 4,
            Self::NoWayBack => 5,
            Self::Locked => 6,
            Self::Unreachable => 7,
            Self::BadInput => 8,
            Self::Corrupt => 9,
            Self::Interrupted => 130,
        }
    }

    /// One word for machines.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::Partial => "partial",
            Self::Refused => "refused",
            Self::NoWayBack => "no-way-back",
            Self::Locked => "locked",
            Self::Unreachable => "unreachable",
            Self::BadInput => "bad-input",
            Self::Corrupt => "corrupt",
            Self::Interrupted => "interrupted",
        }
    }

    /// One sentence for the reference page.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Failed => "Something went wrong on the way; the message says what, and what remains.",
            Self::Usage => "The command line makes no sense: an unknown flag, a missing argument.",
            Self::Partial => "Done, but not all of it: what was left out or failed is named.",
            Self::Refused => "The plan must not be carried out as it is, or nobody consented to it. Nothing was changed.",
            Self::NoWayBack => "No recovery point leads back to the instant asked for. Nothing was changed.",
            Self::Locked => "Another run holds the environment. Nothing was changed.",
            Self::Unreachable => {
                "A cluster or a store does not answer, or does not let us in: credentials or rights are missing."
            }
            Self::BadInput => {
                "A manifest, the configuration or the kubeconfig is wrong, and named with the place, or a newer dxdr wrote what is to be read. Nothing was changed."
            }
            Self::Corrupt => "What is stored is not what was written: a checksum differs, an archive is cut short.",
            Self::Interrupted => "Stopped on request (Ctrl-C) at a safe place; the run can be resumed.",
        }
    }
}

/// A failed command.
#[derive(Debug)]
pub(crate) struct Failure {
    /// For scripts.
    pub(crate) kind: Kind,
    /// What happened; its sources are its causes.
    pub(crate) error: anyhow::Error,
    /// What to do next.
    pub(crate) hints: Vec<String>,
    /// Already told (a report said it all): only the exit code is left.
    pub(crate) silent: bool,
}

impl Failure {
    /// A failure with a message of its own.
    pub(crate) fn new(kind: Kind, message: impl fmt::Display + fmt::Debug + Send + Sync + 'static) -> Self {
        Self { kind, error: anyhow::Error::msg(message), hints: Vec::new(), silent: false }
    }

    /// A failure whose chain of causes is that of `error`.
    pub(crate) fn from_error(kind: Kind, error: impl Into<anyhow::Error>) -> Self {
        Self { kind, error: error.into(), hints: Vec::new(), silent: false }
    }

    /// The report has told people everything already; programs are told `message`.
    pub(crate) fn told(kind: Kind, message: impl fmt::Display + fmt::Debug + Send + Sync + 'static) -> Self {
        Self { silent: true, ..Self::new(kind, message) }
    }

    /// Adds what to do next.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds several things to do next.
    pub(crate) fn hints(mut self, hints: impl IntoIterator<Item = String>) -> Self {
        self.hints.extend(hints);
        self
    }

    /// Puts what was being done in front of the causes.
    pub(crate) fn context(mut self, doing: impl fmt::Display + Send + Sync + 'static) -> Self {
        self.error = self.error.context(doing);
        self
    }

    /// As an exit code.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.kind.code())
    }
}

/// As a row of a check tells it.
impl From<&Failure> for Trouble {
    fn from(failure: &Failure) -> Self {
        let causes: Vec<String> = failure.error.chain().map(ToString::to_string).collect();
        Self { message: causes.join(": "), hints: failure.hints.clone(), unreachable: failure.kind == Kind::Unreachable }
    }
}

/// A command line that makes no sense, for programs: people are shown it as clap writes it.
impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Self {
        use clap::error::ErrorKind;
        if matches!(error.kind(), ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand) {
            return Self::new(Kind::Usage, "no command is named").hint("`dxdr --help` lists the commands");
        }
        let text = error.render().to_string();
        let mut paragraphs = text.split("\n\n").map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
        let message = paragraphs.next().unwrap_or_default();
        let message = message.strip_prefix("error: ").unwrap_or(&message).to_owned();
        let hints = paragraphs.filter(|paragraph| !paragraph.is_empty());
        let hints = hints.map(|paragraph| paragraph.strip_prefix("tip: ").map(str::to_owned).unwrap_or(paragraph));
        Self::new(Kind::Usage, message).hints(hints)
    }
}

impl From<ClusterError> for Failure {
    fn from(error: ClusterError) -> Self {
        let (kind, hints) = of_cluster(&error);
        Self::from_error(kind, error).hints(hints)
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        let (kind, hints) = of_storage(&error);
        Self::from_error(kind, error).hints(hints)
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let hints = error.hints();
        let kind = match error {
            ConnectError::Credentials { .. } | ConnectError::Pod { .. } => Kind::Unreachable,
            _ => Kind::BadInput,
        };
        Self::from_error(kind, error).hints(hints)
    }
}

impl From<InstanceError> for Failure {
    fn from(error: InstanceError) -> Self {
        let hints: Vec<String> = error.hint.clone().into_iter().collect();
        Self::from_error(instance_kind(error.kind), error).hints(hints)
    }
}

fn cluster_kind(kind: &ClusterErrorKind) -> Kind {
    match kind {
        ClusterErrorKind::Unreachable
        | ClusterErrorKind::Unauthenticated
        | ClusterErrorKind::Forbidden
        | ClusterErrorKind::TimedOut
        | ClusterErrorKind::Unavailable
        | ClusterErrorKind::TooManyRequests(_) => Kind::Unreachable,
        _ => Kind::Failed,
    }
}

fn instance_kind(kind: InstanceErrorKind) -> Kind {
    match kind {
        InstanceErrorKind::Disabled
        | InstanceErrorKind::Forbidden
        | InstanceErrorKind::BucketForbidden
        | InstanceErrorKind::Unauthenticated
        | InstanceErrorKind::Unreachable
        | InstanceErrorKind::TimedOut
        | InstanceErrorKind::Unavailable
        | InstanceErrorKind::NotSent
        | InstanceErrorKind::Throttled => Kind::Unreachable,
        InstanceErrorKind::Busy => Kind::Locked,
        InstanceErrorKind::Stopped | InstanceErrorKind::Protected | InstanceErrorKind::NameTaken => Kind::Refused,
        InstanceErrorKind::OutsideWindow => Kind::NoWayBack,
        InstanceErrorKind::NotFound => Kind::BadInput,
        _ => Kind::Failed,
    }
}

fn storage_kind(kind: StorageErrorKind) -> Kind {
    match kind {
        StorageErrorKind::NoSuchStore
        | StorageErrorKind::Forbidden
        | StorageErrorKind::Unauthenticated
        | StorageErrorKind::Unreachable
        | StorageErrorKind::TimedOut
        | StorageErrorKind::Throttled
        | StorageErrorKind::Unavailable => Kind::Unreachable,
        StorageErrorKind::Corrupt => Kind::Corrupt,
        _ => Kind::Failed,
    }
}

/// An archive that cannot be read: because of its bytes, or because the store does not hand them out.
fn archive_kind(error: &ArchiveError) -> Kind {
    match error {
        ArchiveError::Read { source, .. } => hints::storage_cause(source).map_or(Kind::Failed, |error| storage_kind(error.kind)),
        ArchiveError::Write(_) | ArchiveError::Spent | ArchiveError::Item { .. } => Kind::Failed,
        ArchiveError::Future { .. } => Kind::BadInput,
        _ => Kind::Corrupt,
    }
}

/// A Lease that cannot be had: without it two runs might write the same environment, so there is no way around it.
fn hold_hints(error: &ClusterError, namespace: &str) -> Vec<String> {
    if error.kind != ClusterErrorKind::Forbidden {
        return hints::cluster(error);
    }
    let mut hints = vec![format!(
        "runs exclude each other by a Lease in namespace `{namespace}`; the account must get, create and update Leases there"
    )];
    hints.extend(hints::lease_grant(error, namespace).map(|command| format!("an administrator runs `{command}`")));
    hints.push(
        "or name another namespace with `leaseNamespace` in the configuration, the same for everybody who uses the cluster"
            .to_owned(),
    );
    hints
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        let (kind, hints) = of_run(&error);
        Self::from_error(kind, error).hints(hints)
    }
}

fn of_cluster(error: &ClusterError) -> (Kind, Vec<String>) {
    (cluster_kind(&error.kind), hints::cluster(error))
}

fn of_storage(error: &StorageError) -> (Kind, Vec<String>) {
    (storage_kind(error.kind), hints::storage(error))
}

/// What Velero's own words lead to.
fn mends(reason: &str) -> impl Iterator<Item = String> {
    dxdr_plan::velero::remedy(reason).map(str::to_owned).into_iter()
}

const VELERO_LOCATION: &str = "`dxdr schedule diff` says whether Velero can use its location";

fn of_run(error: &RunError) -> (Kind, Vec<String>) {
    match error {
        RunError::Storage(error) => of_storage(error),
        RunError::Cluster(error) => of_cluster(error),
        RunError::Database(error) => of_database(error),
        RunError::Hold { source, namespace, .. } => (cluster_kind(&source.kind), hold_hints(source, namespace)),
        RunError::Archive(archive) => (archive_kind(archive), archive.hint().map(str::to_owned).into_iter().collect()),
        RunError::Unrestorable { source, .. } => {
            let mut hints: Vec<String> = source.hint().map(str::to_owned).into_iter().collect();
            hints.push("`dxdr points` lists the other recovery points; nothing was changed".to_owned());
            (archive_kind(source), hints)
        }
        RunError::Plan(plan) => {
            let kind = match plan {
                PlanError::Item { .. } => Kind::Corrupt,
                PlanError::Unrestorable { .. } => Kind::NoWayBack,
                _ => Kind::Refused,
            };
            (kind, plan.hint().into_iter().collect())
        }
        RunError::Format { source, .. } => {
            let kind = if matches!(source, FormatError::Future { .. }) { Kind::BadInput } else { Kind::Corrupt };
            let others = "the others are not affected: `dxdr points` and `dxdr runs list` name them".to_owned();
            (kind, vec![source.hint().to_owned(), others])
        }
        RunError::Checksum { .. } | RunError::Missing { .. } => (
            Kind::Corrupt,
            vec![
                "choose another recovery point: `dxdr points` lists them; nothing was changed".to_owned(),
                "if the store keeps versions of its objects, bring the earlier one back".to_owned(),
            ],
        ),
        RunError::ArchiveChanged { .. } => (
            Kind::Corrupt,
            vec![
                "what was written is what was planned; nothing of the changed archive was".to_owned(),
                "somebody writes to the store besides dxdr: find out who; then choose another recovery point".to_owned(),
            ],
        ),
        RunError::JournalTaken { run, .. } => (Kind::Locked, vec![format!("`dxdr runs show {run}` says who carries it out")]),
        RunError::Locked { run, .. } => {
            let show = run.iter().map(|run| format!("`dxdr runs show {run}` says what it does"));
            (Kind::Locked, show.chain(["a hold that nobody renews is free after 15 s".to_owned()]).collect())
        }
        RunError::HoldLost { .. } => (
            Kind::Locked,
            vec![
                "another run may be at work: `dxdr runs list` says which; a hold that nobody renews is free after 15 s"
                    .to_owned(),
            ],
        ),
        RunError::NoLocation(_) => {
            (Kind::Refused, vec!["`dxdr schedule diff` says what is missing, `dxdr schedule apply` makes it".to_owned()])
        }
        RunError::VeleroBackup { backup, reason, .. } => {
            let more = format!("`velero backup describe {backup} --details` and `velero backup logs {backup}` say more");
            (Kind::Failed, mends(reason).chain([more, VELERO_LOCATION.to_owned()]).collect())
        }
        RunError::VeleroRestore { restore, reason, .. } => {
            let more = format!("`velero restore describe {restore} --details` and `velero restore logs {restore}` say more");
            (Kind::Failed, mends(reason).chain([more, VELERO_LOCATION.to_owned()]).collect())
        }
        RunError::OtherBackup { backup, .. } => (Kind::Refused, vec![OTHER_BACKUP.replace("NAME", backup)]),
        RunError::Files(reason) => {
            let more = [
                "nothing that mounts these volumes was made; mend the reason, and go on".to_owned(),
                "`kubectl get podvolumerestores --all-namespaces` and the logs of DaemonSet `node-agent` say more".to_owned(),
                "a restore with `--empty-volumes` does without".to_owned(),
            ];
            (Kind::Failed, mends(reason).chain(more).collect())
        }
        RunError::Unchanged { restore, claims, .. } => {
            let why = format!("`velero restore logs {restore}` says why its resource modifier did not change them, in errors");
            let anew =
                format!("they may have written to {claims}: delete these before going on, and they are made and filled anew");
            let without = "a restore with `--empty-volumes` does without".to_owned();
            (Kind::Failed, [why].into_iter().chain((!claims.is_empty()).then_some(anew)).chain([without]).collect())
        }
        RunError::Unfilled(reason) => {
            let more = [
                "nothing that mounts these volumes was made; mend the reason, and go on".to_owned(),
                "the recovery point is as it was, and the storage keeps its snapshots; the logs of the snapshot controller and of the driver's `csi-snapshotter` say more"
                    .to_owned(),
                "`dxdr points` lists others, which have other snapshots; a restore with `--empty-volumes` does without".to_owned(),
            ];
            (Kind::Failed, mends(reason).chain(more).collect())
        }
        RunError::Volumes(reason) => {
            let more = [
                "nothing that mounts these volumes was made; mend the reason, delete those of the claims that are there (`kubectl delete persistentvolumeclaim`), and go on: they are asked for again".to_owned(),
                "`kubectl --namespace velero get datadownloads` and the logs of DaemonSet `node-agent` say more".to_owned(),
                "a restore with `--empty-volumes` does without".to_owned(),
            ];
            (Kind::Failed, mends(reason).chain(more).collect())
        }
        RunError::Mounted { copied, .. } => {
            let stop = "have what makes these pods stop (scale it to 0, suspend it), delete the pods, and go on".to_owned();
            let anew = "they may have read half of the files, or changed them: delete the claims, too, and they are made and filled anew; otherwise they are taken as they are".to_owned();
            (Kind::Failed, [stop].into_iter().chain(copied.then_some(anew)).collect())
        }
        RunError::Vanished { .. } => {
            (Kind::Failed, vec!["whoever deleted it had a reason; take another recovery point".to_owned()])
        }
        RunError::Standstill { object, .. } => {
            let namespace = object.namespace.as_deref().unwrap_or_default();
            (
                Kind::Unreachable,
                vec![
                    format!(
                        "`kubectl --namespace {namespace} get pods` and `kubectl --namespace {namespace} logs deployment/velero` say whether a server \
                         runs, and what it waits for"
                    ),
                    "what was asked for stays asked for: Velero goes on with it when it can".to_owned(),
                ],
            )
        }
        RunError::NoVelero { .. } => (
            Kind::Refused,
            vec![
                "name its namespace with `--velero-namespace`, or as `veleroNamespace` in the configuration".to_owned(),
                "`velero install` installs it; policies with `engine: native` need none".to_owned(),
            ],
        ),
        RunError::NotOver { run } => (
            Kind::Refused,
            vec![format!(
                "`dxdr runs resume {run}` finishes it, `dxdr runs clean {run}` ends it and removes what it left; nothing was changed"
            )],
        ),
        RunError::NoSuchRun(_) | RunError::Over { .. } => (Kind::Usage, vec!["`dxdr runs list` lists the runs".to_owned()]),
        RunError::Namespace { namespace, .. } => (
            Kind::Refused,
            vec![
                format!(
                    "`kubectl get namespace {namespace} -o yaml` says whether it is there, and in status.conditions what keeps it from going"
                ),
                "`dxdr points` lists earlier recovery points; nothing was changed".to_owned(),
            ],
        ),
        RunError::Moved { run, was, .. } => (
            Kind::Refused,
            vec![
                format!("resume it with manifests that say `{was}`: `--manifests PATH`"),
                format!("or end it with `dxdr runs clean {run}` and begin anew; nothing was changed"),
            ],
        ),
        RunError::PointGone { run, .. } => (
            Kind::NoWayBack,
            vec![
                format!("end the run with `dxdr runs clean {run}`"),
                "`dxdr points` lists the points there are; nothing was changed".to_owned(),
            ],
        ),
        RunError::Interrupted => (Kind::Interrupted, Vec::new()),
        RunError::Unfinished { run, source, .. } => {
            let (kind, mut hints) = of_run(source);
            hints.push(format!(
                "`dxdr runs resume {run}` goes on with it; `dxdr runs clean {run}` ends it and removes what it left"
            ));
            (kind, hints)
        }
        RunError::LeftBehind { run, source, .. } => {
            let (kind, mut hints) = of_run(source);
            hints.push(format!("then `dxdr runs clean {run}` again"));
            (kind, hints)
        }
        RunError::Replaced { later, .. } => (
            Kind::Refused,
            vec![format!("`dxdr databases undo {later}` first, as long as its database is not needed; nothing was changed")],
        ),
        RunError::Instance(error) => (instance_kind(error.kind), error.hint.clone().into_iter().collect()),
        RunError::InstanceBusy { .. } => (
            Kind::Locked,
            vec!["the service does one operation per instance at a time; try again when what is named has ended".to_owned()],
        ),
        RunError::NoExport { .. } => (
            Kind::Refused,
            vec![
                "give the environment's policy a BackupStore with `spec.gcs`, or say `databases.method: pointInTime`".to_owned(),
            ],
        ),
        RunError::InstanceOverdue { operation, .. } => (
            Kind::Failed,
            vec![format!(
                "it goes on, and is taken up where it is: nothing is asked for again; `gcloud sql operations describe {operation}` says how far it is"
            )],
        ),
        RunError::InstanceOperation { hint, .. } => (Kind::Failed, hint.clone().into_iter().collect()),
        RunError::Unexpected(_) => (Kind::Failed, Vec::new()),
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::from_error(Kind::Failed, error)
    }
}
