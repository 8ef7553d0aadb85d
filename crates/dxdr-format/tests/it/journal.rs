//! Journals: what was once written is read forever.

use dxdr_format::{
    FormatError,
    journal::{
        self, Entry, Finished, Interrupted, Outcome, Planned, PlannedStep, RunKind, StepFailed, StepFinished, StepStarted,
    },
};
use jiff::Timestamp;
use serde_json::json;

const GOLDEN: &str = include_str!("../golden/journal-v1.json");

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_714_557_600 + second).unwrap()
}

fn entries() -> Vec<Entry> {
    let map = |value: serde_json::Value| value.as_object().cloned().unwrap();
    vec![
        Entry::Planned(Planned {
            run: "20240501t100000z-restore-staging-x7k2m".into(),
            kind: RunKind::Restore,
            environment: "staging".into(),
            parameters: map(json!({"at": "2024-05-01T10:00:00Z", "inPlace": true})),
            points: vec!["staging-20240501t100000z-b4z0c".into()],
            steps: vec![PlannedStep {
                id: "protect".into(),
                title: "Take a recovery point of staging as it is now".into(),
                reason: "a restore in place can be undone with it".into(),
                repeatable: true,
            }],
            program: "dxdr 0.1.0".into(),
            holder: "host-1/4711".into(),
            started: at(0),
        }),
        Entry::StepStarted(StepStarted { step: "protect".into(), at: at(1) }),
        Entry::StepFinished(StepFinished { step: "protect".into(), at: at(2), evidence: map(json!({"items": 61})) }),
        Entry::StepFailed(StepFailed { step: None, error: "the cluster does not answer".into(), at: at(3) }),
        Entry::StepFailed(StepFailed { step: Some("apply".into()), error: "forbidden".into(), at: at(3) }),
        Entry::Interrupted(Interrupted { reason: "somebody asked to stop".into(), remaining: vec!["a".into()], at: at(4) }),
        Entry::resumed("host-2/4712", at(5)),
        Entry::Finished(Finished { outcome: Outcome::Partial, summary: "1 failed".into(), at: at(6) }),
        Entry::Finished(Finished::cleaned("3 objects removed", at(7))),
    ]
}

#[test]
fn version_1_is_written_as_it_always_was() {
    let written: Vec<String> = entries().iter().map(|entry| String::from_utf8(journal::encode(entry)).unwrap()).collect();
    assert_eq!(written.concat(), GOLDEN);
}

#[test]
fn version_1_is_read() {
    let documents = serde_json::Deserializer::from_str(GOLDEN).into_iter::<serde_json::Value>();
    let read: Vec<Entry> = documents.map(|document| journal::decode(document.unwrap().to_string().as_bytes()).unwrap()).collect();
    assert_eq!(read, entries());
}

#[test]
fn an_entry_says_its_word_and_when() {
    for entry in entries() {
        let text = String::from_utf8(journal::encode(&entry)).unwrap();
        assert!(text.contains(&format!("\"entry\": \"{}\"", entry.word())), "{text}");
        assert!(text.contains(&entry.at().to_string()), "{text}");
    }
}

#[test]
fn an_entry_from_the_future_is_refused_and_an_unknown_field_is_not() {
    let text = String::from_utf8(journal::encode(&entries()[1])).unwrap();
    let future = text.replace("dxdr.io/v1", "dxdr.io/v3");
    assert!(matches!(journal::decode(future.as_bytes()), Err(FormatError::Future { .. })));
    let later = text.replace("\"step\"", "\"later\": 1, \"step\"");
    assert_eq!(journal::decode(later.as_bytes()).unwrap(), entries()[1]);
    assert!(journal::decode(text.replace("step-started", "step-danced").as_bytes()).is_err());
    assert!(journal::decode(&text.as_bytes()[..text.len() - 10]).is_err());
}
