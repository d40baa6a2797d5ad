//! From text to the tokens that the parsers read.
//!
//! ```text
//!   text ─▶ scan      tokens with spans, without blanks and comments; hints of one form; cut at `;`
//!        ─▶ shorten   TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), …))  ─▶  TUMBLE(bid, ts, …)
//!                     CAST(x AS ROW<a INT>)                        ─▶  CAST(x AS "ROW<a INT>")
//! ```
//!
//! # Invariants
//! 1. Every token keeps the span of the text that it stands for.
//! 2. A hint token stands right after SELECT or INSERT, is one that we know, and holds its place and its name
//!    ([`hint_name`]): sqlparser keeps a hint's text, but not its span.
//! 3. Parentheses nest at most [`DEPTH_MAX`] deep, and operators at most [`CHAIN_MAX`]: what recurses later is bounded.

use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, Whitespace};
use weir_types::{Diagnostic, Diagnostics, Span};

use super::cursor::{Cursor, is_keyword};
use super::dialect::WeirDialect;
use super::window::WindowFunction;
use super::{Name, errors, to_span, types};
use crate::codes;

/// How deep parentheses may nest.
pub(crate) const DEPTH_MAX: usize = 100;
/// How many operators may stand in one chain (between two commas), counting the chains around it: a chain is as deep
/// a tree as it is long.
pub(crate) const CHAIN_MAX: usize = 1_000;

/// The tokens of one statement.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) tokens: Vec<TokenWithSpan>,
    /// Its `;`, or the character behind its last token.
    pub(crate) end: Span,
}

/// The statements' tokens, and what is wrong with the text as such.
pub(crate) fn scan(sql: &str) -> (Vec<Chunk>, Vec<Diagnostic>) {
    let mut problems = Vec::new();
    let mut tokens = Vec::new();
    let dialect = WeirDialect::for_tokens(0);
    let mut tokenizer = Tokenizer::new(&dialect, sql);
    let broken = tokenizer.tokenize_with_location_into_buf(&mut tokens).err();
    let last_end = tokens.last().map(|token| token.span.end);
    let mut chunks = Vec::new();
    let mut current = Vec::new();
    for token in tokens {
        match &token.token {
            Token::Whitespace(Whitespace::MultiLineComment(comment))
                if comment.starts_with('+') =>
            {
                match hint(comment, to_span(token.span), current.last()) {
                    Ok(text) => current.push(TokenWithSpan::new(
                        Token::Whitespace(Whitespace::MultiLineComment(text)),
                        token.span,
                    )),
                    Err(problem) => problems.push(*problem),
                }
            }
            Token::Whitespace(_) => {}
            Token::SemiColon => chunks.push(Chunk {
                tokens: std::mem::take(&mut current),
                end: to_span(token.span),
            }),
            _ => current.push(token),
        }
    }
    match broken {
        // What stands before the place that cannot be read is no whole statement: it is not judged.
        Some(error) => {
            // Of a comment the tokenizer tells the end of the text; it opens where the last token ended.
            let start = last_end.unwrap_or(Location::new(1, 1));
            let comment = error.message.to_ascii_lowercase().contains("comment");
            problems.push(bad_token(
                &error.message,
                if comment { start } else { error.location },
                sql,
            ));
        }
        None => {
            let end = current
                .last()
                .map(|token: &TokenWithSpan| behind(token.span.end));
            if let Some(end) = end {
                chunks.push(Chunk {
                    tokens: current,
                    end,
                });
            }
        }
    }
    chunks.retain(|chunk| !chunk.tokens.is_empty());
    (chunks, problems)
}

fn behind(location: Location) -> Span {
    let (line, column) = (location.line as u32, location.column as u32);
    Span::new((line, column), (line, column + 1))
}

