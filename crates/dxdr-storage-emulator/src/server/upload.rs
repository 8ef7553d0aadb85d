//! Writing objects: in one request, or in a session.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::{HeaderValue, Method, Response, header};

use super::{Call, Trouble, answer, document, parsed};
use crate::{
    condition::Conditions,
    content::Content,
    failure::{Failure, with_status},
    multipart,
    object::{Description, Expected},
    session::{Piece, QUANTUM, State},
    store::Place,
};

pub(super) async fn upload(call: &Call, bucket: &str, body: Body) -> Result<Response<Body>, Trouble> {
    match (&call.method, call.query.get("upload_id")) {
        (&Method::PUT | &Method::POST, Some(id)) => piece(call, id, body).await,
        (&Method::DELETE, Some(id)) => cancel(call, id),
        (&Method::POST, None) => match call.query.get("uploadType") {
            Some("media") => media(call, bucket, body).await,
            Some("multipart") => multipart(call, bucket, body).await,
            Some("resumable") => begin(call, bucket, body).await,
            _ => Err(Failure::invalid("Invalid value for uploadType").into()),
        },
        _ => Err(Failure::new(405, "methodNotAllowed", "Method Not Allowed").into()),
    }
}

async fn media(call: &Call, bucket: &str, body: Body) -> Result<Response<Body>, Trouble> {
    let mut content = Content::default();
    let mut stream = body.into_data_stream();
    while let Some(bytes) = stream.next().await {
        content.push(bytes.map_err(|_| Trouble::Dropped)?);
    }
    let mut description = Description::default();
    if let Some(text) = call.header("content-type") {
        description.texts.insert("contentType", text.to_owned());
    }
    insert(call, &place(call, bucket, None)?, description, content)
}

async fn multipart(call: &Call, bucket: &str, body: Body) -> Result<Response<Body>, Trouble> {
    let mut bytes = BytesMut::new();
    let mut stream = body.into_data_stream();
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece.map_err(|_| Trouble::Dropped)?);
    }
    let parts = multipart::parts(call.header("content-type").unwrap_or_default(), &bytes.freeze())?;
    let [metadata, media, rest @ ..] = parts.as_slice() else {
        return Err(Failure::new(400, "badContent", "A multipart upload has metadata and media.").into());
    };
    let metadata = parsed(metadata)?;
    let mut description = Description::of(&metadata);
    // Checksums that were not known when the upload began.
    if let Some(trailer) = rest.first() {
        let trailing = Description::of(&parsed(trailer)?).expected;
        description.expected = description.expected.or(trailing);
    }
    let mut content = Content::default();
    content.push(media.clone());
    insert(call, &place(call, bucket, metadata["name"].as_str())?, description, content)
}

fn insert(call: &Call, place: &Place, description: Description, content: Content) -> Result<Response<Body>, Trouble> {
    let description = completed(call, description);
    let (conditions, now) = (Conditions::parse(&call.query)?, call.shared.now());
    call.shared.store().insert(place, description, content, &conditions, &call.caller, now)?;
    call.object_json(place)
}

/// With what the query and the headers say.
fn completed(call: &Call, mut description: Description) -> Description {
    if let Some(key) = call.query.text("kmsKeyName") {
        description.kms_key = Some(key.to_owned());
    }
    if let Some(encoding) = call.query.text("contentEncoding") {
        description.texts.insert("contentEncoding", encoding.to_owned());
    }
    description.expected = announced(call).or(description.expected);
    description
}

fn announced(call: &Call) -> Expected {
    Expected::header(call.headers.get_all("x-goog-hash").iter().filter_map(|value| value.to_str().ok()))
}

fn place(call: &Call, bucket: &str, named: Option<&str>) -> Result<Place, Failure> {
    let object = call.query.text("name").or(named).filter(|name| !name.is_empty());
    let object = object.ok_or_else(|| Failure::new(400, "required", "Required parameter: name"))?;
    Ok(Place { bucket: bucket.to_owned(), object: object.to_owned() })
}

