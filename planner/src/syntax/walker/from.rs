//! FROM: tables, derived tables, joins.

use sqlparser::ast::{
    Join, JoinConstraint, JoinOperator, TableFactor, TableVersion, TableWithJoins,
};
use weir_types::Span;

use super::Walker;
use crate::codes;
use crate::syntax::unnest::unnest_call;
use crate::syntax::window::check_window_call;
use crate::syntax::{as_of_mark, span_of, to_span};

impl Walker<'_> {
    pub(super) fn table_with_joins(&mut self, table: &TableWithJoins) {
        let TableWithJoins { relation, joins } = table;
        self.table_factor(relation);
        for join in joins {
            self.join(join);
        }
    }

    fn join(&mut self, join: &Join) {
        if self.unnest_join(join) {
            return;
        }
        let Join {
            relation,
            global,
            join_operator,
        } = join;
        let span = self.join_span(relation);
        if *global {
            self.foreign("GLOBAL JOIN", span, "write JOIN … ON");
        }
        self.table_factor(relation);
        use JoinOperator as J;
        let (kind, way_out, constraint) = match join_operator {
            J::Join(constraint)
            | J::Inner(constraint)
            | J::Left(constraint)
            | J::LeftOuter(constraint)
            | J::Right(constraint)
            | J::RightOuter(constraint)
            | J::FullOuter(constraint)
            | J::Semi(constraint)
            | J::LeftSemi(constraint)
            | J::Anti(constraint)
            | J::LeftAnti(constraint) => {
                self.constraint(constraint, span);
                return;
            }
            J::CrossJoin(JoinConstraint::None) => return,
            J::CrossJoin(constraint) => (
                "CROSS JOIN with a condition",
                "say which rows belong together: JOIN … ON a.id = b.id",
                constraint,
            ),
            J::RightSemi(constraint) | J::RightAnti(constraint) => (
                "a RIGHT SEMI or ANTI JOIN",
                "swap the two sides: LEFT SEMI JOIN, LEFT ANTI JOIN",
                constraint,
            ),
            J::StraightJoin(constraint) => (
                "STRAIGHT_JOIN",
                "JOIN … ON: joins run in the order of FROM in any case",
                constraint,
            ),
            J::AsOf {
                match_condition,
                constraint,
            } => {
                match as_of_mark(match_condition) {
                    Some((_, condition)) => condition.iter().for_each(|&expr| self.expr(expr)),
                    None => self.expr(match_condition),
                }
                self.constraint(constraint, span);
                return;
            }
            J::CrossApply | J::OuterApply => {
                self.refuse(
                    codes::TABLE_FUNCTION,
                    "APPLY is not supported",
                    span,
                    "JOIN … ON joins tables, views and queries",
                );
                return;
            }
            J::ArrayJoin | J::LeftArrayJoin | J::InnerArrayJoin => {
                self.refuse(
                    codes::TABLE_FUNCTION,
                    "ARRAY JOIN is not supported",
                    span,
                    "write CROSS JOIN UNNEST(a) AS t (x)",
                );
                return;
            }
        };
        self.refuse(
            codes::JOIN_KIND,
            format!("{kind} is not supported yet"),
            span,
            way_out,
        );
        // What is written in its ON is looked over all the same, so that all mistakes are told at once.
        if let JoinConstraint::On(expr) = constraint {
            self.expr(expr);
        }
    }

    /// From the words before JOIN up to the joined relation's first token.
    fn join_span(&self, relation: &TableFactor) -> Span {
        const WORDS: [&str; 14] = [
            "NATURAL", "LEFT", "RIGHT", "FULL", "INNER", "OUTER", "CROSS", "SEMI", "ANTI", "ASOF",
            "GLOBAL", "JOIN", "ARRAY", "APPLY",
        ];
        let start = span_of(relation).start;
        let is_join = |token: &&sqlparser::tokenizer::TokenWithSpan| {
            WORDS
                .iter()
                .chain(["STRAIGHT_JOIN", "LATERAL"].iter())
                .any(|word| super::is_keyword(&token.token, word))
        };
        let before: Vec<_> = self
            .tokens
            .iter()
            .take_while(|token| to_span(token.span).start < start)
            .collect();
        let skipped = before.iter().rev().take(4).position(is_join_ref(&is_join));
        let Some(skipped) = skipped else {
            return span_of(relation);
        };
        before[..before.len() - skipped]
            .iter()
            .rev()
            .take_while(|token| is_join(token))
            .fold(Span::default(), |span, token| {
                span.union(to_span(token.span))
            })
    }

    fn constraint(&mut self, constraint: &JoinConstraint, span: Span) {
        match constraint {
            JoinConstraint::On(expr) => self.expr(expr),
            JoinConstraint::Using(columns) => {
                for column in columns {
                    self.one_part(column);
                }
            }
            JoinConstraint::Natural => {}
            JoinConstraint::None => self.refuse(
                codes::JOIN_KIND,
                "this JOIN does not say which rows belong together",
                span,
                "add ON with an equality between the two sides: ON a.id = b.id",
            ),
        }
    }

    fn table_factor(&mut self, factor: &TableFactor) {
        match factor {
            factor if unnest_call(factor).is_some() => self.unnest(factor),
            TableFactor::Table { .. } => self.table(factor),
            TableFactor::Derived {
                lateral: _,
                subquery,
                alias,
                sample,
            } => {
                let span = span_of(&**subquery);
                match alias {
                    Some(alias) => self.table_alias(alias),
                    None => self.refuse(
                        codes::ALIAS,
                        "a subquery in FROM needs a name",
                        span,
                        "add an alias behind it: FROM (SELECT …) AS recent. Its state is found by that name",
                    ),
                }
                if sample.is_some() {
                    let span = self.keyword_after("TABLESAMPLE", span);
                    self.sample(span);
                }
                self.query(subquery);
            }
            TableFactor::TableFunction { expr, alias: _ } => self.refuse(
                codes::TABLE_FUNCTION,
                format!("there is no table function `{expr}`"),
                self.since_keyword("TABLE", span_of(expr)),
                TABLE_FUNCTIONS,
            ),
            TableFactor::Function {
                lateral: _,
                name,
                args: _,
                with_ordinality: _,
                alias: _,
            } => self.refuse(
                codes::TABLE_FUNCTION,
                "there is no such table function",
                self.since_keyword("LATERAL", span_of(name)),
                "any function that gives an ARRAY is one: CROSS JOIN UNNEST(string_to_array(x, ',')) AS t (y), or LATERAL TABLE(f(x)) AS t (y)",
            ),
            TableFactor::UNNEST { .. } => self.unnest(factor),
            TableFactor::JsonTable {
                json_expr,
                json_path: _,
                columns: _,
                alias: _,
            } => self.json(span_of(json_expr), "JSON_TABLE"),
            TableFactor::OpenJsonTable {
                json_expr,
                json_path: _,
                columns: _,
                alias: _,
            } => self.json(span_of(json_expr), "OPENJSON"),
            TableFactor::XmlTable {
                namespaces: _,
                row_expression,
                passing: _,
                columns: _,
                alias: _,
            } => {
                self.foreign(
                    "XMLTABLE",
                    self.since_keyword("XMLTABLE", span_of(row_expression)),
                    "JSON and CSV records are read by a table's format",
                );
            }
            TableFactor::NestedJoin {
                table_with_joins,
                alias,
            } => {
                if let Some(alias) = alias {
                    self.refuse(
                        codes::JOIN_KIND,
                        "a join in parentheses takes no name",
                        to_span(alias.name.span),
                        "leave the name out, the relations in it keep theirs; or write a subquery: FROM (SELECT … FROM a JOIN b ON …) AS ab",
                    );
                }
                self.table_with_joins(table_with_joins);
            }
            TableFactor::Pivot {
                table,
                aggregate_functions: _,
                value_column: _,
                value_source: _,
                default_on_null: _,
                alias: _,
            } => {
                let span = self.keyword_after("PIVOT", span_of(&**table));
                self.foreign("PIVOT", span, "an aggregate with FILTER makes a column of each value: sum(x) FILTER (WHERE kind = 'a')");
            }
            TableFactor::Unpivot {
                table,
                value: _,
                name: _,
                columns: _,
                null_inclusion: _,
                alias: _,
            } => {
                let span = self.keyword_after("UNPIVOT", span_of(&**table));
                self.foreign(
                    "UNPIVOT",
                    span,
                    "select each column by itself and put the queries together with UNION ALL",
                );
            }
            TableFactor::MatchRecognize {
                table,
                partition_by: _,
                order_by: _,
                measures: _,
                rows_per_match: _,
                after_match_skip: _,
                pattern: _,
                symbols: _,
                alias: _,
            } => {
                let span = self.keyword_after("MATCH_RECOGNIZE", span_of(&**table));
                self.foreign("MATCH_RECOGNIZE", span, "windows (TUMBLE, HOP) with aggregates find many patterns: count(*) FILTER (WHERE …)");
            }
            TableFactor::SemanticView {
                name,
                dimensions: _,
                metrics: _,
                facts: _,
                where_clause: _,
                alias: _,
            } => {
                self.foreign("SEMANTIC_VIEW", span_of(name), "read a table or a view");
            }
        }
    }

    fn table(&mut self, factor: &TableFactor) {
        let TableFactor::Table {
            name,
            alias,
            args,
            with_ordinality,
            // `behind_table` looks over these.
            with_hints: _,
            version: _,
            partitions: _,
            json_path: _,
            sample: _,
            index_hints: _,
        } = factor
        else {
            return;
        };
        let span = span_of(name);
        match args {
            None => self.one_part(name),
            Some(args) => match check_window_call(factor) {
                Ok(Some(_)) => {
                    // The relation may be a query of its own.
                    for query in args.args.iter().filter_map(subquery_of) {
                        self.query(query);
                    }
                }
                Ok(None) => {
                    self.refuse(
                        codes::TABLE_FUNCTION,
                        format!("there is no table function `{name}`"),
                        span,
                        TABLE_FUNCTIONS,
                    );
                }
                Err(problems) => self.problems.extend(problems),
            },
        }
        if let Some(alias) = alias {
            self.table_alias(alias);
        }
        if *with_ordinality {
            self.foreign(
                "WITH ORDINALITY",
                self.keyword_after("WITH", span),
                "rows of a stream have no number",
            );
        }
        self.behind_table(factor);
    }

    /// What other systems write behind a table, or a function in its stead.
    pub(super) fn behind_table(&mut self, factor: &TableFactor) {
        let TableFactor::Table {
            name,
            alias: _,
            args: _,
            with_hints,
            version,
            with_ordinality: _,
            partitions,
            json_path,
            sample,
            index_hints,
        } = factor
        else {
            return;
        };
        let span = span_of(name);
        if let Some(version) = version {
            self.version(version, span);
        }
        if let Some(hint) = with_hints.first() {
            self.foreign(
                "WITH (…) behind a table",
                span_of(hint),
                "remove it; options stand in CREATE TABLE",
            );
        }
        if let Some(partition) = partitions.first() {
            self.foreign(
                "PARTITION behind a table",
                to_span(partition.span),
                "filter with WHERE",
            );
        }
        if json_path.is_some() {
            self.foreign(
                "a path behind a table",
                span,
                "fields are named in expressions: person.name",
            );
        }
        if sample.is_some() {
            let span = self.keyword_after("TABLESAMPLE", span);
            self.sample(span);
        }
        if let Some(hint) = index_hints.first() {
            let span = hint
                .index_names
                .first()
                .map_or(span, |name| to_span(name.span));
            self.foreign("an index hint", span, "remove it: there are no indexes");
        }
    }

    fn version(&mut self, version: &TableVersion, table: Span) {
        let (what, span) = match version {
            TableVersion::ForSystemTimeAsOf(expr) => {
                self.expr(expr);
                return;
            }
            TableVersion::TimestampAsOf(expr) => (
                "TIMESTAMP AS OF",
                self.since_keyword("TIMESTAMP", span_of(expr)),
            ),
            TableVersion::VersionAsOf(expr) => (
                "VERSION AS OF",
                self.since_keyword("VERSION", span_of(expr)),
            ),
            TableVersion::Function(expr) => ("AT and BEFORE behind a table", span_of(expr)),
            TableVersion::Changes {
                changes,
                at: _,
                end: _,
            } => ("CHANGES behind a table", span_of(changes)),
        };
        let span = if span.is_empty() { table } else { span };
        self.refuse(
            codes::TABLE_VERSION,
            format!("{what} is not supported yet"),
            span,
            AS_OF,
        );
    }

    fn sample(&mut self, span: Span) {
        self.foreign(
            "TABLESAMPLE",
            span,
            "keep a share of the rows with WHERE, over a hash of a column: WHERE id % 100 = 0",
        );
    }

    fn json(&mut self, span: Span, word: &str) {
        let span = self.since_keyword(word, span);
        self.foreign(
            word,
            span,
            "declare the fields in CREATE TABLE: person ROW<name STRING, city STRING>",
        );
    }
}

fn is_join_ref<'t, T: Copy + 't>(is_join: &'t impl Fn(&T) -> bool) -> impl FnMut(&T) -> bool + 't {
    move |token| is_join(token)
}

fn subquery_of(arg: &sqlparser::ast::FunctionArg) -> Option<&sqlparser::ast::Query> {
    use sqlparser::ast::{Expr, FunctionArg, FunctionArgExpr};
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Subquery(query))) => Some(query),
        _ => None,
    }
}
const AS_OF: &str = "JOIN … ON joins every version that is kept; give the version's bounds in ON: AND a.at >= b.valid_from";
const TABLE_FUNCTIONS: &str = "the table functions are TUMBLE(table, column, size), HOP(table, column, slide, size), CUMULATE(table, column, step, size) and SESSION(table, column, gap), and every function that gives an ARRAY, like generate_series(1, 10)";
