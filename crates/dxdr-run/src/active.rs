//! A run while it is being carried out: steps that are journaled, skipped when an earlier process did them, and told.

use dxdr_format::journal::{Entry, Evidence, Finished, Interrupted, Outcome, Planned, StepFailed, StepFinished, StepStarted};
use dxdr_plan::step::Step;

use crate::{
    context::RunContext,
    error::RunError,
    event::Event,
    journal::{History, Journal},
};

/// A run with its journal.
#[derive(Debug)]
pub struct ActiveRun {
    context: RunContext,
    journal: Journal,
    history: Option<History>,
    /// The planned steps that are not done yet, by their identifiers.
    left: Vec<String>,
}

impl ActiveRun {
    /// Begins a run: from here on it can be resumed.
    pub async fn begin(context: &RunContext, run: &str, planned: Planned) -> Result<Self, RunError> {
        let left = planned.steps.iter().map(|step| step.id.clone()).collect();
        let journal = Journal::begin(&context.store, run, Entry::Planned(planned)).await?;
        Ok(Self::opened(context, journal, None, left))
    }

    /// Goes on with a run that an earlier process left.
    pub async fn resume(context: &RunContext, history: History) -> Result<Self, RunError> {
        let mut journal = Journal::behind(&context.store, &history);
        journal.record(&Entry::resumed(&context.holder, context.clock.now())).await?;
        let left = history.left().into_iter().map(|step| step.id.clone()).collect();
        Ok(Self::opened(context, journal, Some(history), left))
    }

    fn opened(context: &RunContext, journal: Journal, history: Option<History>, left: Vec<String>) -> Self {
        context.reporter.report(&Event::RunStarted { run: journal.run().to_owned(), at: context.clock.now() });
        Self { context: context.clone(), journal, history, left }
    }

    /// The run's identifier.
    pub fn id(&self) -> &str {
        self.journal.run()
    }

    /// Whether an earlier process began it.
    pub fn resumed(&self) -> bool {
        self.history.is_some()
    }

    /// The planned steps that are not done yet, by their identifiers.
    pub fn left(&self) -> Vec<String> {
        self.left.clone()
    }

    /// The evidence of a step that an earlier process finished.
    pub fn earlier(&self, step: &Step) -> Option<Evidence> {
        let history = self.history.as_ref()?;
        let evidence = history.finished(&step.id)?.clone();
        // As it was planned then: what is planned now has less to do.
        let planned = history.planned().into_iter().flat_map(|planned| &planned.steps).find(|planned| planned.id == step.id);
        let title = planned.map_or(&step.title, |planned| &planned.title).clone();
        self.context.reporter.report(&Event::StepSkipped { step: step.id.clone(), title });
        Some(evidence)
    }

    /// Whether an earlier process began a step, whatever became of it.
    pub fn started_earlier(&self, step: &Step) -> bool {
        self.history.as_ref().is_some_and(|history| history.started(&step.id))
    }

    /// Whether an earlier process finished a step, and what it left still counts.
    pub fn finished_earlier(&self, step: &Step) -> bool {
        self.history.as_ref().is_some_and(|history| history.finished(&step.id).is_some())
    }

    /// The evidence of each time that an earlier process finished a step, whether it still counts or not.
    pub fn all_earlier(&self, step: &Step) -> Vec<Evidence> {
        self.history.iter().flat_map(|history| history.evidence(&step.id)).cloned().collect()
    }

    /// Begins a step, unless somebody asked to stop: between two steps is the safe place.
    pub async fn start(&mut self, step: &Step) -> Result<(), RunError> {
        if self.context.stop.asked() {
            return Err(RunError::Interrupted);
        }
        self.context.reporter.report(&Event::StepStarted { step: step.id.clone(), title: step.title.clone() });
        let at = self.context.clock.now();
        self.journal.record(&Entry::StepStarted(StepStarted { step: step.id.clone(), at })).await
    }

    /// Ends a step that was begun.
    pub async fn finish(&mut self, step: &Step, summary: &str, evidence: Evidence) -> Result<(), RunError> {
        let at = self.context.clock.now();
        self.journal.record(&Entry::StepFinished(StepFinished { step: step.id.clone(), at, evidence })).await?;
        self.left.retain(|left| *left != step.id);
        self.context.reporter.report(&Event::StepFinished { step: step.id.clone(), summary: summary.to_owned() });
        Ok(())
    }

    /// Journals how the run ended, and passes the result on; a failure as [`RunError::Unfinished`] with what remains. It is journaled
    /// as far as the store lets us: the failure itself is what the caller must hear of.
    pub async fn end<T>(mut self, result: Result<(T, Outcome, String), RunError>, remaining: Vec<String>) -> Result<T, RunError> {
        let at = self.context.clock.now();
        let (entries, word) = match &result {
            Ok((_, outcome, summary)) => {
                (vec![Entry::Finished(Finished { outcome: *outcome, summary: summary.clone(), at })], outcome.word())
            }
            Err(RunError::Interrupted) => {
                let reason = "somebody asked to stop".to_owned();
                (vec![Entry::Interrupted(Interrupted { reason, remaining: remaining.clone(), at })], "interrupted")
            }
            // Somebody else writes this journal now: not a word more from us.
            Err(RunError::JournalTaken { .. }) => (Vec::new(), "taken"),
            Err(error) => (vec![Entry::StepFailed(StepFailed { step: None, error: chain(error), at })], "failed"),
        };
        for entry in &entries {
            let recorded = self.journal.record(entry).await;
            if let (Ok(_), Err(error)) = (&result, recorded) {
                let remaining = vec!["everything is done but the last entry of its journal".to_owned()];
                return Err(self.unfinished(error, remaining));
            }
        }
        self.context.reporter.report(&Event::RunFinished { run: self.id().to_owned(), outcome: word.to_owned(), at });
        match result {
            Ok((value, _, _)) => Ok(value),
            Err(error) => Err(self.unfinished(error, remaining)),
        }
    }

    fn unfinished(&self, error: RunError, remaining: Vec<String>) -> RunError {
        match error {
            taken @ RunError::JournalTaken { .. } => taken,
            source => RunError::Unfinished { run: self.id().to_owned(), remaining, source: Box::new(source) },
        }
    }
}

/// An error and its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
