//! How fast the product is, against the physical parts of what it does, measured side by side.
//!
//! ```text
//!   build dxdr-bench in release ─► serve the sandbox in a process of its own (and a real server, where one is named)
//!   per server and number of objects:  seed ─► rounds of (list, archive, backup) ─► rounds of (create, restore)
//!   from the store alone:              plan, the point for an instant
//!   beside Velero (`--velero`):        backup, restore
//!   beside kubeseal (`--sealing`):     seal, re-encrypt
//!   `--google-storage`:                uploads and downloads, beside Google's crate
//! ```
//!
//! Every measurement is a process of its own: its peak of memory is its own. Times depend on the machine and on what else it does, so
//! none is asserted; what is compared was measured in the same minute, and the median of the rounds counts.

use std::cmp::Ordering;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail};
use clap::builder::RangedU64ValueParser;
use serde_json::Value;

use self::served::Served;
use crate::{checkout, interruption};

mod google_storage;
mod sealing;
mod served;
mod velero;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Also measure on the server of this kubeconfig, a real one; creates and deletes namespaces `dxdr-bench-…` there
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of that kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME", requires = "kubeconfig")]
    context: Option<String>,
    /// Measure backups with so many objects
    #[arg(long, value_name = "COUNT", value_delimiter = ',', default_values_t = [10_000, 100_000])]
    objects: Vec<u64>,
    /// Measure restores with so many objects
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    restored: u64,
    /// Look for an instant among so many points in memory
    #[arg(long, value_name = "COUNT", default_value_t = 1_000_000)]
    points: u32,
    /// Look for an instant among so many points in a directory
    #[arg(long, value_name = "COUNT", default_value_t = 100_000)]
    points_in_directory: u32,
    /// Repeat each comparison so often; the median counts
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    rounds: usize,
    /// Measure beside a real Velero instead, on servers of its own that are stopped afterwards
    #[arg(long, conflicts_with = "kubeconfig")]
    velero: bool,
    /// Beside Velero, only with these objects
    #[arg(long, value_name = "NAME", value_delimiter = ',', requires = "velero")]
    with: Vec<velero::Scenario>,
    /// Measure sealing beside the real kubeseal instead, with a controller that is stopped afterwards
    #[arg(long, conflicts_with_all = ["kubeconfig", "only", "velero"])]
    sealing: bool,
    /// Measure uploads to and downloads from the emulator of Google Cloud Storage instead, beside Google's crate
    #[arg(long, conflicts_with_all = ["kubeconfig", "only", "velero", "sealing"])]
    google_storage: bool,
    /// Size of the large object of `--google-storage`, in MiB; the emulator keeps it in memory, twice while it is replaced
    #[arg(long, value_name = "MIB", default_value_t = 1024, requires = "google_storage")]
    large: u64,
    /// Only these; beside Velero the first two are measured
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<Comparison>,
}

/// What is measured, against what it is made of.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Comparison {
    Backup,
    Restore,
    Plan,
    Instant,
}

impl Arguments {
    fn wants(&self, comparison: Comparison) -> bool {
        self.only.is_empty() || self.only.contains(&comparison)
    }
}

/// Prints a table; the exit code says whether everything could be measured, never whether it was fast.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    interruption::watch()?;
    let program = build("dxdr-bench")?;
    let folder = tempfile::Builder::new().prefix("dxdr-bench-").tempdir().context("cannot create a temporary folder")?;
    let bench = Bench { program, folder: folder.path().to_owned(), environment: Vec::new() };
    if arguments.velero {
        return velero::run(bench, arguments);
    }
    if arguments.sealing {
        return sealing::run(&bench, arguments.rounds);
    }
    if arguments.google_storage {
        return google_storage::run(&bench, arguments.rounds, arguments.large << 20);
    }
    let mut table = Table::default();
    if [Comparison::Backup, Comparison::Restore, Comparison::Plan].into_iter().any(|one| arguments.wants(one)) {
        let sandbox = Served::start(&bench, "serve")?;
        let server = Server { name: "sandbox", kubeconfig: sandbox.file().to_owned(), context: None };
        measure(&bench, &server, arguments, &mut table)?;
        drop(sandbox);
        if let Some(kubeconfig) = &arguments.kubeconfig {
            let server = Server { name: "kube-apiserver", kubeconfig: kubeconfig.clone(), context: arguments.context.clone() };
            measure(&bench, &server, arguments, &mut table)?;
        }
    }
    if arguments.wants(Comparison::Instant) {
        let found = bench.measure(&["instant".into(), "--points".into(), arguments.points.to_string().into()])?;
        table.instant("memory", &found);
        let directory = bench.folder.join("points");
        let points = arguments.points_in_directory.to_string();
        let found =
            bench.measure(&["instant".into(), "--points".into(), points.into(), "--directory".into(), directory.into()])?;
        table.instant("directory", &found);
    }
    println!("{table}");
    Ok(ExitCode::SUCCESS)
}

