//! JSON in text: single values by key, index or path.
//!
//! The whole text is checked by `jiter`; what is found keeps its spelling, so that a number is given with all of its
//! digits. Text that is no JSON gives NULL, as `NULL ON ERROR` does in SQL.
//!
//! # Invariants
//! 1. A value is never converted on the way: what is cut out is what stood there, but for the quotes of a string.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListBuilder, StringViewArray,
    StringViewBuilder,
};
use arrow::datatypes::{DataType as ArrowType, Field, Int64Type};
use jiter::Jiter;

use super::time::{Compiled, text_at, texts};
use super::{Function, Parameter, Returns};

pub(super) fn functions() -> Vec<Function> {
    use Parameter::{Any, Text};
    let text = || Returns::Fixed(ArrowType::Utf8View);
    let list = ArrowType::List(Arc::new(Field::new("item", ArrowType::Utf8View, true)));
    vec![
        // PostgreSQL: by keys and indexes, as many as there are.
        Function::new("json_get", &[Text, Any], text(), |arguments| {
            by_steps(arguments, raw)
        })
        .variadic(),
        Function::new("json_get_text", &[Text, Any], text(), |arguments| {
            by_steps(arguments, plain)
        })
        .variadic(),
        Function::new("json_get_path", &[Text, Text], text(), |arguments| {
            by_path(arguments, parse_braces, raw)
        }),
        Function::new("json_get_path_text", &[Text, Text], text(), |arguments| {
            by_path(arguments, parse_braces, plain)
        }),
        // SQL: by a path.
        Function::new("json_value", &[Text, Text], text(), |arguments| {
            by_path(arguments, parse_path, scalar)
        }),
        Function::new("json_query", &[Text, Text], text(), |arguments| {
            by_path(arguments, parse_path, container)
        }),
        Function::new(
            "json_exists",
            &[Text, Text],
            Returns::Fixed(ArrowType::Boolean),
            exists,
        ),
        Function::new(
            "json_array_length",
            &[Text],
            Returns::Fixed(ArrowType::Int64),
            array_length,
        ),
        Function::new("json_typeof", &[Text], text(), type_of),
        Function::new(
            "json_elements",
            &[Text],
            Returns::Fixed(list.clone()),
            elements,
        ),
        Function::new(
            "json_elements_text",
            &[Text],
            Returns::Fixed(list.clone()),
            |arguments| {
                lists(&arguments[0], |value| {
                    let items = value.items().filter(|_| value.kind() == Kind::Array)?;
                    Some(items.into_iter().map(plain).collect())
                })
            },
        ),
        Function::new("json_object_keys", &[Text], Returns::Fixed(list), keys),
        Function::new(
            "is_json",
            &[Text],
            Returns::Fixed(ArrowType::Boolean),
            |arguments| {
                let texts = texts(&arguments[0]);
                let valid = texts
                    .iter()
                    .map(|text| Some(text.is_some_and(|text| parsed(text).is_some())));
                Ok(Arc::new(valid.collect::<BooleanArray>()))
            },
        ),
        Function::new("json_quote", &[Text], text(), |arguments| {
            let quoted = texts(&arguments[0])
                .iter()
                .map(|text| serde_json::to_string(text?).ok());
            Ok(Arc::new(quoted.collect::<StringViewArray>()))
        }),
        Function::new("json_unquote", &[Text], text(), |arguments| {
            let plain = texts(&arguments[0]).iter().map(|text| {
                let text = text?;
                let value = parsed(text).filter(|value| value.kind() == Kind::String);
                Some(
                    value
                        .and_then(Json::as_text)
                        .unwrap_or_else(|| text.to_owned()),
                )
            });
            Ok(Arc::new(plain.collect::<StringViewArray>()))
        }),
    ]
}

/// A step into a value.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    /// From the end if negative.
    Index(i64),
    /// A key of an object, an index of an array.
    Either(String),
}

/// A value: a piece of a text that was checked.
#[derive(Clone, Copy)]
struct Json<'j>(&'j str);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Null,
    Boolean,
    Number,
    String,
    Object,
    Array,
}

