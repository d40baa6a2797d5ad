//! CREATE TABLE.
//!
//! ```text
//!   TABLE [IF NOT EXISTS] name (
//!     column TYPE [NOT NULL] [PRIMARY KEY NOT ENFORCED] [COMMENT '…'],
//!     column TYPE METADATA [FROM 'key'] [VIRTUAL],
//!     column AS expression,
//!     WATERMARK FOR column AS expression,
//!     PRIMARY KEY (column, …) NOT ENFORCED
//!   ) [COMMENT '…'] [PARTITIONED BY (column, …)] [WITH ('key' = 'value', …)] [LIKE … | AS query]
//! ```
//!
//! A mistake in one element does not hide one in the next: reading goes on behind its comma.

use sqlparser::tokenizer::{Token, Word};
use weir_types::{Diagnostic, Diagnostics, Span};

use super::cursor::{Cursor, is_keyword};
use super::ddl::{comment, declared_twice, repeated, table_form};
use super::{ColumnDefinition, ColumnKind, CreateTable, Name, TableOption, like, query, types};
use crate::codes;

/// Parses what follows `CREATE TABLE`.
pub(crate) fn create_table(
    cursor: &mut Cursor<'_>,
    start: Span,
) -> Result<CreateTable, Diagnostics> {
    let if_not_exists = cursor.take_keywords(&["IF", "NOT", "EXISTS"]);
    let name = cursor.object_name("the name of the table")?;
    let mut table = TableParser::new(name, start);
    table.table.if_not_exists = if_not_exists;
    // The columns may come from elsewhere.
    let from_elsewhere = ["AS", "LIKE", "WITH", "COMMENT", "PARTITIONED"]
        .iter()
        .any(|word| cursor.is_keywords(&[word]));
    let mut ahead = cursor.clone();
    let is_given = from_elsewhere && {
        ahead.until(|token, _| is_keyword(token, "AS") || is_keyword(token, "LIKE"));
        !ahead.is_at_end()
    };
    if !is_given {
        table.elements(cursor)?;
    }
    table.clauses(cursor)?;
    table.finish(cursor.last_span())
}

/// Skips to the comma behind an element, or to the end of the list. Commas between the angle brackets of a type do
/// not count, unless those brackets never close.
fn skip_element(cursor: &mut Cursor<'_>) {
    let start = cursor.clone();
    let mut angles = 0usize;
    let mut opens = false;
    loop {
        let signs = |token: &Token| {
            matches!(
                token,
                Token::Comma | Token::Lt | Token::Gt | Token::ShiftRight
            )
        };
        cursor.until(|token, _| signs(token) || is_composite(token));
        match cursor.peek(0) {
            Some(Token::Lt) if opens => angles += 1,
            Some(Token::Gt) => angles = angles.saturating_sub(1),
            Some(Token::ShiftRight) => angles = angles.saturating_sub(2),
            Some(Token::Comma) if angles == 0 => return,
            None | Some(Token::RParen) => break,
            _ => {}
        }
        opens = cursor.peek(0).is_some_and(is_composite);
        cursor.skip(1);
    }
    if angles > 0 {
        *cursor = start;
        cursor.until(|token, _| *token == Token::Comma);
    }
}

/// Whether the word opens a type with angle brackets.
fn is_composite(token: &Token) -> bool {
    ["ROW", "ARRAY", "MAP", "STRUCT", "MULTISET"]
        .iter()
        .any(|word| is_keyword(token, word))
}

/// What was read of a CREATE TABLE.
struct TableParser {
    table: CreateTable,
    problems: Vec<Diagnostic>,
}

impl TableParser {
    fn new(name: Name, start: Span) -> Self {
        let table = CreateTable {
            name,
            columns: Vec::new(),
            watermark: None,
            primary_key: Vec::new(),
            partitioned_by: Vec::new(),
            options: Vec::new(),
            if_not_exists: false,
            like: None,
            query: None,
            span: start,
        };
        Self {
            table,
            problems: Vec::new(),
        }
    }

