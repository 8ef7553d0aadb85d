//! The answer of a watch: JSON documents, a line each.

use bytes::{Bytes, BytesMut};
use dxdr_provider::{
    ClusterError, ClusterErrorKind,
    cluster::{WatchEvent, WatchStream},
};
use futures::StreamExt as _;
use http::StatusCode;
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::failure::{self, Failure};

/// Bytes. etcd holds no object of this size.
const LONGEST_LINE: usize = 16 << 20;

#[derive(Deserialize)]
struct Line<'a> {
    r#type: String,
    #[serde(borrow)]
    object: &'a RawValue,
}

struct State<F> {
    body: Body,
    buffer: BytesMut,
    failing: F,
    over: bool,
}

/// The events of `body`. Whatever goes wrong is the last thing that the stream says.
pub(crate) fn events<F>(body: Body, failing: F) -> WatchStream
where
    F: Fn(Failure) -> ClusterError + Send + 'static,
{
    let state = State { body, buffer: BytesMut::new(), failing, over: false };
    futures::stream::unfold(state, |mut state| async move {
        if state.over {
            return None;
        }
        match next(&mut state.body, &mut state.buffer).await {
            Ok(Some(event)) => Some((Ok(event), state)),
            Ok(None) => None,
            Err(failure) => {
                state.over = true;
                Some((Err((state.failing)(failure)), state))
            }
        }
    })
    .boxed()
}

async fn next(body: &mut Body, buffer: &mut BytesMut) -> Result<Option<WatchEvent>, Failure> {
    loop {
        if let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line = buffer.split_to(end + 1).freeze();
            match event(&line)? {
                Some(event) => return Ok(Some(event)),
                None => continue,
            }
        }
        if buffer.len() > LONGEST_LINE {
            return Err(Failure::new(ClusterErrorKind::Malformed, "a line of the watch does not end"));
        }
        match body.frame().await {
            None => return Ok(None),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    buffer.extend_from_slice(&data);
                }
            }
            Some(Err(error)) => {
                return Err(Failure::new(ClusterErrorKind::Unreachable, "the watch was cut off").with_source(error));
            }
        }
    }
}

/// `None` for what says nothing of the object.
fn event(line: &Bytes) -> Result<Option<WatchEvent>, Failure> {
    if line.trim_ascii().is_empty() {
        return Ok(None);
    }
    let malformed = |error| Failure::new(ClusterErrorKind::Malformed, "an event of the watch is none").with_source(error);
    let Line { r#type, object } = serde_json::from_slice(line).map_err(malformed)?;
    let json = object.get().as_bytes();
    match r#type.as_str() {
        "ADDED" | "MODIFIED" => Ok(Some(WatchEvent::Applied(line.slice_ref(json)))),
        "DELETED" => Ok(Some(WatchEvent::Deleted)),
        "ERROR" => {
            let code =
                serde_json::from_str::<serde_json::Value>(object.get()).ok().and_then(|status| status.get("code")?.as_u64());
            let code = code.and_then(|code| u16::try_from(code).ok()).and_then(|code| StatusCode::from_u16(code).ok());
            Err(failure::of_answer(code.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), None, json))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(text: &'static str) -> Vec<Result<WatchEvent, ClusterErrorKind>> {
        let failing = |failure: Failure| ClusterError {
            kind: failure.kind,
            action: "watch",
            object: "an object".to_owned(),
            cluster: "a cluster".to_owned(),
            message: failure.message,
            source: None,
        };
        events(Body::from(text.as_bytes().to_vec()), failing).map(|event| event.map_err(|error| error.kind)).collect().await
    }

    #[tokio::test]
    async fn events_are_lines_and_an_unfinished_one_is_none() {
        let text = "{\"type\":\"ADDED\",\"object\":{\"a\":1}}\n{\"type\":\"BOOKMARK\",\"object\":{}}\n\n{\"type\":\"DELETED\",\"object\":{}}\n{\"type\":\"MODIF";
        let applied = WatchEvent::Applied(Bytes::from_static(b"{\"a\":1}"));
        assert_eq!(read(text).await, [Ok(applied), Ok(WatchEvent::Deleted)]);
    }

    #[tokio::test]
    async fn a_version_that_is_too_old_is_said_and_ends_it() {
        let text = "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"status\":\"Failure\",\"reason\":\"Expired\",\"code\":410,\"message\":\"too old\"}}\n{\"type\":\"ADDED\",\"object\":{}}\n";
        assert_eq!(read(text).await, [Err(ClusterErrorKind::Expired)]);
        assert_eq!(read("nothing\n").await, [Err(ClusterErrorKind::Malformed)]);
    }
}
