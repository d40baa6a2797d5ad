//! The codes of the planner's errors and warnings: one constant each, and [`ALL`], the table that tests go by.
//!
//! A code never changes its meaning and is never used again for another. Each has a page in `docs/errors`, with a
//! query that provokes it. `P0…` are found in the text alone (`syntax`, `settings`), `P1…` by the
//! binder; `W…` are warnings.

use weir_types::Code;

/// What a code is about, for the index of `docs/errors`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeEntry {
    /// The code.
    pub code: Code,
    /// What it means, in a few words.
    pub title: &'static str,
}

macro_rules! codes {
    ($($name:ident $code:literal $title:literal)*) => {
        $(#[doc = concat!("`", $code, "`: ", $title, ".")] pub const $name: Code = $code;)*
        /// Every code, in order.
        pub const ALL: &[CodeEntry] = &[$(CodeEntry { code: $code, title: $title }),*];
    };
}

codes! {
    UNEXPECTED_TOKEN "P0001" "something else was expected here"
    BAD_TOKEN "P0002" "text that is not SQL"
    UNKNOWN_STATEMENT "P0003" "a statement that Weir does not have"
    TOO_DEEP "P0004" "an expression or query that is nested too deeply"
    MISPLACED_HINT "P0005" "a hint where nobody looks for one"
    UNKNOWN_HINT "P0006" "a hint that Weir does not know"
    STATEMENT_SET "P0007" "a statement set that is not closed, or a statement that cannot be in one"
    QUALIFIED_NAME "P0008" "a name with a catalog or database"
    UNKNOWN_TYPE "P0010" "a type that Weir does not know"
    TYPE_PARAMETER "P0011" "a type's precision, scale or length is out of range"
    KEY_ENFORCED "P0012" "a primary key that would have to be enforced"
    DECLARED_TWICE "P0013" "something that can be declared once only"
    NO_SUCH_COLUMN_IN_TABLE "P0014" "a table's clause names a column that the table does not have"
    COLUMN_OPTION "P0015" "a column option that a stream cannot keep"
    TABLE_FORM "P0016" "a form of CREATE TABLE or CREATE VIEW that Weir does not have"
    TABLE_OPTION "P0017" "an option of a table that is not 'key' = 'value'"
    UNKNOWN_SETTING "P0020" "a setting that Weir does not know"
    SETTING_VALUE "P0021" "a setting's value has the wrong form"
    WINDOW_ARGUMENTS "P0030" "arguments of a window function that do not fit"
    WINDOW_INTERVAL "P0031" "a window's length that is not a fixed, positive time"
    WINDOW_PLACE "P0033" "a window function outside of FROM"
    ORDER_LIMIT "P0040" "a form of ORDER BY, LIMIT or FETCH that Weir does not have"
    DISTINCT "P0041" "a DISTINCT ON that does not say which rows stay"
    SET_OPERATION "P0042" "a set operation by the names of columns"
    JOIN_KIND "P0043" "a kind of join that Weir does not support yet"
    OVER "P0044" "a window frame that Weir does not have"
    SUBQUERY "P0045" "a subquery where none can stand"
    QUERY_BODY "P0046" "a query that is neither SELECT, VALUES nor a set operation"
    TABLE_FUNCTION "P0047" "a table function that does not exist"
    TABLE_VERSION "P0048" "a table as of a point in time"
    GROUPING_SETS "P0049" "grouping sets that cannot be"
    AGGREGATE_MODIFIER "P0050" "a modifier of an aggregate where it means nothing"
    RECURSIVE "P0051" "a recursive common table expression"
    ALIAS "P0052" "a derived table without a name"
    FOREIGN_CLAUSE "P0053" "a clause of another system"
    EXPRESSION "P0054" "an expression that Weir does not have"
    WILDCARD_OPTION "P0055" "a * with EXCEPT, EXCLUDE, REPLACE or RENAME"
    FUNCTION_ARGUMENTS "P0056" "arguments of a function in a form that Weir does not take"

    UNKNOWN_TABLE "P1001" "no table or view of that name"
    UNKNOWN_COLUMN "P1002" "no column of that name"
    UNKNOWN_FUNCTION "P1003" "no function of that name"
    AMBIGUOUS_COLUMN "P1004" "a column name that two relations have"
    TYPE_MISMATCH "P1005" "an operator or function that does not take these types"
    DUPLICATE_NAME "P1006" "two things of one name in one namespace"
    NOT_GROUPED "P1007" "a column that is neither grouped by nor within an aggregate"
    MISPLACED_AGGREGATE "P1008" "an aggregate where none can stand"
    BAD_LITERAL "P1009" "a literal that is not a value of its type"
    JOIN_WITHOUT_KEY "P1011" "a join without an equality between its sides"
    NOT_YET "P1012" "something of SQL that is not built yet"
    NO_EVENT_TIME "P1013" "a window over a relation without event time"
    BAD_WINDOW "P1014" "a window call that does not fit its relation"
    INSERT_COLUMNS "P1015" "an INSERT whose columns do not fit"
    INSERT_TYPE "P1016" "a value that cannot be assigned to its column"
    SINK_RETRACTIONS "P1017" "a sink that cannot take retractions"
    INSERT_NEEDS_HINT "P1019" "a second stateful INSERT into one target without a hint"
    BAD_TABLE "P1020" "a watermark or computed column that cannot be"
    VOLATILE_RETRACTIONS "P1021" "a volatile function over rows that may be taken back"
    UNION_MISMATCH "P1022" "branches of a UNION that do not fit together"
    WINDOW_COLUMN_USE "P1024" "a windowed aggregate that looks at the window's columns where it cannot"
    MISPLACED_WINDOW "P1200" "a window function, or QUALIFY, where it cannot stand"
    WINDOW_FUNCTION "P1201" "a form of OVER that Weir does not have"
    RANK_BOUND_OUTSIDE "P1202" "the bound of a view's ranking stands outside of the view"
    RANK_ORDER "P1203" "a ranking by something that changes by itself"
    ROW_COUNT "P1204" "LIMIT, OFFSET or FETCH is not a number of rows"
    SUBQUERY_SHAPE "P1220" "a subquery in an expression of a shape that cannot be planned"
    AGGREGATE_ORDER "P1240" "an aggregate whose order is missing or does not fit"
    AGGREGATE_CONSTANT "P1241" "an argument of an aggregate that has to be a constant"
    GROUPING_CALL "P1242" "a GROUPING() that does not fit its GROUP BY"
    AS_OF_JOIN "P1260" "a join as of a point in time that does not fit its inputs"
    LOOKUP_LEFT "P1261" "a lookup join of rows that can be taken back"
    LATERAL_SHAPE "P1262" "a LATERAL subquery of a shape that cannot be planned"
    VALUES_FORM "P1280" "rows of VALUES that do not fit together, or too many"
    UNNEST_FORM "P1281" "an UNNEST that cannot be planned"
    WATERMARK_VALUE "P1282" "the watermark as a value"
    FUNCTION_FORM "P1283" "a function that is not one SQL expression, or a call that does not fit it"
    TABLE_AS "P1284" "a column of CREATE TABLE AS that cannot be one"
    DROP_IN_USE "P1285" "a DROP of something that the text uses"
    OVER_ARGUMENTS "P1400" "arguments of a window function that do not fit"
    FRAME "P1401" "a window frame that cannot be"
    VERSIONS "P1420" "FOR SYSTEM_TIME AS OF over a relation that has no versions"
    CLOCK_CONDITION "P1440" "a condition on the clock that cannot be followed as time goes on"
    ARRIVAL_ORDER "P1441" "an order by arrival that cannot be kept"
    STATE_TTL "P1460" "a TTL of state that cannot be"
    VIEW_COLUMN "P1520" "a column of a materialized view that cannot be one"
    ORDINAL_ID "W1001" "a stateful operator whose ID rests on an ordinal"
    UNBOUNDED_STATE "W1002" "state that nothing bounds"
    VOLATILE "W1003" "a volatile function in a projection"
    TTL_WITHOUT_EFFECT "W1004" "a TTL that has no effect on an operator"
}

/// What `code` means, in a few words.
pub fn title(code: &str) -> Option<&'static str> {
    ALL.iter()
        .find(|entry| entry.code == code)
        .map(|entry| entry.title)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_in_order() {
        assert!(ALL.windows(2).all(|pair| pair[0].code < pair[1].code));
    }
}
