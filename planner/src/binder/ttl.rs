//! `/*+ STATE_TTL('alias' = '1 d') */`: which operators of a block a name means; `/*+ STATE_FROM('old.path') */`: whose state
//! they go on from.
//!
//! The alias of a joined relation means the join that joins it, that of the first relation the first join. The block's name, or
//! the alias of a relation where no join is, means what the block does with its rows: GROUP BY, DISTINCT, ranking.

use sqlparser::ast;
use weir_types::Diagnostic;

use crate::codes;
use crate::logical::{NodeId, NodeKind};
use crate::names::{Path, quoted};
use crate::retention::takes_ttl;
use crate::syntax::{TtlHint, hint_of_select, state_from_of_select, ttl_hints_of_select};

use super::{Binder, Failed};

impl Binder<'_> {
    /// Notes what the hints of a block say of the operators that were bound for it, from node `first` on.
    pub(super) fn note_ttls(
        &mut self,
        select: &ast::Select,
        first: NodeId,
        path: &Path,
    ) -> Result<(), Failed> {
        let hints = ttl_hints_of_select(select);
        if hints.is_empty() {
            return Ok(());
        }
        let path = match hint_of_select(select) {
            Some(name) => path.local(&name.value),
            None => path.clone(),
        };
        let of_block: Vec<NodeId> = (first..self.graph.nodes.len())
            .filter(|&node| self.graph.nodes[node].path == path && takes_ttl(&self.graph, node))
            .collect();
        let relations = aliases(select);
        for hint in hints {
            let meant = self.meant(&hint, &of_block, &relations, &path);
            if meant.is_empty() {
                return self.fail(nothing_meant(&hint, &relations));
            }
            for node in meant {
                let known = self
                    .graph
                    .hinted_ttls
                    .insert(node, (hint.micros, hint.span));
                if known.is_some_and(|(micros, _)| micros != hint.micros) {
                    let id = self.graph.nodes[node].named();
                    return self.fail(
                        Diagnostic::error(codes::STATE_TTL, format!("two times for the state of `{id}`"))
                            .at(hint.span, "a join keeps the rows of a key on both sides for one time")
                            .help("give both relations the same time: what is older on one side would have no partner on the other"),
                    );
                }
            }
        }
        Ok(())
    }

    /// Notes under which path a block had its state.
    pub(super) fn note_state_from(
        &mut self,
        select: &ast::Select,
        path: &Path,
    ) -> Result<(), Failed> {
        let Some((from, span)) = state_from_of_select(select) else {
            return Ok(());
        };
        let path = match hint_of_select(select) {
            Some(name) => path.local(&name.value),
            None => path.clone(),
        };
        let known = self
            .graph
            .state_from
            .insert(path.as_str().to_owned(), from.clone());
        if known.is_some_and(|known| known != from) {
            return self.fail(
                Diagnostic::error(
                    codes::UNKNOWN_HINT,
                    format!("two paths that `{}` had", path.as_str()),
                )
                .at(span, "another block of the same name says otherwise")
                .help("name the blocks: /*+ ID('name'), STATE_FROM('old.path') */"),
            );
        }
        Ok(())
    }

    fn meant(
        &self,
        hint: &TtlHint,
        of_block: &[NodeId],
        relations: &[String],
        path: &Path,
    ) -> Vec<NodeId> {
        let is_join =
            |node: &&NodeId| matches!(self.graph.nodes[**node].kind, NodeKind::Join { .. });
        let joined_as = format!("/join({})", quoted(&hint.relation));
        let joins = || of_block.iter().filter(is_join);
        let is_joined = |node: &&NodeId| {
            let id = self.graph.nodes[**node].named();
            id.as_str().ends_with(&joined_as)
        };
        if let Some(&join) = joins().find(is_joined) {
            return vec![join];
        }
        let is_first = relations.first() == Some(&hint.relation);
        if let (true, Some(&join)) = (is_first, joins().next()) {
            return vec![join];
        }
        let block = path.as_str().rsplit('.').next();
        let is_block = block == Some(quoted(&hint.relation).as_str());
        if !is_block && !relations.contains(&hint.relation) {
            return Vec::new();
        }
        let others = of_block.iter().filter(|node| !is_join(node));
        others.copied().collect()
    }
}

fn nothing_meant(hint: &TtlHint, relations: &[String]) -> Diagnostic {
    let relation = &hint.relation;
    let diagnostic = Diagnostic::error(
        codes::STATE_TTL,
        format!("STATE_TTL names '{relation}', and nothing there keeps state by key for ever"),
    );
    if relations.contains(relation) {
        return diagnostic
            .at(hint.span, "no join of it, no GROUP BY, DISTINCT or ranking by key in this SELECT")
            .help("put the hint after the SELECT that groups, joins or ranks; windows and joins that time bounds drop their state by the watermark");
    }
    let known: Vec<String> = relations.iter().map(|name| format!("'{name}'")).collect();
    diagnostic
        .at(
            hint.span,
            "neither a relation of this SELECT's FROM nor the name of the block",
        )
        .help(format!("the relations here are {}", known.join(", ")))
}

/// The names of the relations in FROM, in order, in lower case.
fn aliases(select: &ast::Select) -> Vec<String> {
    let of = |factor: &ast::TableFactor| -> Option<String> {
        let (name, alias) = match factor {
            ast::TableFactor::Table { name, alias, .. } => (Some(name), alias),
            ast::TableFactor::Derived { alias, .. }
            | ast::TableFactor::TableFunction { alias, .. }
            | ast::TableFactor::UNNEST { alias, .. } => (None, alias),
            _ => return None,
        };
        let alias = alias.as_ref().map(|alias| alias.name.value.clone());
        alias.or_else(|| {
            let last = name?.0.last()?;
            last.as_ident().map(|ident| ident.value.clone())
        })
    };
    let tables = select.from.iter().flat_map(|table| {
        std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation))
    });
    tables
        .filter_map(of)
        .map(|name| name.to_lowercase())
        .collect()
}
