//! A server for another program, which is told how it is reached, and ends it by ending its stdin.

use std::{io, path::Path};

use anyhow::{Context as _, Result};

/// Writes how the server is reached into a file, and returns when stdin has ended.
pub(crate) async fn until_stdin_ends(file: &Path, reached: &str) -> Result<()> {
    // Whole or not at all: it is waited for.
    let partial = file.with_extension("partial");
    let context = || format!("cannot write {}", file.display());
    tokio::fs::write(&partial, reached).await.with_context(context)?;
    tokio::fs::rename(&partial, file).await.with_context(context)?;
    let ended = tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink()));
    ended.await?.context("cannot read stdin")?;
    Ok(())
}
