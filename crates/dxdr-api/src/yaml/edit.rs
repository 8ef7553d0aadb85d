//! Changes single texts of a YAML or JSON text, and not one byte beside them: comments, order, quotes, indentation, line ends and
//! document marks stay as somebody wrote them.
//!
//! A change is spliced into the bytes that the parser says a value is. The result is read again and must be what was to come of it;
//! otherwise nothing is changed.

use std::{collections::BTreeMap, ops::Range};

use dxdr_environment::{FieldPath, PathStep};

use super::{json, scalar_text};
use crate::{
    problem::{Problems, SourceText},
    tree::{self, Content, Form, Meaning, Node, Quoting, Scalar},
};

/// A text to put at a path. The map that holds it must be there; the field need not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Of the documents that [`read`](super::read) answers, counted from 0.
    pub document: usize,
    /// Where.
    pub path: FieldPath,
    /// What; one line.
    pub text: String,
}

/// Why a text cannot be changed without touching anything else.
#[derive(Debug, thiserror::Error)]
pub enum Uneditable {
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(#[from] Problems),
    /// The path leads nowhere, or to no text.
    #[error("{path} is {found}")]
    NotAText {
        /// The path.
        path: FieldPath,
        /// What is there.
        found: &'static str,
    },
    /// Spliced and read again, it is something else than what was to come of it.
    #[error("the way it is written, {0} cannot be changed without changing something else")]
    Entangled(FieldPath),
    /// Something else stands there as an alias of it, and would change with it.
    #[error("{path} and {other} are one text, by an anchor and an alias: the other would change, too")]
    Shared {
        /// What was to change.
        path: FieldPath,
        /// What was not.
        other: FieldPath,
    },
}

/// The text with every edit carried out. Of a value that stands in several places, by an anchor and aliases, each needs an edit, and they must agree.
pub fn set(source: &SourceText<'_>, edits: &[Edit]) -> Result<String, Uneditable> {
    let (mark, text) = match source.text.strip_prefix('\u{feff}') {
        Some(text) => ("\u{feff}", text),
        None => ("", source.text),
    };
    let mut documents = parsed(source.name, text)?;
    let mut splices: BTreeMap<(usize, usize), (String, usize)> = BTreeMap::new();
    let mut changes: Vec<Change> = Vec::new();
    for (index, edit) in edits.iter().enumerate() {
        let absent = || Uneditable::NotAText { path: edit.path.clone(), found: "not there" };
        let document = documents.get(edit.document).ok_or_else(absent)?;
        let (splice, change) = located(text, document, edit)?;
        // Additions to one place stand one behind the other, in the order of the edits.
        let order = if splice.range.is_empty() { index } else { 0 };
        let key = (splice.range.start, order);
        match splices.get(&key) {
            Some((known, _)) if *known != splice.text => return Err(Uneditable::Entangled(edit.path.clone())),
            _ => splices.insert(key, (splice.text, splice.range.end)),
        };
        changes.push(change);
    }
    for (index, document) in documents.iter().enumerate() {
        let mut path = Vec::new();
        let of_document = || edits.iter().filter(move |edit| edit.document == index);
        if let Some(other) = changes.iter().find_map(|change| unasked(document, change, &mut path, &of_document)) {
            let path = edits.first().map(|edit| edit.path.clone()).unwrap_or_default();
            return Err(Uneditable::Shared { path, other });
        }
    }
    let mut edited = String::with_capacity(text.len() + 64);
    let mut at = 0;
    for ((start, _), (replacement, end)) in &splices {
        edited.push_str(text.get(at..*start).ok_or_else(|| entangled(edits))?);
        edited.push_str(replacement);
        at = *end;
    }
    edited.push_str(&text[at..]);
    for document in &mut documents {
        changes.iter().for_each(|change| apply(document, change));
    }
    let read_again = parsed(source.name, &edited).map_err(|_| entangled(edits))?;
    let same = read_again.len() == documents.len()
        && documents.iter().zip(&read_again).all(|(expected, found)| same(expected, found, &changes));
    if same { Ok(format!("{mark}{edited}")) } else { Err(entangled(edits)) }
}

fn entangled(edits: &[Edit]) -> Uneditable {
    Uneditable::Entangled(edits.first().map(|edit| edit.path.clone()).unwrap_or_default())
}

fn parsed(name: &str, text: &str) -> Result<Vec<Node>, Problems> {
    // YAML knows no second document without a mark; JSON does.
    if let Some(ranges) =
        text.trim_start().starts_with('{').then(|| json::ranges(text)).flatten().filter(|ranges| ranges.len() > 1)
    {
        let mut documents = Vec::with_capacity(ranges.len());
        for range in ranges {
            let start = range.start;
            for mut document in one_text(name, &text[range])? {
                document.shift(start);
                documents.push(document);
            }
        }
        return Ok(documents);
    }
    one_text(name, text)
}

fn one_text(name: &str, text: &str) -> Result<Vec<Node>, Problems> {
    let (documents, problems) = tree::read(&SourceText { name, text }, Quoting::Nothing);
    if problems.is_empty() { Ok(documents) } else { Err(Problems(problems).sorted()) }
}

/// What is put in place of some bytes.
struct Splice {
    range: Range<usize>,
    text: String,
}

/// What becomes of the tree: the value that stands in these bytes gets a text, or a field.
struct Change {
    range: Range<usize>,
    field: Option<String>,
    text: String,
}

fn located(text: &str, document: &Node, edit: &Edit) -> Result<(Splice, Change), Uneditable> {
    let not_a_text = |found| Uneditable::NotAText { path: edit.path.clone(), found };
    let Some((PathStep::Field(name), parents)) = edit.path.0.split_last() else { return Err(not_a_text("no field")) };
    let mut parent = document;
    for step in parents {
        let next = match (step, &parent.content) {
            (PathStep::Field(name), Content::Map(_)) => parent.field(name).map(|field| &field.value),
            (PathStep::Index(index), Content::List(items)) => items.get(*index),
            _ => None,
        };
        parent = next.ok_or_else(|| not_a_text("in a map that is not there"))?;
    }
    if let Some(field) = parent.field(name) {
        let node = &field.value;
        let Content::Scalar(_) = &node.content else { return Err(not_a_text("no text")) };
        let splice = replacement(text, node, &edit.text).ok_or_else(|| Uneditable::Entangled(edit.path.clone()))?;
        return Ok((splice, Change { range: node.range.clone(), field: None, text: edit.text.clone() }));
    }
    let splice = addition(text, parent, name, &edit.text).ok_or_else(|| not_a_text("in a map that cannot be added to"))?;
    Ok((splice, Change { range: parent.range.clone(), field: Some(name.clone()), text: edit.text.clone() }))
}

/// The new text in the form that the old one has.
fn replacement(text: &str, node: &Node, new: &str) -> Option<Splice> {
    let old = text.get(node.range.clone())?;
    let written = match node.form {
        // Nothing at all is said to stand in front of the colon.
        Form::Plain if old.is_empty() => {
            let rest = &text[node.range.start..];
            let at = node.range.start + rest.find(':').filter(|at| rest[..*at].trim().is_empty())? + 1;
            return Some(Splice { range: at..at, text: format!(" {}", plain_or_quoted(new)) });
        }
        Form::Plain => plain_or_quoted(new),
        Form::SingleQuoted => format!("'{}'", new.replace('\'', "''")),
        Form::DoubleQuoted => serde_json::Value::from(new).to_string(),
        Form::Literal | Form::Folded => return block_scalar(text, node, new),
        Form::Block | Form::Flow => return None,
    };
    Some(Splice { range: node.range.clone(), text: written })
}

/// Base64 is text to every reader of YAML; what else might not be is put in quotes.
fn plain_or_quoted(text: &str) -> String {
    let base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
    if text.len() > 24 && text.bytes().all(base64) { text.to_owned() } else { scalar_text(text) }
}

/// The lines below a `|` or `>`: as long as the first one was where there were several, in the indentation that they had.
fn block_scalar(text: &str, node: &Node, new: &str) -> Option<Splice> {
    // The bytes of the value begin behind the indentation of its first line.
    let begin = text.get(..node.range.start)?.rfind('\n')? + 1;
    let line_end = if text[..begin].ends_with("\r\n") { "\r\n" } else { "\n" };
    let content = text.get(begin..node.range.end)?;
    let lines: Vec<&str> = content.lines().filter(|line| !line.trim().is_empty()).collect();
    let (first, last) = (lines.first()?, lines.last()?);
    let indentation = &first[..first.len() - first.trim_start_matches(' ').len()];
    let width = if node.form == Form::Literal && lines.len() > 1 { first.trim().len() } else { usize::MAX };
    let mut written = String::with_capacity(new.len() + 16);
    let mut rest = new;
    while !rest.is_empty() {
        // What is put into block scalars is ASCII; anything else goes on one line.
        let cut = if rest.is_ascii() { width.min(rest.len()) } else { rest.len() };
        let (line, behind) = rest.split_at(cut);
        if !written.is_empty() {
            written.push_str(line_end);
        }
        written.push_str(indentation);
        written.push_str(line);
        rest = behind;
    }
    // From the first line that holds something to the end of the last that does.
    let start = begin + offset_in(content, first);
    let end = begin + offset_in(content, last) + last.len();
    Some(Splice { range: start..end, text: written })
}

fn offset_in(text: &str, line: &str) -> usize {
    line.as_ptr() as usize - text.as_ptr() as usize
}

/// One more field of a map: behind the last one, written as that one is.
fn addition(text: &str, map: &Node, name: &str, new: &str) -> Option<Splice> {
    let fields = match &map.content {
        Content::Map(fields) => fields,
        _ => return None,
    };
    let Some(last) = fields.last() else { return first_field(text, map, name, new) };
    let first = &fields[0];
    match map.form {
        Form::Block => {
            let end = last_byte(&last.value).max(last.range.end);
            // A block scalar goes on to the next thing; blank lines behind it are not its own.
            let end = if text[..end].ends_with('\n') { text[..end].trim_end().len() } else { end };
            let line_end = if text.contains("\r\n") { "\r\n" } else { "\n" };
            let indentation = " ".repeat(first.place.column - 1);
            let line = format!("{indentation}{}: {}", plain_or_quoted(name), plain_or_quoted(new));
            // Behind a comment on the same line.
            Some(match text[end..].find('\n') {
                Some(length) => Splice { range: end + length + 1..end + length + 1, text: format!("{line}{line_end}") },
                None => Splice { range: text.len()..text.len(), text: format!("{line_end}{line}") },
            })
        }
        Form::Flow => {
            let opening = map.range.start + 1;
            let space = text.get(opening..first.range.start)?;
            let space = if space.is_empty() { " " } else { space };
            if !space.trim().is_empty() {
                return None;
            }
            let quoted = text[first.range.clone()].starts_with('"');
            let colon = text.get(first.range.end..first.value.range.start)?;
            let name = if quoted { serde_json::Value::from(name).to_string() } else { plain_or_quoted(name) };
            let value = if quoted { serde_json::Value::from(new).to_string() } else { plain_or_quoted(new) };
            let at = last_byte(&last.value).max(last.range.end);
            Some(Splice { range: at..at, text: format!(",{space}{name}{colon}{value}") })
        }
        _ => None,
    }
}

/// `{}` with a field in it.
fn first_field(text: &str, map: &Node, name: &str, new: &str) -> Option<Splice> {
    if map.form != Form::Flow {
        return None;
    }
    let json = text.trim_start().starts_with('{');
    let (name, new) = if json {
        (serde_json::Value::from(name).to_string(), serde_json::Value::from(new).to_string())
    } else {
        (plain_or_quoted(name), plain_or_quoted(new))
    };
    Some(Splice { range: map.range.clone(), text: format!("{{{name}: {new}}}") })
}

/// Where the last thing in a value ends: maps in block form are said to end where the next thing begins.
fn last_byte(node: &Node) -> usize {
    match (&node.content, node.form) {
        (Content::Map(fields), Form::Block) => {
            fields.last().map_or(node.range.end, |field| last_byte(&field.value).max(field.range.end))
        }
        (Content::List(items), Form::Block) => items.last().map_or(node.range.end, last_byte),
        _ => node.range.end,
    }
}

/// Where in a document a change shows that no edit asks for: the alias of something that is changed.
fn unasked<'edit, Edits: Iterator<Item = &'edit Edit>>(
    node: &Node,
    change: &Change,
    path: &mut Vec<PathStep>,
    edits: &impl Fn() -> Edits,
) -> Option<FieldPath> {
    if node.range == change.range {
        let added = change.field.iter().map(|name| PathStep::Field(name.clone()));
        let changed: Vec<PathStep> = path.iter().cloned().chain(added).collect();
        let shows = matches!(node.content, Content::Scalar(_)) == change.field.is_none();
        if shows && edits().all(|edit| edit.path.0 != changed) {
            return Some(FieldPath(changed));
        }
    }
    let mut below = |step: PathStep, node: &Node| {
        path.push(step);
        let found = unasked(node, change, path, edits);
        path.pop();
        found
    };
    match &node.content {
        Content::Scalar(_) => None,
        Content::List(items) => items.iter().enumerate().find_map(|(index, item)| below(PathStep::Index(index), item)),
        Content::Map(fields) => fields.iter().find_map(|field| below(PathStep::Field(field.name.clone()), &field.value)),
    }
}

fn apply(node: &mut Node, change: &Change) {
    let here = node.range == change.range;
    match &mut node.content {
        Content::Scalar(scalar) if here && change.field.is_none() => {
            *scalar = Scalar { text: change.text.clone(), meaning: Meaning::Text };
        }
        Content::Scalar(_) => {}
        Content::List(items) => items.iter_mut().for_each(|item| apply(item, change)),
        Content::Map(fields) => {
            fields.iter_mut().for_each(|field| apply(&mut field.value, change));
            if let (true, Some(name)) = (here, &change.field) {
                let content = Content::Scalar(Scalar { text: change.text.clone(), meaning: Meaning::Text });
                let value = Node { place: node.place, range: change.range.clone(), form: Form::Plain, content };
                fields.push(tree::Field { name: name.clone(), place: node.place, range: 0..0, value });
            }
        }
    }
}

/// Whether a document is what was expected. Where a text was changed, line breaks are its form's.
fn same(expected: &Node, found: &Node, changes: &[Change]) -> bool {
    match (&expected.content, &found.content) {
        (Content::Scalar(left), Content::Scalar(right)) => {
            let changed = changes.iter().any(|change| change.range == expected.range);
            if changed {
                let is_text = matches!(right.meaning, Meaning::Text);
                is_text && right.text.replace(['\n', '\r'], "") == left.text
            } else {
                left == right
            }
        }
        (Content::List(left), Content::List(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right, changes))
        }
        (Content::Map(left), Content::Map(right)) => {
            left.len() == right.len()
                && left.iter().zip(right).all(|(left, right)| left.name == right.name && same(&left.value, &right.value, changes))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NEW: &str = "AgBnewnewnewnewnewnewnewnewnewnewnewnewnewnewnewnewnew0000+/==";

    fn path(names: &[&str]) -> FieldPath {
        FieldPath(names.iter().map(|name| PathStep::Field((*name).to_owned())).collect())
    }

    fn put(text: &str, edits: &[(usize, &[&str])]) -> Result<String, Uneditable> {
        let edits: Vec<Edit> =
            edits.iter().map(|(document, names)| Edit { document: *document, path: path(names), text: NEW.to_owned() }).collect();
        set(&SourceText { name: "x", text }, &edits)
    }

    #[test]
    fn a_text_is_replaced_in_the_form_that_it_has() {
        let cases = [
            ("a: old # why\nb: 1\n", "a: NEW # why\nb: 1\n"),
            ("a: 'old'   \r\nb: 1\r\n", "a: 'NEW'   \r\nb: 1\r\n"),
            ("{\"a\":\"old\", \"b\" : 1 }", "{\"a\":\"NEW\", \"b\" : 1 }"),
            ("\u{feff}a: \"o\\\n  ld\"\n", "\u{feff}a: \"NEW\"\n"),
            ("a: one\n  two # three\nb: 1", "a: NEW # three\nb: 1"),
            ("a: >-\n    old\n\n# end\nb: 1\n", "a: >-\n    NEW\n\n# end\nb: 1\n"),
            ("a: |  # header\n  old\nb: 1\n", "a: |  # header\n  NEW\nb: 1\n"),
            ("a: |-\r\n  old\r\nb: 1\r\n", "a: |-\r\n  NEW\r\nb: 1\r\n"),
            ("a: !!str old\n", "a: !!str NEW\n"),
            ("a:\n", "a: NEW\n"),
            ("a:\n  old\nb: 1\n", "a:\n  NEW\nb: 1\n"),
            ("? a\n: old\n", "? a\n: NEW\n"),
            ("ü: [ä, ö]\na: old", "ü: [ä, ö]\na: NEW"),
        ];
        for (before, after) in cases {
            assert_eq!(put(before, &[(0, &["a"])]).unwrap(), after.replace("NEW", NEW), "{before}");
        }
    }

    #[test]
    fn what_stands_elsewhere_as_an_alias_is_not_changed_behind_somebodys_back() {
        let both: [(usize, &[&str]); 2] = [(0, &["a"]), (0, &["b"])];
        for text in ["a: &x old\nb: *x\n", "b: &x old\na: *x\n"] {
            for edits in [&both[..1], &both[1..]] {
                let refused = put(text, edits).unwrap_err().to_string();
                assert!(refused.contains("are one text, by an anchor and an alias"), "{refused}");
            }
            assert_eq!(put(text, &both).unwrap(), text.replace("old", NEW));
        }
        let maps = "a: &x {one: old}\nb: *x\n";
        assert!(put(maps, &[(0, &["a", "one"])]).is_err() && put(maps, &[(0, &["a", "two"])]).is_err());
        assert_eq!(put(maps, &[(0, &["a", "one"]), (0, &["b", "one"])]).unwrap(), maps.replace("old", NEW));
        // What only looks the same is another text.
        assert_eq!(put("a: old\nb: old\n", &both[..1]).unwrap(), format!("a: {NEW}\nb: old\n"));
    }

    #[test]
    fn lines_of_a_literal_stay_as_long_as_they_were() {
        let before = "a: |\n   0123456789abcdef\n   0123\n\nb: 1\n";
        let (first, rest) = NEW.split_at(16);
        let (second, rest) = rest.split_at(16);
        let (third, rest) = rest.split_at(16);
        let after = format!("a: |\n   {first}\n   {second}\n   {third}\n   {rest}\n\nb: 1\n");
        assert_eq!(put(before, &[(0, &["a"])]).unwrap(), after);
    }

    #[test]
    fn the_other_documents_stay() {
        let before = "# one\n---\na: 1\n...\n%YAML 1.2\n---\n# two\na: old\n---\na: [not, text]\n";
        let after = before.replace("old", NEW);
        assert_eq!(put(before, &[(1, &["a"])]).unwrap(), after);
        assert!(matches!(put(before, &[(2, &["a"])]), Err(Uneditable::NotAText { .. })));
        assert!(matches!(put(before, &[(3, &["a"])]), Err(Uneditable::NotAText { .. })));
        assert!(matches!(put("a: b: c", &[(0, &["a"])]), Err(Uneditable::Unreadable(_))));
    }

    #[test]
    fn a_field_is_added_behind_the_last_one() {
        let cases = [
            ("m:\n  x: 1 # one\n# end\n", "m:\n  x: 1 # one\n  a: NEW\n# end\n"),
            ("m:\n  x: 1", "m:\n  x: 1\n  a: NEW"),
            ("m:\r\n    x: 1\r\n\r\nn: 2\r\n", "m:\r\n    x: 1\r\n    a: NEW\r\n\r\nn: 2\r\n"),
            ("m:\n  x: |\n    text\n    more\nn: 2\n", "m:\n  x: |\n    text\n    more\n  a: NEW\nn: 2\n"),
            ("m:\n  x:\n    y: z\nn: 2\n", "m:\n  x:\n    y: z\n  a: NEW\nn: 2\n"),
            ("m:\n  x:\nn: 2\n", "m:\n  x:\n  a: NEW\nn: 2\n"),
            ("m: {}\n", "m: {a: NEW}\n"),
            ("m: {x: 1}\n", "m: {x: 1, a: NEW}\n"),
            ("{\n  \"m\": {\n    \"x\": \"y\"\n  }\n}\n", "{\n  \"m\": {\n    \"x\": \"y\",\n    \"a\": \"NEW\"\n  }\n}\n"),
            ("{\"m\":{}}", "{\"m\":{\"a\": \"NEW\"}}"),
        ];
        for (before, after) in cases {
            assert_eq!(put(before, &[(0, &["m", "a"])]).unwrap(), after.replace("NEW", NEW), "{before}");
        }
        let json = "{\"m\":{\"x\":\"1\"}}\n {\"m\":{\"x\":\"2\"}}\n";
        let second = put(json, &[(1, &["m", "x"])]).unwrap();
        assert_eq!(second, json.replace("\"2\"", &format!("\"{NEW}\"")));
        let two = put("m:\n  x: 1\n", &[(0, &["m", "a"]), (0, &["m", "b"]), (0, &["m", "x"])]).unwrap();
        assert_eq!(two, format!("m:\n  x: {NEW}\n  a: {NEW}\n  b: {NEW}\n"));
        assert!(matches!(put("m: text\n", &[(0, &["m", "a"])]), Err(Uneditable::NotAText { .. })));
    }

    /// A field and what people write around it, in one of many styles; `indentation` stands in front of each of its lines.
    fn written(style: usize, name: &str, value: &str, indentation: &str) -> String {
        let (first, rest) = value.split_at(value.len() / 2);
        let lines = match style {
            0 => format!("{name}: {value}"),
            1 => format!("# before\n{name}: {value}   # behind"),
            2 => format!("{name}: '{value}'\n"),
            3 => format!("\"{name}\" : \"{value}\"  "),
            4 => format!("{name}: |\n  {first}\n  {rest}\n"),
            5 => format!("{name}: >-  # folded\n    {value}"),
            6 => format!("{name}: |2+\n  {first}\n  {rest}\n\n"),
            7 => format!("{name}: \"{first}\\\n      {rest}\""),
            8 => format!("? {name}\n: {value}"),
            9 => format!("{name}: !!str {value}"),
            10 => format!("{name}:\n  {value}"),
            _ => format!("{name}:   '{first}\\n{rest}'"),
        };
        lines.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("{indentation}{line}\n") }).collect()
    }

