//! From what the system said to a [`StorageError`].

use std::io;

use dxdr_provider::object_storage::{StorageError, StorageErrorKind};

use crate::key::{self, KeyProblem};

/// One call on one store: what its errors name.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) action: &'static str,
    pub(crate) key: String,
    pub(crate) store: String,
}

impl Call {
    /// Fails without a cause.
    pub(crate) fn fails(&self, kind: StorageErrorKind) -> StorageError {
        StorageError { kind, action: self.action, key: self.key.clone(), store: self.store.clone(), source: None }
    }

    /// Fails because of `source`.
    pub(crate) fn fails_by(
        &self,
        kind: StorageErrorKind,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> StorageError {
        StorageError { source: Some(source.into()), ..self.fails(kind) }
    }

    /// Fails because of the file system.
    pub(crate) fn fails_by_io(&self, source: io::Error) -> StorageError {
        self.fails_by(kind_of_io(&source), source)
    }

    /// Fails because the bytes to be written did not come.
    pub(crate) fn fails_by_body(&self, source: io::Error) -> StorageError {
        self.fails_by(StorageErrorKind::Other, BodyFailure(source))
    }

    /// The key, if every store takes it.
    pub(crate) fn valid_key(&self) -> Result<(), StorageError> {
        key::validate(&self.key).map_err(|problem: KeyProblem| self.fails_by(StorageErrorKind::Invalid, problem))
    }
}

/// The bytes to be written could not be produced; nothing is wrong with the store.
#[derive(Debug, thiserror::Error)]
#[error("the bytes to be written ended in an error")]
pub struct BodyFailure(#[source] pub io::Error);

/// An error of a stream that is being read, from a [`StorageError`] that stays inside for whoever decides by its kind.
pub(crate) fn into_stream_error(error: StorageError) -> io::Error {
    let kind = match error.kind {
        StorageErrorKind::Corrupt => io::ErrorKind::UnexpectedEof,
        StorageErrorKind::TimedOut => io::ErrorKind::TimedOut,
        StorageErrorKind::NotFound => io::ErrorKind::NotFound,
        StorageErrorKind::Forbidden | StorageErrorKind::Unauthenticated => io::ErrorKind::PermissionDenied,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

/// The [`StorageError`] inside an error of [`dxdr_provider::object_storage::ObjectReader::stream`].
pub fn storage_error_of(error: &io::Error) -> Option<&StorageError> {
    error.get_ref().and_then(|inner| inner.downcast_ref::<StorageError>())
}

fn kind_of_io(error: &io::Error) -> StorageErrorKind {
    match error.kind() {
        io::ErrorKind::NotFound => StorageErrorKind::NotFound,
        io::ErrorKind::AlreadyExists => StorageErrorKind::AlreadyExists,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => StorageErrorKind::Forbidden,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => StorageErrorKind::Full,
        io::ErrorKind::TimedOut => StorageErrorKind::TimedOut,
        io::ErrorKind::StaleNetworkFileHandle | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            StorageErrorKind::Unreachable
        }
        io::ErrorKind::InvalidFilename | io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => StorageErrorKind::Invalid,
        _ => StorageErrorKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_read_only_file_system_are_told_apart() {
        // ENOSPC, EDQUOT, EROFS, EACCES of Linux.
        for (number, kind) in [
            (28, StorageErrorKind::Full),
            (122, StorageErrorKind::Full),
            (30, StorageErrorKind::Forbidden),
            (13, StorageErrorKind::Forbidden),
        ] {
            assert_eq!(kind_of_io(&io::Error::from_raw_os_error(number)), kind, "{number}");
        }
    }
}
