//! A PostgreSQL server of a test's own, on a free port of the loopback, as an account that is not root: PostgreSQL refuses root.

use std::{
    net::TcpListener,
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use dxdr_postgresql_server::{Installation, account};

/// Of the superuser. Hostile to whoever does not quote.
pub const PASSWORD: &str = "p:a\\s's \"w0rd";
/// Two loaded cores may take long.
const STARTED: Duration = Duration::from_secs(120);

/// A running server. It is stopped when this is dropped.
pub struct Server {
    process: dxdr_postgresql_server::Server,
    installation: Installation,
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
    let Some(installation) = Installation::find() else {
        eprintln!("skipped: no PostgreSQL server is installed (Debian: apt-get install postgresql)");
        return None;
    };
    // Somebody else may take the port between our looking and the server's.
    let server = (0..5).find_map(|_| try_start(tls, arguments, &installation));
    server.or_else(|| panic!("PostgreSQL in {} does not start", installation.programs().display()))
}

fn try_start(tls: bool, arguments: &[&str], installation: &Installation) -> Option<Server> {
    let directory = account::directory().unwrap();
    let (data, password) = (directory.path().join("data"), directory.path().join("password"));
    account::write(&password, PASSWORD).unwrap();
    let password = format!("--pwfile={}", password.display());
    let usual = ["--username=postgres", "--auth=scram-sha-256", password.as_str()];
    installation.initialize(&data, usual.iter().chain(arguments)).unwrap();
    let mut settings = Vec::new();
    let mut authority = None;
    if tls {
        let (authority_pem, certificate, key) = certificates();
        let (certificate_file, key_file) = (directory.path().join("server.crt"), directory.path().join("server.key"));
        account::write(&certificate_file, &certificate).unwrap();
        account::write(&key_file, &key).unwrap();
        settings.push("ssl=on".to_owned());
        settings.push(format!("ssl_cert_file={}", certificate_file.display()));
        settings.push(format!("ssl_key_file={}", key_file.display()));
        authority = Some(authority_pem);
    }
    serve(installation, directory, settings, authority)
}

/// Runs a server on the data in the directory, until it answers.
fn serve(
    installation: &Installation,
    directory: tempfile::TempDir,
    mut settings: Vec<String>,
    authority: Option<String>,
) -> Option<Server> {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let usual =
        ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "max_connections=60", "shared_buffers=16MB"];
    settings.extend(usual.map(str::to_owned));
    settings.push(format!("port={port}"));
    let process = installation.start(&directory.path().join("data"), &settings, None).unwrap();
    let mut server = Server { process, installation: installation.clone(), port, authority, _directory: directory };
    let end = Instant::now() + STARTED;
    while Instant::now() < end {
        if server.process.has_ended() {
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
    /// A replica of it, without TLS, that follows it.
    pub fn replica(&self) -> Server {
        let copied = || {
            let directory = account::directory().unwrap();
            let mut copy = self.installation.command("pg_basebackup");
            copy.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync"]);
            copy.arg("--pgdata")
                .arg(directory.path().join("data"))
                .env("PGHOST", "127.0.0.1")
                .env("PGPORT", self.port.to_string());
            copy.env("PGUSER", "postgres").env("PGPASSWORD", PASSWORD).stderr(Stdio::piped());
            let copied = copy.output().unwrap();
            assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
            serve(&self.installation, directory, Vec::new(), None)
        };
        (0..5).find_map(|_| copied()).unwrap_or_else(|| panic!("the replica does not start"))
    }

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
        let mut command = Command::new(self.installation.programs().join("psql"));
        command.args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1"]);
        command.env("PGHOST", "127.0.0.1").env("PGPORT", self.port.to_string()).env("PGUSER", "postgres");
        command.env("PGPASSWORD", PASSWORD).env("PGDATABASE", database).stdout(Stdio::piped());
        command
    }
}
