//! The same backups and restores by dxdr and by a real Velero: one server, the same objects, the same bucket.
//!
//! Velero's time is from the creation of its Backup or Restore to its end, as whoever waits for it sees it. Its memory is that of the server's
//! process alone, without its plugins; the peak is set back before each measurement.

use std::fs;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum as _;
use serde_json::{Value, json};

use super::{Arguments, Bench, Comparison, Measured, Server, Table, median};
use crate::cluster::temporary::in_cluster;
use crate::cluster::{Cluster, Parts, seaweedfs, velero};
use crate::interruption;

const PAUSE: Duration = Duration::from_millis(50);
/// Velero restores 10,000 objects in three to four minutes.
const LONGEST: Duration = Duration::from_secs(1800);

/// What is backed up and restored, in the order in which it is: Velero is slower the more objects of a kind there are.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Scenario {
    /// 2,000 ConfigMaps
    #[value(name = "2000")]
    TwoThousand,
    /// 100 applications
    Applications,
    /// 10,000 ConfigMaps
    #[value(name = "10000")]
    TenThousand,
}

impl Scenario {
    fn what(self) -> &'static str {
        match self {
            Self::TwoThousand => "2,000 ConfigMaps",
            Self::Applications => "100 applications",
            Self::TenThousand => "10,000 ConfigMaps",
        }
    }

    fn namespace(self) -> &'static str {
        match self {
            Self::TwoThousand => "dxdr-bench-2000",
            Self::Applications => "dxdr-bench-mixed",
            Self::TenThousand => "dxdr-bench-10000",
        }
    }

    /// How the measuring program makes the objects, and how many.
    fn seed(self) -> (&'static str, u64) {
        match self {
            Self::TwoThousand => ("seed", 2_000),
            Self::Applications => ("seed-mixed", 100),
            Self::TenThousand => ("seed", 10_000),
        }
    }
}

pub(super) fn run(mut bench: Bench, arguments: &Arguments) -> Result<ExitCode> {
    if !arguments.wants(Comparison::Backup) && !arguments.wants(Comparison::Restore) {
        bail!("beside Velero, backup and restore are measured, and --only names neither");
    }
    in_cluster(Parts { s3: true, csi: true, velero: true, ..Parts::default() }, false, |cluster| {
        bench.environment = cluster.client_variables();
        let kubeconfig = cluster.administrator().kubeconfig();
        let server = Server { name: "kube-apiserver", kubeconfig, context: None };
        let mut table = Table::default();
        let wanted = |scenario: &Scenario| arguments.with.is_empty() || arguments.with.contains(scenario);
        for scenario in Scenario::value_variants().iter().copied().filter(wanted) {
            SideBySide { bench: &bench, cluster, server: &server, scenario, arguments }.measure(&mut table)?;
        }
        println!("{table}");
        Ok(ExitCode::SUCCESS)
    })
}

struct SideBySide<'a> {
    bench: &'a Bench,
    cluster: &'a Cluster,
    server: &'a Server,
    scenario: Scenario,
    arguments: &'a Arguments,
}