fn parsed(text: &str) -> Option<Json<'_>> {
    let mut reader = Jiter::new(text.as_bytes());
    reader.next_skip().ok()?;
    reader.finish().ok()?;
    Some(Json(text.trim()))
}

impl<'j> Json<'j> {
    fn kind(self) -> Kind {
        match self.0.bytes().next() {
            Some(b'n') => Kind::Null,
            Some(b't' | b'f') => Kind::Boolean,
            Some(b'"') => Kind::String,
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            _ => Kind::Number,
        }
    }

    /// The characters of a string.
    fn as_text(self) -> Option<String> {
        let mut reader = Jiter::new(self.0.as_bytes());
        reader.next_str().ok().map(str::to_owned)
    }

    /// The value that the reader stands before; it stands behind it afterwards.
    fn next(self, reader: &mut Jiter<'j>) -> Option<Json<'j>> {
        let peek = reader.peek().ok()?;
        let start = reader.current_index();
        reader.known_skip(peek).ok()?;
        Some(Json(self.0.get(start..reader.current_index())?.trim()))
    }

    /// Keys and values of an object, in the order of the text.
    fn members(self) -> Option<Vec<(String, Json<'j>)>> {
        let mut reader = Jiter::new(self.0.as_bytes());
        let mut members = Vec::new();
        let mut key = reader.next_object().ok()?.map(str::to_owned);
        while let Some(name) = key {
            members.push((name, self.next(&mut reader)?));
            key = reader.next_key().ok()?.map(str::to_owned);
        }
        Some(members)
    }

    /// The elements of an array.
    fn items(self) -> Option<Vec<Json<'j>>> {
        let mut reader = Jiter::new(self.0.as_bytes());
        let mut items = Vec::new();
        let mut more = reader.next_array().ok()?.is_some();
        while more {
            items.push(self.next(&mut reader)?);
            more = reader.array_step().ok()?.is_some();
        }
        Some(items)
    }

    fn step(self, step: &Step) -> Option<Json<'j>> {
        match (self.kind(), step) {
            // Of a key that stands there twice the last one counts, as in PostgreSQL.
            (Kind::Object, Step::Key(key) | Step::Either(key)) => {
                let members = self.members()?;
                let found = members.into_iter().rev().find(|(name, _)| name == key);
                found.map(|(_, value)| value)
            }
            (Kind::Array, Step::Index(index)) => self.element(*index),
            (Kind::Array, Step::Either(index)) => self.element(index.parse().ok()?),
            _ => None,
        }
    }

    fn element(self, index: i64) -> Option<Json<'j>> {
        let items = self.items()?;
        let from_start = if index < 0 {
            items.len() as i64 + index
        } else {
            index
        };
        items.get(usize::try_from(from_start).ok()?).copied()
    }
}

fn walk<'j>(text: &'j str, steps: &[Step]) -> Option<Json<'j>> {
    steps
        .iter()
        .try_fold(parsed(text)?, |value, step| value.step(step))
}

// ------------------------------------------------------------------ what is given of a value

