//! Statements: which one it is, and what people write that is none here.
//!
//! A text is cut at `;` before anything is parsed, so a mistake in one statement hides none in the next.
//! `BEGIN STATEMENT SET; … END;` groups INSERTs: all statements of a text are one job anyway, so a set is only
//! checked for its form.

use sqlparser::tokenizer::{Token, TokenWithSpan, Word};
use weir_types::{Diagnostic, Diagnostics, Span};

use super::cursor::Cursor;
use super::tokens::{self, Chunk};
use super::{Script, Statement, ddl, errors, query};
use crate::{codes, settings};

/// The statements of a text, and everything that is wrong with it, in the order of the text.
pub(crate) fn script(sql: &str) -> (Script, Vec<Diagnostic>) {
    let (chunks, mut problems) = tokens::scan(sql);
    let mut parser = ScriptParser {
        statements: Vec::new(),
        problems: Vec::new(),
        open_set: None,
    };
    for chunk in &chunks {
        parser.chunk(chunk);
    }
    if let Some(open) = parser.open_set {
        parser.problems.push(
            Diagnostic::error(codes::STATEMENT_SET, "this statement set is never closed")
                .at(open, "it opens here")
                .help("close it with END;"),
        );
    }
    problems.append(&mut parser.problems);
    problems.sort_by_key(|problem| problem.labels.first().map(|label| label.span.start));
    (
        Script {
            statements: parser.statements,
        },
        problems,
    )
}

struct ScriptParser {
    statements: Vec<Statement>,
    problems: Vec<Diagnostic>,
    /// Where the statement set that is open began.
    open_set: Option<Span>,
}

impl ScriptParser {
    fn chunk(&mut self, chunk: &Chunk) {
        if let Err(problem) = tokens::check_depth(&chunk.tokens) {
            self.problems.push(problem);
            return;
        }
        let mut cursor = Cursor::new(&chunk.tokens, chunk.end);
        self.statement_set(&mut cursor);
        if cursor.is_at_end() {
            return;
        }
        let start = cursor.span();
        match statement(&mut cursor) {
            Ok(statement) => {
                if self.open_set.is_some() && !matches!(statement, Statement::Insert { .. }) {
                    self.problems.push(
                        Diagnostic::error(
                            codes::STATEMENT_SET,
                            "a statement set holds INSERT statements only",
                        )
                        .at(start, "not an INSERT")
                        .help("move it before the set"),
                    );
                }
                self.statements.push(statement);
            }
            Err(problems) => self.problems.extend(problems.0),
        }
    }

    /// Takes the words that open or close a statement set: `BEGIN STATEMENT SET`, `EXECUTE STATEMENT SET [BEGIN]`, `END`.
    fn statement_set(&mut self, cursor: &mut Cursor<'_>) {
        let start = cursor.span();
        if cursor.take_keywords(&["BEGIN", "STATEMENT", "SET"])
            || cursor.take_keywords(&["EXECUTE", "STATEMENT", "SET"])
        {
            cursor.take_keyword("BEGIN");
            if self
                .open_set
                .replace(start.union(cursor.last_span()))
                .is_some()
            {
                self.problems.push(
                    Diagnostic::error(
                        codes::STATEMENT_SET,
                        "a statement set cannot stand in another one",
                    )
                    .at(start, "a second one opens here")
                    .help("close the first one with END;"),
                );
            }
        } else if cursor.is_keywords(&["END"])
            && (cursor.rest().len() == 1 || cursor.is_keywords(&["END", "STATEMENT", "SET"]))
        {
            cursor.skip(cursor.rest().len());
            if self.open_set.take().is_none() {
                self.problems.push(
                    Diagnostic::error(codes::STATEMENT_SET, "END closes nothing")
                        .at(start, "no statement set is open")
                        .help("a set opens with BEGIN STATEMENT SET; without one, leave END out"),
                );
            }
        }
    }
}

/// One statement; all tokens of the cursor have to belong to it.
fn statement(cursor: &mut Cursor<'_>) -> Result<Statement, Diagnostics> {
    let start = cursor.span();
    if starts_query(cursor.peek(0)) {
        let query = query::parse_query(cursor.rest(), cursor.statement(), cursor.end())?;
        return Ok(Statement::Select {
            query,
            span: whole(cursor, start),
        });
    }
    // `EXECUTE INSERT …` is Flink's long form of an INSERT.
    if cursor.is_keywords(&["EXECUTE", "INSERT"]) {
        cursor.skip(1);
    }
    if cursor.take_keyword("INSERT") {
        return insert(cursor, start);
    }
    if cursor.take_keyword("SET") {
        return set(cursor, start);
    }
    if cursor.take_keyword("EXPLAIN") {
        return explain(cursor, start);
    }
    if cursor.is_keywords(&["CREATE"]) {
        let mut ahead = cursor.clone();
        ahead.skip(1);
        if let Some(created) = ddl::create(&mut ahead, start) {
            return created;
        }
    }
    Err(unknown(cursor).into())
}

