//! The pages about connectors and errors: made from the descriptions in this crate, compared by a test.
//!
//! `UPDATE=1` before the test's command writes them anew.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use weir_types::{Column, DataType, Diagnostic, Span, TimeUnit};

use crate::options::OptionInfo;
use crate::registry::{ON_ERROR, SOURCE_OPTIONS};
use crate::{
    ConnectorInfo, FORMATS, Role, TableRequest, check_table, connectors, dead_letter_columns,
};

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

/// Compares a page with what it should be.
fn compare(path: &Path, expected: &str) -> Result<(), String> {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, expected).unwrap();
        return Ok(());
    }
    match std::fs::read_to_string(path) {
        Ok(actual) if actual == expected => Ok(()),
        _ => Err(format!(
            "{} is not up to date: run the test with UPDATE=1",
            path.display()
        )),
    }
}

fn options_table(page: &mut String, options: &[&OptionInfo]) {
    page.push_str("| Option | Default | Value | |\n|---|---|---|---|\n");
    for info in options {
        let default = info.default.map(|default| match default {
            "\"" => "`\"`".to_owned(),
            "" => "empty".to_owned(),
            default => format!("`{default}`"),
        });
        let (form, help) = (info.form.describe(), info.help.replace('|', "\\|"));
        let _ = writeln!(
            page,
            "| `{}` | {} | {form} | {help} |",
            info.key,
            default.unwrap_or_default()
        );
    }
}

const MADE: &str =
    "<!-- Made from the descriptions in connectors/src: UPDATE=1 cargo test writes it anew. -->";

fn connector_page(info: &ConnectorInfo) -> String {
    let mut page = format!(
        "# `{}`\n\n{MADE}\n\n{}.\n\n",
        info.name,
        sentence(info.help)
    );
    let roles = match (info.source, info.sink) {
        (true, true) => "Can be read and written.",
        (true, false) => "Can be read.",
        _ => "Can be written.",
    };
    let _ = writeln!(page, "{roles} {}\n\n## Options\n", info.guarantee);
    let mut options: Vec<&OptionInfo> = info.options.iter().collect();
    if info.source {
        options.extend(info.formatted.then_some(&ON_ERROR));
        options.extend(SOURCE_OPTIONS);
    }
    if options.is_empty() {
        page.push_str("None.\n");
    } else {
        options_table(&mut page, &options);
    }
    if info.formatted {
        page.push_str("\n`format` is required: see [formats](formats.md).\n");
    }
    if info.name == "datagen" {
        page.push_str("\n## Fields\n\n`'fields.NAME.ATTRIBUTE' = '…'` says what a column holds.\n\n| Attribute | |\n|---|---|\n");
        for (name, help) in crate::datagen::ATTRIBUTES {
            let _ = writeln!(page, "| `{name}` | {help} |");
        }
    }
    if info.name == "nexmark" {
        page.push_str(NEXMARK);
        for (table, fields) in crate::nexmark::reference() {
            let _ = writeln!(
                page,
                "\n### `'table' = '{table}'`\n\n| Column | Type | |\n|---|---|---|"
            );
            for [name, data_type, help] in fields {
                let _ = writeln!(page, "| `{name}` | {data_type} | {help} |");
            }
        }
    }
    if !info.metadata.is_empty() {
        page.push_str("\n## Metadata columns\n\n`name TYPE METADATA FROM 'key'`\n\n| Key | Type | |\n|---|---|---|\n");
        for metadata in info.metadata {
            let data_type = if metadata.is_text { "STRING" } else { "BIGINT" };
            let _ = writeln!(
                page,
                "| `{}` | {data_type} | {} |",
                metadata.key, metadata.help
            );
        }
    }
    page
}

const NEXMARK: &str = "
## Columns

A table declares the fields that it wants, by name, in any order; those that a query does not read are not made. The queries in
`queries/nexmark` show it at work.

```sql
CREATE TABLE bid (
  auction BIGINT, bidder BIGINT, price BIGINT, date_time TIMESTAMP(3),
  WATERMARK FOR date_time AS date_time - INTERVAL '4' SECOND
) WITH ('connector' = 'nexmark', 'table' = 'bid', 'events' = '1000');
SELECT bidder, max(price) FROM bid GROUP BY bidder;
```

```sql
CREATE TABLE event (event_type INT, bid ROW<auction BIGINT, price BIGINT>)
WITH ('connector' = 'nexmark', 'events' = '1000');
SELECT bid.auction, bid.price FROM event WHERE event_type = 2;
```
";

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

