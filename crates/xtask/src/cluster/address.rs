//! An address of its own on the loopback device, for a server that must not be reached at 127.0.0.1: neither Endpoints nor a node may have
//! one of 127.0.0.0/8. It takes root, or the right to do as much.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use super::ports::Block;

/// File with the address that was added.
const FILE: &str = "address";

/// Adds one, the same for the same block of ports; none where we may not. The block is the folder's.
pub(crate) fn add(folder: &Path, block: &Block) -> Result<Option<String>> {
    let [high, low] = block.port(0).to_be_bytes();
    let address = format!("10.99.{high}.{low}");
    let mut command = Command::new("ip");
    command.args(["address", "replace", &format!("{address}/32"), "dev", "lo"]).stderr(Stdio::null());
    if !command.status().is_ok_and(|status| status.success()) {
        return Ok(None);
    }
    let file = folder.join(FILE);
    fs::write(&file, &address).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(Some(address))
}

/// Takes the address of a folder away again, unless it is by now that of another one.
pub(crate) fn sweep(folder: &Path) -> Result<()> {
    let file = folder.join(FILE);
    let Ok(address) = fs::read_to_string(&file) else { return Ok(()) };
    let Some(_block) = Block::left_by(folder)? else { return Ok(()) };
    let gone =
        Command::new("ip").args(["address", "delete", &format!("{address}/32"), "dev", "lo"]).stderr(Stdio::null()).status();
    if gone.is_ok_and(|status| status.success()) {
        let _ = fs::remove_file(file);
    }
    Ok(())
}
