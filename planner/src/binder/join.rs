//! Joins: which conjunct belongs to which input, and the chain of joins in the order of FROM.
//!
//! ```text
//!   FROM a JOIN b … LEFT JOIN c …     ((a ⋈ b) ⟕ c) : never another order, because each join keeps what it joins
//! ```
//!
//! A conjunct goes as far down as it gives the same rows there (EVOLUTION 2):
//!
//! | conjunct of | touches the left input | the right input | both |
//! |---|---|---|---|
//! | WHERE | below, if no right row comes without partner | below, if no left row does | the join, if it is inner; else above it |
//! | ON | below, if left rows without partner are dropped | below, if right rows without partner are | the join |
//!
//! Where it does not go below, one of ON is part of the join, one of WHERE is a filter above it. What asks for the clock or calls a
//! volatile function is judged above the joins.

use weir_types::{DataType, Diagnostic, Scalar, Span};

use crate::codes;
use crate::logical::{Node, NodeId, NodeKind, Properties};
use crate::names::Path;
use crate::plan::{BinaryOp, Expr, ExprKind, JoinKind};

use super::from::From;
use super::lookup::LookupConditions;
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
            let below = std::mem::take(&mut placed.below[index]);
            let below = below
                .into_iter()
                .map(|conjunct| conjunct.renumbered(&|column| column - relation.first));
            let predicate = Expr::conjunction(below);
            nodes.push(Some(self.filter(relation.relation.node, predicate, path)));
        }
        let mut nodes = nodes.into_iter();
        let mut node = match nodes.next() {
            Some(Some(node)) => node,
            Some(None) => {
                let row = self.one_row(path, from.relations[0].span)?;
                self.unnest_step(from, 0, row, path)?
            }
            None => return Err(Failed),
        };
        node = self.judged(node, placed.above_of(0), path, "now")?;
        let mut stateful = from.stateful;
        for (index, right) in nodes.enumerate().map(|(index, right)| (index + 1, right)) {
            let Some(right) = right else {
                node = self.unnest_step(from, index, node, path)?;
                node = self.judged(node, placed.above_of(index), path, "now")?;
                continue;
            };
            let at = std::mem::take(&mut placed.at_join[index]);
            node = self.join(from, index, node, right, at, path)?;
            node = self.judged(node, placed.above_of(index), path, "now")?;
            stateful = true;
        }
        Ok(Joined { node, stateful })
    }

    /// An UNNEST of the chain, on top of everything to its left.
    fn unnest_step(
        &mut self,
        from: &From,
        index: usize,
        input: NodeId,
        path: &Path,
    ) -> Result<NodeId, Failed> {
        let relation = &from.relations[index];
        let Some(unnest) = &relation.unnest else {
            return Ok(input);
        };
        let columns = &relation.relation.columns;
        self.unnested(input, unnest, columns, path, relation.span)
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
        let (first, join) = (relation.first, relation.join);
        let mut keys = Keys::default();
        let mut rest = Vec::new();
        for conjunct in conjuncts {
            if let Err(conjunct) = keys.take(&conjunct, first) {
                rest.push(conjunct);
            }
        }
        let mut conditions = Conditions {
            left_keys: keys.left,
            right_keys: keys.right,
            rest,
        };
        let place = Place {
            role: &relation.role,
            path,
            span: relation.span,
        };
        if relation.lookup {
            (keys.left, keys.right) = (conditions.left_keys, conditions.right_keys);
            if keys.left.is_empty() {
                if !self.may_have_no_key(join, left, right) {
                    return self.no_key(from, index, relation.span);
                }
                keys.all_rows(relation.span);
            }
            let residual = Expr::conjunction(conditions.rest);
            let conditions = LookupConditions {
                join,
                keys,
                residual,
            };
            return self.lookup_join([left, right], conditions, &place);
        }
        if !keys.null_equal.contains(&true)
            && let Some(timing) = self.timing(left, right, &mut conditions)
        {
            return self.timed_join([left, right], join, timing, conditions, &place);
        }
        (keys.left, keys.right) = (conditions.left_keys, conditions.right_keys);
        let rest = conditions.rest;
        if keys.left.is_empty() {
            if !self.may_have_no_key(join, left, right) {
                return self.no_key(from, index, relation.span);
            }
            keys.all_rows(relation.span);
        }
        let residual = Expr::conjunction(rest);
        self.check_volatile_residual(residual.as_ref())?;
        let id = self.take_id(path, &relation.role, relation.span);
        let (left_properties, right_properties) = (self.properties(left), self.properties(right));
        let properties = Properties::joined(join, left_properties, right_properties, first);
        let mut columns = self.graph.nodes[left].columns.clone();
        if join.gives_right() {
            columns.extend(self.graph.nodes[right].columns.iter().cloned());
        }
        let kind = NodeKind::Join {
            join,
            left_keys: keys.left,
            right_keys: keys.right,
            null_equal: keys.null_equal,
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

    /// Every row with every row: fine where one side has one row or an end, and where only chosen rows come out.
    fn may_have_no_key(&self, join: JoinKind, left: NodeId, right: NodeId) -> bool {
        let few = |node: NodeId| {
            self.properties(node).unique_key.as_deref() == Some(&[]) || self.is_bounded(node)
        };
        !join.gives_right() || few(left) || few(right)
    }

    /// Whether all of its sources end.
    pub(super) fn is_bounded(&self, node: NodeId) -> bool {
        let below = self.graph.below(node);
        below
            .iter()
            .all(|&node| match &self.graph.nodes[node].kind {
                NodeKind::Scan { table } => self
                    .tables
                    .get(table)
                    .is_some_and(|table| self.catalog.source_traits(&table.options).bounded),
                _ => true,
            })
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
            from.scope.columns.get(from.relations[index].first),
        ) {
            (Some(left), Some(right)) => {
                let left_name = from.scope.relations[left.relation].alias.as_deref();
                let left_name = left_name.unwrap_or(&from.relations[0].name);
                format!(
                    "add an equality: ON {left_name}.{} = {name}.{}",
                    left.name, right.name
                )
            }
            _ => "add an equality between the two sides".to_owned(),
        };
        self.fail(
            Diagnostic::error(codes::JOIN_WITHOUT_KEY, message)
                .at(span, "joined without an equality, and neither side ends")
                .help(example),
        )
    }
}

