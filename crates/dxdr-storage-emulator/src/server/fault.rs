//! How bodies and answers fail when a fault picks their request.

use axum::body::Body;
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Response, header, header::HeaderValue};

use crate::{
    failure::{Failure, with_status},
    fault::Failing,
};

pub(super) fn refused(status: u16, reason: &'static str) -> Response<Body> {
    Failure::new(status, reason, format!("As told: {reason}.")).into_response()
}

/// The body of a request, with what happens to it on the way.
pub(super) fn arriving(body: Body, failing: Option<&Failing>) -> Body {
    match failing {
        Some(Failing::BrokenUpload(length)) => broken(body, *length),
        Some(Failing::FlippedUpload(position)) => flipped(body, *position),
        _ => body,
    }
}

/// An answer, with what happens to it on the way.
pub(super) async fn leaving(response: Response<Body>, failing: &Failing) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    match failing {
        Failing::BrokenDownload(length) => Response::from_parts(parts, broken(body, *length)),
        Failing::StalledDownload(length) => {
            let pieces = until(body, *length).chain(stream::pending()).map(Ok::<_, std::convert::Infallible>);
            Response::from_parts(parts, Body::from_stream(pieces))
        }
        Failing::FlippedDownload(position) => Response::from_parts(parts, flipped(body, *position)),
        Failing::Truncated(length) => {
            parts.headers.remove(header::CONTENT_LENGTH);
            let pieces = until(body, *length).map(Ok::<_, std::convert::Infallible>);
            Response::from_parts(parts, Body::from_stream(pieces))
        }
        Failing::WrongChecksum => {
            if parts.headers.contains_key("x-goog-hash") {
                parts.headers.insert("x-goog-hash", HeaderValue::from_static("crc32c=AAAAAA=="));
                return Response::from_parts(parts, body);
            }
            let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
            let mut json: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
            if json.get("crc32c").is_some() {
                json["crc32c"] = "AAAAAA==".into();
            }
            with_status(parts.status.as_u16(), "application/json; charset=UTF-8", json.to_string().into())
        }
        _ => Response::from_parts(parts, body),
    }
}

/// The first bytes of a body.
fn until(body: Body, length: u64) -> impl stream::Stream<Item = Bytes> + Send + 'static {
    stream::unfold((body.into_data_stream(), length), |(mut body, left)| async move {
        if left == 0 {
            return None;
        }
        let Some(Ok(mut bytes)) = body.next().await else {
            return None;
        };
        // At most the length of the piece.
        bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        let left = left - bytes.len() as u64;
        Some((bytes, (body, left)))
    })
}

/// The first bytes of a body, and then the connection ends.
fn broken(body: Body, length: u64) -> Body {
    let end = stream::once(async {
        // What came before is on its way by then.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
    });
    Body::from_stream(until(body, length).map(Ok).chain(end))
}

fn flipped(body: Body, position: u64) -> Body {
    let pieces = body.into_data_stream().scan(0, move |start: &mut u64, piece| {
        let piece = piece.map(|bytes| {
            let end = *start + bytes.len() as u64;
            let flipped = if (*start..end).contains(&position) {
                let mut bytes = bytes.to_vec();
                // Within the piece.
                let place = (position - *start) as usize;
                bytes[place] = !bytes[place];
                bytes.into()
            } else {
                bytes
            };
            *start = end;
            flipped
        });
        std::future::ready(Some(piece))
    });
    Body::from_stream(pieces)
}
