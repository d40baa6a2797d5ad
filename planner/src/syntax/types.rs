//! The one grammar of types, for CREATE TABLE and for casts: Flink's names and PostgreSQL's, nested to any depth.
//!
//! ```text
//!   type    := simple | ROW<name type, …> | ARRAY<type> | MAP<type, type>      then any number of `[]` or ARRAY
//!   simple  := BIGINT | DECIMAL(p, s) | TIMESTAMP(3) WITH LOCAL TIME ZONE | …   (`NAMES`)
//! ```
//!
//! sqlparser's types know neither ROW nor LTZ, and a few of its readings differ from ours (TIMESTAMP without
//! precision has microseconds here). So a type in a cast travels through sqlparser as *one quoted word* that holds its
//! text ([`encoded`]), and is read by this grammar on the other side ([`of_ast`]).
//!
//! # Decisions
//! * A length (`VARCHAR(20)`) in CREATE TABLE is checked for its form and then forgotten: there is one string type.
//!   In a cast it would have to cut, so it is refused there ([`has_length`]).
//! * FLOAT has 32 bits, as in Flink; FLOAT(25) and more have 64, as in PostgreSQL.
//! * DECIMAL and NUMERIC alone are DECIMAL(10, 0), as in the standard and in Flink.
//! * TIMESTAMP WITH TIME ZONE is TIMESTAMP_LTZ: a point in time, without a memory of the zone.

use sqlparser::ast;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Word};
use weir_types::{Column, DataType, Diagnostic, Span, TimeUnit};

use super::cursor::{Cursor, is_keyword};
use super::dialect::WeirDialect;
use crate::codes;

/// The names that open a type, for "did you mean".
const NAMES: &[&str] = &[
    "ARRAY",
    "BIGINT",
    "BINARY",
    "BOOL",
    "BOOLEAN",
    "BYTEA",
    "BYTES",
    "CHAR",
    "CHARACTER",
    "DATE",
    "DEC",
    "DECIMAL",
    "DOUBLE",
    "FLOAT",
    "FLOAT4",
    "FLOAT8",
    "INT",
    "INT2",
    "INT4",
    "INT8",
    "INTEGER",
    "INTERVAL",
    "MAP",
    "NUMERIC",
    "REAL",
    "ROW",
    "SMALLINT",
    "STRING",
    "TEXT",
    "TIME",
    "TIMESTAMP",
    "TIMESTAMPTZ",
    "TIMESTAMP_LTZ",
    "TINYINT",
    "VARBINARY",
    "VARCHAR",
];

/// Types of other systems, and what to declare instead.
const ELSEWHERE: &[(&str, &str)] = &[
    ("UUID", "STRING keeps a UUID as its text"),
    (
        "JSON",
        "declare the fields as ROW<…>, or keep the text in a STRING",
    ),
    (
        "JSONB",
        "declare the fields as ROW<…>, or keep the text in a STRING",
    ),
    (
        "VARIANT",
        "declare the fields as ROW<…>, or keep the text in a STRING",
    ),
    ("STRUCT", "ROW<name type, …> is a record"),
    ("MULTISET", "ARRAY<type> keeps several values"),
    (
        "SERIAL",
        "a stream has no sequence; BIGINT holds the numbers of one",
    ),
    (
        "BIGSERIAL",
        "a stream has no sequence; BIGINT holds the numbers of one",
    ),
    ("MONEY", "DECIMAL(19, 2) keeps amounts exactly"),
    (
        "DATETIME",
        "TIMESTAMP(3) has no time zone, TIMESTAMP_LTZ(3) is a point in time",
    ),
    ("TIMESTAMP_NTZ", "TIMESTAMP(3) has no time zone"),
    ("LONG", "BIGINT has 64 bits"),
    ("INT64", "BIGINT has 64 bits"),
    ("INT32", "INT has 32 bits"),
    ("BLOB", "BYTES holds bytes"),
    ("CLOB", "STRING holds text of any length"),
    ("NVARCHAR", "STRING holds text of any length"),
    (
        "UNSIGNED",
        "signed types are wide enough: BIGINT, or DECIMAL(20, 0)",
    ),
    ("ENUM", "STRING holds the names of the values"),
];

