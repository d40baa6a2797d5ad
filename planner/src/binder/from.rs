//! FROM: relations in the order of the text, with their names, and the conditions that ON and USING add.

use sqlparser::ast::{self, JoinConstraint, JoinOperator, TableFactor};
use weir_types::{DataType, Diagnostic, Span};

use crate::codes;
use crate::convert::{CastKind, cast_to};
use crate::logical::NodeKind;
use crate::plan::{BinaryOp, Expr, ExprKind, JoinKind};
use crate::syntax::{Name, span_of, unnest_call, window_call};

use super::as_of::{AsOf, version_of};
use super::expr::{Aggregates, ExprBinder};
use super::query::{Context, common_type};
use super::scope::Scope;
use super::subquery::Lateral;
use super::unnest::Unnest;
use super::{Binder, Failed, Relation};

/// The relations of a block, and the conditions of its joins.
#[derive(Default)]
pub(crate) struct From {
    pub(crate) scope: Scope,
    pub(crate) relations: Vec<FromRelation>,
    /// Whether a relation keeps state within this block: a SESSION.
    pub(crate) stateful: bool,
}

/// A relation of FROM.
pub(crate) struct FromRelation {
    pub(crate) relation: Relation,
    pub(crate) name: String,
    /// The role of its join: `join(name)`, `exists(name)`, ….
    pub(crate) role: String,
    /// How it is joined to what stands before it; the first one is not.
    pub(crate) join: JoinKind,
    /// Conjuncts of ON and USING, over the columns of everything before it and, from `first` on, its own.
    pub(crate) on: Vec<Expr>,
    /// The number of its first column. The right columns of a semi or anti join are seen in its ON only: those of the
    /// next relation have the same numbers.
    pub(crate) first: usize,
    pub(crate) span: Span,
    /// It is an UNNEST of columns to its left: its node is made there.
    pub(crate) unnest: Option<Unnest>,
    /// It is joined as of a point in time.
    pub(crate) as_of: Option<AsOf>,
    /// It is looked up as it is when a row comes.
    pub(crate) lookup: bool,
}

impl From {
    /// Adds a relation on the right, to be joined as an inner one until its join says otherwise.
    pub(crate) fn push(
        &mut self,
        alias: Option<String>,
        relation: Relation,
        name: String,
        role: String,
        span: Span,
    ) {
        let first = self.scope.columns.len();
        self.scope.push(alias, &relation.columns);
        self.relations.push(FromRelation {
            relation,
            name,
            role,
            join: JoinKind::Inner,
            on: Vec::new(),
            first,
            span,
            unnest: None,
            as_of: None,
            lookup: false,
        });
    }

    /// Adds relations that are joined already as one on the right, their names in sight.
    pub(super) fn push_scope(
        &mut self,
        scope: Scope,
        relation: Relation,
        name: String,
        role: String,
        span: Span,
    ) {
        let first = self.scope.columns.len();
        self.scope.append(scope);
        self.relations.push(FromRelation {
            relation,
            name,
            role,
            join: JoinKind::Inner,
            on: Vec::new(),
            first,
            span,
            unnest: None,
            as_of: None,
            lookup: false,
        });
    }

    /// Says how the last relation is joined: its columns, or those before it, may be NULL now, or are out of sight.
    pub(crate) fn join_last(&mut self, join: JoinKind, on: Vec<Expr>) {
        let Some(relation) = self.relations.last_mut() else {
            return;
        };
        (relation.join, relation.on) = (join, on);
        let first = relation.first;
        if !join.gives_right() {
            self.scope.truncate(first);
            return;
        }
        let (left, right) = self.scope.columns.split_at_mut(first);
        for column in left.iter_mut().filter(|_| join.keeps_right()) {
            column.nullable = true;
        }
        for column in right.iter_mut().filter(|_| join.keeps_left()) {
            column.nullable = true;
        }
    }
}

