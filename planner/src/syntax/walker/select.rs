//! Queries, SELECT blocks and what belongs to them.

use sqlparser::ast::{
    Distinct, Expr, GroupByExpr, GroupByWithModifier, Query, Select, SelectFlavor, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, SetOperator, SetQuantifier, Values,
    WildcardAdditionalOptions,
};
use weir_types::Span;

use super::Walker;
use crate::codes;
use crate::syntax::{span_of, to_span};

impl Walker<'_> {
    pub(super) fn query(&mut self, query: &Query) {
        let Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        if let Some(with) = with {
            self.with(with);
        }
        self.set_expr(body);
        let body_span = span_of(query);
        let is_distinct_on = matches!(body.as_ref(), SetExpr::Select(select)
            if matches!(select.distinct, Some(Distinct::On(_))));
        self.tail(
            order_by.as_ref(),
            limit_clause.as_ref(),
            fetch.as_ref(),
            body_span,
            is_distinct_on,
        );
        if !locks.is_empty() {
            let span = self.keyword_after("FOR", body_span);
            self.foreign(
                "FOR UPDATE",
                span,
                "nothing has to be locked: every result is exact over a prefix of its input",
            );
        }
        if for_clause.is_some() {
            self.foreign(
                "FOR XML",
                body_span,
                "choose a format for the sink: WITH ('format' = 'json')",
            );
        }
        if settings.is_some() {
            self.foreign(
                "SETTINGS",
                body_span,
                "settings are statements: SET 'key' = 'value'",
            );
        }
        if format_clause.is_some() {
            self.foreign(
                "FORMAT",
                body_span,
                "choose a format for the sink: WITH ('format' = 'json')",
            );
        }
        if !pipe_operators.is_empty() {
            self.foreign("pipe syntax", body_span, "write SELECT … FROM … WHERE …");
        }
    }

    fn set_expr(&mut self, body: &SetExpr) {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::Query(query) => self.query(query),
            SetExpr::SetOperation {
                left,
                op,
                set_quantifier,
                right,
            } => {
                self.set_operation(op, set_quantifier, span_of(&**left));
                self.set_expr(left);
                self.set_expr(right);
            }
            SetExpr::Values(values) => self.values(values),
            SetExpr::Table(_) => self.refuse(
                codes::QUERY_BODY,
                "TABLE name is not supported as a query",
                self.tokens
                    .first()
                    .map_or(Span::default(), |token| to_span(token.span)),
                "write SELECT * FROM name",
            ),
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                self.refuse(
                    codes::QUERY_BODY,
                    "a query cannot hold a statement that writes",
                    self.tokens
                        .first()
                        .map_or(Span::default(), |token| to_span(token.span)),
                    "write INSERT INTO … WITH … SELECT: the WITH belongs to the query",
                )
            }
        }
    }

    fn values(&mut self, values: &Values) {
        let Values {
            // `ROW(1, 2)` for `(1, 2)`, and VALUE for VALUES, mean the same.
            explicit_row: _,
            value_keyword: _,
            rows,
        } = values;
        for row in rows {
            for cell in &row.content {
                self.expr(cell);
            }
        }
        if rows.iter().any(|row| row.content.is_empty()) {
            self.refuse(
                codes::VALUES_FORM,
                "a row of VALUES holds at least one value",
                self.last_keyword("VALUES"),
                "write VALUES (1, 'a'), (2, 'b')",
            );
        }
    }

    fn set_operation(&mut self, op: &SetOperator, quantifier: &SetQuantifier, left: Span) {
        let (word, way_out) = match (op, quantifier) {
            (_, SetQuantifier::All | SetQuantifier::None | SetQuantifier::Distinct) => return,
            (
                _,
                SetQuantifier::ByName | SetQuantifier::AllByName | SetQuantifier::DistinctByName,
            ) => {
                let word = match op {
                    SetOperator::Union => "UNION",
                    SetOperator::Intersect => "INTERSECT",
                    SetOperator::Except => "EXCEPT",
                    SetOperator::Minus => "MINUS",
                };
                (
                    word,
                    "columns meet by their place: leave BY NAME out, with the columns in the same order",
                )
            }
        };
        let span = self.keyword_after(word, left);
        let message = format!("{word} BY NAME is not supported");
        self.refuse(codes::SET_OPERATION, message, span, way_out);
    }

    fn select(&mut self, select: &Select) {
        let Select {
            select_token,
            // The token pass lets known hints through, and only here (`hint_of_select`).
            optimizer_hints: _,
            distinct,
            select_modifiers,
            top,
            top_before_distinct: _,
            projection,
            exclude,
            into,
            from,
            lateral_views,
            prewhere,
            selection,
            connect_by,
            group_by,
            cluster_by,
            distribute_by,
            sort_by,
            having,
            named_window,
            qualify,
            window_before_qualify: _,
            value_table_mode,
            flavor,
        } = select;
        let start = to_span(select_token.0.span);
        if let Some(Distinct::On(keys)) = distinct {
            self.exprs(keys);
        }
        for item in projection {
            self.select_item(item);
        }
        for table in from {
            self.table_with_joins(table);
        }
        for expr in selection.iter().chain(having) {
            self.expr(expr);
        }
        self.group_by(group_by);
        if let Some(qualify) = qualify {
            self.expr(qualify);
        }
        for window in named_window {
            self.named_window(window);
        }
        if *flavor != SelectFlavor::Standard {
            self.foreign(
                "a query that begins with FROM",
                start,
                "write SELECT … FROM …",
            );
        }
        if let Some(top) = top {
            let _ = top;
            let span = self.keyword_near("TOP", start);
            self.refuse(
                codes::ORDER_LIMIT,
                "TOP is not supported",
                span,
                "write LIMIT behind the query",
            );
        }
        if let Some(into) = into {
            let span = self.since_keyword("INTO", span_of(&into.name));
            self.foreign(
                "SELECT … INTO",
                span,
                "declare the table, then INSERT INTO it SELECT …",
            );
        }
        if exclude.is_some() {
            let span = self.keyword_after("EXCLUDE", start);
            self.refuse(
                codes::WILDCARD_OPTION,
                "EXCLUDE is not supported",
                span,
                "list the columns that you want",
            );
        }
        if let Some(view) = lateral_views.first() {
            let span = self.since_keyword("LATERAL", span_of(&view.lateral_view));
            self.refuse(
                codes::TABLE_FUNCTION,
                "LATERAL VIEW is not supported",
                span,
                "write FROM t CROSS JOIN UNNEST(a) AS u (x)",
            );
        }
        if let Some(prewhere) = prewhere {
            self.foreign(
                "PREWHERE",
                span_of(prewhere),
                "write WHERE; filters are pushed into sources in any case",
            );
        }
        if !connect_by.is_empty() {
            self.foreign(
                "CONNECT BY",
                self.keyword_after("CONNECT", start),
                "hierarchies cannot be walked; join as often as there are levels",
            );
        }
        if let Some(expr) = cluster_by.first().or(distribute_by.first()) {
            self.foreign(
                "CLUSTER BY",
                span_of(expr),
                "rows are spread over workers by Weir itself; remove it",
            );
        }
        if let Some(sort) = sort_by.first() {
            let span = self.since_keyword("SORT", span_of(&sort.expr));
            self.refuse(
                codes::ORDER_LIMIT,
                "SORT BY is not supported",
                span,
                "remove it: rows of a stream have no final order",
            );
        }
        if select_modifiers.is_some() || value_table_mode.is_some() {
            self.foreign(
                "this modifier of SELECT",
                start,
                "write SELECT and the list of columns",
            );
        }
    }

    fn select_item(&mut self, item: &SelectItem) {
        match item {
            SelectItem::UnnamedExpr(expr) => self.expr(expr),
            SelectItem::ExprWithAlias { expr, alias } => {
                self.no_string(alias);
                self.expr(expr);
            }
            SelectItem::ExprWithAliases { expr, aliases } => {
                let span = aliases
                    .first()
                    .map_or(span_of(expr), |alias| to_span(alias.span));
                self.foreign(
                    "a list of aliases",
                    span,
                    "give each column an expression and an alias of its own",
                );
            }
            SelectItem::Wildcard(options) => self.wildcard(options),
            SelectItem::QualifiedWildcard(kind, options) => {
                self.wildcard(options);
                match kind {
                    SelectItemQualifiedWildcardKind::ObjectName(name) => self.one_part(name),
                    SelectItemQualifiedWildcardKind::Expr(expr) => self.refuse(
                        codes::WILDCARD_OPTION,
                        "the fields of a row cannot be listed by *",
                        span_of(expr),
                        "name the fields: person.name, person.city",
                    ),
                }
            }
        }
    }

    fn wildcard(&mut self, options: &WildcardAdditionalOptions) {
        let WildcardAdditionalOptions {
            wildcard_token,
            opt_ilike,
            opt_exclude,
            opt_except,
            opt_replace,
            opt_rename,
            opt_alias,
        } = options;
        let given = [
            ("ILIKE", opt_ilike.is_some()),
            ("EXCLUDE", opt_exclude.is_some()),
            ("EXCEPT", opt_except.is_some()),
            ("REPLACE", opt_replace.is_some()),
            ("RENAME", opt_rename.is_some()),
            ("AS", opt_alias.is_some()),
        ];
        let star = to_span(wildcard_token.0.span);
        for (word, _) in given.into_iter().filter(|(_, given)| *given) {
            let span = self.keyword_near(word, star);
            self.refuse(
                codes::WILDCARD_OPTION,
                format!("* {word} is not supported"),
                span,
                "list the columns that you want",
            );
        }
    }

    /// A key, or several in parentheses.
    fn grouping_item(&mut self, expr: &Expr) {
        match expr {
            Expr::Tuple(items) => items.iter().for_each(|item| self.expr(item)),
            expr => self.expr(expr),
        }
    }

    fn group_by(&mut self, group_by: &GroupByExpr) {
        const WAY_OUT: &str =
            "GROUP BY ROLLUP (a, b), CUBE (a, b) or GROUPING SETS ((a, b), (a), ())";
        let (exprs, modifiers) = match group_by {
            GroupByExpr::All(modifiers) => {
                if !modifiers.is_empty() {
                    self.refuse(
                        codes::GROUPING_SETS,
                        "GROUP BY ALL takes no WITH",
                        self.last_keyword("GROUP"),
                        WAY_OUT,
                    );
                }
                return;
            }
            GroupByExpr::Expressions(exprs, modifiers) => (exprs.as_slice(), modifiers),
        };
        for expr in exprs {
            match expr {
                Expr::GroupingSets(sets) | Expr::Cube(sets) | Expr::Rollup(sets) => {
                    sets.iter()
                        .flatten()
                        .for_each(|expr| self.grouping_item(expr));
                }
                expr => self.grouping_item(expr),
            }
        }
        let is_plain = |expr: &Expr| {
            !matches!(
                expr,
                Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_)
            )
        };
        let is_possible = match modifiers.as_slice() {
            [] => true,
            [GroupByWithModifier::Rollup | GroupByWithModifier::Cube] => exprs.iter().all(is_plain),
            _ => false,
        };
        if !is_possible {
            let last = exprs.last().map(span_of).unwrap_or_default();
            let span = self.keyword_near("WITH", last);
            self.refuse(
                codes::GROUPING_SETS,
                "WITH TOTALS does not exist here, and WITH ROLLUP and WITH CUBE stand behind plain keys",
                span,
                WAY_OUT,
            );
        }
    }
}
