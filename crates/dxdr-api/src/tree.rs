//! A YAML text as trees that remember where everything stands and how every scalar was written.
//!
//! JSON is read by the same parser: it is YAML in flow style. Aliases are resolved here, against a budget, so that a text of a few
//! lines cannot grow into a tree of millions of nodes.

use std::{borrow::Cow, collections::HashMap, ops::Range, sync::Arc};

use dxdr_environment::{FieldPath, PathStep};
use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, StructureStyle, Tag};
use serde_json::Value;
use zeroize::Zeroize as _;

use crate::problem::{Place, Problem, SourceText};

/// Nodes one document may hold, aliases counted as often as they are used. A manifest of an environment has about a hundred.
const NODE_BUDGET: usize = 50_000;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) place: Place,
    /// The bytes of the text that it is; of an alias, those of what it refers to.
    pub(crate) range: Range<usize>,
    pub(crate) form: Form,
    pub(crate) content: Content,
}

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Plain,
    SingleQuoted,
    DoubleQuoted,
    Literal,
    Folded,
    /// A map or list, an entry a line.
    Block,
    /// A map or list in brackets.
    Flow,
}

/// What a node holds.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Field>),
}

/// One entry of a map.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) place: Place,
    /// The bytes of the text that name it.
    pub(crate) range: Range<usize>,
    pub(crate) value: Node,
}

/// A scalar: its text, and what an unquoted text means.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    pub(crate) meaning: Meaning,
}

/// What YAML takes a scalar for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Meaning {
    Text,
    Nothing,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    /// Text here, but a boolean for readers of YAML 1.1, which kubectl is.
    AmbiguousText,
}

/// Reads all documents of a text. Documents that hold nothing but comments are left out. A syntax error ends its document; reading
/// goes on behind the next `---`.
pub(crate) fn read(source: &SourceText<'_>, quoting: Quoting) -> (Vec<Node>, Vec<Problem>) {
    let options = granit_parser::options! { emit_unresolved_aliases: true, emit_comments: false };
    let mut reader = Reader {
        file: Arc::from(source.name),
        parser: Parser::new_from_str_with_options(source.text, options),
        anchors: HashMap::new(),
        nodes: 0,
        problems: Vec::new(),
        quoting,
    };
    let mut documents = Vec::new();
    while let Some(next) = reader.parser.next_event() {
        let read = next.map_err(Broken::Syntax).and_then(|(event, _)| match event {
            Event::DocumentStart(..) => {
                reader.forget_anchors();
                reader.nodes = 0;
                reader.next().and_then(|(event, span)| reader.node(event, span)).map(Some)
            }
            _ => Ok(None),
        });
        match read {
            Ok(Some(node)) if !matches!(&node.content, Content::Scalar(scalar) if scalar.meaning == Meaning::Nothing) => {
                documents.push(node)
            }
            Ok(_) => {}
            Err(Broken::Budget(place)) => {
                let message = format!("the document grows beyond {NODE_BUDGET} values; aliases multiply what they refer to");
                reader.problems.push(Problem::error(&reader.file, place, FieldPath::default(), message));
                break;
            }
            Err(Broken::Syntax(error)) => {
                let problem = syntax_problem(&reader.file, source.text, &error);
                // `*/5 * * * *` is an unknown alias and, a few characters on, a broken one.
                if reader.problems.last().is_none_or(|last| last.place.line != problem.place.line) {
                    reader.problems.push(problem);
                }
                if !matches!(reader.parser.proceed_next_document(), Ok(true)) {
                    break;
                }
            }
            Err(Broken::End) => break,
        }
    }
    reader.forget_anchors();
    (documents, reader.problems)
}

/// Whether problems may repeat what stands in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quoting {
    /// A word of it helps to find the place.
    Words,
    /// Any word may be a secret; names of fields are not.
    Nothing,
}

/// Why a document could not be read to its end.
enum Broken {
    Syntax(ScanError),
    Budget(Place),
    End,
}

