//! A PostgreSQL server of a test's own, on a free port of the loopback, as an account that is not root: PostgreSQL refuses root.

use std::{
    net::TcpListener,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

/// Of the superuser. Hostile to whoever does not quote.
pub const PASSWORD: &str = "p:a\\s's \"w0rd";
/// `nobody`, when the tests run as root.
const NOBODY: u32 = 65534;
/// Two loaded cores may take long.
const STARTED: Duration = Duration::from_secs(120);

/// A running server. It is stopped when this is dropped.
pub struct Server {
    process: Child,
    programs: PathBuf,
    pub port: u16,
    /// PEM of who signed its certificate; `None`: it has no TLS.
    pub authority: Option<String>,
    _directory: tempfile::TempDir,
}

static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());

/// A server with TLS that the tests that run at the same time share. `None` where no PostgreSQL is installed: the test is skipped, and says so.
pub fn shared() -> Option<Arc<Server>> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = shared.upgrade() {
        return Some(server);
    }
    let server = Arc::new(start(true)?);
    *shared = Arc::downgrade(&server);
    Some(server)
}

/// A server of one's own.
pub fn start(tls: bool) -> Option<Server> {
    start_with(tls, &[])
}

/// A server of one's own, made with more than the usual arguments.
pub fn start_with(tls: bool, arguments: &[&str]) -> Option<Server> {
    let Some(programs) = programs() else {
        eprintln!("skipped: no PostgreSQL server is installed (Debian: apt-get install postgresql)");
        return None;
    };
    // Somebody else may take the port between our looking and the server's.
    (0..5)
        .find_map(|_| try_start(tls, arguments, &programs))
        .or_else(|| panic!("PostgreSQL in {} does not start", programs.display()))
}

/// Where the newest installed server is.
fn programs() -> Option<PathBuf> {
    let entries = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> =
        entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin")))).collect();
    versions.sort();
    let on_path = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
    versions.into_iter().rev().map(|(_, folder)| folder).chain(on_path).find(|folder| folder.join("initdb").is_file())
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A command as the account that the server runs as.
fn unprivileged(program: &Path) -> Command {
    let mut command = Command::new(program);
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.env("LC_ALL", "C").current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn give_away(path: &Path) {
    if is_root() {
        std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}

fn write(path: &Path, text: &str) {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    give_away(path);
}

fn try_start(tls: bool, arguments: &[&str], programs: &Path) -> Option<Server> {
    let directory = tempfile::tempdir().unwrap();
    give_away(directory.path());
    let (data, password) = (directory.path().join("data"), directory.path().join("password"));
    write(&password, PASSWORD);
    let mut initdb = unprivileged(&programs.join("initdb"));
    initdb.args(["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]).args(arguments);
    let made = initdb.arg("--pwfile").arg(&password).arg("--pgdata").arg(&data).stderr(Stdio::piped()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut postgres = unprivileged(&programs.join("postgres"));
    postgres.arg("-D").arg(&data).arg("-p").arg(port.to_string());
    for setting in
        ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "max_connections=60", "shared_buffers=16MB"]
    {
        postgres.arg("-c").arg(setting);
    }
    let mut authority = None;
    if tls {
        let (authority_pem, certificate, key) = certificates();
        write(&directory.path().join("server.crt"), &certificate);
        write(&directory.path().join("server.key"), &key);
        postgres.args(["-c", "ssl=on"]);
        postgres.arg("-c").arg(format!("ssl_cert_file={}", directory.path().join("server.crt").display()));
        postgres.arg("-c").arg(format!("ssl_key_file={}", directory.path().join("server.key").display()));
        authority = Some(authority_pem);
    }
    let process = postgres.spawn().unwrap();
    let mut server = Server { process, programs: programs.to_owned(), port, authority, _directory: directory };
    let end = Instant::now() + STARTED;
    while Instant::now() < end {
        if server.process.try_wait().unwrap().is_some() {
            return None;
        }
        if server.try_sql("postgres", "SELECT 1").is_ok() {
            return Some(server);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    None
}

/// Of an authority, of a server `localhost` and `127.0.0.1`, and the server's key.
fn certificates() -> (String, String, String) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(rcgen::DnType::CommonName, "tests");
    let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned(), "postgres.staging.svc".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    (authority_pem, certificate.pem(), key.serialize_pem())
}

impl Server {
    /// Runs SQL as the superuser; what it answers.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        self.try_sql(database, sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    pub fn try_sql(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut child = self.psql(database).arg("--file=-").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // One that does not get in ends before it has read anything, and says why.
        let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), sql.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// `psql` as the superuser.
    pub fn psql(&self, database: &str) -> Command {
        let mut command = Command::new(self.programs.join("psql"));
        command.args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1"]);
        command.env("PGHOST", "127.0.0.1").env("PGPORT", self.port.to_string()).env("PGUSER", "postgres");
        command.env("PGPASSWORD", PASSWORD).env("PGDATABASE", database).stdout(Stdio::piped());
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGINT: it cuts every connection and stops.
        let process = rustix::process::Pid::from_child(&self.process);
        let _ = rustix::process::kill_process(process, rustix::process::Signal::INT);
        let end = Instant::now() + Duration::from_secs(30);
        while matches!(self.process.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
