//! OVER: calls that look at the rows around each row, bound; and the nodes that compute them.
//!
//! ```text
//!   SELECT sum(x) OVER (PARTITION BY k ORDER BY ts), lag(x) OVER (PARTITION BY k ORDER BY ts), rank() OVER (ORDER BY x)
//!          └──────────────────────── one node, in event-time order ───────────────────────┘   └─── a ranking ─────┘
//! ```
//!
//! Calls over the same rows in the same order are one node. Where the order begins with the event time of rows that are only
//! inserted, and no call looks ahead, the node gives each row once, when the watermark has passed; such nodes come first. A
//! ranking that shares its window with another call is computed there; any other is `rank.rs`'s, which knows bounds.

use sqlparser::ast;
use weir_types::{DataType, Diagnostic, Scalar, Span};

use crate::codes;
use crate::convert::{CastKind, cast_to};
use crate::library::Library;
use crate::logical::{
    AggregateCall, Node, NodeId, NodeKind, OrderItem, OverExpr, SortExpr, column,
};
use crate::names::{Path, quoted};
use crate::over::{OverFunction, looks_back_only, window_text};
use crate::plan::{Changelog, Expr, ExprKind, RankFunction};
use crate::syntax::Name;

use super::call::Modifiers;
use super::clock::is_arrival;
use super::expr::{Aggregates, ExprBinder};
use super::rank::{WindowCall, WindowCalls, changing_order, sort_expr};
use super::{Binder, Failed};

/// Longer texts of windows are cut in IDs, and end in a hash.
const WINDOW_TEXT_MAX: usize = 80;

type Function = OverFunction<AggregateCall, Expr>;

