//! Names that are checked once, where they enter, and trusted afterwards.

use std::fmt;

/// A name that cannot be one: what was given, what it was meant to name, and why not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a valid {what}: {reason}")]
pub struct InvalidName {
    /// What the name was meant for, for example `namespace name`.
    pub what: &'static str,
    /// The text as it was given.
    pub given: String,
    /// The rule that it breaks.
    pub reason: &'static str,
}

/// RFC 1123 label: what a namespace may be called. At most 63 of `a-z`, `0-9`, `-`, starting and ending with a letter or digit.
fn check_label(what: &'static str, given: &str) -> Result<(), InvalidName> {
    let refuse = |reason| Err(InvalidName { what, given: given.to_owned(), reason });
    if given.is_empty() {
        return refuse("it is empty");
    }
    if given.len() > 63 {
        return refuse("it is longer than 63 characters");
    }
    if !given.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
        return refuse("only lower-case letters, digits and `-` are allowed");
    }
    if given.starts_with('-') || given.ends_with('-') {
        return refuse("it must start and end with a letter or a digit");
    }
    Ok(())
}

macro_rules! label_name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Checks `given` against the rules for an RFC 1123 label.
            pub fn parse(given: &str) -> Result<Self, InvalidName> {
                check_label($what, given)?;
                Ok(Self(given.to_owned()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidName;
            fn from_str(given: &str) -> Result<Self, InvalidName> {
                Self::parse(given)
            }
        }
    };
}

label_name!(
    /// The name of an environment of the model: `staging`.
    EnvironmentName,
    "environment name"
);
label_name!(
    /// The name of a namespace in a cluster.
    NamespaceName,
    "namespace name"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_capital_is_refused_with_the_rule_it_breaks() {
        let refused = NamespaceName::parse("Staging").unwrap_err();
        assert_eq!(
            refused.to_string(),
            "`Staging` is not a valid namespace name: only lower-case letters, digits and `-` are allowed"
        );
    }

    #[test]
    fn a_label_of_63_characters_is_a_name_and_one_of_64_is_not() {
        assert!(NamespaceName::parse(&"a".repeat(63)).is_ok());
        assert!(NamespaceName::parse(&"a".repeat(64)).is_err());
    }
}
