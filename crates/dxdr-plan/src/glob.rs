//! Patterns for names, as Velero has them: `*`, `?` and `[a-c]`.

use std::fmt;

/// A pattern that a name as a whole matches or not. A name without special characters matches itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Glob(String);

/// A pattern that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{pattern}` is not a valid pattern: {reason}")]
pub struct InvalidGlob {
    /// As given.
    pub pattern: String,
    /// What is wrong.
    pub reason: &'static str,
}

impl Glob {
    /// Checks the pattern. `**`, which some tools read as "at any depth", is refused as Velero refuses it: names have no depth.
    pub fn parse(pattern: &str) -> Result<Self, InvalidGlob> {
        let refuse = |reason| Err(InvalidGlob { pattern: pattern.to_owned(), reason });
        if pattern.is_empty() {
            return refuse("it is empty");
        }
        if pattern.contains("**") {
            return refuse("`**` has no meaning in a name; use `*`");
        }
        let mut rest = pattern;
        while let Some(open) = rest.find('[') {
            let Some(inside) = rest.get(open + 1..) else { break };
            match inside.find(']') {
                None => return refuse("a `[` is not closed"),
                Some(0) => return refuse("`[]` matches nothing"),
                Some(close) => rest = inside.get(close + 1..).unwrap_or_default(),
            }
        }
        Ok(Self(pattern.to_owned()))
    }

    /// The pattern as given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is `*`: everything.
    pub fn is_everything(&self) -> bool {
        self.0 == "*"
    }

    /// Whether it names one thing only.
    pub fn is_literal(&self) -> bool {
        !self.0.contains(['*', '?', '['])
    }

    /// Whether the whole of `name` matches.
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name): (Vec<char>, Vec<char>) = (self.0.chars().collect(), name.chars().collect());
        let (mut at, mut position) = (0, 0);
        // Where to go on when what follows the last `*` fails: the star takes one character more.
        let mut retry: Option<(usize, usize)> = None;
        while position < name.len() {
            match step(&pattern, at, name[position]) {
                Some(_) if pattern[at] == '*' => {
                    retry = Some((at, position));
                    at += 1;
                }
                Some(next) => {
                    at = next;
                    position += 1;
                }
                None => match retry {
                    Some((star, taken)) => {
                        retry = Some((star, taken + 1));
                        at = star + 1;
                        position = taken + 1;
                    }
                    None => return false,
                },
            }
        }
        pattern[at..].iter().all(|&character| character == '*')
    }
}

/// The position after the element at `at`, if that element takes `character`.
fn step(pattern: &[char], at: usize, character: char) -> Option<usize> {
    match *pattern.get(at)? {
        '*' | '?' => Some(at + 1),
        '[' => {
            let close = at + pattern[at..].iter().position(|&element| element == ']')?;
            let set = &pattern[at + 1..close];
            let (negated, set) = match set.first() {
                Some('!' | '^') => (true, &set[1..]),
                _ => (false, set),
            };
            (contains(set, character) != negated).then_some(close + 1)
        }
        literal => (literal == character).then_some(at + 1),
    }
}

fn contains(set: &[char], character: char) -> bool {
    let mut at = 0;
    while at < set.len() {
        if at + 2 < set.len() && set[at + 1] == '-' {
            if (set[at]..=set[at + 2]).contains(&character) {
                return true;
            }
            at += 3;
        } else {
            if set[at] == character {
                return true;
            }
            at += 1;
        }
    }
    false
}

impl fmt::Display for Glob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, expected) in [
            ("staging", "staging", true),
            ("staging", "staging-2", false),
            ("staging*", "staging-2", true),
            ("*-api", "staging-api-api", true),
            ("*-api", "staging-api-", false),
            ("st?ging", "staging", true),
            ("st?ging", "stging", false),
            ("team-[a-c]", "team-b", true),
            ("team-[a-c]", "team-d", false),
            ("team-[!a-c]", "team-d", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("*", "", true),
        ] {
            assert_eq!(Glob::parse(pattern).unwrap().matches(name), expected, "{pattern} against {name}");
        }
    }

    #[test]
    fn a_pattern_that_cannot_be_meant_is_refused() {
        for pattern in ["", "a[", "a[]", "**"] {
            assert!(Glob::parse(pattern).is_err(), "{pattern}");
        }
    }
}