impl ExprBinder<'_> {
    pub(super) fn window_call(
        &mut self,
        name: &Name,
        call: &ast::Function,
        over: &ast::WindowType,
        span: Span,
        windows: &WindowCalls,
    ) -> Result<WindowCall, Failed> {
        let specified = windows
            .resolved(over)
            .or_else(|diagnostic| self.fail(*diagnostic))?;
        let spec = &specified.spec;
        let (mut partition, mut failed): (Vec<Expr>, bool) = (Vec::new(), false);
        for expr in &spec.partition_by {
            match self.bind(expr) {
                Ok(part) if partition.iter().any(|known| known.same(&part)) => {}
                Ok(part) => partition.push(part),
                Err(Failed) => failed = true,
            }
        }
        let mut order = Vec::new();
        for sort in &spec.order_by {
            match self.bind(&sort.expr) {
                Ok(expr) => order.push(sort_expr(expr, sort)),
                Err(Failed) => failed = true,
            }
        }
        let is_ranking = matches!(name.value.as_str(), "row_number" | "rank" | "dense_rank");
        let by_arrival = is_ranking && is_arrival(&order);
        let ordered = order.iter().map(|sort| &sort.expr);
        for part in partition.iter().chain(ordered.filter(|_| !by_arrival)) {
            if part.is_volatile() {
                self.diagnostics.push(changing_order(part.span));
                failed = true;
            }
        }
        let bound = self.over_function(name, call, &order, span);
        let (function, data_type) = bound?;
        if failed {
            return Err(Failed);
        }
        let is_named = matches!(over, ast::WindowType::NamedWindow(_));
        if spec.window_frame.is_some() && !function.has_frame() && !is_named {
            return self.fail(
                Diagnostic::error(
                    codes::WINDOW_FUNCTION,
                    format!("`{}` takes no frame", name.spelling),
                )
                .at(span, "it looks at all rows of its partition")
                .help(format!(
                    "{}(…) OVER (PARTITION BY … ORDER BY …)",
                    name.value
                )),
            );
        }
        let frame = if function.has_frame() {
            self.frame(spec.window_frame.as_ref(), specified.exclude, &order, span)?
        } else {
            crate::over::Frame::PARTITION
        };
        let window = match over {
            ast::WindowType::NamedWindow(name) => Name::from_ident(name).value,
            ast::WindowType::WindowSpec(_) => self.window_text(&partition, &order),
        };
        Ok(WindowCall {
            call: OverExpr {
                function,
                frame,
                data_type,
                span,
            },
            partition,
            order,
            window,
        })
    }

    /// PARTITION BY and ORDER BY as a text that hangs on the user's names alone.
    fn window_text(&self, partition: &[Expr], order: &[SortExpr]) -> String {
        let text = |expr: &Expr| crate::canonical::text(expr, &|column| self.column_text(column));
        let partition: Vec<String> = partition.iter().map(text).collect();
        let order: Vec<(String, bool, bool)> = order
            .iter()
            .map(|sort| (text(&sort.expr), sort.descending, sort.nulls_first))
            .collect();
        let text = window_text(&partition, &order);
        if text.chars().count() <= WINDOW_TEXT_MAX {
            return text;
        }
        let cut: String = text.chars().take(WINDOW_TEXT_MAX / 2).collect();
        format!("{cut} {}", &crate::identity::hash(&text)[..8])
    }

    fn column_text(&self, column: usize) -> String {
        if let Some(known) = self.scope.columns.get(column) {
            return known.name.clone();
        }
        let call = match &self.aggregates {
            Aggregates::Collect(calls) => calls.get(column - self.scope.columns.len()),
            Aggregates::NotIn(_) => None,
        };
        call.map_or_else(String::new, |call| {
            let part = |part: &Expr| {
                crate::canonical::text(part, &|column| {
                    let known = self.scope.columns.get(column);
                    known.map_or_else(String::new, |known| known.name.clone())
                })
            };
            let parts: Vec<String> = call.parts().map(part).collect();
            format!("{}({})", call.function, parts.join(", "))
        })
    }

    fn over_function(
        &mut self,
        name: &Name,
        call: &ast::Function,
        order: &[SortExpr],
        span: Span,
    ) -> Result<(Function, DataType), Failed> {
        let number = |function| Ok((function, DataType::Int64));
        let own = match name.value.as_str() {
            "row_number" => Some((Function::RowNumber, DataType::Int64)),
            "rank" => Some((Function::Rank, DataType::Int64)),
            "dense_rank" => Some((Function::DenseRank, DataType::Int64)),
            "percent_rank" => Some((Function::PercentRank, DataType::Float64)),
            "cume_dist" => Some((Function::CumeDist, DataType::Float64)),
            _ => None,
        };
        if let Some(own) = own {
            if self.has_arguments(call) {
                return self.fail(
                    Diagnostic::error(
                        codes::WINDOW_FUNCTION,
                        format!("`{}` takes no arguments and no FILTER", name.spelling),
                    )
                    .at(span, "it numbers all rows of its partition")
                    .help(format!("{}() OVER (PARTITION BY … ORDER BY …)", name.value)),
                );
            }
            return Ok(own);
        }
        match name.value.as_str() {
            "ntile" => {
                let arguments = self.plain_arguments(name, call, 1..=1, false, span)?.0;
                match whole_number(&arguments[0]).filter(|parts| *parts > 0) {
                    Some(parts) => number(Function::Ntile(parts as u64)),
                    None => self.fail(constant("the number of parts", "ntile(4)", &arguments[0])),
                }
            }
            "lag" | "lead" => self.shift(name, call, span),
            "first_value" | "last_value" | "nth_value" => self.nth(name, call, span),
            function
                if super::aggregate_names::canonical_name(function)
                    .is_some_and(|f| f != "grouping")
                    || Library::get().registered_aggregate(function).is_some() =>
            {
                self.aggregate_over(name, call, order, span)
            }
            _ => self.fail(
                Diagnostic::error(
                    codes::WINDOW_FUNCTION,
                    format!("`{}` has no OVER", name.spelling),
                )
                .at(span, "neither an aggregate nor a window function")
                .help("docs/sql/over.md lists what can be computed over the rows around a row"),
            ),
        }
    }

    fn has_arguments(&self, call: &ast::Function) -> bool {
        let arguments = match &call.args {
            ast::FunctionArguments::None => false,
            ast::FunctionArguments::Subquery(_) => true,
            ast::FunctionArguments::List(list) => {
                !list.args.is_empty()
                    || !list.clauses.is_empty()
                    || list.duplicate_treatment.is_some()
            }
        };
        arguments
            || call.filter.is_some()
            || call.null_treatment.is_some()
            || !call.within_group.is_empty()
    }

    /// The arguments of a function that is no aggregate, and whether it ignores NULLs.
    fn plain_arguments(
        &mut self,
        name: &Name,
        call: &ast::Function,
        counts: std::ops::RangeInclusive<usize>,
        may_ignore_nulls: bool,
        span: Span,
    ) -> Result<(Vec<Expr>, bool), Failed> {
        let mut call = call.clone();
        call.over = None;
        let modifiers = Modifiers::taken_from(&mut call);
        let strange = match (
            call.filter.is_some(),
            modifiers.distinct,
            modifiers.within_group || !modifiers.order_by.is_empty(),
            modifiers.ignores_nulls && !may_ignore_nulls,
        ) {
            (true, ..) => Some("FILTER"),
            (_, true, ..) => Some("DISTINCT"),
            (_, _, true, _) => Some("ORDER BY"),
            (_, _, _, true) => Some("IGNORE NULLS"),
            _ => None,
        };
        if let Some(what) = strange {
            return self.fail(
                Diagnostic::error(
                    codes::OVER_ARGUMENTS,
                    format!("`{}` takes no {what}", name.spelling),
                )
                .at(span, "it picks rows of its window one by one")
                .help("leave it out; the order of the rows is said in OVER (… ORDER BY …)"),
            );
        }
        let arguments = self.own_arguments(&mut call)?;
        if !counts.contains(&arguments.len()) {
            let (least, most) = (*counts.start(), *counts.end());
            let wanted = if least == most {
                super::counted(least, "argument")
            } else {
                format!("{least} to {}", super::counted(most, "argument"))
            };
            return self.fail(
                Diagnostic::error(
                    codes::OVER_ARGUMENTS,
                    format!("`{}` takes {wanted}", name.spelling),
                )
                .at(span, format!("here it has {}", arguments.len()))
                .help("lag(x), lag(x, 2), lag(x, 2, 0), first_value(x), nth_value(x, 3), ntile(4)"),
            );
        }
        Ok((arguments, modifiers.ignores_nulls))
    }

    fn shift(
        &mut self,
        name: &Name,
        call: &ast::Function,
        span: Span,
    ) -> Result<(Function, DataType), Failed> {
        let (arguments, ignore_nulls) = self.plain_arguments(name, call, 1..=3, true, span)?;
        let mut arguments = arguments.into_iter();
        let (value, places, default) = (arguments.next(), arguments.next(), arguments.next());
        let Some(value) = value else {
            return Err(Failed);
        };
        let by = match places {
            None => 1,
            Some(places) => match whole_number(&places).filter(|by| by.abs() < 1 << 40) {
                Some(by) => by,
                None => {
                    return self.fail(constant(
                        "the number of places",
                        &format!("{}(x, 2)", name.value),
                        &places,
                    ));
                }
            },
        };
        let data_type = value.data_type.clone();
        let default = match default {
            None => None,
            Some(default) => self.default_of(default, &data_type)?,
        };
        let function = Function::Shift {
            value,
            by: if name.value == "lag" { -by } else { by },
            default,
            ignore_nulls,
        };
        Ok((function, data_type))
    }

    /// The third argument of LAG and LEAD, of the first one's type; NULL is none.
    fn default_of(&mut self, default: Expr, to: &DataType) -> Result<Option<Expr>, Failed> {
        let span = default.span;
        if matches!(default.kind, ExprKind::Literal(Scalar::Null)) {
            return Ok(None);
        }
        if default.data_type == *to {
            return Ok(Some(default));
        }
        let is_literal = matches!(default.kind, ExprKind::Literal(_));
        let folded = crate::literals::folded_cast(&default, to, CastKind::Fails, span);
        match folded {
            Ok(Some(folded)) if is_literal => return Ok(Some(folded)),
            Ok(_) if super::insert::assignable(&default.data_type, to) => {
                return Ok(Some(cast_to(default, to.clone(), CastKind::Fails, span)));
            }
            _ => {}
        }
        self.fail(
            Diagnostic::error(
                codes::TYPE_MISMATCH,
                format!("the default is {}, the value {to}", default.data_type),
            )
            .at(span, "given where there is no such row")
            .help(format!("CAST(… AS {to})")),
        )
    }

    fn nth(
        &mut self,
        name: &Name,
        call: &ast::Function,
        span: Span,
    ) -> Result<(Function, DataType), Failed> {
        let count = if name.value == "nth_value" { 2 } else { 1 };
        let (mut arguments, ignore_nulls) =
            self.plain_arguments(name, call, count..=count, true, span)?;
        let place = match (count == 2).then(|| arguments.pop()).flatten() {
            None => 1,
            Some(place) => {
                match whole_number(&place).filter(|place| (1..1 << 40).contains(place)) {
                    Some(place) => place as u64,
                    None => return self.fail(constant("the place", "nth_value(x, 2)", &place)),
                }
            }
        };
        let Some(value) = arguments.pop() else {
            return Err(Failed);
        };
        let data_type = value.data_type.clone();
        let function = Function::Nth {
            value,
            place,
            from_last: name.value == "last_value",
            ignore_nulls,
        };
        Ok((function, data_type))
    }

    /// An aggregate; one that minds the order of its rows takes the window's, if it has none of its own.
    fn aggregate_over(
        &mut self,
        name: &Name,
        call: &ast::Function,
        order: &[SortExpr],
        span: Span,
    ) -> Result<(Function, DataType), Failed> {
        let mut call = call.clone();
        call.over = None;
        let mut bound = self.aggregate_call(name, &call, span)?;
        let minds = matches!(bound.function.as_str(), "string_agg" | "array_agg");
        if minds && bound.order_by.is_empty() && !bound.distinct {
            bound.order_by = order
                .iter()
                .map(|sort| OrderItem {
                    expr: sort.expr.clone(),
                    descending: sort.descending,
                    nulls_first: sort.nulls_first,
                })
                .collect();
        }
        let data_type = bound.data_type.clone();
        Ok((Function::Aggregate(bound), data_type))
    }
}

