//! Sealing and re-encryption by dxdr and by the real kubeseal: the same Secrets, the same key, one after the other.
//!
//! Both are whole processes, from start to end. kubeseal re-encrypts through a controller whose limits are lifted.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{Bench, Table, build, median_by};
use crate::cluster::temporary::in_cluster;
use crate::cluster::{Cluster, Parts};
use crate::interruption;

/// Processes of which the median counts.
const STARTS: usize = 41;
/// Secrets that are sealed in one process, each with [`ITEMS`].
const SECRETS: usize = 2_000;
/// Files that kubeseal re-encrypts, a process each.
const SAMPLE: usize = 200;
const ITEMS: usize = 5;
const RENEWAL: Duration = Duration::from_secs(30);

pub(super) fn run(bench: &Bench, rounds: usize) -> Result<ExitCode> {
    let dxdr = build("dxdr")?;
    in_cluster(Parts { sealed_secrets: true, ..Parts::default() }, false, |cluster| {
        let variables = cluster.test_variables();
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
            found.with_context(|| format!("the cluster has no {name}"))
        };
        let beside = Beside {
            dxdr: dxdr.clone(),
            kubeseal: variable("DXDR_TEST_KUBESEAL")?.into(),
            url: format!("{}/v1/cert.pem", variable("DXDR_TEST_SEALED_SECRETS_URL")?),
            process: variable("DXDR_TEST_SEALED_SECRETS_PROCESS")?.parse().context("no process id")?,
            cluster,
            folder: bench.folder.join("sealing"),
            rounds,
        };
        let mut table = Table::default();
        beside.measure(bench, &mut table)?;
        println!("{table}");
        Ok(ExitCode::SUCCESS)
    })
}

struct Beside<'a> {
    dxdr: PathBuf,
    kubeseal: PathBuf,
    /// Of the controller's certificate.
    url: String,
    process: i32,
    cluster: &'a Cluster,
    folder: PathBuf,
    rounds: usize,
}

