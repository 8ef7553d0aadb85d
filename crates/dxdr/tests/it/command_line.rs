//! What holds of every command: its help, its page, and what it says on which stream, and in which form.

use std::{
    fs,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use crate::{
    place::{Place, Said},
    served::Served,
};

/// Every command with subcommands or without, as the help of the one above lists it.
fn commands(place: &Place, above: &[&str]) -> Vec<Vec<String>> {
    let mut all = vec![above.iter().map(|name| (*name).to_owned()).collect()];
    let help = place.run(&[above, &["--help"]].concat()).exits(0).stdout;
    let Some((_, listed)) = help.split_once("\nCommands:\n") else { return all };
    for line in listed.lines().take_while(|line| !line.is_empty()) {
        match line.strip_prefix("  ").and_then(|line| line.split_whitespace().next()) {
            // Lines that go on with a description are indented further.
            Some(name) if name != "help" && !line.starts_with("   ") => all.extend(commands(place, &[above, &[name]].concat())),
            _ => {}
        }
    }
    all
}

/// What a tool found wrong with a file; `None` where the tool is not installed.
fn complaints(tool: &str, arguments: &[&str], file: &std::path::Path) -> Option<Output> {
    Command::new(tool).args(arguments).arg(file).stdin(Stdio::null()).output().ok()
}

#[test]
fn every_command_explains_itself_by_an_example() {
    let place = Place::empty();
    let all = commands(&place, &[]);
    assert!(all.len() > 20, "only {} commands found", all.len());
    for command in all {
        let arguments: Vec<&str> = command.iter().map(String::as_str).chain(["--help"]).collect();
        let help = place.run(&arguments).exits(0).stdout;
        let (_, examples) = help.split_once("\nExamples:\n").unwrap_or_else(|| panic!("dxdr {}: no example", command.join(" ")));
        let line = |line: &str| line.trim_start().starts_with(&format!("dxdr {}", command.join(" ")));
        assert!(examples.lines().any(line), "dxdr {}: the examples are of something else", command.join(" "));
        // An example is one the program takes.
        for example in examples.lines().filter_map(|line| line.trim().strip_prefix("dxdr ")) {
            let example = example.split("  ").next().unwrap_or_default().split(['|', '>']).next().unwrap_or_default();
            let arguments: Vec<&str> = example.split_whitespace().chain(["--help"]).collect();
            assert!(!place.run(&arguments).is_usage_error(), "dxdr {example}");
        }
        assert!(help.lines().all(|line| line.chars().count() <= 110), "dxdr {}: lines too long", command.join(" "));
    }
}

#[test]
fn shells_can_load_their_completions() {
    let place = Place::empty();
    for (shell, marker) in [("bash", "complete "), ("zsh", "#compdef dxdr"), ("fish", "complete -c dxdr")] {
        let script = place.run(&["completions", shell]).exits(0).stdout;
        assert!(script.contains(marker) && script.contains("in-place"), "{shell}");
        place.write(&format!("dxdr.{shell}"), &script);
        let check = if shell == "fish" { "--no-execute" } else { "-n" };
        match complaints(shell, &[check], &place.path().join(format!("dxdr.{shell}"))) {
            Some(output) => assert!(output.status.success() && output.stderr.is_empty(), "{shell}: {output:?}"),
            None => eprintln!("not tested: {shell} is not installed"),
        }
    }
}

#[test]
fn every_command_has_a_man_page_with_its_examples() {
    let place = Place::empty();
    place.run(&["man", "pages"]).exits(0);
    let mut untested = true;
    for command in commands(&place, &[]) {
        let name = [&["dxdr".to_owned()], command.as_slice()].concat().join("-");
        let file = place.path().join("pages").join(format!("{name}.1"));
        let page = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert!(page.contains(".SH EXAMPLES"), "{name}");
        for (tool, arguments) in
            [("mandoc", &["-T", "lint", "-W", "error"][..]), ("groff", &["-man", "-T", "utf8", "-w", "w", "-z"])]
        {
            let Some(output) = complaints(tool, arguments, &file) else { continue };
            untested = false;
            assert!(output.status.success() && output.stderr.is_empty(), "{tool} {name}: {output:?}");
        }
    }
    if untested {
        eprintln!("not tested: neither mandoc nor groff is installed");
    }
}

/// The one JSON document on stdout.
#[track_caller]
fn document(said: &Said) -> Value {
    let value: Value = serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}\n{}", said.stdout));
    value
}