type Give = fn(Json<'_>) -> Option<String>;

/// As it stands in the text.
fn raw(value: Json<'_>) -> Option<String> {
    Some(value.0.to_owned())
}

/// Strings without their quotes, null as NULL.
fn plain(value: Json<'_>) -> Option<String> {
    match value.kind() {
        Kind::Null => None,
        Kind::String => value.as_text(),
        _ => raw(value),
    }
}

fn scalar(value: Json<'_>) -> Option<String> {
    match value.kind() {
        Kind::Object | Kind::Array => None,
        _ => plain(value),
    }
}

fn container(value: Json<'_>) -> Option<String> {
    match value.kind() {
        Kind::Object | Kind::Array => raw(value),
        _ => None,
    }
}

// ------------------------------------------------------------------ kernels

fn by_steps(arguments: &[ArrayRef], give: Give) -> Result<ArrayRef, String> {
    let values = texts(&arguments[0]);
    let steps = arguments[1..]
        .iter()
        .map(StepColumn::new)
        .collect::<Result<Vec<_>, String>>()?;
    let mut out = StringViewBuilder::with_capacity(values.len());
    for row in 0..values.len() {
        let steps: Option<Vec<Step>> = steps.iter().map(|column| column.get(row)).collect();
        let found = text_at(values, row)
            .zip(steps)
            .and_then(|(text, steps)| give(walk(text, &steps)?));
        out.append_option(found);
    }
    Ok(Arc::new(out.finish()))
}

enum StepColumn {
    Keys(StringViewArray),
    Indexes(Int64Array),
}

impl StepColumn {
    fn new(array: &ArrayRef) -> Result<Self, String> {
        let cast = |to: &ArrowType| arrow::compute::cast(array, to).map_err(|e| e.to_string());
        if array.data_type().is_integer() {
            let indexes = cast(&ArrowType::Int64)?;
            return Ok(Self::Indexes(indexes.as_primitive::<Int64Type>().clone()));
        }
        match array.data_type() {
            ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View | ArrowType::Null => Ok(
                Self::Keys(cast(&ArrowType::Utf8View)?.as_string_view().clone()),
            ),
            other => Err(format!(
                "a key is text and an index a whole number, not {other}"
            )),
        }
    }

    fn get(&self, row: usize) -> Option<Step> {
        match self {
            Self::Keys(keys) => text_at(keys, row).map(|key| Step::Key(key.to_owned())),
            Self::Indexes(indexes) => indexes
                .is_valid(row)
                .then(|| Step::Index(indexes.value(row))),
        }
    }
}

fn by_path(
    arguments: &[ArrayRef],
    parse: fn(&str) -> Result<Vec<Step>, String>,
    give: Give,
) -> Result<ArrayRef, String> {
    let mut out = StringViewBuilder::with_capacity(arguments[0].len());
    each_path(arguments, parse, |found| {
        out.append_option(found.and_then(|found| give(found?)));
    })?;
    Ok(Arc::new(out.finish()))
}

fn exists(arguments: &[ArrayRef]) -> Result<ArrayRef, String> {
    let mut out = Vec::with_capacity(arguments[0].len());
    each_path(arguments, parse_path, |found| {
        out.push(found.map(|found| found.is_some()));
    })?;
    Ok(Arc::new(BooleanArray::from(out)))
}

/// Calls `give` for each row: `None` for a NULL argument, else what the path leads to.
fn each_path(
    arguments: &[ArrayRef],
    parse: fn(&str) -> Result<Vec<Step>, String>,
    mut give: impl FnMut(Option<Option<Json<'_>>>),
) -> Result<(), String> {
    let (values, paths) = (texts(&arguments[0]), texts(&arguments[1]));
    let mut compiled = Compiled::<Vec<Step>>::default();
    for row in 0..values.len() {
        match (text_at(values, row), text_at(paths, row)) {
            (Some(text), Some(path)) => give(Some(walk(text, compiled.get(path, parse)?))),
            _ => give(None),
        }
    }
    Ok(())
}

fn array_length(arguments: &[ArrayRef]) -> Result<ArrayRef, String> {
    let lengths = texts(&arguments[0]).iter().map(|text| {
        let value = parsed(text?).filter(|value| value.kind() == Kind::Array)?;
        Some(value.items()?.len() as i64)
    });
    Ok(Arc::new(lengths.collect::<Int64Array>()))
}

fn type_of(arguments: &[ArrayRef]) -> Result<ArrayRef, String> {
    let names = texts(&arguments[0]).iter().map(|text| {
        Some(match parsed(text?)?.kind() {
            Kind::Null => "null",
            Kind::Boolean => "boolean",
            Kind::Number => "number",
            Kind::String => "string",
            Kind::Object => "object",
            Kind::Array => "array",
        })
    });
    Ok(Arc::new(names.collect::<StringViewArray>()))
}

/// The elements of an array, each as JSON text: for UNNEST.
fn elements(arguments: &[ArrayRef]) -> Result<ArrayRef, String> {
    lists(&arguments[0], |value| {
        if value.kind() != Kind::Array {
            return None;
        }
        Some(value.items()?.into_iter().map(raw).collect())
    })
}

/// The keys of an object, in the order of the text.
fn keys(arguments: &[ArrayRef]) -> Result<ArrayRef, String> {
    lists(&arguments[0], |value| {
        if value.kind() != Kind::Object {
            return None;
        }
        let members = value.members()?.into_iter();
        Some(members.map(|(name, _)| Some(name)).collect())
    })
}

fn lists(
    values: &ArrayRef,
    list: impl Fn(Json<'_>) -> Option<Vec<Option<String>>>,
) -> Result<ArrayRef, String> {
    let mut out = ListBuilder::new(StringViewBuilder::new());
    for text in texts(values) {
        match text.and_then(parsed).and_then(&list) {
            Some(items) => {
                items
                    .iter()
                    .for_each(|item| out.values().append_option(item.as_deref()));
                out.append(true);
            }
            None => out.append(false),
        }
    }
    Ok(Arc::new(out.finish()))
}

// ------------------------------------------------------------------ paths

/// `$.a.b[0]['c d']`, `lax` or `strict` before it.
fn parse_path(path: &str) -> Result<Vec<Step>, String> {
    let wrong = |why: &str| format!("'{path}' is no path that Weir can follow: {why}");
    let trimmed = path.trim();
    let trimmed = trimmed
        .strip_prefix("lax ")
        .or_else(|| trimmed.strip_prefix("strict "))
        .unwrap_or(trimmed);
    let mut rest = trimmed
        .trim_start()
        .strip_prefix('$')
        .ok_or_else(|| wrong("a path begins with `$`"))?;
    let mut steps = Vec::new();
    while let Some(c) = rest.chars().next() {
        if c == '.' {
            let (key, after) =
                member(&rest[1..]).ok_or_else(|| wrong("a key stands behind a dot"))?;
            steps.push(Step::Key(key));
            rest = after;
        } else if c == '[' {
            let end = bracket_end(rest).ok_or_else(|| wrong("a `]` is missing"))?;
            let inside = rest[1..end].trim();
            let quoted = ['\'', '"'].iter().find_map(|&quote| {
                inside
                    .strip_prefix(quote)?
                    .strip_suffix(quote)
                    .map(str::to_owned)
            });
            steps.push(match quoted {
                Some(key) => Step::Key(key),
                None => Step::Index(
                    inside
                        .parse()
                        .map_err(|_| wrong("in brackets stands an index or a quoted key"))?,
                ),
            });
            rest = &rest[end + 1..];
        } else {
            return Err(wrong("steps are `.key`, `[0]` and `['key']`"));
        }
    }
    Ok(steps)
}

fn member(text: &str) -> Option<(String, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        let end = quoted.find('"')?;
        return Some((quoted[..end].to_owned(), &quoted[end + 1..]));
    }
    let end = text
        .find(['.', '[', ' ', '*', '?', '('])
        .unwrap_or(text.len());
    (end > 0).then(|| (text[..end].to_owned(), &text[end..]))
}

/// The bracket that closes the one at the start, quotes considered.
fn bracket_end(text: &str) -> Option<usize> {
    let mut quote = None;
    text.char_indices().find_map(|(at, c)| {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '\'' || c == '"' => quote = Some(c),
            None if c == ']' => return Some(at),
            None => {}
        }
        None
    })
}

/// `{a,0,b}`: PostgreSQL's text array.
fn parse_braces(path: &str) -> Result<Vec<Step>, String> {
    let inside = path
        .trim()
        .strip_prefix('{')
        .and_then(|path| path.strip_suffix('}'))
        .ok_or_else(|| format!("'{path}' is no path: it looks like '{{a,0,b}}'"))?;
    let steps = inside.split(',').filter(|step| !step.trim().is_empty());
    Ok(steps
        .map(|step| Step::Either(step.trim().trim_matches('"').to_owned()))
        .collect())
}