struct Reader<'a> {
    file: Arc<str>,
    parser: Parser<'a, StrInput<'a>>,
    /// Nodes with an anchor, and how many nodes each one is.
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    problems: Vec<Problem>,
    quoting: Quoting,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Broken> {
        loop {
            match self.parser.next_event() {
                Some(Ok((Event::Comment(..), _))) => {}
                Some(Ok(next)) => return Ok(next),
                Some(Err(error)) => return Err(Broken::Syntax(error)),
                None => return Err(Broken::End),
            }
        }
    }

    /// Anchors hold for one document. What they name may be secret, and is a copy.
    fn forget_anchors(&mut self) {
        for (_, (mut node, _)) in self.anchors.drain() {
            node.texts_mut(&mut |text| text.zeroize());
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span) -> Result<Node, Broken> {
        let place = place_of(&span);
        let before = self.nodes;
        self.spend(1, place)?;
        let mut range = range_of(&span);
        let (content, form, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (Content::Scalar(self.scalar(text, style, tag, place)), scalar_form(style), anchor)
            }
            Event::SequenceStart(style, anchor, _) => {
                let (items, end) = self.list()?;
                range.end = end.max(range.end);
                (Content::List(items), collection_form(style), anchor)
            }
            Event::MappingStart(style, anchor, _) => {
                let (fields, end) = self.map()?;
                range.end = end.max(range.end);
                (Content::Map(fields), collection_form(style), anchor)
            }
            Event::Alias(id) => return self.alias(id, place),
            Event::UnresolvedAlias(name) => {
                self.problem(unknown_alias(&self.file, place, self.quoting, &name));
                (Content::Scalar(Scalar { text: format!("*{name}"), meaning: Meaning::Text }), Form::Plain, 0)
            }
            // The parser yields a node wherever one is asked for.
            _ => return Err(Broken::End),
        };
        let node = Node { place, range, form, content };
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), self.nodes - before));
        }
        Ok(node)
    }

    fn alias(&mut self, id: usize, place: Place) -> Result<Node, Broken> {
        let Some((node, size)) = self.anchors.get(&id).cloned() else {
            let message = "an alias refers to the value that it stands in";
            self.problem(Problem::error(&self.file, place, FieldPath::default(), message));
            return Ok(Node { place, range: 0..0, form: Form::Flow, content: Content::Map(Vec::new()) });
        };
        self.spend(size, place)?;
        Ok(node)
    }

    /// The items, and where the list ends.
    fn list(&mut self) -> Result<(Vec<Node>, usize), Broken> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, span) => return Ok((items, range_of(&span).end)),
                (event, span) => items.push(self.node(event, span)?),
            }
        }
    }

    /// The fields, and where the map ends.
    fn map(&mut self) -> Result<(Vec<Field>, usize), Broken> {
        let mut fields: Vec<Field> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok((fields, range_of(&span).end));
            }
            let key = self.node(event, span)?;
            let (event, span) = self.next()?;
            let value = self.node(event, span)?;
            let (place, range) = (key.place, key.range);
            let Content::Scalar(Scalar { text: name, .. }) = key.content else {
                self.problem(Problem::error(&self.file, place, FieldPath::default(), "the name of a field is not text"));
                continue;
            };
            if let Some(first) = fields.iter().find(|field| field.name == name) {
                let message = format!("field `{name}` stands here twice; the first is on line {}", first.place.line);
                self.problem(Problem::error(&self.file, place, FieldPath::default(), message));
            } else if name == "<<" {
                let problem = Problem::error(&self.file, place, FieldPath::default(), "merge keys (`<<`) are not supported");
                self.problem(problem.hint("write the fields out, or use an alias for the whole value"));
            } else {
                fields.push(Field { name, place, range, value });
            }
        }
    }

    fn scalar(&mut self, text: Cow<'a, str>, style: ScalarStyle, tag: Option<Cow<'a, Tag>>, place: Place) -> Scalar {
        let meaning = match tag {
            Some(tag) if tag.is_yaml_core_schema_tag("str") => Meaning::Text,
            Some(tag) => {
                let message = match self.quoting {
                    Quoting::Words => format!("the tag `{}` is not supported", tag.original()),
                    Quoting::Nothing => "tags are not supported; a text that starts with `!` must stand in quotes".to_owned(),
                };
                self.problem(Problem::error(&self.file, place, FieldPath::default(), message));
                Meaning::Text
            }
            None if style == ScalarStyle::Plain => meaning(&text),
            None => Meaning::Text,
        };
        Scalar { text: text.into_owned(), meaning }
    }

    fn spend(&mut self, nodes: usize, place: Place) -> Result<(), Broken> {
        self.nodes += nodes;
        if self.nodes > NODE_BUDGET { Err(Broken::Budget(place)) } else { Ok(()) }
    }

    fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }
}