/// Reads the type ahead of the cursor.
pub(crate) fn parse(cursor: &mut Cursor<'_>) -> Result<DataType, Diagnostic> {
    let mut parser = TypeParser {
        cursor,
        half_closed: false,
        depth: 0,
    };
    let data_type = parser.data_type()?;
    if parser.half_closed {
        return Err(parser.cursor.expected("one `>` less"));
    }
    Ok(data_type)
}

/// The tokens of a type as one word that passes through sqlparser.
pub(crate) fn encoded(tokens: &[TokenWithSpan]) -> Option<TokenWithSpan> {
    let (first, last) = (tokens.first()?, tokens.last()?);
    let mut text = String::new();
    for token in tokens {
        let word = match &token.token {
            Token::Word(Word {
                value,
                quote_style: Some(_),
                ..
            }) => format!("\"{}\"", value.replace('"', "\"\"")),
            token => token.to_string(),
        };
        let tight = matches!(
            word.as_str(),
            "(" | ")" | "<" | ">" | ">>" | "," | "[" | "]"
        );
        let after_opening = text.is_empty() || text.ends_with(['(', '<', '[']);
        if !tight && !after_opening {
            text.push(' ');
        }
        text.push_str(&word);
    }
    let word = Word {
        value: text,
        quote_style: Some('"'),
        keyword: Keyword::NoKeyword,
    };
    let span = sqlparser::tokenizer::Span::new(first.span.start, last.span.end);
    Some(TokenWithSpan::new(Token::Word(word), span))
}

/// The type that [`encoded`] put into the AST.
pub(crate) fn of_ast(data_type: &ast::DataType) -> Option<DataType> {
    let ast::DataType::Custom(name, modifiers) = data_type else {
        return None;
    };
    let [ast::ObjectNamePart::Identifier(ident)] = name.0.as_slice() else {
        return None;
    };
    if ident.quote_style.is_none() || !modifiers.is_empty() {
        return None;
    }
    let dialect = WeirDialect::for_tokens(0);
    let tokens = Tokenizer::new(&dialect, &ident.value)
        .tokenize_with_location()
        .ok()?;
    let tokens: Vec<_> = tokens
        .into_iter()
        .filter(|token| !matches!(token.token, Token::Whitespace(_)))
        .collect();
    let mut cursor = Cursor::new(&tokens, Span::default());
    let data_type = parse(&mut cursor).ok()?;
    cursor.is_at_end().then_some(data_type)
}

/// Whether a cast to the type would have to cut or to fill up: `CHAR`, `VARCHAR(20)`, but not `VARCHAR`.
pub(crate) fn has_length(data_type: &ast::DataType) -> bool {
    let ast::DataType::Custom(name, _) = data_type else {
        return false;
    };
    let [ast::ObjectNamePart::Identifier(ident)] = name.0.as_slice() else {
        return false;
    };
    let text = ident.value.to_ascii_uppercase();
    let word = text.split(|c: char| !c.is_ascii_alphanumeric()).next();
    match word {
        Some("CHAR" | "CHARACTER") => text.contains('(') || !text.contains("VARYING"),
        Some("VARCHAR" | "BINARY" | "VARBINARY") => text.contains('('),
        _ => false,
    }
}

struct TypeParser<'c, 'a> {
    cursor: &'c mut Cursor<'a>,
    /// The first half of a `>>` was taken.
    half_closed: bool,
    depth: usize,
}

impl TypeParser<'_, '_> {
    fn data_type(&mut self) -> Result<DataType, Diagnostic> {
        self.depth += 1;
        if self.depth > 64 {
            return Err(super::errors::too_deep(self.cursor.span()));
        }
        let mut data_type = self.base()?;
        while !self.half_closed {
            if self.cursor.take(&Token::LBracket) {
                if let Some(Token::Number(..)) = self.cursor.peek(0) {
                    self.cursor.skip(1);
                }
                self.cursor.expect(&Token::RBracket)?;
            } else if !self.cursor.take_keyword("ARRAY") {
                break;
            }
            data_type = DataType::Array(Box::new(data_type));
        }
        self.depth -= 1;
        Ok(data_type)
    }