/// A whole number that is written as such.
pub(super) fn whole_number(expr: &Expr) -> Option<i64> {
    match &expr.kind {
        ExprKind::Literal(Scalar::Int(value)) => Some(*value),
        ExprKind::Literal(Scalar::UInt(value)) => i64::try_from(*value).ok(),
        ExprKind::Negate(inner) => whole_number(inner)?.checked_neg(),
        ExprKind::Cast { expr, .. } => whole_number(expr),
        _ => None,
    }
}

fn constant(what: &str, example: &str, expr: &Expr) -> Diagnostic {
    Diagnostic::error(
        codes::OVER_ARGUMENTS,
        format!("{what} is a whole number, the same for all rows"),
    )
    .at(expr.span, "not such a number")
    .help(format!("write the number itself: {example}"))
}

/// Calls over the same rows in the same order.
struct Group<'c> {
    window: &'c WindowCall,
    /// Indices of the calls.
    calls: Vec<usize>,
}

impl Binder<'_> {
    /// Computes the window calls of a block above a node: the node, and for each call the column that holds its result.
    pub(super) fn computed_over(
        &mut self,
        mut node: NodeId,
        calls: &[WindowCall],
        path: &Path,
    ) -> Result<(NodeId, Vec<usize>), Failed> {
        let mut columns = vec![0; calls.len()];
        let mut groups: Vec<Group<'_>> = Vec::new();
        for (index, call) in calls.iter().enumerate() {
            if rank_function(call).is_some() {
                continue;
            }
            match groups
                .iter_mut()
                .find(|group| group.window.same_window(call))
            {
                Some(group) => group.calls.push(index),
                None => groups.push(Group {
                    window: call,
                    calls: vec![index],
                }),
            }
        }
        let mut rankings = Vec::new();
        for (index, call) in calls.iter().enumerate() {
            let Some(function) = rank_function(call) else {
                continue;
            };
            match groups
                .iter_mut()
                .find(|group| group.window.same_window(call))
            {
                Some(group) => group.calls.push(index),
                None => rankings.push((index, function)),
            }
        }
        // Those that give rows once come first: behind another they could not.
        while !groups.is_empty() {
            let timed = groups
                .iter()
                .position(|group| self.time_of(node, group, calls).is_some());
            let group = groups.remove(timed.unwrap_or(0));
            node = self.over_node(node, &group, calls, path, &mut columns)?;
        }
        for (index, function) in rankings {
            columns[index] = self.graph.nodes[node].columns.len();
            node = self.ranked(node, &calls[index], function, path);
        }
        Ok((node, columns))
    }

    /// The event-time column in whose order a group's rows are final when the watermark has passed them.
    fn time_of(&self, node: NodeId, group: &Group<'_>, calls: &[WindowCall]) -> Option<usize> {
        let properties = self.properties(node);
        let first = group.window.order.first()?;
        let time = first.expr.as_column()?;
        let back_only = group.calls.iter().all(|&call| {
            let call = &calls[call].call;
            looks_back_only(&call.function, &call.frame)
        });
        (properties.changelog == Changelog::AppendOnly
            && properties.event_times().any(|known| known == time)
            && !first.descending
            && back_only)
            .then_some(time)
    }

    fn over_node(
        &mut self,
        input: NodeId,
        group: &Group<'_>,
        calls: &[WindowCall],
        path: &Path,
        places: &mut [usize],
    ) -> Result<NodeId, Failed> {
        let time = self.time_of(input, group, calls);
        let of_group = || group.calls.iter().map(|&call| &calls[call]);
        for call in of_group() {
            let parts: Vec<Expr> = call.call.parts().into_iter().cloned().collect();
            self.check_volatile(input, &parts)?;
        }
        let span = group.window.call.span;
        // A name that the user gave says more than a text.
        let id = self.take_id(
            path,
            &format!("over({})", quoted(&group.window.window)),
            span,
        );
        let mut columns = self.graph.nodes[input].columns.clone();
        for &call in &group.calls {
            places[call] = columns.len();
            let data_type = calls[call].call.data_type.clone();
            columns.push(column(format!("over{call}"), data_type));
        }
        let mut properties = self.properties(input).clone();
        properties.further_event_times = Vec::new();
        properties.event_time = time;
        match time {
            // A row waits until its own time has passed: windows of another time may be over by then.
            Some(time) => properties
                .window
                .take_if(|window| window.time != Some(time)),
            None => {
                properties.changelog = Changelog::Retractions;
                properties.window.take()
            }
        };
        let kind = NodeKind::Over {
            partition: group.window.partition.clone(),
            order: group.window.order.clone(),
            time,
            calls: of_group().map(|call| call.call.clone()).collect(),
        };
        Ok(self.add(Node {
            kind,
            inputs: vec![input],
            columns,
            properties,
            path: path.clone(),
            id: Some(id),
            shared: false,
            span,
        }))
    }
}

fn rank_function(call: &WindowCall) -> Option<RankFunction> {
    match call.call.function {
        OverFunction::RowNumber => Some(RankFunction::RowNumber),
        OverFunction::Rank => Some(RankFunction::Rank),
        OverFunction::DenseRank => Some(RankFunction::DenseRank),
        _ => None,
    }
}
