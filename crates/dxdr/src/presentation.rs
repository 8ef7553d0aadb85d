//! How the command line asks to be answered, read before it is understood: what is wrong with it is told in that form, too.

use std::ffi::OsString;

use clap::ValueEnum;

use crate::{
    logging::LogFormat,
    terminal::{Colour, Output},
};

/// The global options that say in which form to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Presentation {
    pub(crate) output: Output,
    pub(crate) colour: Colour,
    pub(crate) quiet: bool,
    pub(crate) log_format: LogFormat,
}

impl Presentation {
    /// Finds the options among arguments that may be wrong. What is not found, or has no such value, is as by default.
    pub(crate) fn of(arguments: impl IntoIterator<Item = OsString>) -> Self {
        let mut found = Self { output: Output::Text, colour: Colour::Auto, quiet: false, log_format: LogFormat::Text };
        let mut arguments = arguments.into_iter().map(|argument| argument.to_string_lossy().into_owned()).peekable();
        while let Some(argument) = arguments.next() {
            if argument == "--" {
                break;
            }
            let (name, value) = match argument.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => match argument.strip_prefix("-o") {
                    Some(value) if !value.is_empty() => ("-o".to_owned(), Some(value.to_owned())),
                    _ => (argument, None),
                },
            };
            let value = value.or_else(|| arguments.peek().cloned()).unwrap_or_default();
            match name.as_str() {
                "-o" | "--output" => found.output = Output::from_str(&value, false).unwrap_or(found.output),
                "--color" => found.colour = Colour::from_str(&value, false).unwrap_or(found.colour),
                "--log-format" => found.log_format = LogFormat::from_str(&value, false).unwrap_or(found.log_format),
                "-q" | "--quiet" => found.quiet = true,
                _ => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(arguments: &[&str]) -> Presentation {
        Presentation::of(arguments.iter().map(OsString::from))
    }

    #[test]
    fn every_way_to_write_an_option_is_found_in_a_wrong_command_line() {
        for arguments in
            [["nonsense", "-o", "json"], ["--output", "json", "--nope"], ["-ojson", "x", "y"], ["--output=json", "", ""]]
        {
            assert_eq!(of(&arguments).output, Output::Json, "{arguments:?}");
        }
        assert_eq!(of(&["--log-format=json"]).log_format, LogFormat::Json);
        assert_eq!(of(&["--color", "never"]).colour, Colour::Never);
    }

    #[test]
    fn what_is_no_value_and_what_follows_two_dashes_is_passed_over() {
        assert_eq!(of(&["-o"]).output, Output::Text);
        assert_eq!(of(&["-o", "xml"]).output, Output::Text);
        assert_eq!(of(&["--", "-o", "json"]).output, Output::Text);
    }
}