/// What the tokenizer could not read.
fn bad_token(message: &str, at: Location, sql: &str) -> Diagnostic {
    let what = message.to_ascii_lowercase();
    let span = behind(at);
    let (message, label, help) = if what.contains("comment") {
        (
            "a comment is never closed".to_owned(),
            "it opens here",
            "close it with */ (comments nest)",
        )
    } else if what.contains("quoted") || what.contains("delimiter") || what.contains("before eof") {
        (
            "a quoted name is never closed".to_owned(),
            "it opens here",
            "close it with the quote that opened it",
        )
    } else if what.contains("unterminated") {
        (
            "a string is never closed".to_owned(),
            "it opens here",
            "close it with '; a quote within a string is written twice: 'it''s'",
        )
    } else {
        let found = sql
            .lines()
            .nth(at.line.saturating_sub(1) as usize)
            .and_then(|line| line.chars().nth(at.column.saturating_sub(1) as usize));
        let message = found.map_or_else(
            || "this text cannot be read".to_owned(),
            |c| format!("`{c}` cannot stand here"),
        );
        (message, "not SQL", "quote it: 'text' or \"name\"")
    };
    Diagnostic::error(codes::BAD_TOKEN, message)
        .at(span, label)
        .help(help)
}

// Hints

/// The canonical text of a hint's comment, or why it cannot stand there.
fn hint(
    comment: &str,
    span: Span,
    previous: Option<&TokenWithSpan>,
) -> Result<String, Box<Diagnostic>> {
    let after = |keyword: &str| previous.is_some_and(|token| is_keyword(&token.token, keyword));
    if previous.is_some_and(|token| matches!(token.token, Token::Whitespace(_))) {
        return Err(Box::new(
            Diagnostic::error(codes::UNKNOWN_HINT, "a SELECT or INSERT takes one hint")
                .at(span, "this is a second one")
                .help("keep one /*+ ID('name') */"),
        ));
    }
    if !after("SELECT") && !after("INSERT") {
        return Err(Box::new(
            Diagnostic::error(
                codes::MISPLACED_HINT,
                "a hint stands right after SELECT or INSERT",
            )
            .at(span, "nobody looks for a hint here")
            .help("move it: SELECT /*+ ID('name') */ …")
            .help("a comment that is no hint starts with /* and not with /*+"),
        ));
    }
    let text = comment.trim_start_matches('+').trim();
    let unknown = |message: String| {
        let diagnostic =
            Diagnostic::error(codes::UNKNOWN_HINT, message).at(span, "not a hint that Weir knows");
        Box::new(diagnostic.help(
            "/*+ ID('name') */ gives the block a name, as an alias would: its state is found by it",
        ))
    };
    let name = text
        .get(..2)
        .filter(|id| id.eq_ignore_ascii_case("id"))
        .map(|_| text[2..].trim())
        .and_then(|rest| rest.strip_prefix('(')?.strip_suffix(')'))
        .map(str::trim)
        .and_then(|quoted| quoted.strip_prefix('\'')?.strip_suffix('\''))
        .filter(|name| !name.trim().is_empty() && !name.contains('\''));
    match name {
        Some(name) => {
            let Span { start, end } = span;
            Ok(format!(
                "+{}:{}:{}:{}:{name}",
                start.line, start.column, end.line, end.column
            ))
        }
        None if text.to_ascii_uppercase().starts_with("STATE_FROM") => Err(unknown(
            "the hint STATE_FROM is not supported yet".to_owned(),
        )),
        None => Err(unknown(format!(
            "there is no hint `{}`",
            text.chars().take(40).collect::<String>()
        ))),
    }
}

/// The name in a hint's canonical text (without its `+`).
pub(crate) fn hint_name(text: &str) -> Option<Name> {
    let mut parts = text.splitn(5, ':');
    let mut number = || parts.next()?.parse::<u32>().ok();
    let span = Span::new((number()?, number()?), (number()?, number()?));
    let name = parts.next()?.to_owned();
    Some(Name {
        value: name.clone(),
        spelling: name,
        span,
    })
}

/// The name in a hint token.
pub(crate) fn hint_of_token(token: &Token) -> Option<Name> {
    match token {
        Token::Whitespace(Whitespace::MultiLineComment(text)) => hint_name(text.strip_prefix('+')?),
        _ => None,
    }
}

