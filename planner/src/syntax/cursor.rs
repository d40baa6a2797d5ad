//! A place in the tokens of one statement, with the few steps that hand-written parsing needs.
//!
//! Keywords are compared by their text, without case, and never match a quoted name.

use sqlparser::tokenizer::{Token, TokenWithSpan, Word};
use weir_types::{Diagnostic, Span};

use super::{Name, errors, to_span};

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    tokens: &'a [TokenWithSpan],
    at: usize,
    /// Where the statement ends: its `;`, or just behind its last token.
    end: Span,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(tokens: &'a [TokenWithSpan], end: Span) -> Self {
        Self { tokens, at: 0, end }
    }

    /// The tokens that were not taken yet.
    pub(crate) fn rest(&self) -> &'a [TokenWithSpan] {
        &self.tokens[self.at.min(self.tokens.len())..]
    }

    /// All tokens of the statement.
    pub(crate) fn statement(&self) -> &'a [TokenWithSpan] {
        self.tokens
    }

    /// Where the statement ends.
    pub(crate) fn end(&self) -> Span {
        self.end
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at >= self.tokens.len()
    }

    /// The token `n` places ahead.
    pub(crate) fn peek(&self, n: usize) -> Option<&'a Token> {
        self.tokens.get(self.at + n).map(|token| &token.token)
    }

    pub(crate) fn skip(&mut self, count: usize) {
        self.at = (self.at + count).min(self.tokens.len());
    }

    /// The place of the next token, or of the statement's end.
    pub(crate) fn span(&self) -> Span {
        self.tokens
            .get(self.at)
            .map_or(self.end, |token| to_span(token.span))
    }

    /// The place of the token that was taken last.
    pub(crate) fn last_span(&self) -> Span {
        match self
            .at
            .checked_sub(1)
            .and_then(|last| self.tokens.get(last))
        {
            Some(token) => to_span(token.span),
            None => self.span(),
        }
    }

    pub(crate) fn is(&self, token: &Token) -> bool {
        self.peek(0) == Some(token)
    }

    pub(crate) fn take(&mut self, token: &Token) -> bool {
        let is = self.is(token);
        self.at += usize::from(is);
        is
    }

    /// Whether the words ahead are these keywords, in that order.
    pub(crate) fn is_keywords(&self, keywords: &[&str]) -> bool {
        let mut ahead = self.rest().iter().map(|token| &token.token);
        keywords
            .iter()
            .all(|keyword| ahead.next().is_some_and(|token| is_keyword(token, keyword)))
    }

    pub(crate) fn take_keywords(&mut self, keywords: &[&str]) -> bool {
        let is = self.is_keywords(keywords);
        if is {
            self.at += keywords.len();
        }
        is
    }

    pub(crate) fn take_keyword(&mut self, keyword: &str) -> bool {
        self.take_keywords(&[keyword])
    }

    pub(crate) fn expect(&mut self, token: &Token) -> Result<Span, Diagnostic> {
        if self.take(token) {
            Ok(self.last_span())
        } else {
            Err(self.expected(&format!("`{token}`")))
        }
    }

    pub(crate) fn expect_keyword(&mut self, keyword: &str) -> Result<Span, Diagnostic> {
        if self.take_keyword(keyword) {
            Ok(self.last_span())
        } else {
            Err(self.expected(keyword))
        }
    }

    /// A name of one part; `what` it names is for the message.
    pub(crate) fn name(&mut self, what: &str) -> Result<Name, Diagnostic> {
        let Some(Token::Word(word)) = self.peek(0) else {
            return Err(self.expected(what));
        };
        let name = name_of(word, self.span());
        self.at += 1;
        Ok(name)
    }

    /// The name of a table or view: it has one part.
    pub(crate) fn object_name(&mut self, what: &str) -> Result<Name, Diagnostic> {
        let first = self.name(what)?;
        if !self.is(&Token::Period) {
            return Ok(first);
        }
        let (mut whole, mut span, mut last) = (first.spelling.clone(), first.span, first);
        while self.take(&Token::Period) {
            last = self.name(what)?;
            span = span.union(last.span);
            whole = format!("{whole}.{}", last.spelling);
        }
        Err(errors::qualified_name(&whole, &last.spelling, span))
    }

    /// A string in single quotes.
    pub(crate) fn string(&mut self, what: &str) -> Result<(String, Span), Diagnostic> {
        match self.peek(0) {
            Some(Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text)) => {
                self.at += 1;
                Ok((text.clone(), self.last_span()))
            }
            _ => Err(self.expected(what)),
        }
    }

    /// `(name, …)`; the opening parenthesis is still ahead.
    pub(crate) fn names(&mut self, what: &str) -> Result<Vec<Name>, Diagnostic> {
        self.expect(&Token::LParen)?;
        let mut names = vec![self.name(what)?];
        while self.take(&Token::Comma) {
            names.push(self.name(what)?);
        }
        self.expect(&Token::RParen)?;
        Ok(names)
    }

    /// The tokens up to the next one outside of parentheses for which `stop` holds, or up to the parenthesis that
    /// closes what surrounds them. `stop` sees the token and the one behind it.
    pub(crate) fn until(
        &mut self,
        stop: impl Fn(&Token, Option<&Token>) -> bool,
    ) -> &'a [TokenWithSpan] {
        let start = self.at;
        let mut depth = 0usize;
        while let Some(token) = self.peek(0) {
            match token {
                Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
                Token::RParen | Token::RBracket | Token::RBrace if depth == 0 => break,
                Token::RParen | Token::RBracket | Token::RBrace => depth -= 1,
                token if depth == 0 && stop(token, self.peek(1)) => break,
                _ => {}
            }
            self.at += 1;
        }
        &self.tokens[start..self.at]
    }

    /// What is wrong when `what` should stand here and does not.
    pub(crate) fn expected(&self, what: &str) -> Diagnostic {
        errors::expected(what, self.tokens, self.at, self.end)
    }
}

/// Whether the token is that keyword, unquoted.
pub(crate) fn is_keyword(token: &Token, keyword: &str) -> bool {
    matches!(token, Token::Word(Word { value, quote_style: None, .. }) if value.eq_ignore_ascii_case(keyword))
}

/// The name that a word stands for.
pub(crate) fn name_of(word: &Word, span: Span) -> Name {
    let value = match word.quote_style {
        Some(_) => word.value.clone(),
        None => word.value.to_ascii_lowercase(),
    };
    Name {
        value,
        spelling: word.value.clone(),
        span,
    }
}
