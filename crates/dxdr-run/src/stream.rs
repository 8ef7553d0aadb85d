//! Bridges between async byte streams and the synchronous readers and writers of the formats.

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes, BytesMut};
use dxdr_provider::object_storage::ByteStream;
use futures::StreamExt;
use tokio::sync::mpsc;

/// Chunks in flight between the two sides: with [`CHUNK`] this bounds the memory of a bridge to half a megabyte.
const CHUNKS_IN_FLIGHT: usize = 8;
/// Size at which a writer hands its bytes on.
const CHUNK: usize = 64 * 1024;

/// A synchronous writer whose bytes come out of a stream.
///
/// The stream ends cleanly only after [`StreamWriter::finish`]; dropped before that, it ends in an error, so that whoever stores
/// the bytes stores nothing.
#[derive(Debug)]
pub struct StreamWriter {
    sender: mpsc::Sender<Result<Bytes, io::Error>>,
    buffer: BytesMut,
    finished: bool,
}

/// A writer for a blocking thread, and the stream of what it writes.
pub fn writer() -> (StreamWriter, ByteStream) {
    let (sender, receiver) = mpsc::channel(CHUNKS_IN_FLIGHT);
    let writer = StreamWriter { sender, buffer: BytesMut::with_capacity(CHUNK), finished: false };
    (writer, Box::pin(tokio_stream::wrappers::ReceiverStream::new(receiver)))
}

impl StreamWriter {
    /// Hands on what is left and ends the stream cleanly.
    pub fn finish(mut self) -> io::Result<()> {
        self.hand_on()?;
        self.finished = true;
        Ok(())
    }

    fn hand_on(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = self.buffer.split().freeze();
        self.sender
            .blocking_send(Ok(chunk))
            .map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the receiving side has given up"))
    }
}

impl Write for StreamWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK {
            self.hand_on()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hand_on()
    }
}

impl Drop for StreamWriter {
    fn drop(&mut self) {
        if !self.finished {
            // A full channel means that the receiver is still reading: the missing end is noticed when the sender goes, which is
            // why a bare end of the channel must not look like success. `try_send` fails only when nobody can be misled.
            let error = io::Error::new(io::ErrorKind::UnexpectedEof, "the writer stopped before its end");
            if let Err(mpsc::error::TrySendError::Full(message)) = self.sender.try_send(Err(error)) {
                let _ = self.sender.blocking_send(message);
            }
        }
    }
}

/// A synchronous reader of an async stream, for a blocking thread.
pub struct StreamReader {
    receiver: mpsc::Receiver<Result<Bytes, io::Error>>,
    current: Bytes,
}

impl std::fmt::Debug for StreamReader {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("StreamReader").finish_non_exhaustive()
    }
}

/// Pumps `stream` into a reader. Dropping the reader stops the pump.
pub fn reader(mut stream: ByteStream) -> StreamReader {
    let (sender, receiver) = mpsc::channel(CHUNKS_IN_FLIGHT);
    tokio::spawn(async move {
        while let Some(chunk) = stream.next().await {
            if sender.send(chunk).await.is_err() {
                break;
            }
        }
    });
    StreamReader { receiver, current: Bytes::new() }
}

impl Read for StreamReader {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.receiver.blocking_recv() {
                Some(chunk) => self.current = chunk?,
                None => return Ok(0),
            }
        }
        let length = target.len().min(self.current.len());
        target[..length].copy_from_slice(&self.current[..length]);
        self.current.advance(length);
        Ok(length)
    }
}
