//! Joins, regular ones and those that time bounds: both inputs are made to measure, so that each side keeps exactly the
//! columns that its block reads, and those of time where it has to know them.

use std::collections::BTreeMap;

use weir_types::{Schema, Span};

use crate::canonical;
use crate::fingerprint::sorted;
use crate::identity::{Identity, joined_columns};
use crate::logical::{NodeId, NodeKind};
use crate::names::Path;
use crate::plan::{Expr, Input, JoinKind, OperatorKind, Partitioning};

use super::aggregate::{Fitting, deduplicated};
use super::{Columns, Emitted, Lowering, New, NewLogic, columns_of};

/// What a join asks of a pair, over the columns of its node.
struct Conditions<'a> {
    join: JoinKind,
    left_keys: &'a [Expr],
    right_keys: &'a [Expr],
    /// For each key whether two NULLs are equal; empty: for none.
    null_equal: &'a [bool],
    residual: Option<&'a Expr>,
}

/// A join whose inputs are emitted.
struct FittedJoin {
    join: JoinKind,
    left: Side,
    right: Side,
    /// Places of the key columns, and whether two NULLs are equal: in the order of their identities, each once.
    pairs: Vec<(usize, usize, bool)>,
    /// For each column of the node that is read its place in the output.
    columns: BTreeMap<usize, usize>,
    residual: Option<Expr>,
}

/// One side of a join, made to measure.
pub(super) struct Side {
    pub(super) operator: usize,
    /// For each column of the node that is read its place.
    pub(super) columns: BTreeMap<usize, usize>,
    /// For each key its place.
    pub(super) keys: Vec<usize>,
    /// One for each column.
    pub(super) identities: Vec<Identity>,
}

