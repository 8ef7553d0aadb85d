//! Bodies cut into parts of one size, whatever the sizes of their chunks.

use bytes::{Bytes, BytesMut};
use dxdr_provider::object_storage::{ByteStream, ObjectBody};
use futures::{StreamExt, TryStreamExt, stream};

/// A body cut into parts.
pub(crate) struct Parts {
    stream: ByteStream,
    rest: Bytes,
}

/// A piece of a body.
pub(crate) enum Part {
    /// As large as asked for; more may follow.
    Full(Bytes),
    /// The end: smaller, and possibly empty.
    Last(Bytes),
}

impl Parts {
    pub(crate) fn new(body: ObjectBody) -> Self {
        match body {
            ObjectBody::Bytes(rest) => Self { stream: stream::empty().boxed(), rest },
            ObjectBody::Stream(stream) => Self { stream, rest: Bytes::new() },
        }
    }

    /// The next `size` bytes, or what is left.
    pub(crate) async fn next(&mut self, size: usize) -> Result<Part, std::io::Error> {
        // Bytes that are there in one piece stay where they are.
        if self.rest.len() >= size {
            return Ok(Part::Full(self.rest.split_to(size)));
        }
        let mut part = BytesMut::from(std::mem::take(&mut self.rest));
        while let Some(mut bytes) = self.stream.try_next().await? {
            if part.is_empty() {
                part.reserve(size);
            }
            let room = size - part.len();
            if bytes.len() >= room {
                part.extend_from_slice(&bytes.split_to(room));
                self.rest = bytes;
                return Ok(Part::Full(part.freeze()));
            }
            part.extend_from_slice(&bytes);
        }
        Ok(Part::Last(part.freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_is_cut_into_parts_whatever_its_chunks_are() {
        for (chunk, length) in [(1, 10), (3, 10), (4, 8), (4, 0), (7, 21), (100, 9), (100, 100)] {
            let bytes = Bytes::from((0..length).collect::<Vec<u8>>());
            let chunks: Vec<_> = bytes.chunks(chunk).map(|chunk| Ok(bytes.slice_ref(chunk))).collect();
            let bodies = [ObjectBody::Stream(stream::iter(chunks).boxed()), ObjectBody::Bytes(bytes.clone())];
            for body in bodies {
                let mut parts = Parts::new(body);
                let mut seen = Vec::new();
                loop {
                    match parts.next(4).await.unwrap() {
                        Part::Full(part) => {
                            assert_eq!(part.len(), 4);
                            seen.extend_from_slice(&part);
                        }
                        Part::Last(part) => {
                            assert!(part.len() < 4);
                            seen.extend_from_slice(&part);
                            break;
                        }
                    }
                }
                assert_eq!(seen, bytes);
            }
        }
    }
}
