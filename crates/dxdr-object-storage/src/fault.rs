//! A store whose calls fail as told, around any store.

use std::{
    io,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use dxdr_provider::object_storage::{
    ByteStream, ListPage, ListRequest, ObjectBody, ObjectReader, ObjectStat, ObjectStorage, PutCondition, StorageError,
    StorageErrorKind,
};
use futures::{StreamExt, stream};

use crate::failure::{Call, into_stream_error};

/// One of the calls of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// [`ObjectStorage::put`].
    Put,
    /// [`ObjectStorage::get`].
    Get,
    /// [`ObjectStorage::list`].
    List,
    /// [`ObjectStorage::stat`].
    Stat,
    /// [`ObjectStorage::delete`].
    Delete,
}

impl Action {
    fn verb(self) -> &'static str {
        match self {
            Self::Put => "write",
            Self::Get | Self::Stat => "read",
            Self::List => "list",
            Self::Delete => "delete",
        }
    }
}

/// Which calls fail, and how. Without further words: every call of the action, on every key, for ever.
#[derive(Debug, Clone)]
pub struct Fault {
    action: Option<Action>,
    key: Option<String>,
    skip: usize,
    times: usize,
    delay: Duration,
    effect: Effect,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Delay,
    FailBefore(StorageErrorKind),
    FailAfter(StorageErrorKind),
    Cut { after: u64, is_silent: bool },
    Flip { position: u64 },
}

impl Fault {
    /// The call fails and does nothing.
    pub fn fail(kind: StorageErrorKind) -> Self {
        Self::new(Effect::FailBefore(kind))
    }

    /// The call does what it should, and then fails: the answer was lost.
    pub fn fail_afterwards(kind: StorageErrorKind) -> Self {
        Self::new(Effect::FailAfter(kind))
    }

    /// The stream of a get breaks with an error after so many bytes. Only gets.
    pub fn break_after(bytes: u64) -> Self {
        Self::new(Effect::Cut { after: bytes, is_silent: false }).on(Action::Get)
    }

    /// The stream of a get ends without an error after so many bytes, as no store should: for code that must not believe it. Only gets.
    pub fn truncate_after(bytes: u64) -> Self {
        Self::new(Effect::Cut { after: bytes, is_silent: true }).on(Action::Get)
    }

    /// One bit of the byte at this position of what a get reads is flipped. Only gets.
    pub fn flip_at(position: u64) -> Self {
        Self::new(Effect::Flip { position }).on(Action::Get)
    }

    /// The call takes longer.
    pub fn delay(delay: Duration) -> Self {
        Self { delay, ..Self::new(Effect::Delay) }
    }

    fn new(effect: Effect) -> Self {
        Self { action: None, key: None, skip: 0, times: usize::MAX, delay: Duration::ZERO, effect }
    }

    /// Only calls of this action.
    #[must_use]
    pub fn on(self, action: Action) -> Self {
        Self { action: Some(action), ..self }
    }

    /// Only keys (prefixes, for lists) like this; `*` stands for any text.
    #[must_use]
    pub fn key(self, pattern: &str) -> Self {
        Self { key: Some(pattern.to_owned()), ..self }
    }

    /// From the nth matching call on, counted from 1.
    #[must_use]
    pub fn from_call(self, number: usize) -> Self {
        Self { skip: number.saturating_sub(1), ..self }
    }

    /// So many times.
    #[must_use]
    pub fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }

    /// Later by so much.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// Whether this call is one of those; counts it.
    fn takes(&mut self, action: Action, key: &str) -> bool {
        if self.action.is_some_and(|wanted| wanted != action) || self.key.as_deref().is_some_and(|pattern| !matches(pattern, key))
        {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        if self.times == 0 {
            return false;
        }
        if self.times != usize::MAX {
            self.times -= 1;
        }
        true
    }
}

/// Fails chosen calls of the store inside, and passes the others on.
#[derive(Debug)]
pub struct Faulty {
    inner: Arc<dyn ObjectStorage>,
    faults: Mutex<Vec<Fault>>,
}

impl Faulty {
    /// Around a store; nothing fails yet.
    pub fn new(inner: Arc<dyn ObjectStorage>) -> Self {
        Self { inner, faults: Mutex::default() }
    }

    /// Adds a fault. The first one that matches a call has its way.
    #[must_use]
    pub fn with(self, fault: Fault) -> Self {
        self.add(fault);
        self
    }

    /// Adds a fault while the store is in use.
    pub fn add(&self, fault: Fault) {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
    }

    /// Nothing fails any more.
    pub fn heal(&self) {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The fault of this call, after its delay, and the call as errors name it; an error when it fails before anything is done.
    async fn meet(&self, action: Action, key: &str) -> Result<(Option<Effect>, Call), StorageError> {
        let call = Call { action: action.verb(), key: key.to_owned(), store: self.describe() };
        let fault = {
            let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
            faults.iter_mut().find_map(|fault| fault.takes(action, key).then_some((fault.effect, fault.delay)))
        };
        let Some((effect, delay)) = fault else {
            return Ok((None, call));
        };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        match effect {
            Effect::FailBefore(kind) => Err(call.fails_by(kind, Injected)),
            effect => Ok((Some(effect), call)),
        }
    }
}

/// The cause of errors that a [`Faulty`] made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a test made it fail")]
pub struct Injected;

fn afterwards<T>(value: T, effect: Option<Effect>, call: &Call) -> Result<T, StorageError> {
    match effect {
        Some(Effect::FailAfter(kind)) => Err(call.fails_by(kind, Injected)),
        _ => Ok(value),
    }
}

#[async_trait]
impl ObjectStorage for Faulty {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn url(&self, key: &str) -> Option<String> {
        self.inner.url(key)
    }