fn formats_page() -> String {
    let mut page = format!("# Formats\n\n{MADE}\n\nHow a row is text; the value of `'format'`.\n");
    for info in FORMATS {
        let _ = writeln!(page, "\n## `{}`\n\n{}.\n", info.name, sentence(info.help));
        if !info.options.is_empty() {
            options_table(&mut page, &info.options.iter().collect::<Vec<_>>());
        }
    }
    page.push_str(
        "\n## Values\n\n\
         | Type | Written | Also read |\n|---|---|---|\n\
         | integers | `-7` | |\n\
         | REAL, DOUBLE | shortest digits that read back as the same: `0.1`, `1e21`, `NaN`, `Infinity` (JSON: as strings) | any JSON number |\n\
         | DECIMAL | all digits of the scale: `12.50` | more digits, rounded half away from zero; in JSON a string too |\n\
         | BOOLEAN | `true`, `false` | any case in CSV |\n\
         | STRING | as it is | |\n\
         | BYTES | base64 | without padding |\n\
         | DATE | `2013-01-31` | |\n\
         | TIME | `23:59:00.250` | without seconds |\n\
         | TIMESTAMP | as `timestamp.format` says | `T` or a space, a fraction or none, `Z` |\n\
         | TIMESTAMP_LTZ | likewise, with a `Z` | any offset, `+02:00`; none is UTC |\n\
         | ROW, ARRAY, MAP | JSON objects and arrays; in CSV only written, as JSON | |\n\n\
         JSON writes NULL as `null` and reads a missing key as NULL; of a repeated key the last value counts. A line is a\n\
         record; empty lines, a byte order mark and `\\r` before a newline are skipped.\n\n\
         A CSV file of one column writes NULL as `\"\"`, because an empty line is no record. Where that column is a STRING it is read back\n\
         as an empty text: give such a table a `'csv.null' = 'NULL'`, or any other text that is no value, and both are told apart.\n\n\
         ## Malformed records\n\n\
         A record is malformed if its structure is broken, or if a column that the query reads does not fit its type. `'on.error'`\n\
         says what happens then: the job stops (`fail`, the default), the record is skipped and counted (`skip`), or it goes to a\n\
         table of yours (`dead-letter:TABLE`), which gets those of these columns that it declares:\n\n\
         | Column | Type |\n|---|---|\n",
    );
    for column in dead_letter_columns() {
        let _ = writeln!(page, "| `{}` | {} |", column.name, column.data_type);
    }
    page
}

fn index_page() -> String {
    let mut page = format!(
        "# Connectors\n\n{MADE}\n\n| `'connector'` | Reads | Writes | |\n|---|---|---|---|\n"
    );
    let mark = |able| if able { "yes" } else { "" };
    for info in connectors() {
        let _ = writeln!(
            page,
            "| [`{}`]({}.md) | {} | {} | {} |",
            info.name,
            info.name,
            mark(info.source),
            mark(info.sink),
            info.help
        );
    }
    page.push_str("\n[Formats](formats.md): JSON, CSV, changelogs, plain lines. [How files are written](file-sink.md). [What is kept in a manifest](positions.md).\n");
    page
}

