//! Names and values in SQL. Names come from manifests and servers, and may hold anything but a NUL.

/// `"na""me"`.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `'va''lue'`. Sessions have `standard_conforming_strings` on, so a backslash is one.
pub fn literal(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_quotation_is_quoted() {
        assert_eq!(identifier(r#"a"b'c\"#), r#""a""b'c\""#);
        assert_eq!(literal(r#"a'b"c\"#), r#"'a''b"c\'"#);
    }
}
