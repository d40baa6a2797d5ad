//! Statements: which one it is, and what people write that is none here.
//!
//! A text is cut at `;` before anything is parsed, so a mistake in one statement hides none in the next.
//! `BEGIN STATEMENT SET; … END;` groups INSERTs: all statements of a text are one job anyway, so a set is only
//! checked for its form.

use sqlparser::tokenizer::{Token, TokenWithSpan, Word};
use weir_types::{Diagnostic, Diagnostics, Span};

use super::cursor::Cursor;
use super::tokens::{self, Chunk};
use super::{CreateTable, Script, Statement, about, ddl, elsewhere, hints, query};
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
    if !problems.is_empty() {
        // A quote or a comment without an end: what stands behind it is anybody's guess.
        parser.statements.clear();
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
            let cursor = Cursor::new(&chunk.tokens, chunk.end);
            self.unreadable(cursor);
            return;
        }
        let mut cursor = Cursor::new(&chunk.tokens, chunk.end);
        self.statement_set(&mut cursor);
        if cursor.is_at_end() {
            return;
        }
        let start = cursor.span();
        let whole = cursor.clone();
        match statement(&mut cursor) {
            Ok(Statement::CreateTable(table)) if table.like.is_some() => match self.like(table) {
                Ok(table) => self.statements.push(Statement::CreateTable(table)),
                Err(problems) => {
                    self.problems.extend(problems.0);
                    self.unreadable(whole);
                }
            },
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
            Err(problems) => {
                self.problems.extend(problems.0);
                self.unreadable(whole);
            }
        }
    }

    /// What a table takes over from the one after LIKE.
    fn like(&mut self, table: CreateTable) -> Result<CreateTable, Diagnostics> {
        let Some(like) = table.like.clone() else {
            return Ok(table);
        };
        let mut base: Option<&CreateTable> = None;
        for statement in &self.statements {
            match statement {
                // Its own mistakes have been told.
                Statement::Unreadable {
                    declares: Some(name),
                } if name.value == like.base.value => return Err(Diagnostics(Vec::new())),
                Statement::CreateTable(table)
                    if table.name.value == like.base.value
                        && (base.is_none() || !table.if_not_exists) =>
                {
                    base = Some(table);
                }
                Statement::Drop { name, .. } if name.value == like.base.value => base = None,
                _ => {}
            }
        }
        match base {
            Some(base) if base.query.is_none() => like.complete(table, base),
            Some(_) => Err(Diagnostic::error(
                codes::TABLE_FORM,
                format!(
                    "the columns of `{}` are those of a query",
                    like.base.spelling
                ),
            )
            .at(like.base.span, "made by CREATE TABLE … AS")
            .help("write out the columns of the new table")
            .into()),
            None => {
                let names = self
                    .statements
                    .iter()
                    .filter_map(|statement| match statement {
                        Statement::CreateTable(base) => Some(base.name.value.as_str()),
                        _ => None,
                    });
                let near = settings::nearest(&like.base.value, names);
                Err(Diagnostic::error(
                    codes::UNKNOWN_TABLE,
                    format!("no table `{}`", like.base.spelling),
                )
                .at(like.base.span, "not declared before this place")
                .nearest(near)
                .into())
            }
        }
    }

    /// A statement that has mistakes still declares what it would: who reads that has none for it.
    fn unreadable(&mut self, cursor: Cursor<'_>) {
        let declares = ddl::name_of_create(cursor);
        self.statements.push(Statement::Unreadable { declares });
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
    if let Some(about) = about::statement(cursor, start) {
        return about;
    }
    if cursor.is_keywords(&["CREATE"]) {
        let mut ahead = cursor.clone();
        ahead.skip(1);
        if let Some(created) = ddl::create(&mut ahead, start) {
            return created;
        }
    }
    Err(elsewhere::unknown(cursor).into())
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
    let hint = cursor.peek(0).and_then(hints::of_token);
    cursor.skip(usize::from(hint.is_some()));
    let hint = hint.flatten();
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

/// Forms of SET that belong to sessions, transactions and users.
const OF_SESSIONS: &[&[&str]] = &[
    &["TRANSACTION"],
    &["SESSION"],
    &["LOCAL"],
    &["ROLE"],
    &["NAMES"],
    &["CONSTRAINTS"],
    &["TIME", "ZONE"],
];

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
    if let Some(word) = OF_SESSIONS.iter().find(|words| cursor.is_keywords(words)) {
        let help = if word == &["TIME", "ZONE"] {
            "write SET 'time.zone' = 'Europe/Oslo'"
        } else {
            "settings are those of the job: SET 'key' = 'value'; docs/settings.md lists all"
        };
        return Err(Diagnostic::error(
            codes::UNKNOWN_STATEMENT,
            format!("there is no SET {} statement", word.join(" ")),
        )
        .at(start.union(cursor.span()), "not supported")
        .help(help)
        .into());
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
        let mut problem = Diagnostic::error(codes::UNKNOWN_STATEMENT, "EXPLAIN takes no options")
            .at(cursor.span(), "not supported")
            .help("EXPLAIN SELECT … and EXPLAIN INSERT … show IDs, changelog modes, keys, watermarks and state at once");
        if cursor.is_keywords(&["ANALYZE"]) {
            problem = problem.help(
                "EXPLAIN ANALYZE works in the REPL; for a file it is `weir explain FILE --analyze`",
            );
        }
        return Err(problem.into());
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