/// The keys of a join.
#[derive(Default)]
pub(super) struct Keys {
    pub(super) left: Vec<Expr>,
    pub(super) right: Vec<Expr>,
    pub(super) null_equal: Vec<bool>,
}

impl Keys {
    /// Takes an equality of which one operand reads columns before `first` only, the other columns from `first` on
    /// only; anything else is given back.
    fn take(&mut self, conjunct: &Expr, first: usize) -> Result<(), Expr> {
        let ExprKind::Binary {
            op: op @ (BinaryOp::Eq | BinaryOp::IsNotDistinctFrom),
            left,
            right,
        } = &conjunct.kind
        else {
            return Err(conjunct.clone());
        };
        let side = |expr: &Expr| {
            let columns = expr.columns();
            let left = columns.iter().all(|&column| column < first);
            let right = columns.iter().all(|&column| column >= first);
            (left != right).then_some(left)
        };
        let (left, right) = match (side(left), side(right)) {
            (Some(true), Some(false)) => (left, right),
            (Some(false), Some(true)) => (right, left),
            _ => return Err(conjunct.clone()),
        };
        self.left.push(left.as_ref().clone());
        self.right
            .push(right.as_ref().clone().renumbered(&|column| column - first));
        self.null_equal.push(*op == BinaryOp::IsNotDistinctFrom);
        Ok(())
    }

    /// One key, the same for all rows.
    fn all_rows(&mut self, span: Span) {
        let one = Expr::literal(Scalar::Int(1), DataType::Int64, span);
        self.left.push(one.clone());
        self.right.push(one);
        self.null_equal.push(false);
    }
}