/// The program of a package, as people get it.
fn build(package: &str) -> Result<PathBuf> {
    let output = Command::new(checkout::cargo())
        .current_dir(checkout::root())
        .args(["build", "--release", "--package", package, "--message-format", "json-render-diagnostics"])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        bail!("{package} did not build ({})", output.status);
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == package)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .with_context(|| format!("cargo does not say where {package} is"))
}

/// Measures backup, restore and plan on one server.
fn measure(bench: &Bench, server: &Server, arguments: &Arguments, table: &mut Table) -> Result<()> {
    let mut namespaces = Vec::new();
    let outcome = measure_in(bench, server, arguments, table, &mut namespaces);
    // The sandbox goes with all it has.
    if server.name != "sandbox" {
        for namespace in namespaces {
            if let Err(error) = bench.measure(&server.arguments("unseed", &namespace)) {
                eprintln!("warning: namespace {namespace} is left on {}: {error:#}", server.name);
            }
        }
    }
    outcome
}

fn measure_in(
    bench: &Bench,
    server: &Server,
    arguments: &Arguments,
    table: &mut Table,
    namespaces: &mut Vec<String>,
) -> Result<()> {
    let store = bench.folder.join(format!("store-{}", server.name));
    let mut namespace = |count: u64, suffix: &str| {
        let name = format!("dxdr-bench-{count}{suffix}");
        namespaces.push(name.clone());
        name
    };
    let seed = |name: &str, count: u64| {
        let mut seed = server.arguments("seed", name);
        seed.extend(["--count".into(), count.to_string().into()]);
        bench.measure(&seed)
    };
    let with_store = |what: &str, name: &str| {
        let mut line = server.arguments(what, name);
        line.extend(["--store".into(), store.clone().into()]);
        line
    };

    let mut seeded = Vec::new();
    if arguments.wants(Comparison::Backup) || arguments.wants(Comparison::Plan) {
        let empty = namespace(0, "");
        seed(&empty, 0)?;
        let nothing = bench.measure(&with_store("backup", &empty))?;
        for &count in &arguments.objects {
            let name = namespace(count, "");
            seed(&name, count)?;
            seeded.push(count);
            let (mut lists, mut archives, mut backups) = (Vec::new(), Vec::new(), Vec::new());
            let rounds = if arguments.wants(Comparison::Backup) { arguments.rounds } else { 1 };
            for _ in 0..rounds {
                if arguments.wants(Comparison::Backup) {
                    lists.push(bench.measure(&server.arguments("list", &name))?);
                    archives.push(bench.measure(&server.arguments("archive", &name))?);
                }
                backups.push(bench.measure(&with_store("backup", &name))?);
            }
            if arguments.wants(Comparison::Backup) {
                table.backup(server.name, &nothing, &median(lists)?, &median(archives)?, &median(backups)?);
            }
        }
        if let (true, Some(count)) =
            (arguments.wants(Comparison::Plan) && server.name == "sandbox", arguments.objects.iter().max())
        {
            let line: Vec<OsString> = vec![
                "plan".into(),
                "--namespace".into(),
                format!("dxdr-bench-{count}").into(),
                "--store".into(),
                store.clone().into(),
            ];
            let plans = (0..arguments.rounds).map(|_| bench.measure(&line)).collect::<Result<Vec<_>>>()?;
            table.plan(&median(plans)?);
        }
    }
    if arguments.wants(Comparison::Restore) {
        let count = arguments.restored;
        let name = format!("dxdr-bench-{count}");
        if !seeded.contains(&count) {
            seed(&namespace(count, ""), count)?;
            bench.measure(&with_store("backup", &name))?;
        }
        let (mut creates, mut restores) = (Vec::new(), Vec::new());
        for round in 0..arguments.rounds {
            let mut line = server.arguments("create", &name);
            line.extend(["--into".into(), namespace(count, &format!("-created-{round}")).into()]);
            creates.push(bench.measure(&line)?);
            let mut line = with_store("restore", &name);
            line.extend(["--into".into(), namespace(count, &format!("-restored-{round}")).into()]);
            restores.push(bench.measure(&line)?);
        }
        table.restore(server.name, &median(creates)?, &median(restores)?);
    }
    Ok(())
}