    proptest! {
        #[test]
        fn of_a_document_in_any_style_nothing_changes_but_what_was_asked_for(
            fields in proptest::collection::vec((0_usize..12, "[A-Za-z0-9+/]{8,160}={0,2}"), 1..8),
            chosen in any::<prop::sample::Index>(), depth in 0_usize..4, wide in any::<bool>(), windows in any::<bool>(), mark in any::<bool>(),
        ) {
            let chosen = chosen.index(fields.len());
            let step = if wide { "    " } else { "  " };
            let above: String = (0..depth).map(|level| format!("{}m:\n", step.repeat(level))).collect();
            let blocks: Vec<String> = fields
                .iter()
                .enumerate()
                .map(|(number, (style, value))| written(*style, &format!("k{number}"), value, &step.repeat(depth)))
                .collect();
            let as_written = |text: String| {
                let text = if windows { text.replace('\n', "\r\n") } else { text };
                if mark { format!("\u{feff}{text}") } else { text }
            };
            let before = as_written(format!("{above}{}", blocks.concat()));
            let front = as_written(format!("{above}{}", blocks[..chosen].concat()));
            let behind = as_written(blocks[chosen + 1..].concat());
            let behind = behind.trim_start_matches('\u{feff}');
            let name = format!("k{chosen}");
            let mut names = vec!["m"; depth];
            names.push(&name);
            let after = put(&before, &[(0, &names)]).unwrap();
            prop_assert!(after.starts_with(&front) && after.ends_with(behind), "{after}");
            let values = |text: &str| {
                let documents = crate::yaml::read(&SourceText { name: "x", text }).unwrap();
                let map = (0..depth).fold(documents[0].value().clone(), |value, _| value["m"].clone());
                map.as_object().unwrap().clone()
            };
            let (old, new) = (values(&before), values(&after));
            prop_assert_eq!(old.len(), new.len());
            for (field, value) in old {
                if field == name {
                    prop_assert_eq!(new[&field].as_str().unwrap().replace(['\n', '\r'], ""), NEW);
                } else {
                    prop_assert_eq!(&new[&field], &value, "{}", after);
                }
            }
        }
    }
}