impl Lowering<'_> {
    pub(crate) fn join(&mut self, node: NodeId, wanted: &Columns) -> Emitted {
        let NodeKind::Join {
            join,
            left_keys,
            right_keys,
            null_equal,
            residual,
        } = &self.graph.nodes[node].kind
        else {
            unreachable!("the caller looked at the kind")
        };
        let conditions = Conditions {
            join: *join,
            left_keys,
            right_keys,
            null_equal,
            residual: residual.as_ref(),
        };
        let fitted = self.fitted_join(node, wanted, &Columns::new(), &conditions);
        let null_equal: Vec<bool> = fitted.pairs.iter().map(|pair| pair.2).collect();
        let kind = OperatorKind::Join {
            join: *join,
            left_keys: fitted.left_places(),
            right_keys: fitted.right_places(),
            null_equal: if null_equal.contains(&true) {
                null_equal
            } else {
                Vec::new()
            },
            residual: fitted.residual.clone(),
        };
        let detail = fitted.detail("");
        self.push_join(node, fitted, kind, detail)
    }

    pub(crate) fn lookup_join(&mut self, node: NodeId, wanted: &Columns) -> Emitted {
        let NodeKind::LookupJoin {
            join,
            left_keys,
            right_keys,
            null_equal,
            residual,
            complete,
        } = &self.graph.nodes[node].kind
        else {
            unreachable!("the caller looked at the kind")
        };
        let conditions = Conditions {
            join: *join,
            left_keys,
            right_keys,
            null_equal,
            residual: residual.as_ref(),
        };
        let fitted = self.fitted_join(node, wanted, &Columns::new(), &conditions);
        let null_equal: Vec<bool> = fitted.pairs.iter().map(|pair| pair.2).collect();
        let kind = OperatorKind::LookupJoin {
            join: *join,
            left_keys: fitted.left_places(),
            right_keys: fitted.right_places(),
            null_equal: if null_equal.contains(&true) {
                null_equal
            } else {
                Vec::new()
            },
            residual: fitted.residual.clone(),
            complete: *complete,
        };
        let when = if *complete {
            " when the right has ended"
        } else {
            " at the end of the epoch"
        };
        let detail = fitted.detail(when);
        self.push_join(node, fitted, kind, detail)
    }

    pub(crate) fn timed_join(&mut self, node: NodeId, wanted: &Columns) -> Emitted {
        let current = &self.graph.nodes[node];
        let NodeKind::TimedJoin {
            timing,
            join,
            left_keys,
            right_keys,
            residual,
        } = &current.kind
        else {
            unreachable!("the caller looked at the kind")
        };
        let first_right = self.graph.nodes[current.inputs[0]].columns.len();
        let (left_time, right_time) = timing.columns();
        let times = Columns::from([left_time, first_right + right_time]);
        let conditions = Conditions {
            join: *join,
            left_keys,
            right_keys,
            null_equal: &[],
            residual: residual.as_ref(),
        };
        let fitted = self.fitted_join(node, wanted, &times, &conditions);
        let (left, right) = (&fitted.left, &fitted.right);
        let timing = timing.moved(left.columns[&left_time], right.columns[&right_time]);
        let (left_place, right_place) = timing.columns();
        let right_name = format!("right:{}", right.identities[right_place].typed);
        let timing_text =
            canonical::timing(&timing, &left.identities[left_place].typed, &right_name);
        let kind = OperatorKind::TimedJoin {
            timing,
            join: *join,
            left_keys: fitted.left_places(),
            right_keys: fitted.right_places(),
            residual: fitted.residual.clone(),
        };
        let detail = fitted.detail(&format!(" {timing_text}"));
        self.push_join(node, fitted, kind, detail)
    }

    /// Emits both inputs. `further`: columns of the node that are read beside the wanted ones and the residual's.
    fn fitted_join(
        &mut self,
        node: NodeId,
        wanted: &Columns,
        further: &Columns,
        conditions: &Conditions<'_>,
    ) -> FittedJoin {
        let graph = self.graph;
        let current = &graph.nodes[node];
        let (left_input, right_input) = (current.inputs[0], current.inputs[1]);
        let first_right = graph.nodes[left_input].columns.len();
        let mut read = wanted | &columns_of(conditions.residual.into_iter());
        read.extend(further);
        let left_read = read.iter().copied().filter(|&column| column < first_right);
        let right_read = read
            .iter()
            .filter_map(|&column| column.checked_sub(first_right));
        let (left_read, right_read) = (left_read.collect(), right_read.collect());
        let wanted_inputs = self.wanted_inputs(node, wanted);
        let (path, keys) = (&current.path, conditions.left_keys);
        let (left_time, right_time) = (self.ttl_time(node, 0), self.ttl_time(node, 1));
        let wanted = &wanted_inputs[0];
        let left = self.side_with_time(left_input, wanted, &left_read, keys, path, left_time);
        let (keys, wanted) = (conditions.right_keys, &wanted_inputs[1]);
        let right = self.side_with_time(right_input, wanted, &right_read, keys, path, right_time);

        let null_equal = |key: usize| conditions.null_equal.get(key).copied().unwrap_or(false);
        let keys = left.keys.iter().zip(&right.keys).enumerate();
        let mut pairs: Vec<(usize, usize, bool)> =
            keys.map(|(i, (&l, &r))| (l, r, null_equal(i))).collect();
        pairs.sort_by_key(|&(l, r, null_equal)| {
            let (left, right) = (left.identities[l].clone(), right.identities[r].clone());
            (left, right, null_equal)
        });
        pairs.dedup();
        let left_width = left.identities.len();
        let mut columns = left.columns.clone();
        let right_columns = right.columns.iter();
        columns.extend(
            right_columns.map(|(&column, &place)| (first_right + column, left_width + place)),
        );
        let output = Emitted {
            operator: 0,
            columns,
        };
        let residual = conditions.residual.map(|residual| output.moved(residual));
        FittedJoin {
            join: conditions.join,
            left,
            right,
            pairs,
            columns: output.columns,
            residual,
        }
    }

    /// Adds the operator of a fitted join.
    fn push_join(
        &mut self,
        node: NodeId,
        fitted: FittedJoin,
        kind: OperatorKind,
        detail: String,
    ) -> Emitted {
        let current = &self.graph.nodes[node];
        let hidden = self.hidden_columns(node);
        let visible = |operator: usize| {
            let schema = &self.operators[operator].schema;
            schema[..schema.len() - hidden].iter().cloned()
        };
        let mut schema: Schema = visible(fitted.left.operator).collect();
        if fitted.join.gives_right() {
            schema.extend(visible(fitted.right.operator));
        }
        let edge = |from: usize, keys: Vec<usize>| Input {
            from,
            partitioning: Partitioning::Hash(keys),
        };
        let inputs = vec![
            edge(fitted.left.operator, fitted.left_places()),
            edge(fitted.right.operator, fitted.right_places()),
        ];
        let columns = fitted.columns;
        let properties = deduplicated(
            current
                .properties
                .moved(&|column| columns.get(&column).copied()),
        );
        let (id, join) = (current.named(), fitted.join);
        let (id_text, left, right) = (
            id.to_string(),
            fitted.left.identities,
            fitted.right.identities,
        );
        self.ttl = self.ttl_of(node);
        let operator = self.push(New {
            id,
            kind,
            inputs,
            schema,
            properties,
            span: current.span,
            logic: NewLogic::Stateful(
                detail,
                Box::new(move |logic| joined_columns(join, &left, &right, &id_text, logic)),
            ),
        });
        Emitted { operator, columns }
    }

    /// One side of a join: the columns that the block reads, and the computed keys, ordered by identity.
    pub(super) fn side(
        &mut self,
        input: NodeId,
        wanted: &Columns,
        read: &Columns,
        keys: &[Expr],
        path: &Path,
    ) -> Side {
        self.side_with_time(input, wanted, read, keys, path, None)
    }

    /// The same with a further column at the end that only the join's TTL reads.
    fn side_with_time(
        &mut self,
        input: NodeId,
        wanted: &Columns,
        read: &Columns,
        keys: &[Expr],
        path: &Path,
        time: Option<usize>,
    ) -> Side {
        let below = self.emit(input, wanted);
        let known = self.logic[below.operator].columns.clone();
        let schema = self.operators[below.operator].schema.clone();
        let column = |column: usize| {
            let place = below.columns[&column];
            Expr::column(place, schema[place].data_type.clone(), Span::default())
        };
        let mut fitting = Fitting::default();
        for &wanted in read {
            fitting.place(Identity::of(&column(wanted), &known), column(wanted));
        }
        for key in keys {
            let key = below.moved(key);
            fitting.place(Identity::of(&key, &known), key);
        }
        fitting.sort_from(0);
        let measured = self.with_column(fitting.measured(), &below, time);
        let operator = self.push_project(below.operator, measured, path);
        let place = |expr: &Expr| fitting.find(&Identity::of(expr, &known));
        Side {
            operator,
            columns: read
                .iter()
                .map(|&wanted| (wanted, place(&column(wanted))))
                .collect(),
            keys: keys.iter().map(|key| place(&below.moved(key))).collect(),
            identities: fitting
                .exprs
                .iter()
                .map(|(identity, _)| identity.clone())
                .collect(),
        }
    }

    /// What a join that time bounds wants of its inputs.
    pub(crate) fn wanted_of_timed_join(&self, node: NodeId, wanted: &Columns) -> Vec<Columns> {
        let current = &self.graph.nodes[node];
        let NodeKind::TimedJoin {
            timing,
            left_keys,
            right_keys,
            residual,
            ..
        } = &current.kind
        else {
            unreachable!("the caller looked at the kind")
        };
        let first_right = self.graph.nodes[current.inputs[0]].columns.len();
        let both = wanted | &columns_of(residual.iter());
        let (left_time, right_time) = timing.columns();
        let left = both.iter().copied().filter(|&column| column < first_right);
        let right = both
            .iter()
            .filter_map(|&column| column.checked_sub(first_right));
        vec![
            left.chain(columns_of(left_keys.iter()))
                .chain([left_time])
                .collect(),
            right
                .chain(columns_of(right_keys.iter()))
                .chain([right_time])
                .collect(),
        ]
    }
}