/// `left = right` where one operand reads columns before `first` only, the other columns from `first` on only.
pub(super) fn key_of(conjunct: Expr, first: usize) -> Result<(Expr, Expr), Expr> {
    let mut keys = Keys::default();
    keys.take(&conjunct, first)?;
    match (keys.left.pop(), keys.right.pop(), keys.null_equal.pop()) {
        (Some(left), Some(right), Some(false)) => {
            Ok((left, right.renumbered(&|column| column + first)))
        }
        _ => Err(conjunct),
    }
}

/// The conjuncts of a block, sorted by where they belong.
struct Placed<'a> {
    from: &'a From,
    /// For each relation those that are judged on its rows alone.
    below: Vec<Vec<Expr>>,
    /// For each relation those that its join judges.
    at_join: Vec<Vec<Expr>>,
    /// For each relation those that are judged right above its join.
    above: Vec<Vec<Expr>>,
}

impl<'a> Placed<'a> {
    fn new(from: &'a From, conjuncts: Vec<Expr>) -> Self {
        let count = from.relations.len();
        let mut placed = Self {
            from,
            below: vec![Vec::new(); count],
            at_join: vec![Vec::new(); count],
            above: vec![Vec::new(); count],
        };
        if count == 0 {
            return placed;
        }
        for (level, relation) in from.relations.iter().enumerate() {
            for conjunct in &relation.on {
                placed.on(conjunct.clone(), level);
            }
        }
        for conjunct in conjuncts {
            placed.holds_above(conjunct, count - 1);
        }
        placed
    }

    fn above_of(&mut self, level: usize) -> Option<Expr> {
        Expr::conjunction(std::mem::take(&mut self.above[level]))
    }

    /// Whether it touches the right input of the join at `level`, and whether the left one.
    fn touches(&self, conjunct: &Expr, level: usize) -> (bool, bool) {
        let first = self.from.relations[level].first;
        let columns = conjunct.columns();
        let right = columns.iter().any(|&column| column >= first);
        let left = columns.iter().any(|&column| column < first);
        (left, right)
    }

    /// A conjunct that every row of the joins up to `level` has to fulfil.
    fn holds_above(&mut self, conjunct: Expr, level: usize) {
        let touches = self.touches(&conjunct, level);
        let join = self.from.relations[level].join;
        if conjunct.is_volatile() || touches == (false, false) {
            self.above[level].push(conjunct);
        } else if self.from.relations[level].unnest.is_some()
            || self.from.relations[level].as_of.is_some()
        {
            // Elements are known above their UNNEST, and which row is matched is for ON alone to say; what is to the
            // left is known before.
            match touches {
                (true, false) => self.holds_above(conjunct, level - 1),
                _ => self.above[level].push(conjunct),
            }
        } else if level == 0 {
            if self.from.relations.len() == 1 {
                self.above[0].push(conjunct);
            } else {
                self.below[0].push(conjunct);
            }
        } else {
            match touches {
                (false, _) if !join.keeps_left() => self.below[level].push(conjunct),
                (_, false) if !join.keeps_right() => self.holds_above(conjunct, level - 1),
                (true, true) if join == JoinKind::Inner => self.at_join[level].push(conjunct),
                _ => self.above[level].push(conjunct),
            }
        }
    }

    /// A conjunct of the ON of the join at `level`.
    fn on(&mut self, conjunct: Expr, level: usize) {
        let join = self.from.relations[level].join;
        if join == JoinKind::Inner {
            return self.holds_above(conjunct, level);
        }
        match self.touches(&conjunct, level) {
            _ if conjunct.is_volatile() => self.at_join[level].push(conjunct),
            (false, true) if !join.keeps_right() => self.below[level].push(conjunct),
            (true, false) if !join.keeps_left() => self.holds_above(conjunct, level - 1),
            _ => self.at_join[level].push(conjunct),
        }
    }
}
