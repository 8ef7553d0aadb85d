//! Files that are on no disk.

use std::{fs::File, io::Write as _, os::fd::OwnedFd};

/// A file in memory that no folder names. Whoever has its descriptor can read it; it goes when the last one is closed.
pub(crate) struct MemoryFile(File);

impl MemoryFile {
    /// With `content` in it.
    #[cfg(target_os = "linux")]
    pub(crate) fn new(content: &[u8]) -> std::io::Result<Self> {
        let descriptor = rustix::fs::memfd_create("dxdr", rustix::fs::MemfdFlags::CLOEXEC)?;
        // libpq refuses a password file that others could read.
        rustix::fs::fchmod(&descriptor, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)?;
        let mut file = File::from(descriptor);
        file.write_all(content)?;
        Ok(Self(file))
    }

    /// There is no such file here.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn new(_content: &[u8]) -> std::io::Result<Self> {
        Err(std::io::Error::other("only Linux has files in memory that can be handed to a program"))
    }

    /// For a child.
    pub(crate) fn descriptor(&self) -> std::io::Result<OwnedFd> {
        Ok(self.0.try_clone()?.into())
    }
}

impl std::fmt::Debug for MemoryFile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("MemoryFile")
    }
}
