//! SHA-256 of what passes by.

use std::{
    fmt,
    io::{self, Read, Write},
};

use dxdr_catalog::Sha256;
use sha2::Digest;

/// The SHA-256 of bytes that are all there.
pub fn sha256(bytes: &[u8]) -> Sha256 {
    Sha256(sha2::Sha256::digest(bytes).into())
}

/// Hashes and counts what is read from, or written to, `T`.
#[derive(Clone)]
pub struct Hashing<T> {
    inner: T,
    hash: sha2::Sha256,
    count: u64,
}

/// [`Hashing`] around a reader.
pub type HashingReader<R> = Hashing<R>;

/// [`Hashing`] around a writer.
pub type HashingWriter<W> = Hashing<W>;

impl<T> Hashing<T> {
    /// Nothing passed yet.
    pub fn new(inner: T) -> Self {
        Self { inner, hash: sha2::Sha256::new(), count: 0 }
    }

    /// The hash of what passed so far.
    pub fn digest(&self) -> Sha256 {
        Sha256(self.hash.clone().finalize().into())
    }

    /// Bytes that passed so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// What is inside, and the hash of all that passed.
    pub fn finish(self) -> (T, Sha256) {
        (self.inner, Sha256(self.hash.finalize().into()))
    }

    fn pass(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.count += bytes.len() as u64;
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        self.pass(&into[..count]);
        Ok(count)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.pass(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T> fmt::Debug for Hashing<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Hashing").field("count", &self.count).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_and_what_is_written_have_the_hash_of_their_bytes() {
        let mut reader = HashingReader::new(&b"abc"[..]);
        io::copy(&mut reader, &mut io::sink()).unwrap();
        let mut writer = HashingWriter::new(Vec::new());
        writer.write_all(b"a").unwrap();
        writer.write_all(b"bc").unwrap();
        assert_eq!(reader.count(), 3);
        assert_eq!(reader.digest(), sha256(b"abc"));
        assert_eq!(writer.finish(), (b"abc".to_vec(), sha256(b"abc")));
        assert_eq!(sha256(b"abc").to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
