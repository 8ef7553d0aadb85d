//! The shape of objects: which fields a type has, and how its lists and maps merge.
//!
//! Built-in types come from a table (`builtin/types.txt`), one type a line; custom ones from the schema of their
//! CustomResourceDefinition. Server-side apply, strategic patches and the pruning of unknown fields all read shapes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use serde_json::Value;

/// How the items of a list are told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Listing {
    Atomic,
    Set,
    Map(Vec<String>),
}

/// What a value may be.
#[derive(Debug, Clone)]
pub(crate) enum Form {
    Any,
    Text,
    /// Text that holds bytes in base64.
    Bytes,
    Time,
    Integer,
    Number,
    Boolean,
    Quantity,
    IntOrText,
    Struct(StructRef),
    Map(Arc<Shape>),
    List(Arc<Shape>),
}

#[derive(Debug, Clone)]
pub(crate) enum StructRef {
    BuiltIn(usize),
    Custom(Arc<Struct>),
}

impl std::ops::Deref for StructRef {
    type Target = Struct;
    fn deref(&self) -> &Struct {
        match self {
            Self::BuiltIn(index) => &BUILT_IN.types[*index],
            Self::Custom(custom) => custom,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Struct {
    /// `core.v1.PodSpec`; empty for what a definition describes.
    pub(crate) name: String,
    pub(crate) fields: BTreeMap<String, Shape>,
    pub(crate) atomic: bool,
    /// Fields it does not name may be there.
    pub(crate) open: bool,
    /// Protocol buffer field numbers: the field's name, empty for a struct whose fields are its parent's, and its shape.
    pub(crate) numbers: HashMap<u64, (String, Shape)>,
}

/// A form together with its merge rules.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) form: Form,
    pub(crate) atomic: bool,
    pub(crate) listing: Listing,
    /// Strategic merge: `Some("*")` merges primitives, another name is the merge key, `None` replaces.
    pub(crate) merge_key: Option<String>,
    pub(crate) retain_keys: bool,
}

pub(crate) static ANY: Shape =
    Shape { form: Form::Any, atomic: false, listing: Listing::Atomic, merge_key: None, retain_keys: false };

impl Shape {
    pub(crate) fn of(form: Form) -> Self {
        Self { form, ..ANY.clone() }
    }

    pub(crate) fn field(&self, name: &str) -> &Shape {
        match &self.form {
            Form::Struct(of) => of.fields.get(name).unwrap_or(&ANY),
            Form::Map(of) => of,
            _ => &ANY,
        }
    }

    pub(crate) fn knows(&self, name: &str) -> bool {
        matches!(&self.form, Form::Struct(of) if of.fields.contains_key(name))
    }

    /// Whether fields it does not name are wrong.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(&self.form, Form::Struct(of) if !of.open)
    }

    pub(crate) fn item(&self) -> &Shape {
        match &self.form {
            Form::List(of) => of,
            _ => &ANY,
        }
    }

    pub(crate) fn is_atomic_map(&self) -> bool {
        self.atomic || matches!(&self.form, Form::Struct(of) if of.atomic)
    }

    /// The shape of a built-in kind.
    pub(crate) fn built_in(group: &str, version: &str, kind: &str) -> Option<Shape> {
        let index = BUILT_IN.kinds.get(&(group.to_owned(), version.to_owned(), kind.to_owned()))?;
        Some(Self::of(Form::Struct(StructRef::BuiltIn(*index))))
    }

    pub(crate) fn object_metadata() -> Shape {
        match BUILT_IN.by_name.get("meta.v1.ObjectMeta") {
            Some(index) => Self::of(Form::Struct(StructRef::BuiltIn(*index))),
            None => ANY.clone(),
        }
    }

    /// The shape an OpenAPI v3 schema of a custom resource describes.
    pub(crate) fn of_schema(schema: &Value, root: bool) -> Shape {
        let flag = |name: &str| schema.get(name).and_then(Value::as_bool).unwrap_or(false);
        let text = |name: &str| schema.get(name).and_then(Value::as_str).unwrap_or_default();
        let mut shape = ANY.clone();
        shape.atomic = text("x-kubernetes-map-type") == "atomic";
        if let Some(items) = schema.get("items") {
            shape.form = Form::List(Arc::new(Self::of_schema(items, false)));
            shape.listing = match text("x-kubernetes-list-type") {
                "map" => Listing::Map(
                    schema["x-kubernetes-list-map-keys"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .filter_map(|key| key.as_str().map(str::to_owned))
                        .collect(),
                ),
                "set" => Listing::Set,
                _ => Listing::Atomic,
            };
            return shape;
        }
        if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object()) {
            shape.form = Form::Map(Arc::new(Self::of_schema(values, false)));
            return shape;
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        if properties.is_some() || root || flag("x-kubernetes-embedded-resource") {
            let mut fields: BTreeMap<String, Shape> =
                properties.into_iter().flatten().map(|(name, schema)| (name.clone(), Self::of_schema(schema, false))).collect();
            if root || flag("x-kubernetes-embedded-resource") {
                fields.insert("metadata".to_owned(), Self::object_metadata());
            }
            let open = flag("x-kubernetes-preserve-unknown-fields");
            let of = Struct { fields, atomic: shape.atomic, open, ..Struct::default() };
            shape.form = Form::Struct(StructRef::Custom(Arc::new(of)));
        }
        shape
    }
}

struct BuiltIn {
    types: Vec<Struct>,
    by_name: HashMap<String, usize>,
    kinds: HashMap<(String, String, String), usize>,
}

static BUILT_IN: LazyLock<BuiltIn> = LazyLock::new(|| parse(include_str!("builtin/types.txt")));

/// One type a line: `NAME[!] FIELD[:NUMBER]=TYPE...`, the field `+` standing for the fields of an inlined struct; the number
/// is that of the protocol buffer. A type is `s` text, `y` bytes, `i` integer, `n` number, `b` boolean, `q` quantity, `x` integer
/// or text, `t` time, `a` anything, `@NAME` a type, `[T` a list, `{T` a map; then `!` atomic, `~KEYS` list keys (`~*` a
/// set), `^KEY` strategic merge key, `%` retain keys. Lines with `>` name the type of a kind.
fn parse(text: &str) -> BuiltIn {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('>') && !line.is_empty()).collect();
    let name_of = |line: &str| line.split(' ').next().unwrap_or_default().trim_end_matches('!').to_owned();
    let by_name: HashMap<String, usize> = lines.iter().enumerate().map(|(index, line)| (name_of(line), index)).collect();
    let types = lines
        .iter()
        .map(|line| {
            let mut words = line.split(' ');
            let head = words.next().unwrap_or_default();
            let mut of = Struct { name: name_of(line), atomic: head.ends_with('!'), ..Struct::default() };
            for (field, form) in words.filter_map(|word| word.split_once('=')) {
                let shape = parse_form(form, &by_name);
                let (name, number) = field.split_once(':').unwrap_or((field, ""));
                if let Ok(number) = number.parse() {
                    of.numbers.insert(number, (name.trim_start_matches('+').to_owned(), shape.clone()));
                }
                if name != "+" {
                    of.fields.insert(name.to_owned(), shape);
                }
            }
            of
        })
        .collect();
    let kinds = text
        .lines()
        .filter_map(|line| line.strip_prefix("> "))
        .filter_map(|line| {
            let mut words = line.split(' ');
            let (group, version) = words.next()?.split_once('/')?;
            let kind = words.next()?;
            let index = *by_name.get(words.next()?)?;
            let group = if group == "core" { "" } else { group };
            Some(((group.to_owned(), version.to_owned(), kind.to_owned()), index))
        })
        .collect();
    BuiltIn { types, by_name, kinds }
}

fn parse_form(text: &str, by_name: &HashMap<String, usize>) -> Shape {
    let mut shape = ANY.clone();
    let Some(first) = text.chars().next() else { return shape };
    let rest = &text[first.len_utf8()..];
    if first == '[' || first == '{' {
        // The marks after the innermost type belong to the outermost list or map.
        let end = rest.find(['~', '^', '%', '!']).unwrap_or(rest.len());
        let inner = Arc::new(parse_form(&rest[..end], by_name));
        shape.form = if first == '[' { Form::List(inner) } else { Form::Map(inner) };
        marks(&mut shape, &rest[end..]);
        return shape;
    }
    let end = rest.find(['~', '^', '%', '!']).unwrap_or(rest.len());
    shape.form = match first {
        's' => Form::Text,
        'y' => Form::Bytes,
        't' => Form::Time,
        'i' => Form::Integer,
        'n' => Form::Number,
        'b' => Form::Boolean,
        'q' => Form::Quantity,
        'x' => Form::IntOrText,
        '@' => by_name.get(&rest[..end]).map_or(Form::Any, |index| Form::Struct(StructRef::BuiltIn(*index))),
        _ => Form::Any,
    };
    marks(&mut shape, &rest[end..]);
    shape
}

fn marks(shape: &mut Shape, mut rest: &str) {
    while let Some(mark) = rest.chars().next() {
        rest = &rest[1..];
        let end = rest.find(['~', '^', '%', '!']).unwrap_or(rest.len());
        let word = &rest[..end];
        match mark {
            '!' => shape.atomic = true,
            '%' => shape.retain_keys = true,
            '^' => shape.merge_key = Some(word.to_owned()),
            '~' if word == "*" => shape.listing = Listing::Set,
            '~' => shape.listing = Listing::Map(word.split(',').map(str::to_owned).collect()),
            _ => {}
        }
        rest = &rest[end..];
    }
}
