//! The page on JSON documents shows what the program prints.
//!
//! Below `<!-- dxdr ARGUMENTS -->` the page has a block with the document of that command, or, below `<!-- dxdr ARGUMENTS, on stderr -->`,
//! with the last line there. `POINT`, `RUN` and `UNFINISHED` stand for the names that the test made before. With
//! `DXDR_WRITE_REFERENCE=1` in the environment the blocks are written anew.

use std::fs;

use regex::Regex;
use serde_json::Value;

use crate::{objects, place::project, seal, served::Served};

/// What differs from one time to the next, and what stands for it.
const MASKS: [(&str, &str); 9] = [
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "2024-05-01T10:00:00Z"),
    (r"\d{8}t\d{6}z", "20240501t100000z"),
    (r"(20240501t100000z(?:-(?:backup|restore)-staging)?)-[a-z0-9]{5}\b", "$1-x7k2v"),
    (r"-restored-\d{14}", "-restored-20240501100000"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:6443"),
    (r"[^/ ]+/\d+/\d{13}", "laptop/4711/1714557600000"),
    (r"SHA256:[A-Za-z0-9+/]{43}", "SHA256:tj6dotW1wnT1W6u7KImPixNn/+UFMO/nrJwCM3jVI4k"),
    (r"dxdr \d+\.\d+\.\d+", "dxdr 0.1.0"),
    (r"[0-9a-f]{64}", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
];
/// Fields whose numbers depend on more than the example.
const MEASURED: [(&str, &str); 3] = [("size", "4096"), ("bytes", "8192"), ("estimateSeconds", "0.1")];
/// So many elements of a list are shown.
const SHOWN: usize = 2;

fn masked(value: &mut Value, folder: &str, masks: &[(Regex, &str)]) {
    match value {
        Value::String(text) => {
            let mut said = text.replace(folder, "/srv/dxdr");
            for (pattern, stands_for) in masks {
                said = pattern.replace_all(&said, *stands_for).into_owned();
            }
            *text = said;
        }
        Value::Array(elements) => {
            elements.truncate(SHOWN);
            elements.iter_mut().for_each(|element| masked(element, folder, masks));
        }
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                masked(field, folder, masks);
                if let (Some((_, number)), true) = (MEASURED.iter().find(|(measured, _)| measured == name), field.is_number()) {
                    *field = number.parse().unwrap();
                }
            }
        }
        _ => {}
    }
}

#[test]
fn the_page_on_json_shows_what_the_program_prints() {
    let served = Served::new();
    // Noise that does not fit where the first backup may write, however it is compressed.
    let data: String = (1..8_000_u64).map(|word| format!("{:x}", word.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    served.create(objects::config_map("staging", "settings", &data));
    served.place.run_with_files_of(32, &["backup", "now", "staging"]).exits(1);
    let listed = |state: &str| {
        let said = served.run(&["runs", "list", "--output", "json"]).exits(0).stdout;
        let runs: Value = serde_json::from_str(&said).unwrap();
        let run = runs["runs"].as_array().unwrap().iter().find(|run| run["state"] == state).unwrap();
        run["run"].as_str().unwrap().to_owned()
    };
    seal::write_keys(&served.place);
    served.place.write("secrets/db.yaml", seal::SECRET);
    fs::create_dir(served.place.path().join("apps")).unwrap();
    served.place.run(&["seal", "-f", "secrets/db.yaml", "-w", "apps/db.yaml", "--cert", "first.pem"]).exits(0);
    let unfinished = listed("unfinished");
    let point = served.point();
    let run = listed("succeeded");

    let file = project().join("docs/reference/json.md");
    let page = fs::read_to_string(&file).unwrap();
    let folder = served.place.path().to_string_lossy().into_owned();
    let masks: Vec<(Regex, &str)> =
        MASKS.iter().map(|(pattern, stands_for)| (Regex::new(pattern).unwrap(), *stands_for)).collect();
    let (mut written, mut rest, mut count) = (String::new(), page.as_str(), 0);
    while let Some((before, after)) = rest.split_once("<!-- dxdr ") {
        let (command, after) = after.split_once(" -->\n").unwrap();
        let (_, after) = after.split_once("```json\n").unwrap();
        let (_, after) = after.split_once("\n```\n").unwrap();
        let (plain, on_stderr) = command.strip_suffix(", on stderr").map_or((command, false), |command| (command, true));
        let arguments: Vec<&str> = plain
            .split_whitespace()
            .map(|argument| match argument {
                "POINT" => point.as_str(),
                "RUN" => run.as_str(),
                "UNFINISHED" => unfinished.as_str(),
                argument => argument,
            })
            .collect();
        let said = served.run(&arguments);
        let text = if on_stderr { said.stderr.lines().last().unwrap_or_default() } else { &said.stdout };
        let mut document: Value =
            serde_json::from_str(text).unwrap_or_else(|error| panic!("dxdr {command}: {error}\n{}", said.stderr));
        masked(&mut document, &folder, &masks);
        let document = serde_json::to_string_pretty(&document).unwrap();
        written.push_str(&format!("{before}<!-- dxdr {command} -->\n```json\n{document}\n```\n"));
        rest = after;
        count += 1;
    }
    written.push_str(rest);
    assert!(count > 10, "only {count} examples");
    if std::env::var_os("DXDR_WRITE_REFERENCE").is_some() {
        fs::write(&file, &written).unwrap();
        return;
    }
    for (line, (shown, said)) in page.lines().zip(written.lines()).enumerate() {
        assert_eq!(shown, said, "{}:{}: run with DXDR_WRITE_REFERENCE=1 and read the difference", file.display(), line + 1);
    }
    assert_eq!(page.len(), written.len(), "run with DXDR_WRITE_REFERENCE=1 and read the difference");
}