/// Whether a query starts with this token.
pub(crate) fn starts_query(token: Option<&Token>) -> bool {
    use super::cursor::is_keyword;
    token.is_some_and(|token| {
        *token == Token::LParen
            || ["SELECT", "WITH", "VALUES", "TABLE", "FROM"]
                .iter()
                .any(|word| is_keyword(token, word))
    })
}

/// Takes all tokens; the span from `start` to the last one.
fn whole(cursor: &mut Cursor<'_>, start: Span) -> Span {
    cursor.skip(cursor.rest().len());
    start.union(cursor.last_span())
}

/// `INSERT [hint] INTO name [(columns)] query`; INSERT was taken.
fn insert(cursor: &mut Cursor<'_>, start: Span) -> Result<Statement, Diagnostics> {
    let hint = cursor.peek(0).and_then(tokens::hint_of_token);
    cursor.skip(usize::from(hint.is_some()));
    if cursor.is_keywords(&["OVERWRITE"]) {
        return Err(Diagnostic::error(codes::UNKNOWN_STATEMENT, "INSERT OVERWRITE is not supported")
            .at(cursor.span(), "a stream has no end at which to replace a table")
            .help("INSERT INTO appends; a file sink with 'mode' = 'snapshot' is replaced by the current result at each commit")
            .into());
    }
    cursor.expect_keyword("INTO")?;
    cursor.take_keyword("TABLE");
    let target = cursor.object_name("the name of the table")?;
    if cursor.is_keywords(&["PARTITION"]) {
        return Err(Diagnostic::error(
            codes::TABLE_FORM,
            "INSERT INTO … PARTITION is not supported",
        )
        .at(cursor.span(), "not here")
        .help("declare the table PARTITIONED BY (column) and give the column in the query")
        .into());
    }
    let columns = match (cursor.peek(0), cursor.peek(1)) {
        (Some(Token::LParen), next) if !starts_query(next) => {
            cursor.names("the name of a column")?
        }
        _ => Vec::new(),
    };
    for (index, column) in columns.iter().enumerate() {
        if columns[..index]
            .iter()
            .any(|other| other.value == column.value)
        {
            return Err(ddl::declared_twice(
                &format!("the column `{}`", column.spelling),
                column.span,
            )
            .into());
        }
    }
    if !starts_query(cursor.peek(0)) {
        return Err(cursor.expected("a query (SELECT …)").into());
    }
    let query = query::parse_query(cursor.rest(), cursor.statement(), cursor.end())?;
    Ok(Statement::Insert {
        target,
        columns,
        query,
        hint,
        span: whole(cursor, start),
    })
}

/// `SET 'key' = 'value'`, `SET key = value`, `SET key TO value`; SET was taken.
fn set(cursor: &mut Cursor<'_>, start: Span) -> Result<Statement, Diagnostics> {
    if cursor.is_at_end() {
        let known = settings::SETTINGS
            .iter()
            .map(|setting| format!("'{}'", setting.key))
            .collect::<Vec<_>>()
            .join(", ");
        return Err(
            Diagnostic::error(codes::UNEXPECTED_TOKEN, "SET needs a key and a value")
                .at(start, "nothing follows")
                .help("for example SET 'checkpoint.interval' = '10 s'")
                .help(format!("the settings are {known}"))
                .into(),
        );
    }
    let is_assignment =
        |token: &Token| *token == Token::Eq || super::cursor::is_keyword(token, "TO");
    let key_tokens = cursor.until(|token, _| is_assignment(token));
    let Some((key, key_span)) = text_of(key_tokens) else {
        return Err(cursor.expected("the key of a setting").into());
    };
    if !cursor.peek(0).is_some_and(is_assignment) {
        return Err(cursor
            .expected("`=` and a value")
            .help("for example SET 'checkpoint.interval' = '10 s'")
            .into());
    }
    cursor.skip(1);
    let value_tokens = cursor.rest();
    let Some((value, value_span)) = text_of(value_tokens) else {
        return Err(cursor.expected("a value").into());
    };
    cursor.skip(value_tokens.len());
    let key = key.to_lowercase();
    settings::check(&key, &value).map_err(|problem| problem.diagnostic(key_span, value_span))?;
    Ok(Statement::Set {
        key,
        value,
        key_span,
        value_span,
    })
}