/// The last line on stderr, which must be the error.
#[track_caller]
fn error(said: &Said) -> Value {
    let line = said.stderr.lines().last().unwrap_or_default();
    let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}\n{}", said.stderr));
    assert_eq!(value["format"], "dxdr.io/error/v1");
    assert!(value["kind"].is_string() && value["code"].is_u64() && value["message"].is_string(), "{value}");
    assert!(value["causes"].is_array() && value["hints"].is_array(), "{value}");
    value
}

#[test]
fn every_command_that_prints_something_prints_one_json_document_that_names_its_format() {
    let served = Served::new();
    let point = served.point();
    let json = |arguments: &[&str], code: i32| {
        let said = served.run(&[arguments, &["--output", "json"]].concat()).exits(code);
        document(&said)
    };
    let runs = json(&["runs", "list"], 0);
    let run = runs["runs"][0]["run"].as_str().unwrap().to_owned();
    for (arguments, code, format) in [
        (&["points"][..], 0, "points"),
        (&["points", "staging"], 0, "points"),
        (&["backup", "now", "staging"], 0, "point"),
        (&["backup", "now", "staging", "--dry-run"], 0, "backup-plan"),
        (&["runs", "list"], 0, "runs"),
        (&["runs", "show", &run], 0, "run"),
        (&["restore", "--point", &point, "staging", "--plan"], 0, "restore-plan"),
        (&["restore", "--at", "now", "staging", "--dry-run"], 0, "restore-plan"),
        (&["restore", "--point", &point, "staging", "--into", "beside", "--yes"], 0, "restore"),
        (&["restore", "--point", &point, "staging", "--in-place", "--yes"], 0, "restore"),
        (&["environment", "list"], 0, "environments"),
        (&["environment", "diff", "staging"], 3, "environment-diff"),
        (&["environment", "apply", "staging", "--dry-run"], 0, "environment-diff"),
        (&["environment", "apply", "staging", "--yes"], 0, "environment-diff"),
        (&["check"], 0, "check"),
        (&["sandbox", "status"], 0, "sandbox"),
    ] {
        assert_eq!(json(arguments, code)["format"], format!("dxdr.io/{format}/v1"), "dxdr {}", arguments.join(" "));
    }
    // Kubernetes' own: it goes to kubectl.
    assert_eq!(json(&["environment", "render", "staging"], 0)["kind"], "List");
}

#[test]
fn an_error_is_the_last_line_on_stderr_as_json_where_a_program_reads_stdout() {
    let served = Served::new();
    for form in ["json", "yaml"] {
        let error = |arguments: &[&str], code: i32| {
            let said = served.run(&[arguments, &["--output", form]].concat()).exits(code);
            (error(&said), said.stdout)
        };
        let (missing, stdout) = error(&["restore", "--at", "2024-05-01T10:00Z", "staging", "--plan"], 5);
        assert_eq!((missing["kind"].as_str(), missing["code"].as_u64()), (Some("no-way-back"), Some(5)));
        assert!(stdout.is_empty() && missing["hints"][0].is_string(), "{missing}");
        let (usage, stdout) = error(&["restore", "staging", "--nope"], 2);
        assert!(stdout.is_empty() && usage["message"].as_str().unwrap().contains("--nope"), "{usage}");
        assert_eq!(error(&[], 2).0["kind"], "usage");
        // What differs is on stdout; that it differs is the error.
        let (differs, stdout) = error(&["environment", "diff", "staging"], 3);
        assert!(!stdout.is_empty() && differs["message"].as_str().unwrap().contains("staging"), "{differs}");
    }
}