/// What an unquoted scalar means by the core schema of YAML 1.2.
fn meaning(text: &str) -> Meaning {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Meaning::Nothing,
        "true" | "True" | "TRUE" => return Meaning::Boolean(true),
        "false" | "False" | "FALSE" => return Meaning::Boolean(false),
        _ => {}
    }
    if matches!(text.to_ascii_lowercase().as_str(), "y" | "n" | "yes" | "no" | "on" | "off") {
        return Meaning::AmbiguousText;
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !digits.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return Meaning::Text;
    }
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map_or(Meaning::Text, Meaning::Integer);
    }
    let is_float = digits.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    match text.parse::<f64>() {
        Ok(number) if is_float && number.is_finite() => Meaning::Float(number),
        _ => Meaning::Text,
    }
}

fn place_of(span: &Span) -> Place {
    Place { line: span.start.line(), column: span.start.col() + 1 }
}

/// A text in memory has byte offsets everywhere.
fn range_of(span: &Span) -> Range<usize> {
    span.byte_range().unwrap_or_default()
}

fn scalar_form(style: ScalarStyle) -> Form {
    match style {
        ScalarStyle::Plain => Form::Plain,
        ScalarStyle::SingleQuoted => Form::SingleQuoted,
        ScalarStyle::DoubleQuoted => Form::DoubleQuoted,
        ScalarStyle::Literal => Form::Literal,
        ScalarStyle::Folded => Form::Folded,
    }
}

fn collection_form(style: StructureStyle) -> Form {
    match style {
        StructureStyle::Block => Form::Block,
        StructureStyle::Flow => Form::Flow,
    }
}

fn unknown_alias(file: &Arc<str>, place: Place, quoting: Quoting, name: &str) -> Problem {
    let message = match quoting {
        Quoting::Words => format!("`*{name}` refers to an anchor `&{name}` that does not exist"),
        Quoting::Nothing => "an alias refers to an anchor that does not exist".to_owned(),
    };
    let problem = Problem::error(file, place, FieldPath::default(), message);
    problem.hint("a text that starts with `*`, such as a cron expression, must stand in quotes: \"*/5 * * * *\"")
}

fn syntax_problem(file: &Arc<str>, text: &str, error: &ScanError) -> Problem {
    let marker = error.marker();
    let place = Place { line: marker.line().max(1), column: marker.col() + 1 };
    let problem = Problem::error(file, place, FieldPath::default(), format!("this is not valid YAML: {}", error.info()));
    let line = text.lines().nth(place.line - 1).unwrap_or_default();
    let value = line.split_once(": ").map_or(line, |(_, value)| value).trim_start();
    if value.starts_with('*') {
        problem.hint("a text that starts with `*`, such as a cron expression, must stand in quotes: \"*/5 * * * *\"")
    } else if line.trim_start_matches(' ').starts_with('\t') {
        problem.hint("indent with spaces; YAML does not allow tabs there")
    } else if value.starts_with(['@', '`', '%']) {
        problem.hint("put the value in quotes")
    } else {
        problem
    }
}