    /// `( element, … )`
    fn elements(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Diagnostic> {
        if !cursor.is(&Token::LParen) {
            return Err(Diagnostic::error(codes::TABLE_FORM, format!("the table `{}` has no columns", self.table.name.spelling))
                .at(cursor.span(), "expected ( and the columns")
                .help("a table declares its columns: CREATE TABLE t (id BIGINT, ts TIMESTAMP(3)) WITH (…)"));
        }
        cursor.skip(1);
        loop {
            if cursor.is(&Token::RParen) {
                self.problems.push(cursor.expected("a column"));
                break;
            }
            let start = cursor.clone();
            let problems = match self.element(cursor) {
                Ok(()) if cursor.is(&Token::Comma) || cursor.is(&Token::RParen) => Vec::new(),
                Ok(()) => vec![self.unexpected_in_column(cursor)],
                Err(problems) => problems.0,
            };
            // After a mistake the next comma or the list's end is where reading goes on.
            if !problems.is_empty() {
                self.problems.extend(problems);
                *cursor = start;
                skip_element(cursor);
            }
            if !cursor.take(&Token::Comma) {
                break;
            }
        }
        cursor.expect(&Token::RParen).map(drop).or_else(|problem| {
            // A list that was never closed may be the trace of a mistake that was reported already.
            if self.problems.is_empty() {
                Err(problem)
            } else {
                Ok(())
            }
        })
    }

    fn element(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Diagnostics> {
        let start = cursor.span();
        if cursor.is_keywords(&["WATERMARK", "FOR"]) {
            return self.watermark(cursor, start);
        }
        let constrained =
            cursor.is_keywords(&["CONSTRAINT"]) && matches!(cursor.peek(1), Some(Token::Word(_)));
        if constrained {
            cursor.skip(2);
        }
        if cursor.is_keywords(&["PRIMARY", "KEY"]) {
            cursor.skip(2);
            let columns = cursor.names("the name of a column")?;
            not_enforced(cursor, start)?;
            return Ok(self.primary_key(columns, start)?);
        }
        for (words, way_out) in TABLE_CONSTRAINTS {
            if cursor.is_keywords(words)
                && (constrained || cursor.peek(words.len()) == Some(&Token::LParen))
            {
                return Err(refused_constraint(words, start, way_out).into());
            }
        }
        if cursor.is_keywords(&["LIKE"]) && matches!(cursor.peek(1), Some(Token::Word(_))) {
            return Err(table_form(cursor).into());
        }
        let column = column(cursor, |key, span| self.primary_key(vec![key], span))?;
        if self
            .table
            .columns
            .iter()
            .any(|other| other.name.value == column.name.value)
        {
            return Err(declared_twice(
                &format!("the column `{}`", column.name.spelling),
                column.name.span,
            )
            .into());
        }
        self.table.columns.push(column);
        Ok(())
    }

    /// `WATERMARK FOR column AS expression`
    fn watermark(&mut self, cursor: &mut Cursor<'_>, start: Span) -> Result<(), Diagnostics> {
        cursor.skip(2);
        let column = cursor.object_name("the name of the event-time column")?;
        cursor.expect_keyword("AS")?;
        let expr = expression(cursor)?;
        if self.table.watermark.is_some() {
            return Err(declared_twice("the watermark", start).into());
        }
        self.table.watermark = Some((column, expr, start.union(cursor.last_span())));
        Ok(())
    }

    fn primary_key(&mut self, columns: Vec<Name>, start: Span) -> Result<(), Diagnostic> {
        if !self.table.primary_key.is_empty() {
            return Err(declared_twice("the primary key", start));
        }
        if let Some(again) = repeated(&columns) {
            return Err(declared_twice(
                &format!("the key column `{}`", again.spelling),
                again.span,
            ));
        }
        self.table.primary_key = columns;
        Ok(())
    }

    /// What may stand behind the column list.
    fn clauses(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Diagnostics> {
        while !cursor.is_at_end() {
            if cursor.is_keywords(&["AS"]) {
                return self.as_query(cursor);
            }
            if let Err(problem) = self.clause(cursor) {
                self.problems.push(problem);
                break;
            }
        }
        Ok(())
    }

    /// `AS query`: the rest of the statement.
    fn as_query(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Diagnostics> {
        let table = &self.table;
        if !table.columns.is_empty() || table.watermark.is_some() || !table.primary_key.is_empty() {
            return Err(Diagnostic::error(
                codes::TABLE_FORM,
                "CREATE TABLE … AS takes its columns from the query",
            )
            .at(cursor.span(), "the table has columns already")
            .help("leave the list of columns out, or declare the table and INSERT INTO it SELECT …")
            .into());
        }
        cursor.skip(1);
        let query = query::parse_query(cursor.rest(), cursor.statement(), cursor.end())?;
        cursor.skip(cursor.rest().len());
        self.table.query = Some(query);
        Ok(())
    }

    fn clause(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Diagnostic> {
        let start = cursor.span();
        if cursor.is_keywords(&["COMMENT"]) {
            return comment(cursor);
        }
        if cursor.take_keywords(&["PARTITIONED", "BY"]) {
            if !self.table.partitioned_by.is_empty() {
                return Err(declared_twice("PARTITIONED BY", start));
            }
            self.table.partitioned_by = cursor.names("the name of a column")?;
            return match repeated(&self.table.partitioned_by) {
                Some(again) => Err(declared_twice(
                    &format!("the partition column `{}`", again.spelling),
                    again.span,
                )),
                None => Ok(()),
            };
        }
        if cursor.take_keyword("WITH") {
            if !self.table.options.is_empty() {
                return Err(declared_twice("WITH", start));
            }
            return self.options(cursor);
        }
        if cursor.take_keyword("LIKE") {
            if self.table.like.is_some() {
                return Err(declared_twice("LIKE", start));
            }
            self.table.like = Some(like::parse(cursor)?);
            return Ok(());
        }
        if cursor.is_keywords(&["DISTRIBUTED"]) || cursor.is_keywords(&["PARTITION", "BY"]) {
            return Err(Diagnostic::error(codes::TABLE_FORM, "this clause of CREATE TABLE is not supported")
                .at(start, "not here")
                .help("rows are spread over workers by Weir itself; PARTITIONED BY (column) makes folders of a file sink"));
        }
        Err(cursor.expected("WITH, PARTITIONED BY or the end of the statement"))
    }

    /// `( 'key' = 'value', … )`
    fn options(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Diagnostic> {
        cursor.expect(&Token::LParen)?;
        loop {
            if let Err(problem) = self.option(cursor) {
                self.problems.push(problem);
                cursor.until(|token, _| *token == Token::Comma);
            }
            if !cursor.take(&Token::Comma) {
                break;
            }
        }
        cursor.expect(&Token::RParen).map(drop)
    }

    fn option(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Diagnostic> {
        let shape = |cursor: &Cursor<'_>, what: &str| {
            let found = cursor.expected(what);
            Diagnostic {
                code: codes::TABLE_OPTION.to_owned(),
                ..found
            }
            .help("options are written 'key' = 'value', both in single quotes, with commas between")
        };
        let Ok((key, span)) = cursor.string("an option") else {
            return Err(shape(cursor, "the key of an option in single quotes"));
        };
        if !cursor.take(&Token::Eq) {
            return Err(shape(cursor, "`=`"));
        }
        let Ok((value, value_span)) = cursor.string("a value") else {
            return Err(shape(cursor, "the value of the option in single quotes"));
        };
        if !cursor.is(&Token::Comma) && !cursor.is(&Token::RParen) {
            return Err(shape(cursor, "`,` or `)`"));
        }
        let key = key.to_lowercase();
        if self.table.options.iter().any(|option| option.key == key) {
            return Err(declared_twice(&format!("the option '{key}'"), span));
        }
        self.table.options.push(TableOption {
            key,
            value,
            span: span.union(value_span),
        });
        Ok(())
    }

    /// What stands between a column that was read and the next comma.
    fn unexpected_in_column(&self, cursor: &Cursor<'_>) -> Diagnostic {
        for (words, way_out) in COLUMN_OPTIONS {
            if cursor.is_keywords(words) {
                return refused_constraint(words, cursor.span(), way_out);
            }
        }
        if cursor.is_keywords(&["AS"]) {
            return Diagnostic::error(
                codes::COLUMN_OPTION,
                "a computed column has no declared type",
            )
            .at(cursor.span(), "its type is that of the expression")
            .help("write `name AS expression`; CAST(… AS type) gives it another type");
        }
        if let Some(Token::Word(Word {
            quote_style: None, ..
        })) = cursor.peek(0)
            && matches!(cursor.peek(1), Some(Token::Word(_)))
            && !self.problems.iter().any(|problem| {
                problem
                    .labels
                    .iter()
                    .any(|label| label.span == cursor.span())
            })
        {
            return cursor.expected("`,` before the next column, an option of this column or `)`");
        }
        cursor.expected("`,` or `)`")
    }

    /// The table, as far as it can be judged without what it takes over.
    fn finish(mut self, last: Span) -> Result<CreateTable, Diagnostics> {
        self.table.span = self.table.span.union(last);
        if self.table.like.is_some() || self.table.query.is_some() {
            // Not all columns are known here.
            return if self.problems.is_empty() {
                Ok(self.table)
            } else {
                Err(Diagnostics(self.problems))
            };
        }
        checked(self.table, self.problems)
    }
}

/// The table, if nothing was wrong. Columns that clauses name have to exist.
pub(crate) fn checked(
    mut table: CreateTable,
    mut problems: Vec<Diagnostic>,
) -> Result<CreateTable, Diagnostics> {
    let mut named: Vec<(&Name, &str)> = Vec::new();
    named.extend(
        table
            .watermark
            .iter()
            .map(|(column, ..)| (column, "the watermark")),
    );
    named.extend(
        table
            .primary_key
            .iter()
            .map(|column| (column, "the primary key")),
    );
    named.extend(
        table
            .partitioned_by
            .iter()
            .map(|column| (column, "PARTITIONED BY")),
    );
    // With a mistake among the columns the list of names is not whole.
    if problems.is_empty() {
        for (column, clause) in named {
            if !table
                .columns
                .iter()
                .any(|other| other.name.value == column.value)
            {
                let names = table
                    .columns
                    .iter()
                    .map(|column| column.name.value.as_str());
                problems.push(
                    Diagnostic::error(
                        codes::NO_SUCH_COLUMN_IN_TABLE,
                        format!(
                            "{clause} names `{}`, which is no column of `{}`",
                            column.spelling, table.name.spelling
                        ),
                    )
                    .at(column.span, "not declared above")
                    .nearest(crate::settings::nearest(&column.value, names)),
                );
            }
        }
    }
    if !problems.is_empty() {
        return Err(Diagnostics(problems));
    }
    for column in &mut table.columns {
        // A row is found by its key, so no part of it can be NULL.
        column.not_null |= table
            .primary_key
            .iter()
            .any(|key| key.value == column.name.value);
    }
    Ok(table)
}

/// Constraints of a table that a stream cannot keep.
const TABLE_CONSTRAINTS: &[(&[&str], &str)] = &[
    (
        &["UNIQUE"],
        "a key is declared PRIMARY KEY (…) NOT ENFORCED",
    ),
    (
        &["FOREIGN", "KEY"],
        "nothing checks references between streams; remove it",
    ),
    (&["CHECK"], "filter rows in the query: WHERE …"),
    (&["EXCLUDE"], "nothing checks this on a stream; remove it"),
    (
        &["INDEX"],
        "state is found by key without an index; remove it",
    ),
];

/// Options of a column that a stream cannot keep.
const COLUMN_OPTIONS: &[(&[&str], &str)] = &[
    (
        &["DEFAULT"],
        "give the value in the query: coalesce(column, value)",
    ),
    (
        &["UNIQUE"],
        "a key is declared PRIMARY KEY (…) NOT ENFORCED",
    ),
    (&["CHECK"], "filter rows in the query: WHERE …"),
    (
        &["REFERENCES"],
        "nothing checks references between streams; remove it",
    ),
    (
        &["GENERATED"],
        "a computed column is written `name AS expression`",
    ),
    (&["AUTO_INCREMENT"], "a stream has no sequence; remove it"),
    (&["COLLATE"], "text is compared by its bytes; remove it"),
];

fn refused_constraint(words: &[&str], span: Span, way_out: &str) -> Diagnostic {
    Diagnostic::error(
        codes::COLUMN_OPTION,
        format!("{} cannot be declared for a stream", words.join(" ")),
    )
    .at(span, "not supported")
    .help(way_out)
}

/// `NOT ENFORCED` behind a primary key that began at `start`.
fn not_enforced(cursor: &mut Cursor<'_>, start: Span) -> Result<(), Diagnostic> {
    if cursor.take_keywords(&["NOT", "ENFORCED"]) {
        return Ok(());
    }
    Err(Diagnostic::error(
        codes::KEY_ENFORCED,
        "a primary key has to be declared NOT ENFORCED",
    )
    .at(
        start.union(cursor.last_span()),
        "Weir relies on this key, and does not check it",
    )
    .help("write PRIMARY KEY (…) NOT ENFORCED: whoever writes the stream answers for its keys"))
}

/// One column; `key` is told of a `PRIMARY KEY NOT ENFORCED` behind it.
fn column(
    cursor: &mut Cursor<'_>,
    mut key: impl FnMut(Name, Span) -> Result<(), Diagnostic>,
) -> Result<ColumnDefinition, Diagnostics> {
    let name = cursor.name("the name of a column")?;
    if cursor.take_keyword("AS") {
        let expr = expression(cursor)?;
        comment(cursor)?;
        let span = name.span.union(cursor.last_span());
        return Ok(ColumnDefinition {
            name,
            kind: ColumnKind::Computed(expr),
            not_null: false,
            span,
        });
    }
    if cursor.is(&Token::Comma) || cursor.is(&Token::RParen) {
        return Err(Diagnostic::error(
            codes::UNKNOWN_TYPE,
            format!("the column `{}` has no type", name.spelling),
        )
        .at(name.span, "a type has to follow")
        .help(format!("for example {} BIGINT", name.spelling))
        .into());
    }
    let data_type = types::parse(cursor)?;
    let mut metadata = None;
    let mut not_null = false;
    loop {
        let start = cursor.span();
        if cursor.take_keyword("METADATA") {
            let from = cursor.take_keyword("FROM");
            let declared = if from {
                cursor.string("the metadata key in single quotes")?.0
            } else {
                name.spelling.clone()
            };
            cursor.take_keyword("VIRTUAL");
            if metadata.replace(declared).is_some() {
                return Err(declared_twice("METADATA", start).into());
            }
        } else if cursor.take_keywords(&["NOT", "NULL"]) {
            not_null = true;
        } else if cursor.take_keyword("NULL") {
        } else if cursor.is_keywords(&["CONSTRAINT"])
            && matches!(cursor.peek(2), Some(token) if is_keyword(token, "PRIMARY"))
        {
            cursor.skip(2);
        } else if cursor.take_keywords(&["PRIMARY", "KEY"]) {
            not_enforced(cursor, start)?;
            key(name.clone(), start)?;
        } else if cursor.is_keywords(&["COMMENT"]) {
            let before = cursor.span();
            comment(cursor)?;
            if cursor.span() == before {
                return Err(cursor.expected("`,` or `)`").into());
            }
        } else {
            break;
        }
    }
    let span = name.span.union(cursor.last_span());
    let kind = match metadata {
        Some(key) => ColumnKind::Metadata { data_type, key },
        None => ColumnKind::Physical(data_type),
    };
    Ok(ColumnDefinition {
        name,
        kind,
        not_null,
        span,
    })
}

/// An expression of a column or watermark: it ends at the list's next comma, its end, or a comment.
fn expression(cursor: &mut Cursor<'_>) -> Result<sqlparser::ast::Expr, Diagnostics> {
    let tokens = cursor.until(|token, next| {
        *token == Token::Comma
            || (is_keyword(token, "COMMENT") && matches!(next, Some(Token::SingleQuotedString(_))))
    });
    query::parse_expr(tokens, cursor.statement(), cursor.span())
}