#[test]
fn with_json_logs_every_line_on_stderr_is_json_and_those_of_a_run_carry_its_spans() {
    let served = Served::new();
    let logged = |arguments: &[&str], code: i32| -> Vec<Value> {
        let said = served.run(&[arguments, &["--log-format", "json"]].concat()).exits(code);
        let line = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        said.stderr.lines().map(line).collect()
    };
    let lines = logged(&["backup", "now", "staging"], 0);
    let within = |name: &str| {
        lines.iter().any(|line| line["spans"].as_array().is_some_and(|spans| spans.iter().any(|span| span["name"] == name)))
    };
    assert!(within("backup"), "{lines:?}");
    assert!(lines.iter().any(|line| line["message"] == "run finished"), "{lines:?}");
    logged(&["backup", "now", "staging", "-vvv"], 0);
    let lines = logged(&["restore", "--at", "now", "staging", "--into", "beside", "--yes"], 0);
    assert!(lines.iter().any(|line| line["span"]["name"] == "restore"), "{lines:?}");
    for (arguments, code) in [
        (&["backup", "now", "stagging"][..], 8),
        (&["restore", "--at", "now", "staging", "--in-place"], 0),
        (&["restore", "--at", "now", "staging"], 4),
        (&["nonsense"], 2),
        (&[], 2),
        (&["points", "--manifests", "nowhere", "--output", "json"], 8),
    ] {
        let lines = logged(arguments, code);
        let errors: Vec<&Value> = lines.iter().filter(|line| line["level"] == "ERROR").collect();
        assert_eq!(errors.len(), usize::from(code != 0), "dxdr {}: {lines:?}", arguments.join(" "));
        assert!(errors.iter().all(|line| line["code"] == code), "dxdr {}: {lines:?}", arguments.join(" "));
    }
}

#[test]
fn there_are_no_escape_codes_where_nobody_sees_colour() {
    let served = Served::new();
    for arguments in [
        &["backup", "now", "staging"][..],
        &["backup", "now", "staging", "-vvv"],
        &["environment", "diff", "staging"],
        &["restore", "--at", "now", "staging", "--into", "beside", "--yes"],
        &["restore", "--at", "2020-01-01T00:00Z", "staging"],
        &["points"],
        &["nonsense"],
        &["--help"],
    ] {
        let said = served.run(arguments);
        assert!(!said.stdout.contains('\u{1b}') && !said.stderr.contains('\u{1b}'), "dxdr {}", arguments.join(" "));
    }
    let colourful = served.run(&["environment", "diff", "staging", "--color", "always"]);
    assert!(colourful.stdout.contains('\u{1b}') && colourful.stderr.contains('\u{1b}'));
}

#[test]
fn stdout_holds_the_result_and_nothing_else_and_quiet_leaves_only_that() {
    let served = Served::new();
    let said = served.run(&["backup", "now", "staging"]).exits(0);
    assert_eq!(said.stdout.lines().count(), 1, "{}", said.stdout);
    assert!(said.stderr.contains("run ") && said.stderr.contains(said.stdout.trim()), "{}", said.stderr);
    for arguments in [
        &["backup", "now", "staging"][..],
        &["backup", "now", "staging", "--dry-run"],
        &["points"],
        &["restore", "--at", "now", "staging", "--into", "beside", "--yes"],
        &["runs", "list"],
    ] {
        let said = served.run(&[arguments, &["--quiet"]].concat()).exits(0);
        assert_eq!(said.stderr, "", "dxdr {}", arguments.join(" "));
        assert!(!said.stdout.is_empty(), "dxdr {}", arguments.join(" "));
    }
    let said = served.run(&["restore", "--at", "2020-01-01T00:00Z", "staging", "--quiet"]).refuses(5);
    assert!(
        said.stdout.is_empty() && said.stderr.lines().all(|line| line.trim_start().starts_with(['e', 'c', 'h'])),
        "{}",
        said.stderr
    );
}

#[test]
fn a_table_of_points_fits_into_eighty_columns_with_its_names_whole() {
    let served = Served::new();
    let point = served.point();
    let points = |columns: &str| {
        let output = served.place.command(&["points"]).env("COLUMNS", columns).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let narrow = points("80");
    assert!(narrow.lines().all(|line| line.chars().count() <= 80), "{narrow}");
    assert!(narrow.contains(&point) && narrow.contains("complete") && narrow.contains("without covers"), "{narrow}");
    assert!(points("200").contains("COVERS") && !points("200").contains("without"));
}

#[test]
fn a_misspelt_environment_is_told_the_one_that_was_meant() {
    let served = Served::new();
    let said = served.run(&["backup", "now", "stagging"]).refuses(8);
    assert!(said.stderr.contains("hint: did you mean `staging`?"), "{}", said.stderr);
}
