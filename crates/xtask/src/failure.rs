//! What a chore says when it fails, and the exit code it says it with.

use std::process::ExitCode;

/// A program of the machine that a chore needs is not there. Has an exit code of its own, because "could not be
/// run here" is not "ran and failed".
#[derive(Debug)]
pub(crate) struct MissingProgram {
    pub(crate) program: &'static str,
    pub(crate) needed_for: &'static str,
    pub(crate) remedy: &'static str,
}

impl std::fmt::Display for MissingProgram {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "`{}` is not installed, so {} cannot be run here\nhint: {}", self.program, self.needed_for, self.remedy)
    }
}

impl std::error::Error for MissingProgram {}

/// Ctrl-C, or a request to stop, arrived while something was being waited for.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// The chore ran and found something wrong, or could not do its work.
const FAILED: u8 = 1;
/// Something the chore needs is not installed on this machine.
const CANNOT_RUN_HERE: u8 = 3;
/// As a shell reports a program ended by SIGINT.
const INTERRUPTED: u8 = 130;

/// Prints the error with its causes and chooses the exit code.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  caused by: {cause}");
    }
    ExitCode::from(exit_code(error))
}

fn exit_code(error: &anyhow::Error) -> u8 {
    if error.chain().any(<dyn std::error::Error>::is::<MissingProgram>) {
        CANNOT_RUN_HERE
    } else if error.chain().any(<dyn std::error::Error>::is::<Interrupted>) {
        INTERRUPTED
    } else {
        FAILED
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn a_missing_program_has_an_exit_code_of_its_own_even_below_a_context() {
        let missing = MissingProgram { program: "go", needed_for: "x", remedy: "y" };
        let error = Err::<(), _>(missing).context("cannot build etcd").unwrap_err();
        assert_eq!(exit_code(&error), CANNOT_RUN_HERE);
        assert_eq!(exit_code(&anyhow::anyhow!("other")), FAILED);
        assert_eq!(exit_code(&Interrupted.into()), INTERRUPTED);
    }
}