/// The text of a key or value: one string, or words as they stand there.
fn text_of(tokens: &[TokenWithSpan]) -> Option<(String, Span)> {
    let (first, last) = (tokens.first()?, tokens.last()?);
    let span = super::to_span(first.span).union(super::to_span(last.span));
    if let [
        TokenWithSpan {
            token: Token::SingleQuotedString(text),
            ..
        },
    ] = tokens
    {
        return Some((text.clone(), span));
    }
    let mut text = String::new();
    let mut end = first.span.start;
    for token in tokens {
        if token.span.start != end {
            text.push(' ');
        }
        end = token.span.end;
        match &token.token {
            Token::Word(Word { value, .. }) => text.push_str(value),
            token => text.push_str(&token.to_string()),
        }
    }
    Some((text, span))
}

/// `EXPLAIN [PLAN FOR] statement`; EXPLAIN was taken.
fn explain(cursor: &mut Cursor<'_>, start: Span) -> Result<Statement, Diagnostics> {
    let options = [
        "ANALYZE",
        "VERBOSE",
        "ESTIMATED_COST",
        "CHANGELOG_MODE",
        "JSON_EXECUTION_PLAN",
        "PLAN_ADVICE",
        "STATEMENT",
    ];
    let parenthesized = cursor.is(&Token::LParen) && !starts_query(cursor.peek(1));
    if parenthesized || options.iter().any(|option| cursor.is_keywords(&[option])) {
        return Err(Diagnostic::error(codes::UNKNOWN_STATEMENT, "EXPLAIN takes no options")
            .at(cursor.span(), "not supported")
            .help("EXPLAIN SELECT … and EXPLAIN INSERT … show IDs, changelog modes, keys, watermarks and state at once")
            .into());
    }
    cursor.take_keywords(&["PLAN", "FOR"]);
    if !starts_query(cursor.peek(0)) && !cursor.is_keywords(&["INSERT"]) {
        let problem = if cursor.is_at_end() {
            cursor.expected("SELECT or INSERT")
        } else {
            not_explained(cursor)
        };
        return Err(problem.into());
    }
    let statement = Box::new(statement(cursor)?);
    Ok(Statement::Explain {
        statement,
        span: start.union(cursor.last_span()),
    })
}

fn not_explained(cursor: &Cursor<'_>) -> Diagnostic {
    Diagnostic::error(
        codes::UNKNOWN_STATEMENT,
        "EXPLAIN shows the plan of a query or an INSERT",
    )
    .at(cursor.span(), "neither of them")
    .help("for a view: EXPLAIN SELECT * FROM the_view")
}

