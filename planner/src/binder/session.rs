//! SESSION in FROM: the only window that keeps state, because a row's window hangs on the rows after it.

use weir_types::{DataType, Diagnostic, Schema, TimeUnit};

use crate::codes;
use crate::logical::{Node, NodeId, NodeKind, Properties};
use crate::plan::{Changelog, WindowColumns};
use crate::syntax::WindowCall;

use super::query::Context;
use super::{Binder, Failed, Relation};

impl Binder<'_> {
    /// The node of a SESSION call. `columns` are its output's: the relation's, then the window's.
    pub(super) fn session(
        &mut self,
        call: &WindowCall,
        relation: &Relation,
        time: usize,
        columns: &Schema,
        context: &Context,
    ) -> Result<NodeId, Failed> {
        let keys = self.session_keys(call, relation)?;
        let properties = self.properties(relation.node).clone();
        let gap = self.gap(call, relation, time)?;
        let width = relation.columns.len();
        let properties = Properties {
            unique_key: properties.unique_key,
            event_time: Some(width + 2),
            window: Some(WindowColumns {
                start: Some(width),
                end: Some(width + 1),
                time: Some(width + 2),
            }),
            ..Properties::of(Changelog::AppendOnly)
        };
        let id = self.take_id(&context.path, "window", call.span);
        Ok(self.add(Node {
            kind: NodeKind::Session { gap, time, keys },
            inputs: vec![relation.node],
            columns: columns.clone(),
            properties,
            path: context.path.clone(),
            id: Some(id),
            shared: false,
            span: call.span,
        }))
    }

    /// The columns of PARTITION BY, each once.
    fn session_keys(
        &mut self,
        call: &WindowCall,
        relation: &Relation,
    ) -> Result<Vec<usize>, Failed> {
        let mut keys = Vec::with_capacity(call.partition.len());
        for name in &call.partition {
            let mut columns = relation.columns.iter();
            match columns.position(|column| column.name == name.value) {
                Some(column) if keys.contains(&column) => {}
                Some(column) => keys.push(column),
                None => {
                    let known = relation.columns.iter().map(|column| column.name.as_str());
                    let near = super::nearest(&name.value, known).map(str::to_owned);
                    return self.fail(
                        Diagnostic::error(
                            codes::UNKNOWN_COLUMN,
                            format!("no column `{}`", name.spelling),
                        )
                        .at(name.span, "sessions cannot be kept apart by it")
                        .nearest(near),
                    );
                }
            }
        }
        Ok(keys)
    }

    /// The gap in microseconds: a number of the event time's units, so that a session ends at a moment that its type has.
    fn gap(&mut self, call: &WindowCall, relation: &Relation, time: usize) -> Result<i64, Failed> {
        let (gap, span) = call.durations.first().copied().unwrap_or((0, call.span));
        let time = &relation.columns[time];
        let unit = match &time.data_type {
            DataType::Timestamp(unit) | DataType::TimestampLtz(unit) => *unit,
            _ => TimeUnit::Micro,
        };
        let micros = match unit {
            TimeUnit::Second => 1_000_000,
            TimeUnit::Milli => 1_000,
            TimeUnit::Micro | TimeUnit::Nano => 1,
        };
        if gap % micros == 0 {
            return Ok(gap);
        }
        self.fail(
            Diagnostic::error(
                codes::BAD_WINDOW,
                "the gap is finer than the event time",
            )
            .at(span, format!("`{}` is {}", time.name, time.data_type))
            .help("make the gap a multiple of the event time's unit, or declare a finer event time"),
        )
    }
}