#[test]
fn the_reference_of_connectors_is_what_the_code_says() {
    let folder = docs().join("connectors");
    let mut outcomes = vec![
        compare(&folder.join("README.md"), &index_page()),
        compare(&folder.join("formats.md"), &formats_page()),
    ];
    for info in connectors() {
        outcomes.push(compare(
            &folder.join(format!("{}.md", info.name)),
            &connector_page(info),
        ));
    }
    let wrong: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The codes of this crate, and what they are about.
const CODES: [(&str, &str); 15] = [
    ("C0001", "a connector that Weir does not have"),
    (
        "C0002",
        "an option that the connector or the format does not have",
    ),
    ("C0003", "a value that is not of its option's form"),
    ("C0004", "an option that is needed and missing"),
    ("C0005", "a format that Weir does not have"),
    (
        "C0006",
        "a connector that cannot be read, or cannot be written",
    ),
    ("C0007", "a column of a type that the format cannot hold"),
    ("C0008", "options that do not go together"),
    (
        "C0009",
        "a metadata column that the connector does not have",
    ),
    (
        "C0010",
        "a sink that only adds rows, under a query that takes rows back",
    ),
    ("C0011", "a path without files"),
    (
        "C0012",
        "a target that is a file instead of a folder, or the other way around, or somebody else's",
    ),
    (
        "C0013",
        "an option of a generated column that the table does not have",
    ),
    ("C0020", "a column that is no field of the generated events"),
    ("C0021", "a column of another type than the generated field"),
];

/// The tables and the role of `t` in a page's query: just enough of SQL for these pages.
fn request_of(sql: &str) -> (TableRequest, Role) {
    let mut request = TableRequest {
        table: "t".to_owned(),
        base: std::env::temp_dir(),
        ..TableRequest::default()
    };
    let place = |at: usize| {
        let before = &sql[..at];
        let line = before.matches('\n').count() as u32 + 1;
        (
            line,
            (at - before.rfind('\n').map_or(0, |newline| newline + 1)) as u32 + 1,
        )
    };
    let (head, options) = sql.split_once("WITH (").unwrap();
    let start = head.len() + "WITH (".len();
    request.table_span = Span::new(place(0), place(head.find('(').unwrap()));
    let quoted: Vec<(usize, &str)> = options[..options.find(')').unwrap()]
        .match_indices('\'')
        .collect();
    for quotes in quoted.chunks(4) {
        let text = |from: usize| options[quotes[from].0 + 1..quotes[from + 1].0].to_owned();
        let span = Span::new(place(start + quotes[0].0), place(start + quotes[3].0 + 1));
        request.option_spans.insert(text(0), span);
        request.options.insert(text(0), text(2));
    }
    let columns = &head[head.find('(').unwrap() + 1..head.rfind(')').unwrap()];
    for column in columns.split(", ") {
        let (name, rest) = column.trim().split_once(' ').unwrap();
        let data_type = match rest.split(" METADATA").next().unwrap() {
            "BIGINT" => DataType::Int64,
            "TIMESTAMP(3)" => DataType::Timestamp(TimeUnit::Milli),
            "ARRAY<STRING>" => DataType::Array(Box::new(DataType::String)),
            "STRING" => DataType::String,
            other => panic!("a page's query has the type {other}"),
        };
        let column = Column::new(name, data_type);
        match rest.split_once("FROM '") {
            Some((_, key)) => request
                .metadata
                .push((key.trim_end_matches('\'').to_owned(), column)),
            None => request.columns.push(column),
        }
    }
    request.declared = request.columns.clone();
    request.retractions = sql.contains("count(*)");
    (
        request,
        if sql.contains("INSERT INTO t") {
            Role::Sink
        } else {
            Role::Source
        },
    )
}

/// What opening the table says; check first, then the disk.
fn diagnose(sql: &str) -> Vec<Diagnostic> {
    let (request, role) = request_of(sql);
    let found = check_table(&request, role);
    if !found.is_empty() {
        return found;
    }
    let opened = match role {
        Role::Source => {
            crate::open_source(request).and_then(|source| source.splits(&BTreeMap::new()).map(drop))
        }
        Role::Sink => crate::open_sink(
            request,
            &crate::testing::environment(&std::env::temp_dir(), 1),
        )
        .map(drop),
    };
    match opened {
        Err(crate::Error::Diagnostic(diagnostic)) => vec![*diagnostic],
        other => panic!("{other:?} of {sql}"),
    }
}

fn block<'a>(page: &'a str, language: &str) -> Option<&'a str> {
    let start = page.find(&format!("```{language}\n"))? + language.len() + 4;
    let length = page[start..].find("\n```")?;
    Some(&page[start..start + length])
}

#[test]
fn every_code_has_a_page_whose_query_provokes_it() {
    let mut wrong = Vec::new();
    for (code, title) in CODES {
        let path = docs().join(format!("errors/{code}.md"));
        let Ok(page) = std::fs::read_to_string(&path) else {
            wrong.push(format!("{code} has no page"));
            continue;
        };
        if !page.starts_with(&format!("# {code}: {title}\n")) {
            wrong.push(format!(
                "{} does not begin with `# {code}: {title}`",
                path.display()
            ));
        }
        let sql = block(&page, "sql").unwrap_or_default();
        let found = diagnose(sql);
        if found.len() != 1 || found[0].code != *code {
            wrong.push(format!(
                "the query of {} provokes {found:?}",
                path.display()
            ));
            continue;
        }
        let shown = found[0]
            .render("query.sql", sql)
            .replace(&std::env::temp_dir().display().to_string(), "/home/me");
        let old = block(&page, "text").unwrap_or_default();
        let updated = page.replacen(
            &format!("```text\n{old}\n```"),
            &format!("```text\n{}\n```", shown.trim_end()),
            1,
        );
        wrong.extend(compare(&path, &updated).err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn all_mistakes_of_a_table_are_reported_at_once() {
    let sql = "CREATE TABLE t (n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'x', 'format' = 'jsn', 'mode' = 'batch', 'spilt' = 'file');";
    let codes: Vec<_> = diagnose(sql)
        .into_iter()
        .map(|found| (found.code, found.help.first().cloned().unwrap_or_default()))
        .collect();
    let expected = [
        ("C0005", "did you mean `json`?"),
        ("C0003", ""),
        ("C0002", "did you mean `split`?"),
    ];
    assert_eq!(
        codes,
        expected.map(|(code, help)| (code.to_owned(), help.to_owned()))
    );
}
