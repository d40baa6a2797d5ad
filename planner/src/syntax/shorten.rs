//! The long forms that sqlparser cannot read are made short, token by token.
//!
//! ```text
//!   TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), …))   ─▶  TUMBLE(bid, ts, …)
//!   TUMBLE(SIZE => …, DATA => TABLE bid, …)       ─▶  TUMBLE(bid, …)            in the order of the parameters
//!   SESSION(TABLE bid PARTITION BY item, …, gap)  ─▶  SESSION(bid, …, gap, item)
//!   CAST(x AS ROW<a INT>)                         ─▶  CAST(x AS "ROW<a INT>")   one word, see types.rs
//! ```
//!
//! Tokens that stay keep their spans, and so do those that move: errors and spans of the AST are those of the text.

use sqlparser::tokenizer::{Token, TokenWithSpan};
use weir_types::{Diagnostic, Diagnostics, Span};

use super::cursor::{Cursor, is_keyword};
use super::window::WindowFunction;
use super::{to_span, types};
use crate::codes;

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
        if let Some(taken) = super::frame::taken(tokens, &mut self.out) {
            return taken;
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
        let mut partition = Vec::new();
        for (index, argument) in arguments.iter().enumerate() {
            if index > 0 {
                self.comma(argument, close);
            }
            match plain(function, argument) {
                Ok((argument, by)) => {
                    partition.extend(by);
                    self.run(argument);
                }
                Err(problem) => self.problems.push(problem),
            }
        }
        for column in partition {
            self.comma(column, close);
            self.out.extend_from_slice(column);
        }
        self.out.push(close.clone());
    }
}

impl Shortener {
    /// A comma before an argument.
    fn comma(&mut self, argument: &[TokenWithSpan], close: &TokenWithSpan) {
        let span = argument.first().map_or(close.span, |token| token.span);
        self.out.push(TokenWithSpan::new(Token::Comma, span));
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

/// An argument without `TABLE` and `DESCRIPTOR( )`, and the columns of its `PARTITION BY`.
fn plain(
    function: WindowFunction,
    argument: &[TokenWithSpan],
) -> Result<(&[TokenWithSpan], Vec<&[TokenWithSpan]>), Diagnostic> {
    let Some(first) = argument.first() else {
        return Ok((argument, Vec::new()));
    };
    let has_table = is_keyword(&first.token, "TABLE");
    let relation = &argument[usize::from(has_table)..];
    // A subquery may have a PARTITION BY of its own.
    let partition = (relation.len() > 1)
        .then(|| closing(relation, 0).map_or(1, |close| close + 1))
        .filter(|&at| {
            relation
                .get(at)
                .is_some_and(|token| is_keyword(&token.token, "PARTITION"))
        });
    if has_table || partition.is_some() {
        return match partition {
            Some(partition) if function == WindowFunction::Session => Ok((
                &relation[..partition],
                partition_columns(&relation[partition..])?,
            )),
            Some(partition) => Err(Diagnostic::error(
                codes::WINDOW_ARGUMENTS,
                format!("{} does not partition its table", function.name()),
            )
            .at(to_span(relation[partition].span), "not needed")
            .help("windows are the same for all rows; put the key into GROUP BY")),
            None => Ok((relation, Vec::new())),
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
        return Ok((columns, Vec::new()));
    }
    Ok((argument, Vec::new()))
}

/// The columns of `PARTITION BY a`, `PARTITION BY (a, b)`.
fn partition_columns(tokens: &[TokenWithSpan]) -> Result<Vec<&[TokenWithSpan]>, Diagnostic> {
    let by = tokens.get(1).filter(|token| is_keyword(&token.token, "BY"));
    let list = by.map(|_| &tokens[2..]).unwrap_or_default();
    let columns = match closing(list, 0) {
        Some(close) if close + 1 == list.len() => split_at_commas(&list[1..close]),
        _ => vec![list],
    };
    let is_name = |column: &&[TokenWithSpan]| matches!(column, [name] if matches!(name.token, Token::Word(_)));
    if !columns.is_empty() && columns.iter().all(is_name) {
        return Ok(columns);
    }
    let span = tokens.iter().fold(Span::default(), |span, token| {
        span.union(to_span(token.span))
    });
    Err(
        Diagnostic::error(codes::WINDOW_ARGUMENTS, "SESSION is partitioned by columns")
            .at(span, "expected the name of a column, or names in parentheses")
            .help("for example SESSION(TABLE bid PARTITION BY (auction, bidder), DESCRIPTOR(ts), INTERVAL '5' MINUTE)"),
    )
}
