//! The mark of a run on a database that it made: the first line of the database's comment.

/// What stands in front of the run.
const MARK: &str = "dxdr run ";

/// A comment with the mark of a run in front.
pub fn marked(run: &str, comment: Option<&str>) -> String {
    match comment {
        Some(comment) => format!("{MARK}{run}\n{comment}"),
        None => format!("{MARK}{run}"),
    }
}

/// A comment without a mark.
pub fn unmarked(comment: &str) -> Option<String> {
    match comment.strip_prefix(MARK) {
        Some(rest) => rest.split_once('\n').map(|(_, comment)| comment.to_owned()),
        None => Some(comment.to_owned()),
    }
}

/// The run whose mark a comment has.
pub fn mark(comment: &str) -> Option<&str> {
    comment.strip_prefix(MARK)?.split('\n').next()
}

/// What stands in the place of the run in the mark of a database that took nobody's place, called `from` before: nothing is kept then whose mark
/// could tell that it was done. It is no run's, so nobody who cleans up after the run drops it.
pub fn alone(run: &str, from: &str) -> String {
    format!("{run}, from {from}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_put_on_and_taken_off() {
        for comment in [None, Some("what people wrote\nin two lines"), Some("")] {
            let text = marked("restore-staging-1", comment);
            assert_eq!(mark(&text), Some("restore-staging-1"));
            assert_eq!(unmarked(&text).as_deref(), comment);
        }
        assert_eq!(mark("what people wrote"), None);
        assert_eq!(unmarked("what people wrote").as_deref(), Some("what people wrote"));
    }
}
