//! Functions of text.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListBuilder, StringViewArray,
    StringViewBuilder,
};
use arrow::datatypes::{DataType as ArrowType, Field, Int64Type};
use regex::Regex;

use super::time::{Compiled, text_at, texts};
use super::{Function, Parameter, Returns};

pub(super) fn functions() -> Vec<Function> {
    use Parameter::{Any, Integer, Text};
    let text = || Returns::Fixed(ArrowType::Utf8View);
    let boolean = || Returns::Fixed(ArrowType::Boolean);
    let tests: [(&'static str, super::Kernel); 3] = [
        ("is_alpha", |arguments| {
            Ok(test_text(&arguments[0], |text| {
                !text.is_empty() && text.chars().all(char::is_alphabetic)
            }))
        }),
        ("is_digit", |arguments| {
            Ok(test_text(&arguments[0], |text| {
                !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
            }))
        }),
        ("is_decimal", |arguments| {
            Ok(test_text(&arguments[0], is_decimal))
        }),
    ];
    let tests = tests
        .into_iter()
        .map(|(name, kernel)| Function::new(name, &[Text], boolean(), kernel));
    let others = [
        Function::new("split_index", &[Text, Text, Integer], text(), split_index),
        Function::new(
            "regexp_extract",
            &[Text, Text, Integer],
            text(),
            regexp_extract,
        )
        .optional(1),
        Function::new(
            "regexp_split",
            &[Text, Text],
            Returns::Fixed(ArrowType::List(Arc::new(Field::new(
                "item",
                ArrowType::Utf8View,
                true,
            )))),
            regexp_split,
        ),
        Function::new(
            "locate",
            &[Text, Text, Integer],
            Returns::Fixed(ArrowType::Int64),
            locate,
        ),
        Function::new("hex", &[Any], text(), hex),
        Function::new("bin", &[Integer], text(), |arguments| {
            let numbers = arguments[0].as_primitive::<Int64Type>();
            let texts = numbers.iter().map(|n| n.map(|n| format!("{n:b}")));
            Ok(Arc::new(texts.collect::<StringViewArray>()))
        }),
        Function::new("bytes_to_text", &[Any], text(), bytes_to_text),
        Function::new("format", &[Text, Any], text(), format)
            .optional(1)
            .variadic(),
    ];
    tests.chain(others).collect()
}

fn test_text(argument: &ArrayRef, test: impl Fn(&str) -> bool) -> ArrayRef {
    let texts = texts(argument);
    let results = texts.iter().map(|text| Some(text.is_some_and(&test)));
    Arc::new(results.collect::<BooleanArray>())
}

fn is_decimal(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, part) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    !(whole.is_empty() && part.is_empty()) && digits(whole) && digits(part)
}

/// The part at an index (0 is the first) between delimiters; NULL if there is none.
fn split_index(arguments: &[ArrayRef]) -> Result<ArrayRef, String> {
    let (values, delimiters) = (texts(&arguments[0]), texts(&arguments[1]));
    let indices = arguments[2].as_primitive::<Int64Type>();
    let parts = (0..values.len()).map(|row| {
        let (value, delimiter) = (text_at(values, row)?, text_at(delimiters, row)?);
        let index = indices.is_valid(row).then(|| indices.value(row))?;
        let index = usize::try_from(index).ok()?;
        if delimiter.is_empty() {
            return (index == 0).then_some(value);
        }
        value.split(delimiter).nth(index)
    });
    Ok(Arc::new(parts.collect::<StringViewArray>()))
}

/// The group (0: the whole) of the first match; NULL if nothing matches.
fn regexp_extract(arguments: &[ArrayRef]) -> Result<ArrayRef, String> {
    let (values, patterns) = (texts(&arguments[0]), texts(&arguments[1]));
    let groups = arguments
        .get(2)
        .map(|groups| groups.as_primitive::<Int64Type>());
    let mut compiled = Compiled::<Regex>::default();
    let mut out = StringViewBuilder::with_capacity(values.len());
    for row in 0..values.len() {
        let (Some(value), Some(source)) = (text_at(values, row), text_at(patterns, row)) else {
            out.append_null();
            continue;
        };
        let group = match groups {
            Some(groups) if groups.is_null(row) => {
                out.append_null();
                continue;
            }
            Some(groups) => groups.value(row),
            None => 0,
        };
        let regex = compiled.get(source, |source| {
            Regex::new(source).map_err(|_| format!("'{source}' is not a regular expression"))
        })?;
        let found = usize::try_from(group)
            .ok()
            .and_then(|group| regex.captures(value)?.get(group));
        out.append_option(found.map(|found| found.as_str()));
    }
    Ok(Arc::new(out.finish()))
}