impl Binder<'_> {
    /// Binds FROM. Every relation is bound, so that the mistakes of all are found.
    pub(crate) fn from(
        &mut self,
        tables: &[ast::TableWithJoins],
        context: &Context,
    ) -> Result<From, Failed> {
        let mut from = From::default();
        let mut failed = false;
        for table in tables {
            failed |= self.bind_tree(table, context, &mut from).is_err();
        }
        if failed { Err(Failed) } else { Ok(from) }
    }

    fn bind_tree(
        &mut self,
        tree: &ast::TableWithJoins,
        context: &Context,
        from: &mut From,
    ) -> Result<(), Failed> {
        if let Some(moment) = version_of(&tree.relation) {
            return self.misplaced_version(moment);
        }
        if !from.relations.is_empty()
            && tree
                .joins
                .iter()
                .any(|join| keeps_right(&join.join_operator))
        {
            // Its rows without partner are made before it meets what stands before the comma.
            return self.bind_nested(tree, context, from);
        }
        let mut result = self.bind_factor(&tree.relation, context, from);
        for join in &tree.joins {
            if let Some(lateral) = Lateral::of(&join.relation) {
                if result.is_ok() {
                    result = self.bind_lateral(&lateral, Some(join), context, from);
                }
                continue;
            }
            if let Some(call) = unnest_call(&join.relation) {
                if result.is_ok() {
                    result = self.unnest_join(join, &call, from);
                }
                continue;
            }
            // After a failed relation the rest is bound for its own mistakes; conditions would only echo the first.
            let joined = self.bind_factor(&join.relation, context, from);
            let healthy = result.is_ok() && joined.is_ok();
            result = result.and(joined);
            if healthy {
                result = match self.as_of_conditions(join, from, context) {
                    Ok(true) => Ok(()),
                    Ok(false) => self.join_condition(join, from, context),
                    Err(Failed) => Err(Failed),
                };
            }
        }
        result
    }

    fn bind_factor(
        &mut self,
        factor: &TableFactor,
        context: &Context,
        from: &mut From,
    ) -> Result<(), Failed> {
        if let TableFactor::NestedJoin {
            table_with_joins,
            alias: None,
        } = factor
        {
            if from.relations.is_empty() {
                return self.bind_tree(table_with_joins, context, from);
            }
            return self.bind_nested(table_with_joins, context, from);
        }
        if let Some(call) = unnest_call(factor) {
            return self.bind_unnest(&call, false, from);
        }
        if let Some(lateral) = Lateral::of(factor)
            && !from.relations.is_empty()
        {
            return self.bind_lateral(&lateral, None, context, from);
        }
        let span = span_of(factor);
        let (relation, name) = self.relation(factor, context)?;
        let node = &self.graph.nodes[relation.node];
        from.stateful |= matches!(node.kind, NodeKind::Session { .. }) && node.path == context.path;
        if let Some(name) = &name
            && from.scope.relations_called(&name.value).next().is_some()
        {
            return self.fail(
                Diagnostic::error(
                    codes::DUPLICATE_NAME,
                    format!("`{}` stands twice in FROM", name.spelling),
                )
                .at(name.span, "the second of that name")
                .help(format!(
                    "give one of them an alias: {} AS other",
                    name.spelling
                )),
            );
        }
        let alias = name.as_ref().map(|name| name.value.clone());
        let name = name.map_or_else(
            || format!("{}", from.relations.len() + 1),
            |name| name.value,
        );
        let role = format!("join({})", crate::names::quoted(&name));
        from.push(alias, relation, name, role, span);
        Ok(())
    }

    /// A relation and the name under which its columns are known.
    fn relation(
        &mut self,
        factor: &TableFactor,
        context: &Context,
    ) -> Result<(Relation, Option<Name>), Failed> {
        if let Some(call) = window_call(factor) {
            return self.windowed_relation(&call, context);
        }
        match factor {
            TableFactor::Table {
                name,
                alias,
                args: None,
                ..
            } => {
                let name = Name::from_object(name).or_else(|diagnostic| self.fail(diagnostic))?;
                let relation = self.named_relation(&name, context)?;
                self.aliased(relation, Some(name), alias.as_ref())
            }
            TableFactor::Derived {
                // Behind other relations it is bound elsewhere; the first one has nothing to read.
                lateral: _,
                subquery,
                alias,
                ..
            } => {
                let relation = match alias {
                    Some(alias) => {
                        let path = self.local(&context.path, &Name::from_ident(&alias.name))?;
                        self.named_query(subquery, &path, Some(context))?
                    }
                    // Without a name it is a part of this block's node, and a wall within it all the same.
                    None => self.named_query(subquery, &context.path, Some(context))?,
                };
                self.aliased(relation, None, alias.as_ref())
            }
            other => self.fail(
                Diagnostic::error(codes::NOT_YET, "this kind of relation is not there yet")
                    .at(span_of(other), "cannot be planned")
                    .help(
                        "FROM takes tables, views, CTEs, subqueries and the windows TUMBLE and HOP",
                    ),
            ),
        }
    }

    fn aliased(
        &mut self,
        relation: Relation,
        name: Option<Name>,
        alias: Option<&ast::TableAlias>,
    ) -> Result<(Relation, Option<Name>), Failed> {
        let Some(alias) = alias else {
            return Ok((relation, name));
        };
        let columns: Vec<Name> = alias
            .columns
            .iter()
            .map(|column| Name::from_ident(&column.name))
            .collect();
        Ok((
            self.renamed(relation, &columns)?,
            Some(Name::from_ident(&alias.name)),
        ))
    }

    /// A CTE, a view or a table.
    pub(super) fn named_relation(
        &mut self,
        name: &Name,
        context: &Context,
    ) -> Result<Relation, Failed> {
        match context.cte(&name.value) {
            Some(relation) => relation.clone(),
            None => {
                // A near CTE is a better guess than a far table.
                let ctes = context.cte_names();
                let near =
                    super::nearest(&name.value, ctes.iter().map(String::as_str)).map(str::to_owned);
                let known = self.is_declared(&name.value);
                match near {
                    Some(near) if !known => self.fail(
                        Diagnostic::error(
                            codes::UNKNOWN_TABLE,
                            format!("no table or view `{}`", name.spelling),
                        )
                        .at(name.span, "not declared before this place")
                        .nearest(Some(near)),
                    ),
                    _ => self.global_relation(name),
                }
            }
        }
    }

    // ------------------------------------------------------------------ conditions

    fn join_condition(
        &mut self,
        join: &ast::Join,
        from: &mut From,
        context: &Context,
    ) -> Result<(), Failed> {
        use JoinOperator as J;
        let (kind, constraint) = match &join.join_operator {
            J::Join(constraint) | J::Inner(constraint) | J::CrossJoin(constraint) => {
                (JoinKind::Inner, constraint)
            }
            J::Left(constraint) | J::LeftOuter(constraint) => (JoinKind::Left, constraint),
            J::Right(constraint) | J::RightOuter(constraint) => (JoinKind::Right, constraint),
            J::FullOuter(constraint) => (JoinKind::Full, constraint),
            J::Semi(constraint) | J::LeftSemi(constraint) => (JoinKind::Semi, constraint),
            J::Anti(constraint) | J::LeftAnti(constraint) => (JoinKind::Anti, constraint),
            _ => {
                return self.fail(
                    Diagnostic::error(codes::JOIN_KIND, "this kind of join is not there yet")
                        .at(span_of(&join.relation), "this join cannot be planned")
                        .help("write JOIN … ON left.key = right.key"),
                );
            }
        };
        let on = match constraint {
            JoinConstraint::None => Vec::new(),
            JoinConstraint::On(condition) => {
                let aggregates = Aggregates::NotIn("ON");
                let mut binder = ExprBinder::new(&from.scope, aggregates, &mut self.diagnostics);
                binder.bind_condition(condition, "ON")?.conjuncts()
            }
            JoinConstraint::Using(names) => {
                let mut columns = Vec::with_capacity(names.len());
                for name in names {
                    columns
                        .push(Name::from_object(name).or_else(|diagnostic| self.fail(diagnostic))?);
                }
                return self.join_using(&columns, kind, from, context);
            }
            JoinConstraint::Natural => {
                let columns = common_names(from, join);
                return self.join_using(&columns, kind, from, context);
            }
        };
        from.join_last(kind, on);
        Ok(())
    }

    /// USING and NATURAL: the columns are equal, and one hides behind the other: the one that may be NULL for want of a
    /// partner. In a full join that is either, and both hide behind the one that is there.
    fn join_using(
        &mut self,
        names: &[Name],
        kind: JoinKind,
        from: &mut From,
        context: &Context,
    ) -> Result<(), Failed> {
        let right_first = from.relations.last().map_or(0, |relation| relation.first);
        let (mut equalities, mut pairs) = (Vec::with_capacity(names.len()), Vec::new());
        for name in names {
            let find = |columns: std::ops::Range<usize>| {
                let mut found = columns.filter(|&column| {
                    from.scope.columns[column].name == name.value
                        && !from.scope.columns[column].merged
                });
                (found.next(), found.next().is_some())
            };
            let (left, left_twice) = find(0..right_first);
            let (right, right_twice) = find(right_first..from.scope.columns.len());
            if left_twice || right_twice {
                let side = if left_twice { "left" } else { "right" };
                return self.fail(
                    Diagnostic::error(
                        codes::AMBIGUOUS_COLUMN,
                        format!("`{}` can mean more than one column", name.spelling),
                    )
                    .at(
                        name.span,
                        format!("the {side} side of the join has several of that name"),
                    )
                    .help("write ON with the columns of both sides"),
                );
            }
            let (Some(left), Some(right)) = (left, right) else {
                let side = if left.is_none() { "left" } else { "right" };
                let diagnostic = Diagnostic::error(
                    codes::UNKNOWN_COLUMN,
                    format!("no column `{}`", name.spelling),
                )
                .at(
                    name.span,
                    format!("the {side} side of the join has no such column"),
                )
                .help("write ON with the columns of both sides");
                return self.fail(diagnostic);
            };
            equalities.push(self.equality(&from.scope, left, right, name)?);
            let hidden = if kind == JoinKind::Right { left } else { right };
            from.scope.columns[hidden].merged = true;
            if kind == JoinKind::Full {
                pairs.push((left, right));
            }
        }
        from.join_last(kind, equalities);
        if pairs.is_empty() {
            return Ok(());
        }
        self.merge_columns(&pairs, from, context)
    }

    pub(super) fn equality(
        &mut self,
        scope: &Scope,
        left: usize,
        right: usize,
        name: &Name,
    ) -> Result<Expr, Failed> {
        let (left, right) = (
            scope.reference(left, name.span),
            scope.reference(right, name.span),
        );
        let Some(common) = common_type(&left.data_type, &right.data_type) else {
            return self.fail(
                Diagnostic::error(
                    codes::TYPE_MISMATCH,
                    format!("`{}` has two types", name.spelling),
                )
                .at(
                    name.span,
                    format!(
                        "{} on the left, {} on the right",
                        left.data_type, right.data_type
                    ),
                )
                .help("write ON with a CAST"),
            );
        };
        let left = Box::new(cast_to(left, common.clone(), CastKind::Fails, name.span));
        let right = Box::new(cast_to(right, common, CastKind::Fails, name.span));
        let kind = ExprKind::Binary {
            op: BinaryOp::Eq,
            left,
            right,
        };
        Ok(Expr {
            kind,
            data_type: DataType::Boolean,
            span: name.span,
        })
    }

    fn is_declared(&self, name: &str) -> bool {
        self.declared.contains_key(name)
    }
}

/// The names that NATURAL joins by: those that both sides have.
fn common_names(from: &From, join: &ast::Join) -> Vec<Name> {
    let span = span_of(&join.relation);
    let Some(right) = from.relations.last() else {
        return Vec::new();
    };
    let scope = &from.scope;
    scope.columns[right.first..]
        .iter()
        .filter(|column| {
            !column.merged
                && scope.columns[..right.first]
                    .iter()
                    .any(|left| left.name == column.name && !left.merged)
        })
        .map(|column| Name {
            value: column.name.clone(),
            spelling: column.name.clone(),
            span,
        })
        .collect()
}

/// Whether the join gives rows of the joined relation that have no partner.
fn keeps_right(join: &JoinOperator) -> bool {
    use JoinOperator as J;
    matches!(join, J::Right(_) | J::RightOuter(_) | J::FullOuter(_))
}