// Bounds

/// Refuses what would recurse too deeply later (invariant 3). Also finds parentheses that do not match.
pub(crate) fn check_depth(tokens: &[TokenWithSpan]) -> Result<(), Diagnostic> {
    // For every open parenthesis how many operators its chain has so far, and the sum over all of them.
    let mut chains = vec![0usize];
    let mut sum = 0usize;
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => chains.push(0),
            Token::RParen | Token::RBracket | Token::RBrace => {
                if chains.len() > 1 {
                    sum -= chains.pop().unwrap_or(0);
                }
            }
            Token::Comma => sum -= chains.last_mut().map(std::mem::take).unwrap_or(0),
            token if is_operator(token) => {
                sum += 1;
                if let Some(chain) = chains.last_mut() {
                    *chain += 1;
                }
            }
            _ => {}
        }
        if chains.len() > DEPTH_MAX || sum > CHAIN_MAX {
            return Err(errors::too_deep(to_span(token.span)));
        }
    }
    Ok(())
}

/// Whatever can make a tree deeper without a parenthesis.
fn is_operator(token: &Token) -> bool {
    const WORDS: &[&str] = &[
        "AND",
        "OR",
        "NOT",
        "IS",
        "LIKE",
        "ILIKE",
        "SIMILAR",
        "IN",
        "BETWEEN",
        "UNION",
        "EXCEPT",
        "INTERSECT",
        "MINUS",
        "CASE",
        "COLLATE",
        "AT",
        "ISNULL",
        "NOTNULL",
        "XOR",
        "DIV",
        "OVERLAPS",
        "RLIKE",
        "REGEXP",
    ];
    match token {
        Token::Word(_) => WORDS.iter().any(|word| is_keyword(token, word)),
        Token::Number(..)
        | Token::Period
        | Token::SingleQuotedString(_)
        | Token::EscapedStringLiteral(_)
        | Token::DollarQuotedString(_)
        | Token::HexStringLiteral(_)
        | Token::SingleQuotedByteStringLiteral(_) => false,
        // Everything else is a sign of some kind; to count one that is no operator costs nothing.
        _ => true,
    }
}

// The short forms

/// The tokens of a query or expression as sqlparser can read them.
pub(crate) fn shorten(
    tokens: &[TokenWithSpan],
    end: Span,
) -> Result<Vec<TokenWithSpan>, Diagnostics> {
    let mut shortener = Shortener {
        out: Vec::with_capacity(tokens.len()),
        problems: Vec::new(),
        end,
    };
    shortener.run(tokens);
    if shortener.problems.is_empty() {
        Ok(shortener.out)
    } else {
        Err(Diagnostics(shortener.problems))
    }
}

struct Shortener {
    out: Vec<TokenWithSpan>,
    problems: Vec<Diagnostic>,
    end: Span,
}

impl Shortener {
    fn run(&mut self, tokens: &[TokenWithSpan]) {
        let mut at = 0;
        while at < tokens.len() {
            at += self.step(&tokens[at..]).max(1);
        }
    }

    /// Copies or rewrites what `tokens` begins with; the answer is how many tokens that were.
    fn step(&mut self, tokens: &[TokenWithSpan]) -> usize {
        if is_keyword(&tokens[0].token, "TABLE")
            && let Some(close) = closing(tokens, 1)
            && let Some((function, call_close)) = window_call(&tokens[2..close])
            && call_close + 3 == close
        {
            self.window(function, &tokens[2..close]);
            return close + 1;
        }
        if let Some((function, close)) = window_call(tokens) {
            self.window(function, &tokens[..=close]);
            return close + 1;
        }
        let cast = ["CAST", "TRY_CAST", "SAFE_CAST"]
            .iter()
            .any(|cast| is_keyword(&tokens[0].token, cast));
        if cast && let Some(close) = closing(tokens, 1) {
            self.cast(&tokens[..=close]);
            return close + 1;
        }
        if tokens[0].token == Token::DoubleColon
            && tokens.get(1).is_some_and(|token| {
                types::starts_type(&token.token) || matches!(token.token, Token::Word(_))
            })
        {
            self.out.push(tokens[0].clone());
            let mut cursor = Cursor::new(&tokens[1..], self.end);
            return match types::parse(&mut cursor) {
                Ok(_) => {
                    let taken = tokens.len() - 1 - cursor.rest().len();
                    self.out.extend(types::encoded(&tokens[1..=taken]));
                    taken + 1
                }
                Err(problem) => {
                    self.problems.push(problem);
                    2
                }
            };
        }
        self.out.push(tokens[0].clone());
        1
    }

