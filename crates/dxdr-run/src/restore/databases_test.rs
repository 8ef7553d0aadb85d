use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use dxdr_format::journal::{Finished, Outcome, Planned, RunKind};
use dxdr_provider::{
    ObjectStorage, StorageError, StorageErrorKind,
    object_storage::{ListPage, ListRequest, ObjectBody, ObjectReader, ObjectStat, PutCondition},
};
use futures::{StreamExt as _, stream};
use serde_json::json;

use super::*;
use crate::capture;

/// A store of small objects.
#[derive(Debug, Default)]
pub(crate) struct Drawer(Mutex<BTreeMap<String, Bytes>>);

impl Drawer {
    fn error(&self, kind: StorageErrorKind, key: &str) -> StorageError {
        StorageError { kind, action: "touch", key: key.to_owned(), store: self.describe(), source: None }
    }

    fn stat_of(key: &str, bytes: &Bytes) -> ObjectStat {
        ObjectStat { key: key.to_owned(), size: bytes.len() as u64, modified: None, tag: None }
    }
}

#[async_trait]
impl ObjectStorage for Drawer {
    fn describe(&self) -> String {
        "drawer".to_owned()
    }

    async fn put(&self, key: &str, body: ObjectBody, condition: PutCondition) -> Result<ObjectStat, StorageError> {
        let ObjectBody::Bytes(bytes) = body else { unreachable!("they are small") };
        let mut objects = self.0.lock().unwrap();
        if condition == PutCondition::IfAbsent && objects.contains_key(key) {
            return Err(self.error(StorageErrorKind::AlreadyExists, key));
        }
        let stat = Self::stat_of(key, &bytes);
        objects.insert(key.to_owned(), bytes);
        Ok(stat)
    }

    async fn get(&self, key: &str, _: Option<Range<u64>>) -> Result<ObjectReader, StorageError> {
        let bytes = self.0.lock().unwrap().get(key).cloned().ok_or_else(|| self.error(StorageErrorKind::NotFound, key))?;
        Ok(ObjectReader { stat: Self::stat_of(key, &bytes), stream: stream::iter([Ok(bytes)]).boxed() })
    }

    async fn list(&self, request: &ListRequest) -> Result<ListPage, StorageError> {
        let objects = self.0.lock().unwrap();
        let below = || objects.iter().filter(|(key, _)| key.starts_with(&request.prefix));
        let mut page = ListPage::default();
        if request.directories {
            let folders = below().filter_map(|(key, _)| key.strip_prefix(&request.prefix)?.split_once('/'));
            page.directories = folders.map(|(folder, _)| format!("{}{folder}/", request.prefix)).collect();
            page.directories.dedup();
        } else {
            page.objects = below().map(|(key, bytes)| Self::stat_of(key, bytes)).collect();
        }
        Ok(page)
    }

    async fn stat(&self, key: &str) -> Result<ObjectStat, StorageError> {
        Ok(self.get(key, None).await?.stat)
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.0.lock().unwrap().remove(key);
        Ok(())
    }
}

fn context() -> RunContext {
    let mut context = capture::tests::context(Arc::new(lease::tests::Shelf::default()));
    context.store.storage = Arc::new(Drawer::default());
    context
}

/// The journal of a restore of `orders` in place, which has begun this step, and finished it.
async fn restored(context: &RunContext, run: &str, started: &str, step: &str, finished: bool) {
    let at = started.parse().unwrap();
    let database = json!([{
        "name": "orders", "database": "orders",
        "location": {"cloudSql": {"project": "p", "instance": "i", "databases": ["orders"]}},
        "beside": format!("orders_of_{run}"), "kept": format!("orders_before_{run}"),
    }]);
    let planned = Planned {
        run: run.to_owned(),
        kind: RunKind::Restore,
        environment: "staging".to_owned(),
        parameters: [(DATABASES.to_owned(), database)].into_iter().collect(),
        points: vec![format!("point-of-{run}")],
        steps: Vec::new(),
        program: "test".to_owned(),
        holder: "test".to_owned(),
        started: at,
    };
    let mut journal = Journal::begin(&context.store, run, Entry::Planned(planned)).await.unwrap();
    let step = step.to_owned();
    journal.record(&Entry::StepStarted(StepStarted { step: step.clone(), at })).await.unwrap();
    if finished {
        journal.record(&Entry::StepFinished(StepFinished { step, at, evidence: Evidence::new() })).await.unwrap();
        let outcome = Finished { outcome: Outcome::Succeeded, summary: String::new(), at };
        journal.record(&Entry::Finished(outcome)).await.unwrap();
    }
}

#[tokio::test]
async fn what_was_restored_since_somebody_looked_is_not_undone_with_it() {
    let context = context();
    let (first, later) = ("20240501t100000z-restore-staging-aaaaa", "20240501t110000z-restore-staging-bbbbb");
    restored(&context, first, "2024-05-01T10:00:00Z", "swap-orders", true).await;
    let history = runs::history(&context.store, first).await.unwrap();
    still_live(&context.store, &history).await.unwrap();
    // While somebody is asked whether that is wanted, another restore comes and goes.
    restored(&context, later, "2024-05-01T11:00:00Z", "swap-orders", true).await;
    let error = undo(&context, &history).await.unwrap_err();
    assert!(matches!(&error, RunError::Replaced { later: run, .. } if run == later), "{error:?}");
    let entries = runs::history(&context.store, first).await.unwrap().entries.len();
    assert_eq!(entries, history.entries.len(), "nothing was begun");
}

#[tokio::test]
async fn a_database_that_cannot_be_dropped_keeps_nothing_else_of_its_run() {
    let context = context();
    let run = "20240501t100000z-restore-staging-aaaaa";
    restored(&context, run, "2024-05-01T10:00:00Z", "load-orders", false).await;
    let key = context.store.layout.archive_key(&format!("point-of-{run}"));
    context.store.write(&key, "archive", PutCondition::Always).await.unwrap();
    let history = runs::unfinished(&context.store, run).await.unwrap();
    let error = runs::clean(&context, &history).await.unwrap_err();
    let RunError::LeftBehind { what, source, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*what, format!("database `orders_of_{run}`"));
    assert!(source.to_string().contains("no way to Cloud SQL"), "{source}");
    assert_eq!(context.store.read(&key).await.unwrap(), None, "the rest is gone");
    // So that it can be tried again.
    runs::unfinished(&context.store, run).await.unwrap();
}
