//! Looks over every field of a query before the binder does, and refuses what nobody would look at.
//!
//! datafusion-sql ignores many fields of the AST without a word (a table's sample, partitions, version, hints; an ORDER BY within an
//! aggregate's arguments in some places; `ASOF`), and the binder plans a part of SQL so far. A query that passes here holds
//! nothing that either of them would silently drop.
//!
//! # Invariants
//! 1. Every struct and variant is destructured with all its fields (no `..`), so that a new version of sqlparser with a
//!    new field does not compile until somebody has decided about it.
//! 2. Every refusal has a code, the narrowest place that is known, and the nearest thing that works.
//! 3. Recursion is bounded by [`super::tokens::check_depth`].

mod expr;
mod from;
mod function;
mod select;
mod tail;
mod unnest;

use sqlparser::ast::{self, Expr, Query};
use sqlparser::tokenizer::{Token, TokenWithSpan};
use weir_types::{Code, Diagnostic, Diagnostics, Span};

use super::cursor::is_keyword;
use super::{span_of, to_span};

/// Refuses what is not supported in a query.
pub(crate) fn check_query(query: &Query, tokens: &[TokenWithSpan]) -> Result<(), Diagnostics> {
    let mut walker = Walker {
        tokens,
        problems: Vec::new(),
    };
    walker.query(query);
    walker.finish()
}

/// Refuses what is not supported in an expression over one table's columns.
pub(crate) fn check_expr(expr: &Expr, tokens: &[TokenWithSpan]) -> Result<(), Diagnostics> {
    let mut walker = Walker {
        tokens,
        problems: Vec::new(),
    };
    walker.expr(expr);
    walker.finish()
}

pub(super) struct Walker<'a> {
    /// The tokens from which the AST was made: many nodes have no span, and their keyword is looked for here.
    tokens: &'a [TokenWithSpan],
    problems: Vec<Diagnostic>,
}

impl Walker<'_> {
    fn finish(mut self) -> Result<(), Diagnostics> {
        self.problems.dedup();
        if self.problems.is_empty() {
            Ok(())
        } else {
            Err(Diagnostics(self.problems))
        }
    }

    /// Notes that something is refused: what, where, what is wrong there, and what works.
    fn refuse(
        &mut self,
        code: Code,
        message: impl Into<String>,
        span: Span,
        way_out: impl Into<String>,
    ) {
        self.problems.push(
            Diagnostic::error(code, message)
                .at(span, "not supported")
                .help(way_out),
        );
    }

    /// Refuses a clause that only other systems have.
    fn foreign(&mut self, clause: &str, span: Span, way_out: &str) {
        self.refuse(
            crate::codes::FOREIGN_CLAUSE,
            format!("{clause} is not supported"),
            span,
            way_out,
        );
    }

    /// The place of the last `keyword` before `span`, joined with `span`.
    fn since_keyword(&self, keyword: &str, span: Span) -> Span {
        let before = |token: &&TokenWithSpan| to_span(token.span).start < span.start;
        let found = self
            .tokens
            .iter()
            .take_while(before)
            .filter(|token| is_keyword(&token.token, keyword))
            .last();
        found.map_or(span, |token| to_span(token.span).union(span))
    }

    /// The place of the first `keyword` behind `start`, or `start` itself.
    fn keyword_after(&self, keyword: &str, start: Span) -> Span {
        let after = |token: &&TokenWithSpan| to_span(token.span).start >= start.end;
        let found = self
            .tokens
            .iter()
            .find(|token| after(token) && is_keyword(&token.token, keyword));
        found.map_or(start, |token| to_span(token.span))
    }

    /// The last `keyword` of all: where nothing else has a place.
    fn last_keyword(&self, keyword: &str) -> Span {
        let found = self
            .tokens
            .iter()
            .rfind(|token| is_keyword(&token.token, keyword));
        found.map_or(Span::default(), |token| to_span(token.span))
    }

    /// As [`Walker::keyword_after`], but one that follows within a few tokens.
    fn keyword_near(&self, keyword: &str, start: Span) -> Span {
        let after = |token: &&TokenWithSpan| to_span(token.span).start >= start.end;
        let found = self
            .tokens
            .iter()
            .filter(after)
            .take(6)
            .find(|token| is_keyword(&token.token, keyword));
        found.map_or(start, |token| to_span(token.span))
    }

    fn with(&mut self, with: &ast::With) {
        let ast::With {
            with_token,
            recursive,
            cte_tables,
        } = with;
        if *recursive {
            let span = self.keyword_near("RECURSIVE", to_span(with_token.0.span));
            self.refuse(
                crate::codes::RECURSIVE,
                "recursive queries are not supported",
                span,
                "without RECURSIVE a CTE may read those before it",
            );
        }
        for cte in cte_tables {
            let ast::Cte {
                alias,
                query,
                from,
                materialized,
                closing_paren_token: _,
            } = cte;
            self.table_alias(alias);
            if let Some(from) = from {
                self.foreign(
                    "FROM behind a CTE",
                    to_span(from.span),
                    "name the CTE in the query's FROM",
                );
            }
            if materialized.is_some() {
                let span = self.keyword_near("MATERIALIZED", to_span(alias.name.span));
                self.foreign(
                    "MATERIALIZED for a CTE",
                    span,
                    "a CTE that is read twice runs once in any case; remove the word",
                );
            }
            self.query(query);
        }
    }

    /// An alias with its columns' names.
    fn table_alias(&mut self, alias: &ast::TableAlias) {
        let ast::TableAlias {
            explicit: _,
            name,
            columns,
            at,
        } = alias;
        self.no_string(name);
        for column in columns {
            let ast::TableAliasColumnDef { name, data_type } = column;
            if data_type.is_some() {
                self.foreign(
                    "type in an alias",
                    to_span(name.span),
                    "cast the column in the query: CAST(a AS BIGINT)",
                );
            }
        }
        if let Some(at) = at {
            self.foreign("AT in an alias", to_span(at.span), "remove it");
        }
    }

    /// A name of one part.
    fn one_part(&mut self, name: &ast::ObjectName) {
        match name.0.as_slice() {
            [ast::ObjectNamePart::Identifier(ident)] => self.no_string(ident),
            _ => self.problems.extend(super::Name::from_object(name).err()),
        }
    }

    /// sqlparser takes a string for a name in many places. Mostly a comma is missing, or a file was meant.
    fn no_string(&mut self, name: &ast::Ident) {
        if name.quote_style == Some('\'') {
            let value = &name.value;
            // Such a name has no span; the string's token has.
            let is_it = |token: &&TokenWithSpan| matches!(&token.token, Token::SingleQuotedString(text) if text == value);
            let span = self
                .tokens
                .iter()
                .find(is_it)
                .map_or(name.span, |token| token.span);
            self.problems.push(
                Diagnostic::error(
                    crate::codes::UNEXPECTED_TOKEN,
                    format!("expected a name, found the string '{value}'"),
                )
                .at(to_span(span), "expected a name")
                .help(format!("a name is quoted as \"{value}\"; a file is read through a table: WITH ('path' = '…')"))
                .help("if it is a value, a comma is missing before it"),
            );
        }
    }
}

/// The place of the first of some nodes, or `otherwise`.
fn first_span<'n, N: ast::Spanned + 'n>(
    nodes: impl IntoIterator<Item = &'n N>,
    otherwise: Span,
) -> Span {
    nodes
        .into_iter()
        .map(span_of)
        .find(|span| !span.is_empty())
        .unwrap_or(otherwise)
}
