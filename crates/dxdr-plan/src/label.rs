//! Label selectors: parsed from kubectl's syntax, matched against labels, written back for a list request.

use std::fmt;

/// Requirements that all hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelSelector {
    /// All of them must hold; none: everything matches.
    pub requirements: Vec<Requirement>,
}

/// What one label must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The label: `app.kubernetes.io/name`.
    pub key: String,
    /// What is asked of it.
    pub operator: Operator,
    /// Values for `In` and `NotIn`; empty otherwise.
    pub values: Vec<String>,
}

/// What is asked of a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// It is there and has one of the values.
    In,
    /// It is not there or has none of the values.
    NotIn,
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
}

/// A selector that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{selector}` is not a valid label selector: {reason}")]
pub struct InvalidLabelSelector {
    /// As given.
    pub selector: String,
    /// What is wrong.
    pub reason: String,
}

impl LabelSelector {
    /// Reads kubectl's syntax: `app=api,tier!=cache,release in (a, b),!canary`.
    pub fn parse(text: &str) -> Result<Self, InvalidLabelSelector> {
        let refuse = |reason: String| InvalidLabelSelector { selector: text.to_owned(), reason };
        let mut requirements = Vec::new();
        for part in split(text).map_err(|reason| refuse(reason.to_owned()))? {
            requirements.push(requirement(part.trim()).map_err(refuse)?);
        }
        Ok(Self { requirements })
    }

    /// Adds `key in (value)`, as `matchLabels` means it.
    #[must_use]
    pub fn with_label(mut self, key: &str, value: &str) -> Self {
        self.requirements.push(Requirement { key: key.to_owned(), operator: Operator::In, values: vec![value.to_owned()] });
        self
    }

    /// Whether everything matches.
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether the labels that `lookup` answers for match.
    pub fn matches<'a>(&self, lookup: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements.iter().all(|requirement| {
            let value = lookup(&requirement.key);
            let named = || value.is_some_and(|value| requirement.values.iter().any(|allowed| allowed == value));
            match requirement.operator {
                Operator::In => named(),
                Operator::NotIn => !named(),
                Operator::Exists => value.is_some(),
                Operator::DoesNotExist => value.is_none(),
            }
        })
    }
}

/// Splits at commas outside of parentheses.
fn split(text: &str) -> Result<Vec<&str>, &'static str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0u32, 0);
    for (position, character) in text.char_indices() {
        match character {
            '(' if depth == 0 => depth = 1,
            '(' => return Err("parentheses within parentheses"),
            ')' => depth = depth.checked_sub(1).ok_or("a `)` without a `(`")?,
            ',' if depth == 0 => {
                parts.push(&text[start..position]);
                start = position + 1;
            }
            _ => {}
        }
    }
    if depth > 0 {
        return Err("a `(` is not closed");
    }
    if !text.trim().is_empty() {
        parts.push(&text[start..]);
    }
    Ok(parts)
}

fn requirement(part: &str) -> Result<Requirement, String> {
    let make = |key: &str, operator, values: Vec<String>| {
        let key = key.trim();
        check_key(key)?;
        values.iter().try_for_each(|value| check_value(value))?;
        Ok(Requirement { key: key.to_owned(), operator, values })
    };
    if part.is_empty() {
        return Err("a requirement is empty".to_owned());
    }
    if let Some(key) = part.strip_prefix('!') {
        return make(key, Operator::DoesNotExist, Vec::new());
    }
    if let Some(list) = part.strip_suffix(')') {
        let (head, values) = list.split_once('(').ok_or("a `)` without a `(`")?;
        let values = values.split(',').map(|value| value.trim().to_owned()).collect();
        let head = head.trim_end();
        if let Some(key) = head.strip_suffix(" notin") {
            return make(key, Operator::NotIn, values);
        }
        if let Some(key) = head.strip_suffix(" in") {
            return make(key, Operator::In, values);
        }
        return Err(format!("`{head}` before the parentheses is neither `KEY in` nor `KEY notin`"));
    }
    for (mark, operator) in [("!=", Operator::NotIn), ("==", Operator::In), ("=", Operator::In)] {
        if let Some((key, value)) = part.split_once(mark) {
            return make(key, operator, vec![value.trim().to_owned()]);
        }
    }
    make(part, Operator::Exists, Vec::new())
}

fn check_key(key: &str) -> Result<(), String> {
    let name = key.rsplit('/').next().unwrap_or_default();
    let fits = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if name.is_empty() || name.len() > 63 || key.matches('/').count() > 1 || !key.split('/').all(fits) {
        return Err(format!("`{key}` cannot be the name of a label"));
    }
    Ok(())
}

fn check_value(value: &str) -> Result<(), String> {
    let fits = value.len() <= 63 && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if fits { Ok(()) } else { Err(format!("`{value}` cannot be the value of a label")) }
}

impl fmt::Display for LabelSelector {
    /// kubectl's syntax, as a list request takes it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, requirement) in self.requirements.iter().enumerate() {
            if position > 0 {
                formatter.write_str(",")?;
            }
            let Requirement { key, operator, values } = requirement;
            match (operator, values.as_slice()) {
                (Operator::In, [value]) => write!(formatter, "{key}={value}")?,
                (Operator::NotIn, [value]) => write!(formatter, "{key}!={value}")?,
                (Operator::In, values) => write!(formatter, "{key} in ({})", values.join(","))?,
                (Operator::NotIn, values) => write!(formatter, "{key} notin ({})", values.join(","))?,
                (Operator::Exists, _) => formatter.write_str(key)?,
                (Operator::DoesNotExist, _) => write!(formatter, "!{key}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: &str, labels: &[(&str, &'static str)]) -> bool {
        let selector = LabelSelector::parse(selector).unwrap();
        selector.matches(|key| labels.iter().find(|(name, _)| *name == key).map(|(_, value)| *value))
    }

    #[test]
    fn selectors_match_as_kubectl_means_them() {
        let labels = [("app", "api"), ("tier", "front")];
        for (selector, expected) in [
            ("", true),
            ("app=api", true),
            ("app==api, tier=front", true),
            ("app!=api", false),
            ("missing!=api", true),
            ("app in (api, worker)", true),
            ("app notin (api,worker)", false),
            ("missing notin (api)", true),
            ("tier", true),
            ("!tier", false),
            ("app in (api),tier in (back)", false),
        ] {
            assert_eq!(matches(selector, &labels), expected, "{selector}");
        }
    }

    #[test]
    fn a_selector_is_written_as_it_is_read() {
        for text in ["app=api,tier!=x", "a in (b,c),!d,e", "a notin (b,c)"] {
            assert_eq!(LabelSelector::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn nonsense_is_refused_with_the_part_that_is_wrong() {
        for text in ["a in (b", "a)", ",", "a within (b)", "a b", "=x", "a=b=c"] {
            assert!(LabelSelector::parse(text).is_err(), "{text}");
        }
        let refused = LabelSelector::parse("a within (b)").unwrap_err().to_string();
        assert!(refused.contains("`a within` before the parentheses"), "{refused}");
    }
}
