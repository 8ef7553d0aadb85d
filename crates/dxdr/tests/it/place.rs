//! An empty folder in which the program runs, knowing nothing of the person who runs the tests.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// A temporary folder, and with [`Place::with_sandbox`] a sandbox that runs in it until it is dropped.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    sandbox: bool,
    environment: Vec<(&'static str, String)>,
}

impl Place {
    pub(crate) fn empty() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), sandbox: false, environment: Vec::new() }
    }

    pub(crate) fn with_sandbox() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap(), sandbox: true, environment: Vec::new() };
        place.run(&["sandbox", "up"]).exits(0);
        place
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file, and the folders above it.
    pub(crate) fn write(&self, file: &str, text: &str) {
        let path = self.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// What the program finds in its environment, besides.
    pub(crate) fn with_environment(environment: Vec<(&'static str, String)>) -> Self {
        Self { environment, folder: tempfile::tempdir().unwrap(), sandbox: false }
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        Said::of(arguments, &self.command(arguments).output().unwrap())
    }

    /// Runs where no file may have more than so many blocks of the shell's, which are 512 or 1,024 bytes: as on a full disk.
    pub(crate) fn run_with_files_of(&self, blocks: u32, arguments: &[&str]) -> Said {
        let mut shell = Command::new("sh");
        // Writing beyond the limit is an error then, not a signal.
        shell.args(["-c", "trap '' XFSZ; ulimit -f $1; shift; exec \"$@\"", "sh", &blocks.to_string()]);
        shell.arg(env!("CARGO_BIN_EXE_dxdr"));
        Said::of(arguments, &self.here(shell, arguments).output().unwrap())
    }

    /// The program, about to be started here.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.here(Command::new(env!("CARGO_BIN_EXE_dxdr")), arguments)
    }

    fn here(&self, mut command: Command, arguments: &[&str]) -> Command {
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null());
        command.env_clear().env("HOME", self.path()).env("XDG_CONFIG_HOME", self.path().join("config"));
        command.env("TMPDIR", self.path()).env("PATH", "/usr/bin:/bin");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.sandbox {
            self.run(&["sandbox", "down"]);
        }
    }
}

/// What the program said, and how it ended.
pub(crate) struct Said {
    what: String,
    code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    pub(crate) fn of(arguments: &[&str], output: &Output) -> Self {
        Self {
            what: arguments.join(" "),
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "dxdr {}\n{}\n{}", self.what, self.stdout, self.stderr);
        self
    }

    /// One error line, a hint, and this code.
    #[track_caller]
    pub(crate) fn refuses(self, code: i32) -> Self {
        let said = self.exits(code);
        // For whoever reads the words: `cargo test -- --nocapture`.
        eprintln!("$ dxdr {}\n{}", said.what, said.stderr);
        let count = |start: &str| said.stderr.lines().filter(|line| line.starts_with(start)).count();
        assert_eq!(count("error: "), 1, "dxdr {}\n{}", said.what, said.stderr);
        assert!(count("hint: ") >= 1, "dxdr {}: no hint\n{}", said.what, said.stderr);
        said
    }

    pub(crate) fn is_usage_error(&self) -> bool {
        self.code == Some(2)
    }
}

/// The root of the project.
pub(crate) fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}
