//! A result, and the memory it took.

use std::{
    collections::BTreeMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use dxdr_run::{Event, Reporter};
use serde::Serialize;

/// What was measured.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Measurement {
    pub(crate) seconds: f64,
    pub(crate) objects: u64,
    /// Of the objects' JSON.
    pub(crate) bytes: u64,
    /// Whatever else this measurement counts.
    pub(crate) counts: BTreeMap<String, u64>,
    /// Seconds of each step.
    pub(crate) steps: Vec<(String, f64)>,
}

impl Measurement {
    pub(crate) fn new(elapsed: Duration, objects: u64, bytes: u64) -> Self {
        Self { seconds: elapsed.as_secs_f64(), objects, bytes, ..Self::default() }
    }

    pub(crate) fn count(mut self, name: &str, count: u64) -> Self {
        self.counts.insert(name.to_owned(), count);
        self
    }

    /// In one line, with the peak of this process up to now.
    pub(crate) fn json(&self) -> Result<String> {
        let mut value = serde_json::to_value(self)?;
        value["peakMemory"] = peak_memory()?.into();
        Ok(value.to_string())
    }
}

/// The most memory this process ever had resident, in bytes.
fn peak_memory() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status: Linux only")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("/proc/self/status has no VmHWM")?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kibibytes * 1024)
}

/// Notes when steps begin and end.
#[derive(Debug, Default)]
pub(crate) struct Stopwatch {
    began: Mutex<Option<Instant>>,
    steps: Mutex<Vec<(String, f64)>>,
}

impl Stopwatch {
    pub(crate) fn steps(&self) -> Vec<(String, f64)> {
        self.steps.lock().map(|steps| steps.clone()).unwrap_or_default()
    }
}

impl Reporter for Stopwatch {
    fn report(&self, event: &Event) {
        match event {
            Event::StepStarted { .. } => {
                if let Ok(mut began) = self.began.lock() {
                    *began = Some(Instant::now());
                }
            }
            Event::StepFinished { step, .. } => {
                if let (Ok(mut began), Ok(mut steps)) = (self.began.lock(), self.steps.lock())
                    && let Some(began) = began.take()
                {
                    steps.push((step.clone(), began.elapsed().as_secs_f64()));
                }
            }
            _ => {}
        }
    }
}