impl Beside<'_> {
    fn measure(&self, bench: &Bench, table: &mut Table) -> Result<()> {
        fs::create_dir_all(&self.folder).with_context(|| format!("cannot create {}", self.folder.display()))?;
        self.fetch_certificate()?;
        let one = self.write("one.json", &secret(0, 2).to_string())?;
        let (ours, theirs) = (self.sealing(&one, STARTS)?, self.sealing_by_kubeseal(&one, STARTS)?);
        table.row(
            "one Secret of 2 items, a process each".to_owned(),
            format!("{:.1} ms", ours.as_secs_f64() * 1e3),
            format!(
                "kubeseal {:.1} ms: {:.2} of its time",
                theirs.as_secs_f64() * 1e3,
                ours.as_secs_f64() / theirs.as_secs_f64()
            ),
            "at most 1",
        );
        let all: Vec<String> = (0..SECRETS).map(|number| secret(number, ITEMS).to_string()).collect();
        let many = self.write("many.json", &all.join("\n"))?;
        let (ours, theirs) = (self.sealing(&many, self.rounds)?, self.sealing_by_kubeseal(&many, self.rounds)?);
        let rate = |time: Duration| (SECRETS * ITEMS) as f64 / time.as_secs_f64();
        table.row(
            format!("{} items in one process", SECRETS * ITEMS),
            format!("{:.0} items/s", rate(ours)),
            format!("kubeseal {:.0} items/s: **{:.1} times** its rate", rate(theirs), rate(ours) / rate(theirs)),
            "at least 5 times",
        );
        self.reencryption(bench, table)
    }

    /// Every Secret sealed into a file of its own, the controller's key renewed, and all of it moved to the new one.
    fn reencryption(&self, bench: &Bench, table: &mut Table) -> Result<()> {
        let (sample, all) = (self.folder.join("sample"), self.folder.join("all"));
        for (folder, count) in [(&sample, SAMPLE), (&all, SECRETS)] {
            fs::create_dir_all(folder)?;
            for number in 0..count {
                let input = self.write("input.json", &secret(number, ITEMS).to_string())?;
                let file = folder.join(format!("{number}.yaml"));
                self.run(&self.dxdr, &["seal", "-f", text(&input), "-w", text(&file), "--cert", "certificate.pem"], None)?;
            }
        }
        self.renew()?;
        let keys = self.cluster.administrator().output(&[
            "get",
            "secrets",
            "--namespace",
            "kube-system",
            "--selector",
            "sealedsecrets.bitnami.com/sealed-secrets-key",
            "--output",
            "json",
        ])?;
        let keys = self.write("keys.json", &keys)?;

        let began = Instant::now();
        for number in 0..SAMPLE {
            interruption::check()?;
            let input = File::open(sample.join(format!("{number}.yaml")))?;
            let kubeconfig = self.cluster.administrator().kubeconfig();
            self.run(&self.kubeseal, &["--kubeconfig", text(&kubeconfig), "--re-encrypt", "-o", "yaml"], Some(input))?;
        }
        let theirs = began.elapsed();
        let reencrypt = |folder: &Path| -> Result<Duration> {
            let began = Instant::now();
            self.run(
                &self.dxdr,
                &["seal", "reencrypt", text(folder), "--recovery-private-key", text(&keys), "--cert", "certificate.pem"],
                None,
            )?;
            Ok(began.elapsed())
        };
        let ours = reencrypt(&sample)?;
        table.row(
            format!("{SAMPLE} files of {ITEMS} items to a newer key"),
            format!("{:.2} s", ours.as_secs_f64()),
            format!(
                "kubeseal {:.2} s: **{:.1} times** its rate",
                theirs.as_secs_f64(),
                theirs.as_secs_f64() / ours.as_secs_f64()
            ),
            "at least 10 times",
        );
        let bare = bench.measure(&["sealing".into(), "--keys".into(), keys.clone().into()])?;
        let ours = reencrypt(&all)?;
        let rate = (SECRETS * ITEMS) as f64 / ours.as_secs_f64();
        table.row(
            format!("{} items in {SECRETS} files to a newer key", SECRETS * ITEMS),
            format!("{:.2} s, {rate:.0} items/s", ours.as_secs_f64()),
            format!("opening and sealing, nothing else, {:.0} items/s: {:.2}", bare.rate(), rate / bare.rate()),
            "at least 0.8",
        );
        Ok(())
    }

    fn sealing(&self, input: &Path, times: usize) -> Result<Duration> {
        self.median(times, &self.dxdr, &["seal", "--cert", "certificate.pem", "-f", text(input), "-o", "json"])
    }

    fn sealing_by_kubeseal(&self, input: &Path, times: usize) -> Result<Duration> {
        self.median(times, &self.kubeseal, &["--cert", "certificate.pem", "-f", text(input), "-o", "json"])
    }

    fn median(&self, times: usize, program: &Path, arguments: &[&str]) -> Result<Duration> {
        let mut measured = Vec::with_capacity(times);
        for _ in 0..times {
            interruption::check()?;
            let began = Instant::now();
            self.run(program, arguments, None)?;
            measured.push(began.elapsed());
        }
        median_by(measured, Ord::cmp)
    }

    fn run(&self, program: &Path, arguments: &[&str], input: Option<File>) -> Result<Vec<u8>> {
        let input = input.map_or_else(Stdio::null, Stdio::from);
        let output = Command::new(program)
            .args(arguments)
            .current_dir(&self.folder)
            .stdin(input)
            .output()
            .with_context(|| format!("cannot run {}", program.display()))?;
        if !output.status.success() {
            bail!("{} {}: {}", program.display(), arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(output.stdout)
    }

    fn fetch_certificate(&self) -> Result<Vec<u8>> {
        let certificate = self.run(&self.dxdr, &["seal", "--fetch-cert", "--cert", &self.url], None)?;
        fs::write(self.folder.join("certificate.pem"), &certificate).context("cannot write the certificate")?;
        Ok(certificate)
    }

    /// Has the controller make another key, and waits until it seals with it.
    fn renew(&self) -> Result<()> {
        let before = self.fetch_certificate()?;
        let process = Pid::from_raw(self.process).context("no process id")?;
        kill_process(process, Signal::USR1).context("cannot signal the controller")?;
        let began = Instant::now();
        while self.fetch_certificate()? == before {
            interruption::check()?;
            if began.elapsed() > RENEWAL {
                bail!("the controller does not renew its key");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let file = self.folder.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }
}

/// Paths of ours are text.
fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

fn secret(number: usize, items: usize) -> Value {
    let data: serde_json::Map<String, Value> = (0..items)
        .map(|item| (format!("item-{item}"), Value::from(STANDARD.encode(format!("value {item} of {number}").repeat(4)))))
        .collect();
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": format!("secret-{number}"), "namespace": "bench"}, "data": data})
}