    fn base(&mut self) -> Result<DataType, Diagnostic> {
        let span = self.cursor.span();
        let name = match self.cursor.peek(0) {
            Some(Token::Word(Word {
                value,
                quote_style: None,
                ..
            })) => value.to_ascii_uppercase(),
            _ => return Err(self.cursor.expected("a type")),
        };
        self.cursor.skip(1);
        Ok(match name.as_str() {
            "BOOLEAN" | "BOOL" => DataType::Boolean,
            "TINYINT" => DataType::Int8,
            "SMALLINT" | "INT2" => DataType::Int16,
            "INT" | "INTEGER" | "INT4" => DataType::Int32,
            "BIGINT" | "INT8" => DataType::Int64,
            "REAL" | "FLOAT4" => DataType::Float32,
            "FLOAT8" => DataType::Float64,
            "FLOAT" => match self.number("FLOAT", 1, 53)? {
                Some(25..) => DataType::Float64,
                _ => DataType::Float32,
            },
            "DOUBLE" => {
                self.cursor.take_keyword("PRECISION");
                DataType::Float64
            }
            "DECIMAL" | "DEC" | "NUMERIC" => self.decimal(span)?,
            "STRING" | "TEXT" => DataType::String,
            "VARCHAR" | "CHAR" | "CHARACTER" => {
                self.cursor.take_keyword("VARYING");
                self.number(&name, 1, u64::from(i32::MAX as u32))?;
                DataType::String
            }
            "BYTES" | "BYTEA" => DataType::Bytes,
            "BINARY" | "VARBINARY" => {
                self.cursor.take_keyword("VARYING");
                self.number(&name, 1, u64::from(i32::MAX as u32))?;
                DataType::Bytes
            }
            "DATE" => DataType::Date,
            "TIME" => {
                self.number("TIME", 0, 9)?;
                self.time_of_day(span)?
            }
            "TIMESTAMP" => self.timestamp()?,
            "TIMESTAMPTZ" => DataType::TimestampLtz(self.unit("TIMESTAMPTZ")?),
            "TIMESTAMP_LTZ" => DataType::TimestampLtz(self.unit("TIMESTAMP_LTZ")?),
            "INTERVAL" => self.interval()?,
            "ROW" => self.row()?,
            "ARRAY" => {
                self.open()?;
                let element = self.element()?;
                self.close()?;
                DataType::Array(Box::new(element))
            }
            "MAP" => {
                self.open()?;
                let key = self.element()?;
                self.cursor.expect(&Token::Comma)?;
                let value = self.element()?;
                self.close()?;
                DataType::Map(Box::new(key), Box::new(value))
            }
            _ => return Err(unknown(&name, span)),
        })
    }

    /// `(n)`, if it is there, between `least` and `most`.
    fn number(&mut self, name: &str, least: u64, most: u64) -> Result<Option<u64>, Diagnostic> {
        if !self.cursor.take(&Token::LParen) {
            return Ok(None);
        }
        let number = self.digits(name, least, most)?;
        self.cursor.expect(&Token::RParen)?;
        Ok(Some(number))
    }

    fn digits(&mut self, name: &str, least: u64, most: u64) -> Result<u64, Diagnostic> {
        let Some(Token::Number(text, false)) = self.cursor.peek(0) else {
            return Err(self.cursor.expected("a number"));
        };
        let span = self.cursor.span();
        self.cursor.skip(1);
        match text.parse::<u64>() {
            Ok(number) if (least..=most).contains(&number) => Ok(number),
            _ => Err(Diagnostic::error(
                codes::TYPE_PARAMETER,
                format!("{name}({text}) is out of range"),
            )
            .at(span, format!("from {least} to {most}"))
            .help(format!("choose a number from {least} to {most}"))),
        }
    }

    fn decimal(&mut self, name: Span) -> Result<DataType, Diagnostic> {
        if !self.cursor.take(&Token::LParen) {
            return Ok(DataType::Decimal(10, 0));
        }
        let precision = self.digits("DECIMAL", 1, 76)?;
        let scale = if self.cursor.take(&Token::Comma) {
            self.digits("a scale of DECIMAL, ", 0, 76)?
        } else {
            0
        };
        let end = self.cursor.expect(&Token::RParen)?;
        if scale > precision {
            return Err(Diagnostic::error(
                codes::TYPE_PARAMETER,
                format!(
                    "DECIMAL({precision}, {scale}) has more digits behind the point than digits"
                ),
            )
            .at(name.union(end), "precision counts all digits")
            .help(format!(
                "write DECIMAL({}, {scale}) for {precision} digits before the point",
                precision + scale
            )));
        }
        // Both were checked to be at most 76.
        Ok(DataType::Decimal(precision as u8, scale as i8))
    }

