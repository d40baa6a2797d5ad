//! Joins: which conjunct belongs to which input, and the chain of joins in the order of FROM.
//!
//! ```text
//!   FROM a, b, c WHERE a.x > 1 AND a.k = b.k AND b.l = c.l AND a.y < c.y
//!        │            └─ below a    └─ key of       └─ key of   └─ rest of
//!        │                             join(b)         join(c)     join(c)
//!        └─ (a ⋈ b) ⋈ c : never another order, because each join keeps what it joins
//! ```
//!
//! All joins are inner, so that ON and WHERE mean the same: a conjunct that touches one relation is evaluated below it,
//! one that touches several belongs to the join that brings in the last of them. What asks for the clock or calls a
//! volatile function touches nothing earlier: it stays above all joins.

use weir_types::{Diagnostic, Span};

use crate::codes;
use crate::logical::{Node, NodeId, NodeKind, Properties};
use crate::names::Path;
use crate::plan::{BinaryOp, Expr, ExprKind, JoinKind, StateBound};
use crate::state_schema::side_bound;

use super::from::From;
use super::timed::{Conditions, Place};
use super::{Binder, Failed};

/// A relation in the making: the node of everything joined so far, and whether a join is in it.
pub(crate) struct Joined {
    pub(crate) node: NodeId,
    pub(crate) stateful: bool,
}

impl Binder<'_> {
    /// Filters and joins the relations of a block; column numbers afterwards are those of the scope.
    pub(crate) fn joined(
        &mut self,
        from: &From,
        conjuncts: Vec<Expr>,
        path: &Path,
    ) -> Result<Joined, Failed> {
        let mut placed = Placed::new(from, conjuncts);
        let mut nodes = Vec::with_capacity(from.relations.len());
        for (index, relation) in from.relations.iter().enumerate() {
            if relation.unnest.is_some() {
                nodes.push(None);
                continue;
            }
            let first = from.scope.relations[index].first;
            let below = std::mem::take(&mut placed.below[index]);
            let below = below
                .into_iter()
                .map(|conjunct| conjunct.renumbered(&|column| column - first));
            let predicate = Expr::conjunction(below);
            nodes.push(Some(self.filter(relation.relation.node, predicate, path)));
        }
        let mut nodes = nodes.into_iter();
        let mut node = match nodes.next() {
            Some(Some(node)) => node,
            Some(None) => {
                let row = self.one_row(path, from.relations[0].span)?;
                self.unnest_step(from, 0, row, &mut placed, path)?
            }
            None => return Err(Failed),
        };
        let mut stateful = from.stateful;
        let mut failed = false;
        for (index, right) in nodes.enumerate().map(|(index, right)| (index + 1, right)) {
            let Some(right) = right else {
                node = self.unnest_step(from, index, node, &mut placed, path)?;
                continue;
            };
            let at = std::mem::take(&mut placed.at_join[index]);
            match self.join(from, index, node, right, at, path) {
                Ok(joined) => node = joined,
                Err(Failed) => failed = true,
            }
            stateful = true;
            if failed {
                // The chain is broken, but later joins without a key are mistakes of their own.
                break;
            }
        }
        if failed {
            return Err(Failed);
        }
        self.check_volatile(node, &placed.above)?;
        let node = self.filter(node, Expr::conjunction(placed.above), path);
        Ok(Joined { node, stateful })
    }

    /// An UNNEST of the chain, and the conditions on its columns right above it.
    fn unnest_step(
        &mut self,
        from: &From,
        index: usize,
        input: NodeId,
        placed: &mut Placed,
        path: &Path,
    ) -> Result<NodeId, Failed> {
        let relation = &from.relations[index];
        let Some(unnest) = &relation.unnest else {
            return Ok(input);
        };
        let columns = &relation.relation.columns;
        let node = self.unnested(input, unnest, columns, path, relation.span)?;
        let mut above = std::mem::take(&mut placed.below[index]);
        above.append(&mut placed.at_join[index]);
        Ok(self.filter(node, Expr::conjunction(above), path))
    }

    fn join(
        &mut self,
        from: &From,
        index: usize,
        left: NodeId,
        right: NodeId,
        conjuncts: Vec<Expr>,
        path: &Path,
    ) -> Result<NodeId, Failed> {
        let relation = &from.relations[index];
        if let Some(as_of) = &relation.as_of {
            return self.as_of_join(from, index, [left, right], as_of, path);
        }
        let first = from.scope.relations[index].first;
        let (mut left_keys, mut right_keys, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        for conjunct in conjuncts {
            match key_of(conjunct, first) {
                Ok((left_key, right_key)) => {
                    left_keys.push(left_key);
                    right_keys.push(right_key.renumbered(&|column| column - first));
                }
                Err(conjunct) => rest.push(conjunct),
            }
        }
        let mut conditions = Conditions {
            left_keys,
            right_keys,
            rest,
        };
        if let Some(timing) = self.timing(left, right, &mut conditions) {
            let place = Place {
                relation: &relation.name,
                path,
                span: relation.span,
            };
            return self.timed_join([left, right], JoinKind::Inner, timing, conditions, &place);
        }
        let Conditions {
            left_keys,
            right_keys,
            rest,
        } = conditions;
        if left_keys.is_empty() {
            return self.no_key(from, index, relation.span);
        }
        let residual = Expr::conjunction(rest);
        self.check_volatile_residual(residual.as_ref())?;
        let role = format!("join({})", crate::names::quoted(&relation.name));
        let id = self.take_id(path, &role, relation.span);
        let grows = |node: NodeId| {
            let properties = self.properties(node);
            side_bound(properties.changelog, properties.unique_key.as_deref())
                == StateBound::Nothing
        };
        let kept = match (grows(left), grows(right)) {
            (true, true) => Some("both sides are kept for ever"),
            (true, false) => Some("the rows before this join are kept for ever"),
            (false, true) => Some("its rows are kept for ever"),
            (false, false) => None,
        };
        if let Some(kept) = kept {
            self.warn_unbounded(&id, kept, relation.span);
        }
        let (left_properties, right_properties) = (self.properties(left), self.properties(right));
        let properties = Properties::joined(left_properties, right_properties, first);
        let mut columns = self.graph.nodes[left].columns.clone();
        columns.extend(self.graph.nodes[right].columns.iter().cloned());
        let kind = NodeKind::Join {
            join: JoinKind::Inner,
            left_keys,
            right_keys,
            residual,
        };
        let (path, id, span) = (path.clone(), Some(id), relation.span);
        Ok(self.add(Node {
            kind,
            inputs: vec![left, right],
            columns,
            properties,
            path,
            id,
            shared: false,
            span,
        }))
    }

    /// A pair that is judged twice (when it is made and when it is taken back) has to be judged the same.
    pub(super) fn check_volatile_residual(
        &mut self,
        residual: Option<&Expr>,
    ) -> Result<(), Failed> {
        let Some(residual) = residual.filter(|residual| residual.is_volatile()) else {
            return Ok(());
        };
        self.fail(
            Diagnostic::error(
                codes::VOLATILE_RETRACTIONS,
                "a join condition has to give the same answer each time",
            )
            .at(residual.span, "this does not")
            .help("compare with a column instead"),
        )
    }

    fn no_key(&mut self, from: &From, index: usize, span: Span) -> Result<NodeId, Failed> {
        let name = &from.relations[index].name;
        let message =
            format!("nothing says which rows of `{name}` belong together with the others");
        let example = match (
            from.scope.columns.first(),
            from.scope.columns.get(from.scope.relations[index].first),
        ) {
            (Some(left), Some(right)) => {
                let left_name = &from.relations[left.relation].name;
                format!(
                    "add an equality: ON {left_name}.{} = {name}.{}",
                    left.name, right.name
                )
            }
            _ => "add an equality between the two sides".to_owned(),
        };
        self.fail(
            Diagnostic::error(codes::JOIN_WITHOUT_KEY, message)
                .at(span, "joined without an equality")
                .help(example),
        )
    }
}