impl Node {
    /// Moves it, and everything in it, further on in the text.
    pub(crate) fn shift(&mut self, by: usize) {
        self.range = self.range.start + by..self.range.end + by;
        match &mut self.content {
            Content::List(items) => items.iter_mut().for_each(|item| item.shift(by)),
            Content::Map(fields) => fields.iter_mut().for_each(|field| {
                field.range = field.range.start + by..field.range.end + by;
                field.value.shift(by);
            }),
            Content::Scalar(_) => {}
        }
    }

    /// Every text in it, names of fields aside.
    pub(crate) fn texts_mut(&mut self, each: &mut impl FnMut(&mut String)) {
        match &mut self.content {
            Content::List(items) => items.iter_mut().for_each(|item| item.texts_mut(each)),
            Content::Map(fields) => fields.iter_mut().for_each(|field| field.value.texts_mut(each)),
            Content::Scalar(scalar) => each(&mut scalar.text),
        }
    }

    /// The field `name` of a map.
    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        match &self.content {
            Content::Map(fields) => fields.iter().find(|field| field.name == name),
            _ => None,
        }
    }

    /// The text of the scalar at `name`.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match &self.field(name)?.value.content {
            Content::Scalar(scalar) => Some(&scalar.text),
            _ => None,
        }
    }

    /// Where the value at `path` stands; as far as it exists.
    pub(crate) fn place(&self, path: &FieldPath) -> Place {
        let mut node = self;
        for step in &path.0 {
            let next = match (step, &node.content) {
                (PathStep::Field(name), Content::Map(_)) => node.field(name).map(|field| &field.value),
                (PathStep::Index(index), Content::List(items)) => items.get(*index),
                _ => None,
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        node.place
    }

    /// Where the field at `path` is named; the place of the value for what is no field of a map.
    pub(crate) fn key_place(&self, path: &FieldPath) -> Place {
        let Some((PathStep::Field(name), parents)) = path.0.split_last() else { return self.place(path) };
        let mut node = self;
        for step in parents {
            let next = match (step, &node.content) {
                (PathStep::Field(name), Content::Map(_)) => node.field(name).map(|field| &field.value),
                (PathStep::Index(index), Content::List(items)) => items.get(*index),
                _ => None,
            };
            let Some(next) = next else { return node.place };
            node = next;
        }
        node.field(name).map_or(node.place, |field| field.place)
    }

    /// The plain tree.
    pub(crate) fn to_value(&self) -> Value {
        match &self.content {
            Content::List(items) => items.iter().map(Self::to_value).collect(),
            Content::Map(fields) => {
                Value::Object(fields.iter().map(|field| (field.name.clone(), field.value.to_value())).collect())
            }
            Content::Scalar(scalar) => match scalar.meaning {
                Meaning::Nothing => Value::Null,
                Meaning::Boolean(value) => value.into(),
                Meaning::Integer(value) => value.into(),
                Meaning::Float(value) => value.into(),
                Meaning::Text | Meaning::AmbiguousText => scalar.text.as_str().into(),
            },
        }
    }

    /// What it is, in the words of a problem.
    pub(crate) fn describe(&self) -> String {
        match &self.content {
            Content::List(_) => "a list".to_owned(),
            Content::Map(_) => "a map".to_owned(),
            Content::Scalar(scalar) => match scalar.meaning {
                Meaning::Nothing => "nothing".to_owned(),
                Meaning::Boolean(value) => format!("the boolean {value}"),
                Meaning::Integer(_) | Meaning::Float(_) => format!("the number {}", scalar.text),
                Meaning::Text => format!("the text `{}`", shortened(&scalar.text)),
                Meaning::AmbiguousText => format!("`{}`, which kubectl takes for a boolean", scalar.text),
            },
        }
    }
}

/// A text that fits on a line.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 60;
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= LONGEST && line.len() == text.trim_end_matches('\n').len() {
        return line.to_owned();
    }
    let kept: String = line.chars().take(LONGEST).collect();
    format!("{kept}…")
}
