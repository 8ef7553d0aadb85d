//! `apply` of what a model compiles to: asking, applying, removing what is left over, and saying what became of it.

use dxdr_environment::{ObjectReference, PlannedObject};
use dxdr_provider::{Cluster, ClusterError, ClusterErrorKind, cluster::WriteOptions};
use dxdr_report::quantity::counted;
use dxdr_run::comparison::{self, Applied};
use serde_json::{Value, json};

use crate::{
    failure::{Failure, Kind},
    terminal::{Output, Terminal},
};

/// What is to be made so.
#[derive(Debug)]
pub(super) struct Application<'a> {
    /// The comparison, for people.
    pub(super) text: String,
    /// The same for programs, which are told what became of each object in it.
    pub(super) document: Value,
    /// Why it must not be carried out, or nothing.
    pub(super) refusal: Result<(), Failure>,
    /// What must be there.
    pub(super) objects: &'a [PlannedObject],
    /// What nothing asks for any more.
    pub(super) orphaned: &'a [ObjectReference],
    /// What those are called in sentences.
    pub(super) orphaned_noun: &'a str,
    /// Who writes.
    pub(super) manager: &'a str,
    /// Remove what is left over.
    pub(super) prune: bool,
    /// Take over others' fields.
    pub(super) force: bool,
    /// Let the server check only.
    pub(super) dry_run: bool,
    /// Do not ask.
    pub(super) yes: bool,
}

impl Application<'_> {
    /// Shows and carries it out. People read what is to be done before they are asked; a program gets one document, at the end.
    pub(super) async fn carry_out(mut self, cluster: &dyn Cluster, terminal: &Terminal) -> Result<(), Failure> {
        let for_people = terminal.output == Output::Text;
        if for_people {
            terminal.data(&self.text);
        } else {
            terminal.note(&self.text);
        }
        let mut results = Vec::new();
        let refusal = std::mem::replace(&mut self.refusal, Ok(()));
        let outcome = match refusal {
            Ok(()) => self.act(cluster, terminal, &mut results).await,
            Err(failure) => Err(failure),
        };
        if !for_people {
            self.document["results"] = results.into();
            terminal.value(&self.document, String::new);
        }
        outcome
    }

    async fn act(&self, cluster: &dyn Cluster, terminal: &Terminal, results: &mut Vec<Value>) -> Result<(), Failure> {
        let left_over = counted(self.orphaned.len(), self.orphaned_noun);
        let orphaned = if self.prune { self.orphaned } else { &[] };
        if orphaned.len() < self.orphaned.len() {
            let verb = if self.orphaned.len() == 1 { "stays" } else { "stay" };
            terminal.note(&format!("{left_over} of dxdr's that nothing asks for {verb}: `--prune` removes what is left over"));
        }
        let todo = self.objects.iter().filter(|object| !object.is_same()).count();
        if todo + orphaned.len() == 0 {
            terminal.note("nothing to do");
            return Ok(());
        }
        if !self.dry_run {
            let (objects, place) = (counted(todo, "object"), cluster.describe());
            let question = match (todo, orphaned.len()) {
                (_, 0) => format!("Apply {objects} to {place}?"),
                (0, _) => format!("Remove {left_over} from {place}?"),
                _ => format!("Apply {objects} to {place} and remove {left_over}?"),
            };
            terminal.consent(&question, self.yes)?;
        }
        let options = WriteOptions { manager: self.manager.to_owned(), dry_run: self.dry_run, retry: true };
        let mut failed: Option<Failure> = None;
        for result in comparison::apply(cluster, self.objects, orphaned, self.force, &options).await {
            let object = &result.object;
            let done = match (self.dry_run, result.removed) {
                (true, true) => "would remove",
                (true, false) => "would apply",
                (false, true) => "removed",
                (false, false) => "applied",
            };
            results.push(self.result(done, &result));
            match result.error {
                None => terminal.note(&format!("{done} {object}")),
                // Nothing can be checked inside a namespace that a dry run did not make.
                Some(error) if self.unchecked(&error) => {
                    terminal.note(&format!("{done} {object} (not checked: its namespace is not there)"));
                }
                Some(error) => {
                    let conflict = error.kind == ClusterErrorKind::Conflict;
                    let failure = Failure { kind: Kind::Partial, ..Failure::from(error) };
                    if failed.is_some() {
                        terminal.warn(&format!("{:#}", failure.error));
                        continue;
                    }
                    failed = Some(if conflict {
                        failure.hint("another manager owns these fields; `--force` takes them over")
                    } else {
                        failure
                    });
                }
            }
        }
        let Some(failure) = failed else { return Ok(()) };
        Err(failure
            .hint("what was applied stays; apply again once that is mended: nothing is removed before everything is applied"))
    }

    /// One object's result, for programs.
    fn result(&self, done: &str, result: &Applied) -> Value {
        let (outcome, reason) = match &result.error {
            None => (done, None),
            Some(error) if self.unchecked(error) => (done, Some("not checked: its namespace is not there".to_owned())),
            Some(error) => ("failed", Some(error.message.clone())),
        };
        json!({"object": result.object.to_string(), "outcome": outcome, "reason": reason})
    }

    /// Whether the server could not check anything, since a dry run did not make the namespace.
    fn unchecked(&self, error: &ClusterError) -> bool {
        self.dry_run && error.kind == ClusterErrorKind::NotFound
    }
}