/// The pieces of a text between the matches of a pattern. An empty match at either end separates nothing.
fn regexp_split(arguments: &[ArrayRef]) -> Result<ArrayRef, String> {
    let (values, patterns) = (texts(&arguments[0]), texts(&arguments[1]));
    let mut compiled = Compiled::<Regex>::default();
    let mut out = ListBuilder::new(StringViewBuilder::new());
    for row in 0..values.len() {
        let (Some(value), Some(source)) = (text_at(values, row), text_at(patterns, row)) else {
            out.append(false);
            continue;
        };
        let regex = compiled.get(source, |source| {
            Regex::new(source).map_err(|_| format!("'{source}' is not a regular expression"))
        })?;
        let mut start = 0;
        for found in regex.find_iter(value) {
            if found.is_empty() && (found.start() == 0 || found.end() == value.len()) {
                continue;
            }
            out.values().append_value(&value[start..found.start()]);
            start = found.end();
        }
        out.values().append_value(&value[start..]);
        out.append(true);
    }
    Ok(Arc::new(out.finish()))
}

/// Where the first text stands in the second one, from a character on; 1 is the first place, 0: nowhere.
fn locate(arguments: &[ArrayRef]) -> Result<ArrayRef, String> {
    let (parts, values) = (texts(&arguments[0]), texts(&arguments[1]));
    let starts = arguments[2].as_primitive::<Int64Type>();
    let places: Int64Array = (0..values.len())
        .map(|row| {
            let (part, value) = (text_at(parts, row)?, text_at(values, row)?);
            let start = starts.is_valid(row).then(|| starts.value(row))?;
            let Ok(skipped) = usize::try_from(start.saturating_sub(1)) else {
                return Some(0);
            };
            let from = value.char_indices().map(|(at, _)| at).nth(skipped);
            let from = from.or_else(|| (skipped == value.chars().count()).then_some(value.len()));
            let Some(from) = from else { return Some(0) };
            let found = value[from..].find(part);
            Some(found.map_or(0, |at| {
                (skipped + value[from..from + at].chars().count() + 1) as i64
            }))
        })
        .collect();
    Ok(Arc::new(places))
}

/// The hexadecimal digits, large, of a number or of the bytes of a text.
fn hex(arguments: &[ArrayRef]) -> Result<ArrayRef, String> {
    let argument = &arguments[0];
    let of_bytes = |bytes: &[u8]| {
        let mut text = String::with_capacity(bytes.len() * 2);
        for byte in bytes {
            let _ = write!(text, "{byte:02X}");
        }
        text
    };
    let out: StringViewArray = match argument.data_type() {
        kind if kind.is_integer() => {
            let numbers = arrow::compute::cast(argument, &ArrowType::Int64)
                .map_err(|error| error.to_string())?;
            let numbers = numbers.as_primitive::<Int64Type>();
            numbers
                .iter()
                .map(|n| n.map(|n| format!("{n:X}")))
                .collect()
        }
        ArrowType::Binary => argument
            .as_binary::<i32>()
            .iter()
            .map(|bytes| bytes.map(of_bytes))
            .collect(),
        ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View => {
            let texts = as_text(argument)?;
            let texts = texts.as_string_view();
            texts
                .iter()
                .map(|text| text.map(|text| of_bytes(text.as_bytes())))
                .collect()
        }
        other => return Err(format!("takes a whole number, text or bytes, not {other}")),
    };
    Ok(Arc::new(out))
}

fn bytes_to_text(arguments: &[ArrayRef]) -> Result<ArrayRef, String> {
    as_text(&arguments[0]).map_err(|_| "these bytes are no UTF-8 text".to_owned())
}

fn as_text(array: &ArrayRef) -> Result<ArrayRef, String> {
    arrow::compute::cast(array, &ArrowType::Utf8View).map_err(|error| error.to_string())
}

/// `format('%s of %s', a, b)`: PostgreSQL's, with `%s`, `%I`, `%L` and `%%`.
fn format(arguments: &[ArrayRef]) -> Result<ArrayRef, String> {
    let patterns = texts(&arguments[0]);
    let values = arguments[1..]
        .iter()
        .map(as_text)
        .collect::<Result<Vec<_>, _>>()?;
    let mut out = StringViewBuilder::with_capacity(patterns.len());
    let mut text = String::new();
    for row in 0..patterns.len() {
        let Some(pattern) = text_at(patterns, row) else {
            out.append_null();
            continue;
        };
        text.clear();
        format_row(pattern, &values, row, &mut text)?;
        out.append_value(&text);
    }
    Ok(Arc::new(out.finish()))
}

fn format_row(
    pattern: &str,
    values: &[ArrayRef],
    row: usize,
    out: &mut String,
) -> Result<(), String> {
    let (mut next, mut rest) = (0, pattern.chars());
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let kind = rest.next();
        if kind == Some('%') {
            out.push('%');
            continue;
        }
        let value = values
            .get(next)
            .ok_or_else(|| "there are fewer values than places in the pattern".to_owned())?;
        next += 1;
        let value = text_at(value.as_string_view(), row);
        match kind {
            Some('s') => out.push_str(value.unwrap_or_default()),
            Some('I') => {
                let value = value.ok_or_else(|| "NULL is no name".to_owned())?;
                let _ = write!(out, "\"{}\"", value.replace('"', "\"\""));
            }
            Some('L') => match value {
                None => out.push_str("NULL"),
                Some(value) => {
                    let _ = write!(out, "'{}'", value.replace('\'', "''"));
                }
            },
            _ => return Err("a pattern has %s, %I, %L and %%".to_owned()),
        }
    }
    Ok(())
}
