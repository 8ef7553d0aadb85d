//! Where this checkout and its neighbours outside it lie.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    // The manifest lies at crates/xtask below the root, so two parents exist.
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).unwrap_or(manifest)
}

/// The cargo that runs this chore, else the one on PATH.
pub(crate) fn cargo() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}

/// Where built servers are kept between runs and between checkouts: `DXDR_TOOLS`, else `~/.cache/dxdr/tools`.
/// Everything below it can be built again and may be deleted.
pub(crate) fn tool_cache() -> Result<PathBuf> {
    let chosen = match std::env::var_os("DXDR_TOOLS").filter(|value| !value.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => {
            let home =
                std::env::var_os("HOME").context("neither DXDR_TOOLS nor HOME is set; say where built servers may be kept")?;
            Path::new(&home).join(".cache/dxdr/tools")
        }
    };
    std::path::absolute(&chosen).with_context(|| format!("cannot resolve {}", chosen.display()))
}
