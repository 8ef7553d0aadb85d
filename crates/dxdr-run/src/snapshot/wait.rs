//! Waiting for several snapshots at once: one list and one watch a namespace, whatever their number.
//!
//! Every look starts from what is there, so a watch that breaks loses nothing. An error of the driver's is not yet the end: sidecars try
//! again. It is when it stays, or when time is up.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use dxdr_catalog::name;
use dxdr_environment::ResourceKind;
use dxdr_plan::{
    backup::{BackupPlan, VolumePlan},
    velero::RUN_LABEL,
};
use dxdr_provider::{
    Cluster, ClusterError, ClusterErrorKind,
    cluster::{ListScope, WatchEvent},
};
use futures::{StreamExt, stream::SelectAll};
use serde_json::Value;
use tokio::time::Instant;

use super::{BETWEEN_LOOKS, text};
use crate::{capture::fatal, context::RunContext, error::RunError, event::Event};

/// Sidecars try again after one second, then two, four, eight: who has failed for so long has failed five times.
const ERROR_PATIENCE: Duration = Duration::from_secs(30);
/// Without an event for so long, what is there is looked at again: a watch may have died unnoticed.
const SILENCE: Duration = Duration::from_secs(15);
const PAGE: u32 = 500;

/// A VolumeSnapshot that is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Awaited {
    namespace: String,
    claim: String,
    name: String,
}

impl Awaited {
    pub(super) fn of(namespace: &str, claim: &str, name: String) -> Self {
        Self { namespace: namespace.to_owned(), claim: claim.to_owned(), name }
    }

    pub(super) fn is_of(&self, volume: &VolumePlan) -> bool {
        self.namespace == volume.namespace && self.claim == volume.claim
    }
}

/// What a wait came to: the object, or why it is not waited for any longer.
pub(super) type Came = Result<Value, String>;

struct Waiting {
    awaited: Awaited,
    error: Option<(Instant, String)>,
    came: Option<Came>,
}

/// Waits until `settled` holds for each, or is given up.
///
/// # Errors
/// [`RunError::Interrupted`] when somebody asked to stop; the cluster's where it cannot be reached.
pub(super) async fn wait(
    context: &RunContext,
    plan: &BackupPlan,
    step: &str,
    awaited: Vec<Awaited>,
    settled: impl Fn(&Value) -> bool,
) -> Result<Vec<(Awaited, Came)>, RunError> {
    let timeout = Duration::try_from(plan.volume_policy.timeout).unwrap_or_default();
    let mut all = All {
        waiting: awaited.into_iter().map(|awaited| Waiting { awaited, error: None, came: None }).collect(),
        deadline: Instant::now() + timeout,
        timeout,
    };
    let run = name::in_label(&plan.run);
    let selector = format!("{RUN_LABEL}={run}");
    let kind = super::kind("VolumeSnapshot", "volumesnapshots", true);
    while all.left() > 0 {
        let mut watches = SelectAll::new();
        for namespace in all.namespaces() {
            let scope = ListScope { namespace: Some(namespace.clone()), label_selector: Some(selector.clone()) };
            let (items, resource_version) = match listed(context.cluster.as_ref(), &kind, &scope).await {
                Ok(listed) => listed,
                // The server forgot it between two pages: the next look begins anew.
                Err(error) if error.kind == ClusterErrorKind::Expired => continue,
                Err(error) if fatal(&error) => return Err(error.into()),
                Err(error) => {
                    all.give_up(&namespace, &super::words(&error));
                    continue;
                }
            };
            let mut seen = BTreeSet::new();
            for item in &items {
                let object: Value = super::parsed(item)?;
                seen.extend(text(&object, "/metadata/name").map(str::to_owned));
                all.note(&object, &settled);
            }
            all.missing(&namespace, &seen);
            // Whatever keeps a watch from being opened, the next look tells whether it is for good.
            if all.namespaces().contains(&namespace)
                && let Ok(watch) = context.cluster.watch_all(&kind, &scope, &resource_version).await
            {
                watches.push(watch);
            }
        }
        all.tell(context, step);
        all.expire();
        while all.left() > 0 && !watches.is_empty() {
            let next = tokio::select! {
                next = tokio::time::timeout_at(all.next_end(), watches.next()) => next,
                () = context.stop.wait() => return Err(RunError::Interrupted),
            };
            let looks_again = match next {
                Ok(Some(Ok(WatchEvent::Applied(json)))) => {
                    all.note(&super::parsed(&json)?, &settled);
                    all.tell(context, step);
                    false
                }
                Ok(Some(Ok(WatchEvent::Deleted) | Err(_)) | None) | Err(_) => true,
            };
            all.expire();
            if looks_again {
                break;
            }
        }
        if all.left() > 0 {
            tokio::select! {
                () = tokio::time::sleep(BETWEEN_LOOKS) => {}
                () = context.stop.wait() => return Err(RunError::Interrupted),
            }
        }
    }
    Ok(all.waiting.into_iter().filter_map(|waiting| Some((waiting.awaited, waiting.came?))).collect())
}

