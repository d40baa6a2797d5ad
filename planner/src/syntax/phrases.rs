//! Clauses of other systems that cannot even be read here: found where the parser stumbles, told with the way out.
//!
//! What sqlparser can read and Weir has not is the walker's business. This is for the rest: the words around the token that
//! nobody expected are compared with the table below.

use sqlparser::tokenizer::{Token, TokenWithSpan};
use weir_types::{Diagnostic, Span};

use super::cursor::is_keyword;
use super::to_span;
use crate::codes;

/// Words, what they are called, and what to write instead. `_` is any one token.
const PHRASES: &[(&[&str], &str, &str)] = &[
    (
        &["USING", "SAMPLE"],
        "USING SAMPLE",
        "keep a share of the rows with WHERE, over a hash of a column: WHERE id % 100 = 0",
    ),
    (
        &["ON", "CONFLICT"],
        "ON CONFLICT",
        "a sink with a PRIMARY KEY … NOT ENFORCED keeps the newest row of each key",
    ),
    (
        &["ON", "DUPLICATE", "KEY"],
        "ON DUPLICATE KEY",
        "a sink with a PRIMARY KEY … NOT ENFORCED keeps the newest row of each key",
    ),
    (
        &["RETURNING"],
        "RETURNING",
        "SELECT the same rows in a statement of its own",
    ),
    (
        &["DEFAULT", "VALUES"],
        "DEFAULT VALUES",
        "columns have no defaults: give a value for each, or NULL",
    ),
    (
        &["OVERRIDING", "_", "VALUE"],
        "OVERRIDING … VALUE",
        "remove it: no column has a value of its own",
    ),
    (
        &["BY", "NAME"],
        "BY NAME",
        "columns meet by their place: list them in order, INSERT INTO t (a, b) SELECT a, b",
    ),
    (
        &["INSERT", "OR", "_"],
        "INSERT OR …",
        "write INSERT INTO: a sink with a PRIMARY KEY … NOT ENFORCED keeps the newest row of each key",
    ),
    (
        &["INSERT", "IGNORE"],
        "INSERT IGNORE",
        "write INSERT INTO; 'row.error' = 'skip' leaves out rows that fail",
    ),
    (
        &["CORRESPONDING"],
        "CORRESPONDING",
        "columns meet by their place: select them in the same order",
    ),
    (
        &["SEARCH", "DEPTH"],
        "SEARCH DEPTH FIRST",
        "recursive queries are not supported; join as often as there are levels",
    ),
    (
        &["SEARCH", "BREADTH"],
        "SEARCH BREADTH FIRST",
        "recursive queries are not supported; join as often as there are levels",
    ),
    (
        &["AS", "OF", "SYSTEM"],
        "AS OF SYSTEM TIME",
        "JOIN t FOR SYSTEM_TIME AS OF a.ts joins the version of that time",
    ),
    (
        &["USE", "INDEX"],
        "USE INDEX",
        "remove it: there are no indexes",
    ),
    (
        &["FORCE", "INDEX"],
        "FORCE INDEX",
        "remove it: there are no indexes",
    ),
    (
        &["IGNORE", "INDEX"],
        "IGNORE INDEX",
        "remove it: there are no indexes",
    ),
    (
        &["PARTITION", "("],
        "PARTITION behind a table",
        "filter with WHERE",
    ),
    (
        &["STRAIGHT_JOIN"],
        "STRAIGHT_JOIN",
        "write JOIN … ON: joins run in the order of FROM in any case",
    ),
    (
        &["CROSS", "JOIN", "_", "ON"],
        "CROSS JOIN with ON",
        "write JOIN … ON a.id = b.id",
    ),
    (
        &["SELECT", "AS", "STRUCT"],
        "SELECT AS STRUCT",
        "ROW(a, b), or named_struct('a', a, 'b', b), makes a row",
    ),
    (
        &["SELECT", "AS", "VALUE"],
        "SELECT AS VALUE",
        "select the columns themselves",
    ),
    (&["*", "ILIKE"], "* ILIKE", "list the columns that you want"),
    (&["USING", ">"], "ORDER BY … USING", "write DESC"),
    (&["USING", "<"], "ORDER BY … USING", "write ASC"),
    (
        &["WITH", "FILL"],
        "WITH FILL",
        "join the times of a generate_series for rows that are missing",
    ),
    (
        &["LIMIT", "_", "BY"],
        "LIMIT … BY",
        "rank the rows of each key: QUALIFY row_number() OVER (PARTITION BY key ORDER BY …) <= 3",
    ),
    (
        &["LIMIT", "_", "PERCENT"],
        "LIMIT … PERCENT",
        "give a number of rows: LIMIT 10",
    ),
    (
        &["LIMIT", "_", "%"],
        "LIMIT with a percentage",
        "give a number of rows: LIMIT 10",
    ),
    (
        &["SETTINGS"],
        "SETTINGS",
        "settings are statements: SET 'key' = 'value'",
    ),
    (
        &["FORMAT"],
        "FORMAT",
        "choose a format for the sink: WITH ('format' = 'json')",
    ),
    (&["|", ">"], "pipe syntax", "write SELECT … FROM … WHERE …"),
    (&["|>"], "pipe syntax", "write SELECT … FROM … WHERE …"),
    (
        &["GROUP", "BY", "DISTINCT"],
        "GROUP BY DISTINCT",
        "list each grouping set once",
    ),
    (
        &["BY", "ALL", "ROLLUP"],
        "GROUP BY ALL with sets",
        "GROUP BY ROLLUP (a, b), CUBE (a, b) or GROUPING SETS ((a, b), (a), ())",
    ),
    (
        &["BY", "ALL", "CUBE"],
        "GROUP BY ALL with sets",
        "GROUP BY ROLLUP (a, b), CUBE (a, b) or GROUPING SETS ((a, b), (a), ())",
    ),
    (
        &["PREWHERE"],
        "PREWHERE",
        "write WHERE; filters are pushed into sources in any case",
    ),
    (
        &["ON", "OVERFLOW", "_"],
        "ON OVERFLOW",
        "remove it: a text may have any length; left(x, 100) cuts it",
    ),
    (
        &["HAVING", "MAX"],
        "HAVING MAX inside an aggregate",
        "last_value(x ORDER BY y) takes the x of the greatest y",
    ),
    (
        &["HAVING", "MIN"],
        "HAVING MIN inside an aggregate",
        "first_value(x ORDER BY y) takes the x of the least y",
    ),
    (
        &["DEFAULT", "_", "ON", "EMPTY"],
        "DEFAULT … ON EMPTY",
        "what is not there is NULL: coalesce(json_value(j, '$.a'), 'x')",
    ),
    (
        &["DEFAULT", "_", "ON", "ERROR"],
        "DEFAULT … ON ERROR",
        "what cannot be read is NULL: coalesce(json_value(j, '$.a'), 'x')",
    ),
    (
        &["_", "ON", "ERROR"],
        "ON ERROR",
        "what cannot be read is NULL: coalesce(…) replaces it",
    ),
    (
        &["WITH", "WRAPPER"],
        "WITH WRAPPER",
        "'[' || json_query(j, '$.a') || ']' makes an array of it",
    ),
    (
        &["WITHOUT", "WRAPPER"],
        "WITHOUT WRAPPER",
        "leave it out: nothing is wrapped",
    ),
    (
        &["IS", "JSON"],
        "IS JSON",
        "is_json(x); json_typeof(x) = 'object' asks for a kind",
    ),
    (&["IS", "NOT", "JSON"], "IS NOT JSON", "NOT is_json(x)"),
    (
        &["JSON_OBJECT", "(", "_", "_"],
        "this form of JSON_OBJECT",
        "declare a sink's column ROW<a INT>: format json writes it as an object",
    ),
    (
        &["XMLELEMENT", "(", "_"],
        "XMLELEMENT",
        "text is put together with ||",
    ),
    (
        &["XMLPARSE", "(", "_"],
        "XMLPARSE",
        "regexp_extract takes a part of a text",
    ),
    (
        &["FOR", "_", "IN"],
        "a list comprehension",
        "UNNEST gives a row for each element, array_agg puts them together again",
    ),
    (
        &["DIV"],
        "the operator DIV",
        "a / b of two integers is an integer",
    ),
    (&["MOD"], "the operator MOD", "write a % b, or mod(a, b)"),
    (
        &["!"],
        "the operator `!`",
        "write NOT; a <> b for not equal",
    ),
    (
        &["*", "*"],
        "the operator `**`",
        "power(a, b) raises a to b",
    ),
    (
        &["/", "/"],
        "the operator `//`",
        "a / b of two integers is an integer",
    ),
    (
        &["BETWEEN", "SYMMETRIC"],
        "BETWEEN SYMMETRIC",
        "x BETWEEN least(a, b) AND greatest(a, b)",
    ),
    (
        &["BETWEEN", "ASYMMETRIC"],
        "BETWEEN ASYMMETRIC",
        "leave the word out",
    ),
    (
        &["SIMILAR", "_", "ESCAPE"],
        "SUBSTRING with SIMILAR",
        "regexp_extract(x, 'pattern', 1)",
    ),
    (
        &["UESCAPE"],
        "UESCAPE",
        "write the characters themselves, or E'\\u0041'",
    ),
    (
        &["?"],
        "the operator `?`",
        "json_exists(j, '$.a') asks for a key",
    ),
    (
        &["{"],
        "a { } literal",
        "named_struct('a', 1) makes a row, MAP['a', 1] a map",
    ),
    (
        &["STRUCT", "(", "_"],
        "STRUCT with names",
        "named_struct('name', value, …) makes a row",
    ),
    (
        &["ROWS", "FROM"],
        "ROWS FROM",
        "UNNEST(a, b) AS t (x, y) runs several arrays side by side",
    ),
    (
        &["WITH", "CHECK"],
        "WITH CHECK OPTION",
        "remove it: nobody writes into a view",
    ),
    (
        &["WITH", "NO", "DATA"],
        "WITH NO DATA",
        "CREATE TABLE t (columns) WITH (…) declares a table without filling it",
    ),
    (
        &["INHERITS"],
        "INHERITS",
        "CREATE TABLE t WITH (…) LIKE other takes over its columns",
    ),
    (
        &["TABLESPACE"],
        "TABLESPACE",
        "'path' says where the files of a table are",
    ),
    (
        &["ON", "COMMIT"],
        "ON COMMIT",
        "remove it: each text declares its tables, and nothing outlives it",
    ),
    (
        &["ENGINE"],
        "ENGINE",
        "'connector' = '…' says what a table is kept in",
    ),
    (
        &["POSITIONAL", "JOIN"],
        "POSITIONAL JOIN",
        "rows of a stream have no place; join by a column",
    ),
    (
        &[")", "(", "_"],
        "two lists of arguments",
        "give all arguments in one list",
    ),
];