/// A server that is measured on.
struct Server {
    name: &'static str,
    kubeconfig: PathBuf,
    context: Option<String>,
}

impl Server {
    fn arguments(&self, what: &str, namespace: &str) -> Vec<OsString> {
        let mut line: Vec<OsString> = vec![what.into(), "--kubeconfig".into(), self.kubeconfig.clone().into()];
        if let Some(context) = &self.context {
            line.extend(["--context".into(), context.into()]);
        }
        line.extend(["--namespace".into(), namespace.into()]);
        line
    }
}

/// The measuring program, and where it may write.
struct Bench {
    program: PathBuf,
    folder: PathBuf,
    environment: Vec<(&'static str, String)>,
}

impl Bench {
    fn measure(&self, arguments: &[OsString]) -> Result<Measured> {
        interruption::check()?;
        let shown = arguments.iter().filter_map(|argument| argument.to_str()).collect::<Vec<_>>().join(" ");
        let output = Command::new(&self.program)
            .args(arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        if !output.status.success() {
            bail!("`dxdr-bench {shown}` failed ({})", output.status);
        }
        let measured: Value = serde_json::from_slice(&output.stdout).with_context(|| format!("`dxdr-bench {shown}`"))?;
        eprintln!("{shown}\n    {measured}");
        Ok(Measured(measured))
    }
}

/// What one process measured.
#[derive(Clone)]
struct Measured(Value);

impl Measured {
    fn seconds(&self) -> f64 {
        self.0["seconds"].as_f64().unwrap_or(f64::NAN)
    }

    fn objects(&self) -> u64 {
        self.0["objects"].as_u64().unwrap_or_default()
    }

    fn rate(&self) -> f64 {
        // Numbers of objects are far below where this loses anything.
        self.objects() as f64 / self.seconds()
    }

    fn mebibytes(&self) -> f64 {
        self.0["peakMemory"].as_f64().unwrap_or(f64::NAN) / f64::from(1 << 20)
    }

    fn count(&self, name: &str) -> u64 {
        self.0["counts"][name].as_u64().unwrap_or_default()
    }
}

/// The one with the middle time.
fn median(measured: Vec<Measured>) -> Result<Measured> {
    median_by(measured, |one, other| one.seconds().total_cmp(&other.seconds()))
}

/// The middle one; of an even number the lesser of two.
fn median_by<T>(mut measured: Vec<T>, order: impl FnMut(&T, &T) -> Ordering) -> Result<T> {
    measured.sort_by(order);
    let middle = measured.len().saturating_sub(1) / 2;
    measured.into_iter().nth(middle).context("nothing was measured")
}

/// Rows of a Markdown table.
#[derive(Default)]
struct Table(Vec<[String; 4]>);

impl Table {
    fn row(&mut self, what: String, measured: String, against: String, target: &str) {
        self.0.push([what, measured, against, target.to_owned()]);
    }

    fn backup(&mut self, server: &str, nothing: &Measured, list: &Measured, archive: &Measured, backup: &Measured) {
        let (slower, part) = if list.seconds() > archive.seconds() { (list, "the LIST") } else { (archive, "tar and gzip") };
        // Of the same objects; the backup has a few more, such as the Namespace.
        let ratio = slower.seconds() / backup.seconds();
        self.row(
            format!("backup of {} objects, {server}", backup.objects()),
            format!("{:.2} s, {:.0} objects/s", backup.seconds(), backup.rate()),
            format!("LIST alone {:.2} s, tar and gzip alone {:.2} s: {ratio:.2} of {part}", list.seconds(), archive.seconds()),
            "at least 0.6",
        );
        self.row(
            format!("its peak memory, {server}"),
            format!("{:.0} MiB", backup.mebibytes()),
            format!("of no objects {:.0} MiB: {:.0} MiB above", nothing.mebibytes(), backup.mebibytes() - nothing.mebibytes()),
            "at most 150 MB above, for 100,000",
        );
    }