/// Every object, on however many pages, and the version of the list that a watch follows on.
async fn listed(cluster: &dyn Cluster, kind: &ResourceKind, scope: &ListScope) -> Result<(Vec<Bytes>, String), ClusterError> {
    let mut page = cluster.list(kind, scope, PAGE, None).await?;
    let mut items = std::mem::take(&mut page.items);
    while let Some(continuation) = page.continuation {
        page = cluster.list(kind, scope, PAGE, Some(&continuation)).await?;
        items.append(&mut page.items);
    }
    Ok((items, page.resource_version))
}

struct All {
    waiting: Vec<Waiting>,
    deadline: Instant,
    timeout: Duration,
}

impl All {
    fn left(&self) -> usize {
        self.waiting.iter().filter(|waiting| waiting.came.is_none()).count()
    }

    fn namespaces(&self) -> BTreeSet<String> {
        let left = self.waiting.iter().filter(|waiting| waiting.came.is_none());
        left.map(|waiting| waiting.awaited.namespace.clone()).collect()
    }

    fn note(&mut self, object: &Value, settled: impl Fn(&Value) -> bool) {
        let at = (text(object, "/metadata/namespace"), text(object, "/metadata/name"));
        let is_it = |awaited: &Awaited| at == (Some(awaited.namespace.as_str()), Some(awaited.name.as_str()));
        let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.came.is_none() && is_it(&waiting.awaited)) else {
            return;
        };
        if settled(object) {
            waiting.came = Some(Ok(object.clone()));
            return;
        }
        waiting.error = text(object, "/status/error/message").map(|message| {
            let since = waiting.error.as_ref().map_or_else(Instant::now, |(since, _)| *since);
            (since, message.to_owned())
        });
    }

    /// Those of a namespace that are not among `seen` were deleted.
    fn missing(&mut self, namespace: &str, seen: &BTreeSet<String>) {
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.came.is_none()) {
            if waiting.awaited.namespace == namespace && !seen.contains(&waiting.awaited.name) {
                waiting.came = Some(Err(format!("VolumeSnapshot {} was deleted by somebody", waiting.awaited.name)));
            }
        }
    }

    fn give_up(&mut self, namespace: &str, reason: &str) {
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.came.is_none()) {
            if waiting.awaited.namespace == namespace {
                waiting.came = Some(Err(reason.to_owned()));
            }
        }
    }

    /// Gives up what has taken too long.
    fn expire(&mut self) {
        let now = Instant::now();
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.came.is_none()) {
            let late = now >= self.deadline;
            waiting.came = match &waiting.error {
                Some((since, message)) if late || now >= *since + ERROR_PATIENCE => Some(Err(message.clone())),
                None if late => Some(Err(format!("the driver said nothing within {} s", self.timeout.as_secs()))),
                Some(_) | None => None,
            };
        }
    }

    /// When something must be looked at again whatever happens.
    fn next_end(&self) -> Instant {
        let errors = self.waiting.iter().filter(|waiting| waiting.came.is_none()).filter_map(|waiting| waiting.error.as_ref());
        let errors = errors.map(|(since, _)| *since + ERROR_PATIENCE);
        errors.chain([self.deadline, Instant::now() + SILENCE]).min().unwrap_or(self.deadline)
    }

    fn tell(&self, context: &RunContext, step: &str) {
        let total = self.waiting.len();
        let at = self.waiting.iter().find(|waiting| waiting.came.is_none());
        context.reporter.report(&Event::Progress {
            step: step.to_owned(),
            done: (total - self.left()) as u64,
            total: Some(total as u64),
            bytes: 0,
            at: at.map(|waiting| format!("{}/{}", waiting.awaited.namespace, waiting.awaited.claim)).unwrap_or_default(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::tests::{context, kind, pageant, plan};

    #[tokio::test(start_paused = true)]
    async fn what_lies_behind_the_first_page_is_waited_for_too_and_nothing_is_missing_before_the_last_one() {
        let pages = vec![
            Ok(("7", &["one"][..], true)),
            Err(ClusterErrorKind::Expired),
            Ok(("9", &["one"][..], true)),
            Ok(("9", &["two"][..], false)),
        ];
        let awaited = ["one", "two", "gone"].map(|name| Awaited::of("staging", name, name.to_owned())).to_vec();
        let plan = plan(&[kind("", "ConfigMap", true)]);
        let came = wait(&context(pageant(pages)), &plan, "snapshot", awaited, |_| true).await.unwrap();
        let came: Vec<_> = came.into_iter().map(|(awaited, came)| (awaited.name, came.err())).collect();
        let deleted = "VolumeSnapshot gone was deleted by somebody".to_owned();
        assert_eq!(came, [("one".to_owned(), None), ("two".to_owned(), None), ("gone".to_owned(), Some(deleted))]);
    }
}