const FROM_FIRST: &(&[&str], &str, &str) = &(
    &["FROM"],
    "a query that begins with FROM",
    "write SELECT … FROM …",
);

/// The clause of another system at token `at`, where something else was expected.
pub(crate) fn foreign(tokens: &[TokenWithSpan], at: usize) -> Option<Diagnostic> {
    let longest = |start: usize| {
        let here = &tokens[start..];
        PHRASES
            .iter()
            .filter(|(words, ..)| fits(words, here) && start + words.len() >= at)
            .max_by_key(|(words, ..)| words.len())
            .map(|phrase| (start, phrase))
    };
    // Farther ahead first: a phrase that began before the token explains it.
    let found = (at.saturating_sub(4)..=at.min(tokens.len().saturating_sub(1))).find_map(longest);
    let (start, (words, what, way_out)) = match (found, tokens.first()) {
        (None, Some(first)) if at == 0 && is_keyword(&first.token, "FROM") => (0, FROM_FIRST),
        (found, _) => found?,
    };
    let span = tokens[start..start + words.len()]
        .iter()
        .fold(Span::default(), |all, token| all.union(to_span(token.span)));
    let diagnostic = Diagnostic::error(codes::FOREIGN_CLAUSE, format!("{what} is not supported"));
    Some(diagnostic.at(span, "not supported").help(*way_out))
}

fn fits(words: &[&str], tokens: &[TokenWithSpan]) -> bool {
    tokens.len() >= words.len()
        && words.iter().zip(tokens).all(|(word, token)| match *word {
            "_" => true,
            word => is_keyword(&token.token, word) || is_symbol(&token.token, word),
        })
}

fn is_symbol(token: &Token, symbol: &str) -> bool {
    !matches!(token, Token::Word(_) | Token::SingleQuotedString(_)) && token.to_string() == symbol
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phrase_has_a_name_and_a_way_out() {
        for (words, what, way_out) in PHRASES {
            assert!(!words.is_empty() && !what.is_empty() && !way_out.is_empty());
        }
    }
}