    /// `CAST(expr AS type)`: the type becomes one word.
    fn cast(&mut self, tokens: &[TokenWithSpan]) {
        let inner = &tokens[2..tokens.len() - 1];
        let mut cursor = Cursor::new(inner, to_span(tokens[tokens.len() - 1].span));
        let expr = cursor.until(|token, _| is_keyword(token, "AS"));
        self.out.extend_from_slice(&tokens[..2]);
        self.run(expr);
        if cursor.take_keyword("AS") {
            self.out.push(inner[expr.len()].clone());
            let types_at = expr.len() + 1;
            match types::parse(&mut cursor) {
                Ok(_) => {
                    let rest = cursor.rest();
                    self.out
                        .extend(types::encoded(&inner[types_at..inner.len() - rest.len()]));
                    self.out.extend_from_slice(rest);
                }
                Err(problem) => self.problems.push(problem),
            }
        } else {
            self.out.extend_from_slice(cursor.rest());
        }
        self.out.push(tokens[tokens.len() - 1].clone());
    }

    /// A call of a window function, from its name to its closing parenthesis.
    fn window(&mut self, function: WindowFunction, tokens: &[TokenWithSpan]) {
        let (name, paren, close) = (&tokens[0], &tokens[1], &tokens[tokens.len() - 1]);
        let arguments = split_at_commas(&tokens[2..tokens.len() - 1]);
        let arguments = match positional(function, &arguments, to_span(name.span)) {
            Ok(arguments) => arguments,
            Err(problem) => {
                self.problems.push(problem);
                return;
            }
        };
        self.out.extend([name.clone(), paren.clone()]);
        for (index, argument) in arguments.iter().enumerate() {
            if index > 0 {
                let comma = argument.first().map_or(close.span, |token| token.span);
                self.out.push(TokenWithSpan::new(Token::Comma, comma));
            }
            match plain(function, argument) {
                Ok(argument) => self.run(argument),
                Err(problem) => self.problems.push(problem),
            }
        }
        self.out.push(close.clone());
    }
}

/// The window function whose call `tokens` begins with, and the index of its closing parenthesis.
fn window_call(tokens: &[TokenWithSpan]) -> Option<(WindowFunction, usize)> {
    let Token::Word(word) = &tokens.first()?.token else {
        return None;
    };
    if word.quote_style.is_some() {
        return None;
    }
    let function = WindowFunction::from_name(&word.value.to_ascii_lowercase())?;
    Some((function, closing(tokens, 1)?))
}

/// The index of the parenthesis that closes the one at `open`, if there is one at `open`.
fn closing(tokens: &[TokenWithSpan], open: usize) -> Option<usize> {
    if tokens.get(open)?.token != Token::LParen {
        return None;
    }
    let mut depth = 0usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(index);
        }
    }
    None
}