    /// The unit of `(p)`; microseconds without one.
    fn unit(&mut self, name: &str) -> Result<TimeUnit, Diagnostic> {
        Ok(self.number(name, 0, 9)?.map_or(TimeUnit::Micro, |digits| {
            TimeUnit::of_precision(digits as u8)
        }))
    }

    fn timestamp(&mut self) -> Result<DataType, Diagnostic> {
        let unit = self.unit("TIMESTAMP")?;
        if self
            .cursor
            .take_keywords(&["WITH", "LOCAL", "TIME", "ZONE"])
            || self.cursor.take_keywords(&["WITH", "TIME", "ZONE"])
        {
            return Ok(DataType::TimestampLtz(unit));
        }
        self.cursor.take_keywords(&["WITHOUT", "TIME", "ZONE"]);
        Ok(DataType::Timestamp(unit))
    }

    fn time_of_day(&mut self, name: Span) -> Result<DataType, Diagnostic> {
        self.cursor.take_keywords(&["WITHOUT", "TIME", "ZONE"]);
        if self.cursor.take_keywords(&["WITH", "TIME", "ZONE"]) {
            return Err(
                Diagnostic::error(codes::UNKNOWN_TYPE, "a time of day has no time zone")
                    .at(name.union(self.cursor.last_span()), "not a type here")
                    .help("use TIME, or TIMESTAMP_LTZ(3) for a point in time"),
            );
        }
        Ok(DataType::Time)
    }

    /// `INTERVAL`, `INTERVAL DAY`, `INTERVAL DAY(3) TO SECOND(6)`.
    fn interval(&mut self) -> Result<DataType, Diagnostic> {
        const FIELDS: [&str; 6] = ["YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND"];
        let field = |cursor: &mut Cursor<'_>| FIELDS.iter().any(|field| cursor.take_keyword(field));
        if field(self.cursor) {
            self.number("INTERVAL", 0, 9)?;
            if self.cursor.take_keyword("TO") {
                if !field(self.cursor) {
                    return Err(self.cursor.expected("a unit of time (DAY, HOUR, …)"));
                }
                self.number("INTERVAL", 0, 9)?;
            }
        }
        Ok(DataType::Interval)
    }

    /// `ROW<a INT, b STRING NOT NULL 'comment'>`, or with parentheses.
    fn row(&mut self) -> Result<DataType, Diagnostic> {
        let parentheses = self.cursor.take(&Token::LParen);
        if !parentheses {
            self.open()?;
        }
        let mut fields: Vec<Column> = Vec::new();
        loop {
            let name = self.cursor.name("the name of a field")?;
            let mut field = Column::new(&name.value, self.data_type()?);
            field.nullable = !self.not_null();
            field.external_name = (name.spelling != name.value).then(|| name.spelling.clone());
            if let Some(Token::SingleQuotedString(_)) = self.cursor.peek(0) {
                self.cursor.skip(1);
            }
            if fields.iter().any(|other| other.name == field.name) {
                return Err(super::ddl::declared_twice(
                    &format!("the field `{}`", name.spelling),
                    name.span,
                ));
            }
            fields.push(field);
            if self.half_closed || !self.cursor.take(&Token::Comma) {
                break;
            }
        }
        if parentheses {
            self.cursor.expect(&Token::RParen)?;
        } else {
            self.close()?;
        }
        Ok(DataType::Row(fields))
    }

    /// The type of an element. NOT NULL may stand there and is not kept: the type has no place for it.
    fn element(&mut self) -> Result<DataType, Diagnostic> {
        let data_type = self.data_type()?;
        self.not_null();
        Ok(data_type)
    }

    fn not_null(&mut self) -> bool {
        if self.half_closed {
            return false;
        }
        let not_null = self.cursor.take_keywords(&["NOT", "NULL"]);
        if !not_null {
            self.cursor.take_keyword("NULL");
        }
        not_null
    }

