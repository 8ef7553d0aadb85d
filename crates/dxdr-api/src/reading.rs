//! Turns a document that has the right shape into values of the model, and names what is wrong with the values.

mod backup_policy;
mod backup_store;
mod database;
mod environment;
mod sealing_policy;

use std::{collections::BTreeMap, sync::Arc};

use dxdr_environment::{FieldPath, InvalidName, NamespaceName, PathStep, Quantity};
use jiff::{SignedDuration, tz::TimeZone};

use crate::{problem::Problem, specification::Amount, tree::Node};

/// A document being read: where to find the place of a field, and where problems go.
pub(crate) struct Reading<'a> {
    pub(crate) file: &'a Arc<str>,
    pub(crate) node: &'a Node,
    pub(crate) problems: Vec<Problem>,
}

/// One step to a field, so that paths can be written as `["spec".step(), 0.step()]`.
pub(crate) trait Step {
    fn step(self) -> PathStep;
}

impl Step for &str {
    fn step(self) -> PathStep {
        PathStep::Field(self.to_owned())
    }
}

impl Step for &String {
    fn step(self) -> PathStep {
        PathStep::Field(self.clone())
    }
}

impl Step for usize {
    fn step(self) -> PathStep {
        PathStep::Index(self)
    }
}

/// `field_path!["spec", "access", index, "role"]`
macro_rules! field_path {
    ($($step:expr),* $(,)?) => {
        dxdr_environment::FieldPath(vec![$($crate::reading::Step::step($step)),*])
    };
}
pub(crate) use field_path;

/// `path` and a step more.
pub(crate) fn below(path: &FieldPath, step: impl Step) -> FieldPath {
    let mut path = path.clone();
    path.0.push(step.step());
    path
}

impl Reading<'_> {
    /// A problem with the value at `path`.
    pub(crate) fn wrong(&self, path: &FieldPath, message: impl Into<String>) -> Problem {
        Problem::error(self.file, self.node.place(path), path.clone(), message)
    }

    /// A problem with there being a field at `path`.
    pub(crate) fn misplaced(&self, path: &FieldPath, message: impl Into<String>) -> Problem {
        Problem::error(self.file, self.node.key_place(path), path.clone(), message)
    }

    pub(crate) fn report(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// `value`, or a problem in its own words at `path`.
    pub(crate) fn accept<T, E: std::fmt::Display>(&mut self, path: &FieldPath, value: Result<T, E>) -> Option<T> {
        value.map_err(|error| self.report(self.wrong(path, format!("`{path}`: {error}")))).ok()
    }

    /// `metadata.name` of a kind whose names are plain text in the model: the rule is the same for every kind.
    pub(crate) fn name(&mut self, name: &str, what: &'static str) {
        let checked = NamespaceName::parse(name).map_err(|invalid| InvalidName { what, ..invalid });
        self.accept(&field_path!["metadata", "name"], checked);
    }

    pub(crate) fn quantity(&mut self, path: &FieldPath, amount: &Amount) -> Option<Quantity> {
        let quantity = self.accept(path, Quantity::parse(&amount.0))?;
        if quantity.nanos() < 0 {
            self.report(self.wrong(path, format!("`{path}` is below zero")).found(format!("`{quantity}`")));
            return None;
        }
        Some(quantity)
    }

    pub(crate) fn quantities(&mut self, path: &FieldPath, amounts: &BTreeMap<String, Amount>) -> BTreeMap<String, Quantity> {
        let read =
            |(resource, amount): (&String, &Amount)| Some((resource.clone(), self.quantity(&below(path, resource), amount)?));
        amounts.iter().filter_map(read).collect()
    }

    pub(crate) fn time_zone(&mut self, path: &FieldPath, name: &str) -> Option<TimeZone> {
        // `local` and POSIX strings mean something to the library, and something else on every machine.
        if let Some(zone) = TimeZone::get(name).ok().filter(|zone| zone.iana_name().is_some()) {
            return Some(zone);
        }
        let names: Vec<_> = jiff::tz::db().available().map(|name| name.to_string()).collect();
        let problem = self.wrong(path, format!("`{path}` is not a known time zone"));
        let problem = problem.found(format!("`{name}`")).expected("an IANA name such as `Europe/Berlin` or `UTC`");
        self.report(problem.suggest(name, names.iter().map(String::as_str)));
        None
    }

    /// A duration of at least one second.
    pub(crate) fn duration(&mut self, path: &FieldPath, text: &str) -> Option<SignedDuration> {
        match crate::duration::parse(text) {
            Some(duration) => Some(duration),
            None => {
                let problem = self.wrong(path, format!("`{path}` is not a duration")).found(format!("`{text}`"));
                self.report(problem.expected("days, hours, minutes and seconds as in `90s`, `30m`, `1h30m` or `7d`"));
                None
            }
        }
    }

    /// Labels, or a selector of labels.
    pub(crate) fn labels(&mut self, path: &FieldPath, labels: &BTreeMap<String, String>) {
        self.qualified_names(path, labels.keys());
        for (name, value) in labels {
            let fits = value.len() <= 63 && value.chars().all(is_name_character) && starts_and_ends_well(value);
            if !fits && !value.is_empty() {
                let path = below(path, name);
                let problem = self.wrong(&path, format!("`{path}` is not the value of a label")).found(format!("`{value}`"));
                self.report(
                    problem.expected("at most 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends"),
                );
            }
        }
    }

    /// Keys of labels or annotations.
    pub(crate) fn qualified_names<'n>(&mut self, path: &FieldPath, names: impl Iterator<Item = &'n String>) {
        for name in names {
            let (prefix, rest) = name.rsplit_once('/').map_or((None, name.as_str()), |(prefix, rest)| (Some(prefix), rest));
            let rest_fits = (1..=63).contains(&rest.len()) && rest.chars().all(is_name_character) && starts_and_ends_well(rest);
            if !rest_fits || !prefix.is_none_or(is_dns_name) {
                let path = below(path, name);
                let problem = self.misplaced(&path, format!("`{name}` is not a name for a label or annotation"));
                self.report(problem.expected("a name such as `team` or `example.org/team`"));
            }
        }
    }
}

fn is_name_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-_.".contains(character)
}

fn starts_and_ends_well(text: &str) -> bool {
    let good = |character: char| character.is_ascii_alphanumeric();
    text.starts_with(good) && text.ends_with(good)
}

/// RFC 1123 subdomain.
pub(crate) fn is_dns_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && starts_and_ends_well(label)
    };
    name.len() <= 253 && name.split('.').all(is_label)
}