impl SideBySide<'_> {
    fn measure(&self, table: &mut Table) -> Result<()> {
        let namespace = self.scenario.namespace();
        let (how, count) = self.scenario.seed();
        let mut seed = self.server.arguments(how, namespace);
        seed.extend(["--count".into(), count.to_string().into()]);
        self.bench.measure(&seed)?;
        self.rest()?;

        let (mut ours, mut theirs, mut backup) = (Vec::new(), Vec::new(), String::new());
        // A restore needs one of each.
        let rounds = if self.arguments.wants(Comparison::Backup) { self.arguments.rounds } else { 1 };
        for round in 0..rounds {
            ours.push(self.dxdr("backup", &[])?);
            backup = format!("{namespace}-{round}");
            let specification = json!({
                "includedNamespaces": [namespace], "storageLocation": velero::LOCATION, "snapshotVolumes": false, "ttl": "1h0m0s"
            });
            theirs.push(self.velero("Backup", &backup, &specification, "itemsBackedUp")?);
        }
        if self.arguments.wants(Comparison::Backup) {
            table.beside(&format!("backup of {}", self.scenario.what()), &median(ours)?, &median(theirs)?, 5.0);
        }
        if !self.arguments.wants(Comparison::Restore) {
            return Ok(());
        }

        // Velero once, and before there are more objects of the kind: it keeps all of them in memory, and takes minutes.
        let into = format!("{namespace}-by-velero");
        let specification = json!({"backupName": backup, "namespaceMapping": {namespace: into}});
        let theirs = self.velero("Restore", &into, &specification, "itemsRestored")?;
        self.remove(&into)?;
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for round in 0..self.arguments.rounds {
            let into = format!("{namespace}-by-dxdr-{round}");
            ours.push(self.dxdr("restore", &["--into", &into])?);
            self.remove(&into)?;
            if self.scenario != Scenario::Applications {
                let into = format!("{namespace}-bare-{round}");
                let mut line = self.server.arguments("create", namespace);
                line.extend(["--into", &into].map(Into::into));
                bare.push(self.bench.measure(&line)?);
                self.remove(&into)?;
            }
        }
        table.beside(&format!("restore of {}", self.scenario.what()), &median(ours)?, &theirs, 20.0);
        if !bare.is_empty() {
            table.bare(&format!("bare creates of {}", self.scenario.what()), &median(bare)?);
        }
        Ok(())
    }

    fn dxdr(&self, what: &str, more: &[&str]) -> Result<Measured> {
        let mut line = self.server.arguments(what, self.scenario.namespace());
        line.extend(["--store".into(), format!("s3://{}/bench", seaweedfs::BUCKET).into()]);
        line.extend(more.iter().map(Into::into));
        self.bench.measure(&line)
    }

    /// Has Velero do it, and waits for the end.
    fn velero(&self, kind: &str, name: &str, specification: &Value, items: &str) -> Result<Measured> {
        let process = self.cluster.process_id("velero")?;
        // 5: forget the peak.
        fs::write(format!("/proc/{process}/clear_refs"), "5").context("cannot set Velero's peak of memory back")?;
        let administrator = self.cluster.administrator();
        let began = Instant::now();
        administrator.apply_objects(&[json!({
            "apiVersion": "velero.io/v1", "kind": kind, "metadata": {"name": name, "namespace": velero::NAMESPACE},
            "spec": specification
        })])?;
        let path = format!("/apis/velero.io/v1/namespaces/{}/{}s/{name}", velero::NAMESPACE, kind.to_lowercase());
        let status = loop {
            interruption::check()?;
            // A server that is busy may leave a request unanswered; a Velero that has ended never gets there.
            self.cluster.check_alive("velero")?;
            let seen = match administrator.get(&path) {
                Ok(object) => {
                    let status = &object["status"];
                    match status["phase"].as_str() {
                        Some("Completed") => break status.clone(),
                        Some("PartiallyFailed" | "Failed" | "FailedValidation") => {
                            bail!("{kind} {name} of Velero's ended as {status}")
                        }
                        _ => format!("its status is {status}"),
                    }
                }
                Err(seen) => seen,
            };
            if began.elapsed() > LONGEST {
                bail!("{kind} {name} of Velero's does not end: {}", seen.trim());
            }
            thread::sleep(PAUSE);
        };
        let seconds = began.elapsed().as_secs_f64();
        let measured = json!({
            "seconds": seconds, "objects": status["progress"][items], "peakMemory": peak_memory(process)?,
        });
        eprintln!("Velero, {kind} {name}\n    {measured}");
        Ok(Measured(measured))
    }

    /// Deletes a namespace and waits until it has gone, so that deleting it is not measured with what comes next.
    fn remove(&self, namespace: &str) -> Result<()> {
        self.bench.measure(&self.server.arguments("unseed", namespace))?;
        let path = format!("/api/v1/namespaces/{namespace}");
        let began = Instant::now();
        loop {
            interruption::check()?;
            let seen = match self.cluster.administrator().find(&path) {
                Ok(None) => break,
                Ok(Some(found)) => format!("its status is {}", found["status"]),
                Err(seen) => seen,
            };
            if began.elapsed() > LONGEST {
                bail!("namespace {namespace} does not go: {}", seen.trim());
            }
            thread::sleep(Duration::from_millis(500));
        }
        self.rest()
    }

    /// Lets controllers come to rest.
    fn rest(&self) -> Result<()> {
        for _ in 0..50 {
            interruption::check()?;
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}

/// The most memory the process had resident since its peak was set back, in bytes.
fn peak_memory(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).context("cannot read the status of Velero's process")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM in the process's status")?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kibibytes * 1024)
}
