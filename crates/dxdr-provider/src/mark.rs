//! The mark of a run on a database that it made: the first line of the database's comment.

/// What stands in front of the run.
const MARK: &str = "dxdr run ";
/// What stands in front of the run where it put a database in nobody's place.
const PLACED: &str = "dxdr put in place by run ";

/// A comment with the mark of a run in front.
pub fn marked(run: &str, comment: Option<&str>) -> String {
    match comment {
        Some(comment) => format!("{MARK}{run}\n{comment}"),
        None => format!("{MARK}{run}"),
    }
}

/// A comment without what dxdr has put in front.
pub fn unmarked(comment: &str) -> Option<String> {
    match comment.strip_prefix(MARK).or_else(|| comment.strip_prefix(PLACED)) {
        Some(rest) => rest.split_once('\n').map(|(_, comment)| comment.to_owned()),
        None => Some(comment.to_owned()),
    }
}

/// The run whose mark a comment has.
pub fn mark(comment: &str) -> Option<&str> {
    comment.strip_prefix(MARK)?.split('\n').next()
}

/// The comment of a database that a run moves aside: all of it, with the mark of the run in front. Who moved it before keeps its word.
pub fn aside(run: &str, comment: Option<&str>) -> String {
    match comment {
        Some(comment) if mark(comment) == Some(run) => comment.to_owned(),
        _ => marked(run, comment),
    }
}

/// The comment of a database that a run puts in place: without the mark of that run, and of no other.
pub fn in_place(run: &str, comment: Option<&str>) -> Option<String> {
    match comment {
        Some(comment) if mark(comment) == Some(run) => unmarked(comment),
        other => other.map(str::to_owned),
    }
}

/// A comment for a database that a run put where none was, called `from` before: nothing is kept then whose mark could tell that it was done. It is no
/// mark: what is live is nobody's to drop.
pub fn placed(run: &str, from: &str, comment: Option<&str>) -> String {
    let placed = format!("{PLACED}{run}, from {from}");
    comment.map_or_else(|| placed.clone(), |comment| format!("{placed}\n{comment}"))
}

/// Whether a comment says that.
pub fn was_placed(comment: &str, run: &str, from: &str) -> bool {
    comment.split('\n').next() == Some(placed(run, from, None).as_str())
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
        let text = placed("restore-staging-1", "new", Some("what people wrote"));
        assert!(was_placed(&text, "restore-staging-1", "new") && !was_placed(&text, "restore-staging-1", "newer"));
        assert_eq!((mark(&text), unmarked(&text).as_deref()), (None, Some("what people wrote")));
        assert_eq!(mark("what people wrote"), None);
        // Moved aside and put back, it says what it said, whoever put it there.
        for comment in [None, Some("words"), Some(text.as_str()), Some("dxdr run restore-staging-0\nwords")] {
            let moved = aside("restore-staging-2", comment);
            assert_eq!((mark(&moved), aside("restore-staging-2", Some(&moved))), (Some("restore-staging-2"), moved.clone()));
            let back = in_place("restore-staging-2", Some(&moved));
            assert_eq!((back.as_deref(), in_place("restore-staging-2", back.as_deref()).as_deref()), (comment, comment));
        }
        assert_eq!(unmarked("what people wrote").as_deref(), Some("what people wrote"));
    }
}
