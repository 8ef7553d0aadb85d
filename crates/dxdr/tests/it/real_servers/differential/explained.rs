//! The differences that have a reason: the table in `docs/velero-differences.md`.

use std::{cell::Cell, fs};

use super::comparison::Found;
use crate::place::project;

/// A row of the table.
#[derive(Debug)]
pub(super) struct Explained {
    stage: String,
    kinds: Vec<String>,
    what: Vec<String>,
    reason: String,
    met: Cell<u32>,
}

impl Explained {
    /// Every row: `| Where | Kind | What | Reason |`, where kinds and fields may have `*` in them.
    pub(super) fn table() -> Vec<Self> {
        let page = fs::read_to_string(project().join("docs/velero-differences.md")).unwrap();
        let rows = page.lines().filter(|line| line.starts_with("| archive |") || line.starts_with("| restore |"));
        rows.map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [stage, kinds, what, reason] = cells.as_slice() else { panic!("not four cells: {line}") };
            assert!(reason.len() > 20, "no reason: {line}");
            let list = |cell: &str| cell.split(", ").map(|item| item.trim_matches('`').to_owned()).collect();
            Self {
                stage: (*stage).to_owned(),
                kinds: list(kinds),
                what: list(what),
                reason: (*reason).to_owned(),
                met: Cell::new(0),
            }
        })
        .collect()
    }

    /// Whether this row explains what was found; counts where it does.
    pub(super) fn explains(&self, found: &Found) -> bool {
        let any = |patterns: &[String], text: &str| patterns.iter().any(|pattern| matches(pattern, text));
        let explained = self.stage == found.stage && any(&self.kinds, &found.kind) && any(&self.what, &found.what);
        if explained {
            self.met.set(self.met.get() + 1);
        }
        explained
    }

    /// How often it explained something, for people.
    pub(super) fn told(&self) -> String {
        format!("{:6}  {} {} {}: {}", self.met.get(), self.stage, self.kinds.join(", "), self.what.join(", "), self.reason)
    }

    /// Whether nothing was found that it explains.
    pub(super) fn idle(&self) -> bool {
        self.met.get() == 0
    }
}

/// `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => {
            let Some(text) = text.strip_prefix(start) else { return false };
            (0..=text.len()).filter(|end| text.is_char_boundary(*end)).any(|end| matches(rest, &text[end..]))
        }
    }
}

#[test]
fn a_star_stands_for_anything() {
    assert!(matches("spec.ports*.nodePort", "spec.ports[port=80].nodePort"));
    assert!(matches("*", "only dxdr"));
    assert!(!matches("spec.ports*", "metadata.labels"));
    assert!(!matches("only dxdr", "only Velero"));
}
