//! Servers that are there for one thing alone, and go with it.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::seaweedfs::{self, Endpoint};
use super::{Cluster, Parts, started};
use crate::interruption;

/// Does something with a cluster of its own, which is stopped afterwards, whatever became of it.
pub(crate) fn in_cluster<T>(parts: Parts, keep: bool, act: impl FnOnce(&Cluster) -> Result<T>) -> Result<T> {
    interruption::watch()?;
    with_servers(keep, |directory| Cluster::start(directory, parts), act)
}

/// The same with an S3 server alone. The folder that is handed on goes with it.
pub(crate) fn with_object_storage<T>(act: impl FnOnce(&Endpoint, &Path) -> Result<T>) -> Result<T> {
    interruption::watch()?;
    let start = |directory: &Path| {
        let weed = seaweedfs::install()?;
        let endpoint = started(directory, |processes| seaweedfs::start(processes, &weed))?;
        Ok((endpoint, directory.to_owned()))
    };
    with_servers(false, start, |(endpoint, directory)| act(endpoint, directory))
}

fn with_servers<S, T>(keep: bool, start: impl FnOnce(&Path) -> Result<S>, act: impl FnOnce(&S) -> Result<T>) -> Result<T> {
    // The paths of sockets below it may have 107 bytes at most.
    let folder = tempfile::Builder::new().prefix("dxdr-").tempdir().context("cannot create a temporary folder")?;
    let directory = folder.path().join("cluster");
    fs::create_dir(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let outcome = start(&directory).and_then(|servers| act(&servers));
    if keep && outcome.is_ok() {
        eprintln!("the servers are still running; to use and to stop them:\n");
        println!(". {0}/environment\ncargo xtask cluster down --delete --directory {0}", directory.display());
        let _kept = folder.keep();
        return outcome;
    }
    let stopped = Cluster::stop(&directory);
    if stopped.is_err() {
        eprintln!("warning: not all servers were stopped; they are on record in {}", directory.display());
        let _kept = folder.keep();
    }
    settled(outcome, stopped.context("not all servers were stopped"))
}

/// What became of it is worth more than that a server would not stop, but both are said.
fn settled<T>(outcome: Result<T>, stopped: Result<()>) -> Result<T> {
    match (outcome, stopped) {
        (Ok(value), stopped) => stopped.map(|()| value),
        (Err(error), stopped) => {
            if let Err(second) = stopped {
                eprintln!("warning: {second:#}");
            }
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::super::processes;
    use super::*;

    #[test]
    fn servers_that_do_not_stop_hide_no_other_failure() {
        let stopped = || Err(anyhow!("etcd does not end"));
        assert_eq!(settled::<()>(Err(anyhow!("no bucket")), stopped()).unwrap_err().to_string(), "no bucket");
        assert_eq!(settled(Ok(1), stopped()).unwrap_err().to_string(), "etcd does not end");
        assert_eq!(settled(Ok(1), Ok(())).unwrap(), 1);
    }

    #[test]
    fn what_was_started_is_stopped_and_removed_whatever_became_of_it() {
        let mut place = None;
        let failed: Result<()> = with_servers(
            false,
            |directory| {
                started(directory, |processes| {
                    processes.start(
                        "sleeper",
                        std::process::Command::new("sleep").arg("600"),
                        std::time::Duration::from_secs(5),
                    )?;
                    place = Some((directory.to_owned(), processes.id_of("sleeper").unwrap()));
                    Ok(())
                })
            },
            |()| Err(anyhow!("no")),
        );
        assert_eq!(failed.unwrap_err().to_string(), "no");
        let (directory, process) = place.unwrap();
        assert!(!directory.exists(), "{}", directory.display());
        assert_eq!(processes::command_line(process), "");
    }
}