    fn open(&mut self) -> Result<(), Diagnostic> {
        self.cursor.expect(&Token::Lt).map(drop)
    }

    /// `>`, which may be one half of `>>`.
    fn close(&mut self) -> Result<(), Diagnostic> {
        if self.half_closed {
            self.half_closed = false;
        } else if self.cursor.take(&Token::ShiftRight) {
            self.half_closed = true;
        } else {
            self.cursor.expect(&Token::Gt)?;
        }
        Ok(())
    }
}

fn unknown(name: &str, span: Span) -> Diagnostic {
    let diagnostic = Diagnostic::error(codes::UNKNOWN_TYPE, format!("there is no type `{name}`"))
        .at(span, "not a type here");
    match ELSEWHERE.iter().find(|(elsewhere, _)| *elsewhere == name) {
        Some((_, way_out)) => diagnostic.help(*way_out),
        None => {
            let nearest = crate::settings::nearest(name, NAMES.iter().copied());
            let known = nearest.is_some();
            let diagnostic = diagnostic.nearest(nearest);
            if known {
                diagnostic
            } else {
                diagnostic.help("docs/sql lists the types: BIGINT, STRING, TIMESTAMP(3), ROW<…>, …")
            }
        }
    }
}

/// Whether a type may start here; used to tell a type from the expression around it.
pub(crate) fn starts_type(token: &Token) -> bool {
    NAMES.iter().any(|name| is_keyword(token, name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_type() -> impl Strategy<Value = DataType> {
        let unit = prop::sample::select(vec![
            TimeUnit::Second,
            TimeUnit::Milli,
            TimeUnit::Micro,
            TimeUnit::Nano,
        ]);
        let leaf = prop_oneof![
            prop::sample::select(vec![
                DataType::Boolean,
                DataType::Int8,
                DataType::Int16,
                DataType::Int32,
                DataType::Int64,
                DataType::Float32,
                DataType::Float64,
                DataType::String,
                DataType::Bytes,
                DataType::Date,
                DataType::Time,
                DataType::Interval,
            ]),
            (1u8..=76)
                .prop_flat_map(|p| (Just(p), 0..=p))
                .prop_map(|(p, s)| DataType::Decimal(p, s as i8)),
            unit.clone().prop_map(DataType::Timestamp),
            unit.prop_map(DataType::TimestampLtz),
        ];
        leaf.prop_recursive(4, 16, 4, |inner| {
            prop_oneof![
                inner
                    .clone()
                    .prop_map(|element| DataType::Array(Box::new(element))),
                (inner.clone(), inner.clone())
                    .prop_map(|(key, value)| DataType::Map(Box::new(key), Box::new(value))),
                prop::collection::vec(inner, 1..4).prop_map(|types| {
                    let field = |(index, data_type)| Column::new(format!("f{index}"), data_type);
                    DataType::Row(types.into_iter().enumerate().map(field).collect())
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_type_is_read_from_its_own_name_and_passes_through_a_cast(data_type in any_type()) {
            let text = data_type.to_string();
            let (chunks, _) = super::super::tokens::scan(&text);
            let tokens = &chunks[0].tokens;
            let mut cursor = Cursor::new(tokens, Span::default());
            prop_assert_eq!(parse(&mut cursor).unwrap(), data_type.clone());
            prop_assert!(cursor.is_at_end());
            let Token::Word(word) = encoded(tokens).unwrap().token else { panic!() };
            let ident = ast::Ident::with_quote('"', word.value);
            let custom = ast::DataType::Custom(ident.into(), Vec::new());
            prop_assert_eq!(of_ast(&custom), Some(data_type));
        }
    }

    #[test]
    fn names_with_quotes_in_them_survive_a_cast() {
        let (chunks, _) = super::super::tokens::scan("ROW<\"a \"\"b\"\"\" INT, `c d` STRING>");
        let Token::Word(word) = encoded(&chunks[0].tokens).unwrap().token else {
            panic!()
        };
        let custom =
            ast::DataType::Custom(ast::Ident::with_quote('"', word.value).into(), Vec::new());
        let Some(DataType::Row(fields)) = of_ast(&custom) else {
            panic!()
        };
        assert_eq!(
            (fields[0].name.as_str(), fields[1].name.as_str()),
            ("a \"b\"", "c d")
        );
    }
}
