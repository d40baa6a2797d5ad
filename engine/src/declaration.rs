//! Tables as text: CREATE TABLE for what was found in a file, came from a program, or stands in state.

use weir_types::{Column, DataType, TimeUnit};

/// A CREATE TABLE as people write it.
pub fn declaration(name: &str, columns: &[Column], options: &[(String, String)]) -> String {
    declaration_with(name, columns, &[], options)
}

/// The same with what stands behind the columns: WATERMARK, PRIMARY KEY.
pub(crate) fn declaration_with(
    name: &str,
    columns: &[Column],
    clauses: &[String],
    options: &[(String, String)],
) -> String {
    let folded = |column: &Column| column.name.to_lowercase();
    let columns = columns.iter().map(|column| {
        let alike = columns
            .iter()
            .filter(|other| folded(other) == folded(column))
            .count()
            > 1;
        let name = if alike { quoted } else { name_text };
        format!(
            "{} {}",
            name(&column.name),
            type_text(&column.data_type, name_text)
        )
    });
    let lines: Vec<String> = columns
        .chain(clauses.iter().cloned())
        .map(|line| format!("    {line}"))
        .collect();
    let options: Vec<String> = options
        .iter()
        .map(|(key, value)| format!("    '{key}' = '{}'", value.replace('\'', "''")))
        .collect();
    format!(
        "CREATE TABLE {} (\n{}\n) WITH (\n{}\n)",
        name_text(name),
        lines.join(",\n"),
        options.join(",\n")
    )
}

/// A name in quotes.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// What stands between quotes, doubled ones made single.
pub(crate) fn unquoted(text: &str) -> String {
    let Some(quote) = text.chars().next() else {
        return String::new();
    };
    let inner = text.strip_prefix(quote).unwrap_or(text);
    let inner = inner.strip_suffix(quote).unwrap_or(inner);
    inner.replace(&format!("{quote}{quote}"), &quote.to_string())
}

/// Words that cannot be names of columns without quotes, or that would read oddly.
const RESERVED: &str = " all and any array as asc between by case cast check column constraint create cross current date day default \
    delete desc distinct drop else end escape except exists extract false fetch filter first for from full group grouping having \
    hour if in inner insert intersect interval into is join last lateral left like limit map match metadata minute month not null \
    nulls of offset on or order outer over partition position primary range references right row rows second select set some \
    start system table then time timestamp to trim true union unique unnest update using value values watermark when where window \
    with within without year ";

/// A name as it is written: quoted only where it has to be.
pub(crate) fn name_text(name: &str) -> String {
    let simple = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if simple && !RESERVED.contains(&format!(" {} ", name.to_lowercase())) {
        name.to_owned()
    } else {
        quoted(name)
    }
}

/// A type as a declaration writes it; `name` writes the names of fields. What cannot be declared becomes what holds its
/// values.
pub(crate) fn type_text(data_type: &DataType, name: fn(&str) -> String) -> String {
    let inner = |data_type| type_text(data_type, name);
    match data_type {
        DataType::Array(item) => format!("ARRAY<{}>", inner(item)),
        DataType::Map(key, value) => format!("MAP<{}, {}>", inner(key), inner(value)),
        DataType::Row(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|field| format!("{} {}", name(&field.name), inner(&field.data_type)))
                .collect();
            format!("ROW<{}>", fields.join(", "))
        }
        DataType::Null => "STRING".to_owned(),
        DataType::UInt8 => "SMALLINT".to_owned(),
        DataType::UInt16 => "INT".to_owned(),
        DataType::UInt32 => "BIGINT".to_owned(),
        DataType::UInt64 => "DECIMAL(20, 0)".to_owned(),
        DataType::Timestamp(TimeUnit::Second) => "TIMESTAMP(0)".to_owned(),
        other => other.to_string(),
    }
}