/// The conjuncts of a block, sorted by where they belong.
struct Placed {
    /// For each relation those that touch it alone.
    below: Vec<Vec<Expr>>,
    /// For each relation those that its join judges.
    at_join: Vec<Vec<Expr>>,
    /// Those that stay above all joins.
    above: Vec<Expr>,
}

impl Placed {
    fn new(from: &From, conjuncts: Vec<Expr>) -> Self {
        let count = from.relations.len();
        let mut placed = Self {
            below: vec![Vec::new(); count],
            at_join: vec![Vec::new(); count],
            above: Vec::new(),
        };
        for conjunct in conjuncts {
            let mut touched: Vec<usize> = conjunct
                .columns()
                .into_iter()
                .map(|column| from.scope.columns[column].relation)
                .collect();
            touched.dedup();
            match touched.as_slice() {
                _ if count == 1 || conjunct.is_volatile() => placed.above.push(conjunct),
                [] => placed.above.push(conjunct),
                // Which row is matched is for ON alone to say.
                [.., last] if from.relations[*last].as_of.is_some() => placed.above.push(conjunct),
                [only] => placed.below[*only].push(conjunct),
                [.., last] => placed.at_join[*last].push(conjunct),
            }
        }
        placed
    }
}

/// `left = right` where one operand reads columns before `first` only, the other columns from `first` on only.
pub(super) fn key_of(conjunct: Expr, first: usize) -> Result<(Expr, Expr), Expr> {
    let ExprKind::Binary {
        op: BinaryOp::Eq,
        left,
        right,
    } = &conjunct.kind
    else {
        return Err(conjunct);
    };
    let side = |expr: &Expr| {
        let columns = expr.columns();
        let left = columns.iter().all(|&column| column < first);
        let right = columns.iter().all(|&column| column >= first);
        match (left, right) {
            _ if columns.is_empty() => None,
            (true, false) => Some(true),
            (false, true) => Some(false),
            _ => None,
        }
    };
    match (side(left), side(right)) {
        (Some(true), Some(false)) => Ok((*left.clone(), *right.clone())),
        (Some(false), Some(true)) => Ok((*right.clone(), *left.clone())),
        _ => Err(conjunct),
    }
}