/// Statements of other systems, by the words they begin with: what is wrong, and the way out.
const ELSEWHERE: &[(&[&str], &str)] = &[
    (
        &["CREATE", "FUNCTION"],
        "user-defined functions are not supported yet; a view can hold an expression that is used often",
    ),
    (
        &["CREATE", "OR", "REPLACE", "FUNCTION"],
        "user-defined functions are not supported yet; a view can hold an expression that is used often",
    ),
    (
        &["CREATE", "TEMPORARY", "FUNCTION"],
        "user-defined functions are not supported yet; a view can hold an expression that is used often",
    ),
    (
        &["CREATE", "AGGREGATE"],
        "user-defined functions are not supported yet",
    ),
    (
        &["CREATE", "CATALOG"],
        "there are no catalogs: each text declares the tables that it uses",
    ),
    (
        &["CREATE", "DATABASE"],
        "there are no databases: each text declares the tables that it uses",
    ),
    (
        &["CREATE", "SCHEMA"],
        "there are no schemas: each text declares the tables that it uses",
    ),
    (
        &["CREATE", "INDEX"],
        "state is found by key without an index; remove the statement",
    ),
    (
        &["CREATE", "UNIQUE", "INDEX"],
        "a key is declared in CREATE TABLE: PRIMARY KEY (…) NOT ENFORCED",
    ),
    (
        &["CREATE", "SEQUENCE"],
        "a stream has no sequence; remove the statement",
    ),
    (
        &["CREATE", "TYPE"],
        "types are written where they are used: ROW<name type, …>",
    ),
    (
        &["CREATE", "EXTENSION"],
        "there are no extensions; remove the statement",
    ),
    (
        &["CREATE", "SOURCE"],
        "a source is a CREATE TABLE with WITH ('connector' = '…')",
    ),
    (
        &["CREATE", "SINK"],
        "a sink is a CREATE TABLE with WITH ('connector' = '…'), and INSERT INTO it SELECT …",
    ),
    (
        &["CREATE", "STREAM"],
        "a stream is a CREATE TABLE with WITH ('connector' = '…')",
    ),
    (
        &["DROP"],
        "what a text does not create is not there: remove its CREATE statement instead",
    ),
    (
        &["ALTER"],
        "edit the CREATE statement and run the file again: its state is kept where the edit allows it",
    ),
    (
        &["UPDATE"],
        "tables are streams: write the new rows with INSERT INTO … SELECT",
    ),
    (
        &["DELETE"],
        "tables are streams: filter rows with WHERE, or let the source bring retractions (changelog-json)",
    ),
    (
        &["MERGE"],
        "tables are streams: a table with a primary key takes the newest row of each key by INSERT INTO … SELECT",
    ),
    (
        &["TRUNCATE"],
        "`weir run FILE --fresh` starts again without state",
    ),
    (
        &["SHOW"],
        "not supported yet; `weir check FILE` lists tables, views and queries of a file",
    ),
    (
        &["DESCRIBE"],
        "not supported yet; EXPLAIN SELECT * FROM the_table shows its columns",
    ),
    (
        &["DESC"],
        "not supported yet; EXPLAIN SELECT * FROM the_table shows its columns",
    ),
    (
        &["USE"],
        "there are no catalogs and databases: each text declares the tables that it uses",
    ),
    (
        &["RESET"],
        "a setting holds for one text: remove its SET statement",
    ),
    (
        &["LOAD"],
        "there are no modules to load; remove the statement",
    ),
    (&["UNLOAD"], "there are no modules; remove the statement"),
    (
        &["ADD"],
        "there are no libraries to add; remove the statement",
    ),
    (
        &["REMOVE"],
        "there are no libraries to remove; remove the statement",
    ),
    (&["ANALYZE"], "no statistics are kept; remove the statement"),
    (&["CALL"], "there are no procedures"),
    (
        &["COMPILE"],
        "`weir explain FILE` shows the plan; plans are not run by themselves",
    ),
    (
        &["EXECUTE"],
        "write the INSERT itself; EXECUTE STATEMENT SET BEGIN … END groups several",
    ),
    (&["STOP"], "`weir stop` ends a job"),
    (
        &["BEGIN"],
        "there are no transactions: each epoch is one. INSERTs are grouped by BEGIN STATEMENT SET; … END;",
    ),
    (&["START"], "there are no transactions: each epoch is one"),
    (&["COMMIT"], "there are no transactions: each epoch is one"),
    (
        &["ROLLBACK"],
        "there are no transactions: each epoch is one",
    ),
    (
        &["COPY"],
        "read files with CREATE TABLE … WITH ('connector' = 'filesystem', …)",
    ),
    (&["GRANT"], "there are no users"),
    (&["REVOKE"], "there are no users"),
    (
        &["COMMENT"],
        "write COMMENT 'text' in the CREATE statement, or a comment: -- text",
    ),
    (
        &["REFRESH"],
        "a materialized view is always fresh; remove the statement",
    ),
    (&["VACUUM"], "nothing needs it; remove the statement"),
    (
        &["DECLARE"],
        "there are no cursors; a SELECT prints its result",
    ),
    (
        &["PREPARE"],
        "there are no prepared statements; write the query itself",
    ),
];

/// A statement that is none of ours.
fn unknown(cursor: &Cursor<'_>) -> Diagnostic {
    if let Some((words, way_out)) = ELSEWHERE
        .iter()
        .find(|(words, _)| cursor.is_keywords(words))
    {
        let mut span = cursor.clone();
        span.skip(words.len());
        let span = cursor.span().union(span.last_span());
        return Diagnostic::error(
            codes::UNKNOWN_STATEMENT,
            format!("there is no {} statement", words.join(" ")),
        )
        .at(span, "not supported")
        .help(*way_out);
    }
    const OURS: &[&str] = &[
        "CREATE", "INSERT", "SELECT", "SET", "EXPLAIN", "WITH", "BEGIN", "EXECUTE", "END",
    ];
    let word = cursor.peek(0).map(errors::shown).unwrap_or_default();
    if cursor.is_keywords(&["CREATE"]) {
        let mut after = cursor.clone();
        after.skip(1);
        let nearest = after.peek(0).and_then(|token| {
            settings::nearest(
                &token.to_string().to_ascii_uppercase(),
                ["TABLE", "VIEW", "MATERIALIZED"].into_iter(),
            )
        });
        return after.expected("TABLE or VIEW").nearest(nearest);
    }
    let nearest = settings::nearest(&word.to_ascii_uppercase(), OURS.iter().copied());
    Diagnostic::error(
        codes::UNKNOWN_STATEMENT,
        format!("no statement begins with `{word}`"),
    )
    .at(
        cursor.span(),
        "expected CREATE, INSERT, SELECT, SET or EXPLAIN",
    )
    .nearest(nearest)
}