    async fn put(&self, key: &str, body: ObjectBody, condition: PutCondition) -> Result<ObjectStat, StorageError> {
        let (effect, call) = self.meet(Action::Put, key).await?;
        afterwards(self.inner.put(key, body, condition).await?, effect, &call)
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<ObjectReader, StorageError> {
        let (effect, call) = self.meet(Action::Get, key).await?;
        let mut reader = self.inner.get(key, range).await?;
        match effect {
            Some(Effect::Cut { after, is_silent }) => reader.stream = cut(reader.stream, after, is_silent, call),
            Some(Effect::Flip { position }) => reader.stream = flip(reader.stream, position),
            effect => return afterwards(reader, effect, &call),
        }
        Ok(reader)
    }

    async fn list(&self, request: &ListRequest) -> Result<ListPage, StorageError> {
        let (effect, call) = self.meet(Action::List, &request.prefix).await?;
        afterwards(self.inner.list(request).await?, effect, &call)
    }

    async fn stat(&self, key: &str) -> Result<ObjectStat, StorageError> {
        let (effect, call) = self.meet(Action::Stat, key).await?;
        afterwards(self.inner.stat(key).await?, effect, &call)
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        let (effect, call) = self.meet(Action::Delete, key).await?;
        self.inner.delete(key).await?;
        afterwards((), effect, &call)
    }
}

fn cut(inner: ByteStream, after: u64, is_silent: bool, call: Call) -> ByteStream {
    let broken = move || into_stream_error(call.fails_by(StorageErrorKind::Unavailable, Injected));
    let pieces = stream::try_unfold(Some((inner, after)), move |state| {
        let broken = broken.clone();
        async move {
            let Some((mut inner, left)) = state else {
                return Ok(None);
            };
            if left == 0 {
                return if is_silent { Ok(None) } else { Err(broken()) };
            }
            let Some(bytes) = inner.next().await else {
                return Ok(None);
            };
            let mut bytes = bytes?;
            bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            let left = left - bytes.len() as u64;
            Ok::<_, io::Error>(Some((bytes, Some((inner, left)))))
        }
    });
    pieces.boxed()
}

fn flip(inner: ByteStream, position: u64) -> ByteStream {
    let mut at = 0;
    inner
        .map(move |piece| {
            let bytes = piece?;
            let begin = at;
            at += bytes.len() as u64;
            if !(begin..at).contains(&position) {
                return Ok(bytes);
            }
            let mut bytes = bytes.to_vec();
            // Below the length of bytes in memory.
            bytes[(position - begin) as usize] ^= 1;
            Ok(bytes.into())
        })
        .boxed()
}

fn matches(pattern: &str, key: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == key,
        Some((before, rest)) => key.strip_prefix(before).is_some_and(|key| {
            key.char_indices().map(|(position, _)| position).chain([key.len()]).any(|position| matches(rest, &key[position..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;

    use super::*;
    use crate::MemoryStorage;

    fn storage() -> Faulty {
        let memory = MemoryStorage::default();
        memory.insert("a/manifest.json", "0123456789");
        Faulty::new(Arc::new(memory))
    }

    async fn put(storage: &Faulty, key: &str) -> Result<ObjectStat, StorageError> {
        storage.put(key, ObjectBody::Bytes("x".into()), PutCondition::Always).await
    }

    #[test]
    fn patterns_match_keys() {
        for (pattern, key, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*.json", "x/y.json", true),
            ("a/*/c", "a/b/c", true),
            ("a/*/c", "a/c", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, key), expected, "{pattern} {key}");
        }
    }

    #[tokio::test]
    async fn only_the_chosen_calls_fail() {
        let storage =
            storage().with(Fault::fail(StorageErrorKind::Throttled).on(Action::Put).key("*.json").from_call(2).times(2));
        let mut outcomes = Vec::new();
        for _ in 0..5 {
            outcomes.push(put(&storage, "b.json").await.is_ok());
            put(&storage, "b.tar").await.unwrap();
            storage.stat("b.json").await.unwrap();
        }
        assert_eq!(outcomes, [true, false, false, true, true]);
    }

    #[tokio::test]
    async fn an_answer_can_be_lost_after_the_effect() {
        let storage = storage().with(Fault::fail_afterwards(StorageErrorKind::TimedOut).on(Action::Put));
        assert_eq!(put(&storage, "b").await.unwrap_err().kind, StorageErrorKind::TimedOut);
        assert_eq!(storage.stat("b").await.unwrap().size, 1);
    }

    #[tokio::test]
    async fn bodies_break_end_early_or_differ() {
        let read = async |fault: Fault| {
            let storage = storage().with(fault);
            let pieces: Result<Vec<_>, _> = storage.get("a/manifest.json", None).await.unwrap().stream.try_collect().await;
            pieces.map(|pieces| pieces.concat())
        };
        assert_eq!(read(Fault::truncate_after(4)).await.unwrap(), b"0123");
        assert_eq!(read(Fault::flip_at(3)).await.unwrap(), b"0122456789");
        let error = read(Fault::break_after(4)).await.unwrap_err();
        assert_eq!(crate::storage_error_of(&error).unwrap().kind, StorageErrorKind::Unavailable);
    }

    #[tokio::test]
    async fn a_healed_store_works() {
        let storage = storage().with(Fault::fail(StorageErrorKind::Full));
        assert_eq!(put(&storage, "b").await.unwrap_err().kind, StorageErrorKind::Full);
        storage.heal();
        put(&storage, "b").await.unwrap();
    }
}