    fn restore(&mut self, server: &str, create: &Measured, restore: &Measured) {
        let ratio = restore.rate() / create.rate();
        self.row(
            format!("restore of {} objects, {server}", restore.objects()),
            format!("{:.2} s, {:.0} objects/s", restore.seconds(), restore.rate()),
            format!("bare creates {:.0} objects/s: {ratio:.2}", create.rate()),
            "at least 0.7",
        );
        // The Lease of the run is written as well: taken, renewed, released.
        self.row(
            format!("its writes, {server}"),
            format!("{}", restore.count("writes")),
            format!(
                "{:.4} an object, the Lease's and the Namespace's among them",
                restore.count("writes") as f64 / restore.objects() as f64
            ),
            "at most 1 an object",
        );
    }

    fn beside(&mut self, what: &str, dxdr: &Measured, velero: &Measured, target: f64) {
        let ratio = dxdr.rate() / velero.rate();
        let told = |measured: &Measured| {
            let (objects, seconds) = (measured.objects(), measured.seconds());
            format!("{objects} in {seconds:.2} s, {:.0}/s, peak {:.0} MiB", measured.rate(), measured.mebibytes())
        };
        self.row(
            what.to_owned(),
            told(dxdr),
            format!("Velero {}: **{ratio:.1} times** its rate", told(velero)),
            &format!("at least {target} times, with less memory"),
        );
    }

    fn bare(&mut self, what: &str, measured: &Measured) {
        let text = format!("{} in {:.2} s, {:.0}/s", measured.objects(), measured.seconds(), measured.rate());
        self.row(what.to_owned(), text, "by 32 workers, beside the same servers".to_owned(), "");
    }

    fn plan(&mut self, plan: &Measured) {
        self.row(
            format!("offline plan of {} objects", plan.objects()),
            format!("{:.2} s, peak {:.0} MiB", plan.seconds(), plan.mebibytes()),
            String::new(),
            "under 5 s and 300 MB",
        );
    }

    fn instant(&mut self, place: &str, found: &Measured) {
        self.row(
            format!("the point for an instant among {} in {place}", found.objects()),
            format!("{} LISTs, {} GETs at most; {:.1} ms", found.count("lists"), found.count("gets"), found.seconds() * 1e3),
            String::new(),
            "at most 4 LISTs",
        );
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "| what | measured | against | target |\n| --- | --- | --- | --- |")?;
        for [what, measured, against, target] in &self.0 {
            writeln!(formatter, "| {what} | {measured} | {against} | {target} |")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_median_is_the_middle_round() {
        let rounds = [3.0, 1.0, 2.0].map(|seconds| Measured(json!({"seconds": seconds})));
        assert_eq!(median(rounds.to_vec()).unwrap().seconds(), 2.0);
        assert_eq!(median_by(vec![4, 1, 3, 2], Ord::cmp).unwrap(), 2);
        assert!(median(Vec::new()).is_err());
    }

    #[test]
    fn what_would_measure_nothing_is_refused() {
        #[derive(clap::Parser)]
        struct Program {
            #[command(flatten)]
            _arguments: Arguments,
        }
        let taken = |line: &str| <Program as clap::Parser>::try_parse_from(line.split(' ')).is_ok();
        assert!(taken("bench --only backup,instant --rounds 1"));
        assert!(taken("bench --velero --with 2000,applications"));
        for line in ["bench --only backups", "bench --rounds 0", "bench --velero --with 200"] {
            assert!(!taken(line), "{line}");
        }
    }

    #[test]
    fn a_backup_is_compared_with_the_slower_of_its_parts() {
        let measured = |seconds: f64| Measured(json!({"seconds": seconds, "objects": 10, "peakMemory": 1 << 20}));
        let mut table = Table::default();
        table.backup("sandbox", &measured(0.1), &measured(1.0), &measured(3.0), &measured(4.0));
        assert!(table.to_string().contains("0.75 of tar and gzip"), "{table}");
    }
}
