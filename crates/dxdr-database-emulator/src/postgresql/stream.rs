//! Bytes between programs, which are read and written by blocking, and HTTP, which is not. What breaks off is never taken for what ended.

use std::io;

use bytes::Bytes;
use futures::Stream;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Pieces that may wait between the two.
const WAITING: usize = 4;
/// How large they are.
const PIECE: usize = 64 * 1024;

/// A piece, or that there are no more.
type Message = Option<Bytes>;

/// What is written at one end is read at the other.
pub(super) fn pipe() -> (Writer, Reader) {
    let (sender, receiver) = channel(WAITING);
    (Writer { sender, piece: Vec::new() }, Reader { receiver, piece: Bytes::new(), ended: false })
}

/// Where bytes go in.
pub(super) struct Writer {
    sender: Sender<Message>,
    piece: Vec<u8>,
}

impl Writer {
    /// Says that this was everything. A writer that is dropped without it has broken off.
    pub(super) fn finish(mut self) -> io::Result<()> {
        io::Write::flush(&mut self)?;
        self.sender.blocking_send(None).map_err(|_| nobody_reads())
    }

    /// Hands a piece over as it is.
    pub(super) async fn hand_over(&self, piece: Bytes) -> io::Result<()> {
        self.sender.send(Some(piece)).await.map_err(|_| nobody_reads())
    }

    /// As [`finish`](Self::finish), for who hands over.
    pub(super) async fn end(self) -> io::Result<()> {
        self.sender.send(None).await.map_err(|_| nobody_reads())
    }
}

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::take(&mut self.piece);
        self.sender.blocking_send(Some(piece.into())).map_err(|_| nobody_reads())
    }
}

/// Where they come out.
pub(super) struct Reader {
    receiver: Receiver<Message>,
    piece: Bytes,
    ended: bool,
}

impl Reader {
    /// As the body of a request.
    pub(super) fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> {
        futures::stream::unfold(Some(self.receiver), |receiver| async move {
            let mut receiver = receiver?;
            match receiver.recv().await {
                Some(Some(piece)) => Some((Ok(piece), Some(receiver))),
                Some(None) => None,
                None => Some((Err(broken_off()), None)),
            }
        })
    }
}

impl io::Read for Reader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.ended {
            match self.receiver.blocking_recv() {
                Some(Some(piece)) => self.piece = piece,
                Some(None) => self.ended = true,
                None => return Err(broken_off()),
            }
        }
        let length = into.len().min(self.piece.len());
        into[..length].copy_from_slice(&self.piece.split_to(length));
        Ok(length)
    }
}

fn nobody_reads() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "nobody reads any more")
}

fn broken_off() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "what is written broke off")
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn everything_arrives_in_pieces() {
        let (mut writer, mut reader) = pipe();
        let written: Vec<u8> = (0..1_000_000_u32).map(|number| number.to_le_bytes()[1]).collect();
        let expected = written.clone();
        let writing = std::thread::spawn(move || {
            writer.write_all(&written).unwrap();
            writer.finish().unwrap();
        });
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        writing.join().unwrap();
        assert_eq!(read, expected);
    }

    #[test]
    fn what_breaks_off_does_not_end() {
        let (mut writer, mut reader) = pipe();
        writer.write_all(b"half").unwrap();
        writer.flush().unwrap();
        drop(writer);
        assert!(reader.read_to_end(&mut Vec::new()).is_err());
        let (mut writer, reader) = pipe();
        drop(reader);
        writer.write_all(b"lost").unwrap();
        assert!(writer.finish().is_err());
    }
}