impl FittedJoin {
    fn left_places(&self) -> Vec<usize> {
        self.pairs.iter().map(|pair| pair.0).collect()
    }

    fn right_places(&self) -> Vec<usize> {
        self.pairs.iter().map(|pair| pair.1).collect()
    }

    /// The canonical text of what the join does; `timing` stands behind its equalities.
    fn detail(&self, timing: &str) -> String {
        let (left, right) = (&self.left.identities, &self.right.identities);
        let pairs = self.pairs.iter().map(|&(l, r, null_equal)| {
            let equal = if null_equal {
                "is not distinct from"
            } else {
                "="
            };
            format!("{} {equal} {}", left[l].typed, right[r].typed)
        });
        let pairs: Vec<String> = pairs.collect();
        let through = right.iter().map(|identity| Identity {
            name: format!("right:{}", identity.name),
            typed: format!("right:{}", identity.typed),
        });
        let both: Vec<Identity> = left.iter().cloned().chain(through).collect();
        let conjuncts = self.residual.iter();
        let conjuncts = conjuncts.flat_map(|residual: &Expr| residual.clone().conjuncts());
        let residual = sorted(conjuncts.map(|conjunct| Identity::of(&conjunct, &both)));
        format!(
            "{} on {}{timing} residual {residual} left {} right {}",
            self.join.word(),
            pairs.join(" and "),
            sorted(left.clone()),
            sorted(right.clone())
        )
    }
}
