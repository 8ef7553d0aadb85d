//! Values of settings, as the server keeps them, on their way back into statements.
//!
//! The server keeps a list as one text, in which it has quoted what needs it: `"$user", public`. Whoever may set one may have it keep any text that counts as a
//! name there, such as `public;DROP/**/…`. So no such text is part of a statement: each name in it is one, by itself, as a literal.

use crate::quoting::literal;

/// Settings whose values are lists that are quoted already (`GUC_LIST_QUOTE`); extensions cannot have such.
const LISTS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// What stands behind `TO`.
pub(crate) fn value(name: &str, value: &str) -> String {
    let list = LISTS.iter().any(|list| list.eq_ignore_ascii_case(name));
    match list.then(|| names(value)).flatten() {
        // An empty list is written as an empty text.
        Some(names) if names.is_empty() => literal(""),
        Some(names) => names.iter().map(|name| literal(name)).collect::<Vec<_>>().join(", "),
        // A value of another setting, or a list that the server cannot have written: one text, whatever is in it.
        None => literal(value),
    }
}

/// The names in a list, as PostgreSQL's own programs split it (`SplitGUCList`): between commas, in quotation marks or without blanks. `None`: it is no list.
fn names(list: &str) -> Option<Vec<String>> {
    let mut rest = list.trim_matches(is_blank);
    let mut names = Vec::new();
    if rest.is_empty() {
        return Some(names);
    }
    loop {
        let (name, behind) = match rest.strip_prefix('"') {
            Some(quoted) => in_quotation(quoted)?,
            None => {
                let end = rest.find(|letter| letter == ',' || is_blank(letter)).unwrap_or(rest.len());
                let (name, behind) = rest.split_at(end);
                if name.is_empty() {
                    return None;
                }
                (name.to_owned(), behind)
            }
        };
        names.push(name);
        let behind = behind.trim_start_matches(is_blank);
        if behind.is_empty() {
            return Some(names);
        }
        rest = behind.strip_prefix(',')?.trim_start_matches(is_blank);
    }
}

/// A name up to its closing quotation mark, two of which are one in it, and what is behind.
fn in_quotation(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let (before, behind) = rest.split_once('"')?;
        name.push_str(before);
        match behind.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return Some((name, behind)),
        }
    }
}

fn is_blank(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_a_list_is_a_literal_of_its_own() {
        for (kept, written) in [
            (r#""$user", public"#, "'$user', 'public'"),
            (r#" a ,"b c","d""e" "#, r#"'a', 'b c', 'd"e'"#),
            ("public;ALTER/**/ROLE/**/mallory/**/SUPERUSER", "'public;ALTER/**/ROLE/**/mallory/**/SUPERUSER'"),
            ("it's", "'it''s'"),
            (r#""""#, "''"),
            ("", "''"),
            // Nothing that a server would keep: one name, which nothing has.
            ("a b", "'a b'"),
            (r#""open"#, r#"'"open'"#),
            ("a,,b", "'a,,b'"),
            ("a,", "'a,'"),
        ] {
            assert_eq!(value("Search_Path", kept), written, "{kept}");
        }
        assert_eq!(value("my.list", "a, b"), "'a, b'");
    }
}
