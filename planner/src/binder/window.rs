//! TUMBLE, HOP, CUMULATE and SESSION in FROM: a relation with a window's columns, over one that has event time.

use weir_types::Diagnostic;

use crate::codes;
use crate::logical::{Node, NodeKind, column};
use crate::syntax::{Name, WindowCall, WindowRelation};

use super::query::Context;
use super::{Binder, Failed, Relation};

impl Binder<'_> {
    pub(super) fn windowed_relation(
        &mut self,
        call: &WindowCall,
        context: &Context,
    ) -> Result<(Relation, Option<Name>), Failed> {
        let (mut relation, name) = match &call.relation {
            WindowRelation::Named(name) => {
                (self.named_relation(name, context)?, Some(name.clone()))
            }
            WindowRelation::Query(query) => {
                let path = match &call.alias {
                    Some(alias) => self.local(&context.path, alias)?,
                    None => context.path.clone(),
                };
                (self.named_query(query, &path, Some(context))?, None)
            }
        };
        let alias = call.alias.clone().or(name.clone());
        let time = self.window_time(&relation, call, name.as_ref())?;
        let is_event_time = self
            .properties(relation.node)
            .event_times()
            .any(|known| known == time);
        if !is_event_time {
            relation.node = self.clocked(relation.node, time, &context.path, call.span);
        }
        let added = ["window_start", "window_end", "window_time"];
        if let Some(taken) = relation
            .columns
            .iter()
            .find(|column| added.contains(&column.name.as_str()))
        {
            let message = format!(
                "`{}` has a column `{}` already",
                shown(name.as_ref()),
                taken.name
            );
            return self.fail(
                Diagnostic::error(codes::BAD_WINDOW, message)
                    .at(call.span, "the window would add a second one")
                    .help(format!(
                        "rename it below the window: (SELECT {0} AS inner_{0}, … )",
                        taken.name
                    )),
            );
        }
        let mut columns = relation.columns.clone();
        let width = columns.len();
        let time_type = columns[time].data_type.clone();
        columns.extend(added.map(|name| column(name, time_type.clone())));
        let Some(window) = call.window() else {
            let node = self.session(call, &relation, time, &columns, context)?;
            return Ok((Relation { node, columns }, alias));
        };
        let properties = self.properties(relation.node).windowed(&window, width);
        let node = self.add(Node {
            kind: NodeKind::WindowAssign { window, time },
            inputs: vec![relation.node],
            columns: columns.clone(),
            properties,
            path: context.path.clone(),
            id: None,
            shared: false,
            span: call.span,
        });
        Ok((Relation { node, columns }, alias))
    }

    /// The column of the window call, which has to be the relation's event time, or its processing time.
    fn window_time(
        &mut self,
        relation: &Relation,
        call: &WindowCall,
        name: Option<&Name>,
    ) -> Result<usize, Failed> {
        let shown = shown(name);
        let Some(column) = relation
            .columns
            .iter()
            .position(|column| column.name == call.time.value)
        else {
            let known = relation.columns.iter().map(|column| column.name.as_str());
            let near = super::nearest(&call.time.value, known).map(str::to_owned);
            return self.fail(
                Diagnostic::error(
                    codes::UNKNOWN_COLUMN,
                    format!("no column `{}`", call.time.spelling),
                )
                .at(call.time.span, format!("`{shown}` has no such column"))
                .nearest(near),
            );
        };
        if self.is_processing_time(relation.node, column) {
            return Ok(column);
        }
        match self.properties(relation.node).event_time {
            Some(_)
                if self
                    .properties(relation.node)
                    .event_times()
                    .any(|time| time == column) =>
            {
                Ok(column)
            }
            Some(time) => self.fail(
                Diagnostic::error(
                    codes::NO_EVENT_TIME,
                    format!("`{}` is not event time", call.time.spelling),
                )
                .at(call.time.span, "a plain column")
                .help(format!(
                    "the event time of `{shown}` is `{}`",
                    relation.columns[time].name
                )),
            ),
            None => {
                let diagnostic = self.lost_event_time(relation.node, call, &shown);
                self.fail(diagnostic)
            }
        }
    }

    /// Why a relation has no event time, and what to do.
    fn lost_event_time(&self, node: usize, call: &WindowCall, shown: &str) -> Diagnostic {
        let time = &call.time.spelling;
        let diagnostic =
            Diagnostic::error(codes::NO_EVENT_TIME, format!("`{shown}` has no event time"));
        let below = self.graph.below(node);
        let scan = |node: &&usize| matches!(self.graph.nodes[**node].kind, NodeKind::Scan { .. });
        let lost = below
            .iter()
            .rev()
            .map(|&node| &self.graph.nodes[node])
            .find(|node| {
                let given = node
                    .inputs
                    .iter()
                    .any(|&input| self.graph.nodes[input].properties.event_time.is_some());
                node.properties.event_time.is_none() && given
            });
        if let Some(lost) = lost {
            let (what, help) = match lost.kind {
                NodeKind::Join { .. } => (
                    "event time ends at this join: a match can come at any time",
                    "put the window below the join",
                ),
                NodeKind::Aggregate {
                    window: Some(_), ..
                } => (
                    "event time goes on as `window_time`, which is not selected here",
                    "select window_time and use it as the window's time column",
                ),
                NodeKind::Aggregate { .. } => (
                    "event time ends at this GROUP BY: a group can change at any time",
                    "group by a window: TUMBLE(…) in FROM and window_start, window_end in GROUP BY",
                ),
                NodeKind::Union => (
                    "the branches have their event time in different columns, or one has none",
                    "select the event-time column at the same place in every branch",
                ),
                _ => (
                    "the event-time column is computed or left out here",
                    "select the event-time column unchanged",
                ),
            };
            return diagnostic
                .at(call.time.span, "a plain column")
                .at(lost.span, what)
                .help(help);
        }
        let table = below
            .iter()
            .find(scan)
            .and_then(|&node| match &self.graph.nodes[node].kind {
                NodeKind::Scan { table } => Some(table.clone()),
                _ => None,
            });
        let diagnostic = diagnostic.at(
            call.time.span,
            "a window needs to know when its rows are complete",
        );
        match table {
            Some(table) => diagnostic
                .at(super::table::definition_span(&self.tables, &table), "no WATERMARK here")
                .help(format!("declare it in CREATE TABLE {table}: WATERMARK FOR {time} AS {time} - INTERVAL '5' SECOND")),
            None => diagnostic.help("read a table that declares WATERMARK FOR …"),
        }
    }
}

fn shown(name: Option<&Name>) -> String {
    name.map_or_else(|| "this query".to_owned(), |name| name.spelling.clone())
}