async fn begin(call: &Call, bucket: &str, body: Body) -> Result<Response<Body>, Trouble> {
    let metadata = document(body).await?;
    let mut description = completed(call, Description::of(&metadata));
    if let Some(text) = call.header("x-upload-content-type") {
        description.texts.entry("contentType").or_insert_with(|| text.to_owned());
    }
    let place = place(call, bucket, metadata["name"].as_str())?;
    let (conditions, now) = (Conditions::parse(&call.query)?, call.shared.now());
    let mut store = call.shared.store();
    store.may_insert(&place, &conditions, &call.caller, now)?;
    let id = store.sessions.begin(place, description, conditions, call.caller.clone());
    drop(store);
    let url = format!("{}/upload/storage/v1/b/{bucket}/o?uploadType=resumable&upload_id={id}", call.shared.base);
    let mut response = with_status(200, "text/plain; charset=utf-8", Body::empty());
    let location = HeaderValue::try_from(url).map_err(|_| Failure::invalid(format!("Invalid bucket name: '{bucket}'")))?;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

/// A piece of a session's bytes, or the question how many there are.
async fn piece(call: &Call, id: &str, body: Body) -> Result<Response<Body>, Trouble> {
    let piece =
        Piece::parse(call.header("content-range")).ok_or_else(|| Failure::invalid("Failed to parse Content-Range header."))?;
    let persisted = {
        let mut store = call.shared.store();
        let session = store.sessions.get(id)?;
        session.check_usable()?;
        if let State::Finished(generation) = session.state {
            let place = session.place.clone();
            store.read(&place, Some(generation), &Conditions::default())?;
            drop(store);
            return call.object_json(&place);
        }
        session.settle()
    };
    let Some(start) = piece.start else {
        return if piece.total == Some(persisted) { finish(call, id) } else { Ok(incomplete(persisted)) };
    };
    if start > persisted {
        return Err(Failure::invalid(format!(
            "Invalid request. According to the Content-Range header, the upload offset is {start} byte(s), which exceeds already uploaded size of {persisted} byte(s)."
        ))
        .into());
    }
    let received = receive(call, id, body, persisted - start).await?;
    let end = start + received;
    if piece.end.is_some_and(|promised| promised != end) || piece.is_last() && piece.total.is_some_and(|total| total != end) {
        return Err(
            Failure::invalid("Invalid request. There were more or fewer bytes than the Content-Range header says.").into()
        );
    }
    if piece.is_last() {
        return finish(call, id);
    }
    if end % QUANTUM != 0 {
        return Err(Failure::invalid(format!(
            "Invalid request. The number of bytes uploaded is required to be equal or greater than {QUANTUM}, except for the final request (it's recommended to be the exact multiple of {QUANTUM}). The received request contained {received} bytes, which does not meet this requirement."
        ))
        .into());
    }
    let persisted = call.shared.store().sessions.get(id)?.settle();
    Ok(incomplete(persisted))
}

/// Keeps bytes as they come, but for the first ones, which are there already. Says how many came.
async fn receive(call: &Call, id: &str, body: Body, mut known: u64) -> Result<u64, Trouble> {
    let mut stream = body.into_data_stream();
    let mut received = 0;
    while let Some(bytes) = stream.next().await {
        let mut bytes: Bytes = bytes.map_err(|_| Trouble::Dropped)?;
        received += bytes.len() as u64;
        // At most the length of the piece.
        let skipped = bytes.len().min(usize::try_from(known).unwrap_or(usize::MAX));
        known -= skipped as u64;
        let bytes = bytes.split_off(skipped);
        call.shared.store().sessions.get(id)?.push(bytes);
    }
    Ok(received)
}

fn finish(call: &Call, id: &str) -> Result<Response<Body>, Trouble> {
    let now = call.shared.now();
    let mut store = call.shared.store();
    let mut session = store.sessions.get(id)?.clone();
    session.description.expected = announced(call).or(session.description.expected);
    let place = session.place.clone();
    store.insert(&place, session.description, session.content, &session.conditions, &session.caller, now)?;
    let (generation, _) = store.read(&place, None, &Conditions::default())?.versions();
    store.sessions.get(id)?.end(State::Finished(generation));
    let json = store.json(&place, &call.shared.base)?;
    Ok(answer(&json))
}

fn cancel(call: &Call, id: &str) -> Result<Response<Body>, Trouble> {
    let mut store = call.shared.store();
    let session = store.sessions.get(id)?;
    session.check_usable()?;
    session.end(State::Cancelled);
    Ok(with_status(499, "text/plain; charset=utf-8", Body::empty()))
}

/// What is persisted; more is waited for.
fn incomplete(persisted: u64) -> Response<Body> {
    let mut response = with_status(308, "text/plain; charset=utf-8", Body::empty());
    if persisted > 0
        && let Ok(range) = HeaderValue::try_from(format!("bytes=0-{}", persisted - 1))
    {
        response.headers_mut().insert(header::RANGE, range);
    }
    response
}