/// The stretches between the commas outside of parentheses; none for nothing.
fn split_at_commas(tokens: &[TokenWithSpan]) -> Vec<&[TokenWithSpan]> {
    let mut parts = Vec::new();
    let (mut start, mut depth) = (0, 0i64);
    for (index, token) in tokens.iter().enumerate() {
        match token.token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => depth -= 1,
            Token::Comma if depth == 0 => {
                parts.push(&tokens[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    if !tokens.is_empty() {
        parts.push(&tokens[start..]);
    }
    parts
}

/// The arguments in the order of the function's parameters, without their names.
fn positional<'a>(
    function: WindowFunction,
    arguments: &[&'a [TokenWithSpan]],
    call: Span,
) -> Result<Vec<&'a [TokenWithSpan]>, Diagnostic> {
    let is_named = |argument: &&[TokenWithSpan]| matches!(argument, [first, arrow, ..] if matches!(first.token, Token::Word(_)) && arrow.token == Token::RArrow);
    if !arguments.iter().any(is_named) {
        return Ok(arguments.to_vec());
    }
    let wrong = |message: String, span: Span, label: &str| {
        Diagnostic::error(codes::WINDOW_ARGUMENTS, message)
            .at(span, label)
            .help(format!(
                "{} takes {}",
                function.name(),
                function.parameters().join(", ").to_ascii_uppercase()
            ))
    };
    let parameters = function.parameters();
    let mut slots: Vec<Option<&[TokenWithSpan]>> = vec![None; parameters.len()];
    for argument in arguments {
        let span = argument.first().map_or(call, |token| to_span(token.span));
        if !is_named(argument) {
            return Err(wrong(
                "either all arguments have a name or none".to_owned(),
                span,
                "this one has no name",
            ));
        }
        let given = argument[0].token.to_string();
        let Some(slot) = parameters
            .iter()
            .position(|parameter| parameter.eq_ignore_ascii_case(&given))
        else {
            let nearest =
                crate::settings::nearest(&given.to_ascii_lowercase(), parameters.iter().copied());
            let nearest = nearest.map(str::to_ascii_uppercase);
            return Err(wrong(
                format!("{} has no argument `{given}`", function.name()),
                span,
                "unknown",
            )
            .nearest(nearest));
        };
        if slots[slot].replace(&argument[2..]).is_some() {
            return Err(wrong(
                format!("the argument `{given}` is given twice"),
                span,
                "the second one",
            ));
        }
    }
    if let Some(missing) =
        (0..slots.len()).find(|&slot| slots[slot].is_none() && parameters[slot] != "offset")
    {
        let name = parameters[missing].to_ascii_uppercase();
        return Err(wrong(
            format!("{} needs the argument {name}", function.name()),
            call,
            "it is missing here",
        ));
    }
    Ok(slots.into_iter().flatten().collect())
}

/// An argument without `TABLE` and `DESCRIPTOR( )`.
fn plain<'a>(
    function: WindowFunction,
    argument: &'a [TokenWithSpan],
) -> Result<&'a [TokenWithSpan], Diagnostic> {
    let Some(first) = argument.first() else {
        return Ok(argument);
    };
    if is_keyword(&first.token, "TABLE") {
        let relation = &argument[1..];
        let partition = relation
            .iter()
            .position(|token| is_keyword(&token.token, "PARTITION"));
        return match partition {
            // SESSION is refused later, as a whole.
            Some(partition) if function == WindowFunction::Session => Ok(&relation[..partition]),
            Some(partition) => Err(Diagnostic::error(
                codes::WINDOW_ARGUMENTS,
                format!("{} does not partition its table", function.name()),
            )
            .at(to_span(relation[partition].span), "not needed")
            .help("windows are the same for all rows; put the key into GROUP BY")),
            None => Ok(relation),
        };
    }
    if is_keyword(&first.token, "DESCRIPTOR")
        && let Some(close) = closing(argument, 1)
        && close + 1 == argument.len()
    {
        let columns = &argument[2..close];
        if let Some(comma) = columns.iter().find(|token| token.token == Token::Comma) {
            return Err(Diagnostic::error(
                codes::WINDOW_ARGUMENTS,
                "a window stands on one event-time column",
            )
            .at(to_span(comma.span), "a second one follows")
            .help(format!("for example {}", function.example())));
        }
        return Ok(columns);
    }
    Ok(argument)
}
