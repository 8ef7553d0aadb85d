//! Holds a tree against the JSON Schema of its kind and names everything that does not fit.
//!
//! The schema is the one that editors and the API server get, so the three agree. Only the keywords that our generated schemas use
//! are understood; patterns are left out, because reading a value into the model says better what is wrong with it.

use std::sync::Arc;

use dxdr_environment::{FieldPath, PathStep};
use serde_json::{Map, Value};

use crate::{
    problem::{Place, Problem},
    tree::{Content, Meaning, Node, Scalar},
};

/// All problems of `node` against `schema`; `path` is where it stands.
pub(crate) fn check(file: &Arc<str>, node: &Node, schema: &Value, path: Vec<PathStep>) -> Vec<Problem> {
    let mut check = Check { file, path, problems: Vec::new() };
    check.node(node, schema);
    check.problems
}

struct Check<'a> {
    file: &'a Arc<str>,
    path: Vec<PathStep>,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn node(&mut self, node: &Node, schema: &Value) {
        let expected = |check: &mut Self, expected: &str| {
            let problem = check.problem(node.place, check.wrong()).found(node.describe()).expected(expected);
            let quotable = matches!(&node.content, Content::Scalar(Scalar { meaning, .. }) if !matches!(meaning, Meaning::Nothing | Meaning::Text));
            let problem = if expected == "text" && quotable { problem.hint("put the value in quotes") } else { problem };
            check.problems.push(problem);
        };
        if schema.get("x-kubernetes-int-or-string").is_some() {
            return match &node.content {
                Content::Scalar(Scalar { meaning: Meaning::Text | Meaning::Integer(_), .. }) => {}
                Content::Scalar(Scalar { meaning: Meaning::Float(_), text }) => {
                    let problem =
                        self.problem(node.place, self.wrong()).found(node.describe()).expected("a whole number or text");
                    self.problems.push(problem.hint(format!("put it in quotes: \"{text}\"")));
                }
                _ => expected(self, "a whole number or text"),
            };
        }
        match schema.get("type").and_then(Value::as_str) {
            Some("object") => match &node.content {
                Content::Map(_) => self.map(node, schema),
                _ => expected(self, "a map"),
            },
            Some("array") => match &node.content {
                Content::List(items) => self.list(node, items, schema),
                _ => expected(self, "a list"),
            },
            Some("string") => match &node.content {
                Content::Scalar(scalar) if scalar.meaning == Meaning::Text => self.text(node, &scalar.text, schema),
                // The names of an enumeration say more than "text".
                Content::Scalar(scalar) if schema.get("enum").is_some() => self.text(node, &scalar.text, schema),
                _ => expected(self, "text"),
            },
            Some("boolean") => match &node.content {
                Content::Scalar(Scalar { meaning: Meaning::Boolean(_), .. }) => {}
                _ => expected(self, "true or false"),
            },
            Some("integer") => match &node.content {
                Content::Scalar(Scalar { meaning: Meaning::Integer(number), .. }) => self.number(node, *number, schema),
                _ => expected(self, "a whole number"),
            },
            // No type: anything goes.
            _ => {}
        }
    }

    fn map(&mut self, node: &Node, schema: &Value) {
        let Content::Map(fields) = &node.content else { return };
        let nothing = Map::new();
        let known = schema.get("properties").and_then(Value::as_object).unwrap_or(&nothing);
        let others = schema.get("additionalProperties");
        for field in fields {
            self.path.push(PathStep::Field(field.name.clone()));
            match (known.get(&field.name), others) {
                (Some(schema), _) => self.node(&field.value, schema),
                (None, Some(others @ Value::Object(_))) => self.node(&field.value, others),
                (None, Some(Value::Bool(false))) => {
                    let problem = self.unknown_field(field.place, &field.name, known);
                    self.problems.push(problem);
                }
                _ => {}
            }
            self.path.pop();
        }
        for name in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            if node.field(name).is_none() {
                let message = format!("`{name}` is missing{}", self.inside());
                let problem = self.problem(node.place, message);
                let given = fields.iter().map(|field| field.name.as_str()).filter(|given| !known.contains_key(*given));
                let problem = match crate::nearest::nearest(name, given) {
                    Some(misspelt) => problem.hint(format!("`{misspelt}` is probably meant to be it")),
                    None => problem,
                };
                self.problems.push(problem);
            }
        }
        self.one_of(node, schema);
    }

    /// The only `oneOf` in our schemas: exactly one of some fields must be there.
    fn one_of(&mut self, node: &Node, schema: &Value) {
        let Some(choices) = schema.get("oneOf").and_then(Value::as_array) else { return };
        let names: Vec<&str> = choices.iter().filter_map(|choice| choice["required"][0].as_str()).collect();
        let given: Vec<&str> = names.iter().copied().filter(|name| node.field(name).is_some()).collect();
        if given.len() == 1 {
            return;
        }
        let found = if given.is_empty() { "none of them".to_owned() } else { listed(&given, "and") };
        let place = given.get(1).and_then(|name| node.field(name)).map_or(node.place, |field| field.place);
        let problem = self.problem(place, format!("exactly one of {} must stand{}", listed(&names, "or"), self.inside()));
        self.problems.push(problem.found(found));
    }

    fn list(&mut self, node: &Node, items: &[Node], schema: &Value) {
        if schema.get("minItems").and_then(Value::as_u64).is_some_and(|least| (items.len() as u64) < least) {
            let problem = self.problem(node.place, self.wrong()).found("an empty list").expected("at least one entry");
            self.problems.push(problem);
        }
        let Some(schema) = schema.get("items") else { return };
        for (index, item) in items.iter().enumerate() {
            self.path.push(PathStep::Index(index));
            self.node(item, schema);
            self.path.pop();
        }
    }

    fn text(&mut self, node: &Node, text: &str, schema: &Value) {
        if let Some(names) = schema.get("enum").and_then(Value::as_array) {
            let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
            if !names.contains(&text) {
                let problem = self.problem(node.place, self.wrong()).found(node.describe()).expected(listed(&names, "or"));
                self.problems.push(problem.suggest(text, names));
            }
        } else if text.is_empty() && schema.get("minLength").is_some() {
            let problem = self.problem(node.place, self.wrong()).found("an empty text").expected("text");
            self.problems.push(problem);
        }
    }

    fn number(&mut self, node: &Node, number: i64, schema: &Value) {
        let limit = |name: &str| schema.get(name).and_then(Value::as_i64);
        let (least, most) = (limit("minimum"), limit("maximum"));
        if least.is_some_and(|least| number < least) || most.is_some_and(|most| number > most) {
            let range = match (least, most) {
                (Some(least), Some(most)) => format!("a whole number from {least} to {most}"),
                (Some(least), None) => format!("a whole number of at least {least}"),
                (_, most) => format!("a whole number of at most {}", most.unwrap_or(i64::MAX)),
            };
            let problem = self.problem(node.place, self.wrong()).found(node.describe()).expected(range);
            self.problems.push(problem);
        }
    }

    fn unknown_field(&self, place: Place, name: &str, known: &Map<String, Value>) -> Problem {
        let inside = FieldPath(self.path.split_last().map(|(_, parents)| parents.to_vec()).unwrap_or_default());
        let inside = if inside.0.is_empty() { String::new() } else { format!(" in `{inside}`") };
        let names: Vec<&str> = known.keys().map(String::as_str).collect();
        let problem = self.problem(place, format!("unknown field `{name}`{inside}"));
        problem.expected(listed(&names, "or")).suggest(name, names)
    }

    fn problem(&self, place: Place, message: String) -> Problem {
        Problem::error(self.file, place, FieldPath(self.path.clone()), message)
    }

    fn wrong(&self) -> String {
        format!("`{}` is wrong", FieldPath(self.path.clone()))
    }

    fn inside(&self) -> String {
        if self.path.is_empty() { String::new() } else { format!(" in `{}`", FieldPath(self.path.clone())) }
    }
}

/// "`a`, `b` or `c`"
pub(crate) fn listed(names: &[&str], conjunction: &str) -> String {
    match names {
        [] => "nothing".to_owned(),
        [only] => format!("`{only}`"),
        [first @ .., last] => {
            let first: Vec<String> = first.iter().map(|name| format!("`{name}`")).collect();
            format!("{} {conjunction} `{last}`", first.join(", "))
        }
    }
}
