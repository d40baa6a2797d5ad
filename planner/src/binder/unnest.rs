//! UNNEST in FROM: a row for each element of an array or a map of the rows before it.
//!
//! ```text
//!   FROM orders AS o CROSS JOIN UNNEST(o.items) AS i (product, amount)
//!        │                        └─ over the columns to its left, whatever is joined there
//!        └─ the chain of joins goes on above it; conditions on its columns are filters right above it
//! ```
//!
//! An array of rows gives a column for each field, any other array one column, a map its key and its value. NULL and
//! empty ones give nothing, but for LEFT JOIN UNNEST: then one row of NULLs.

use sqlparser::ast::{self, JoinConstraint, JoinOperator};
use weir_types::{Column, DataType, Diagnostic, Schema, Span};

use crate::codes;
use crate::logical::{Node, NodeId, NodeKind, Properties};
use crate::names::Path;
use crate::plan::{Changelog, Expr};
use crate::syntax::{Name, UnnestCall, side_by_side};

use super::expr::{Aggregates, ExprBinder, with_article};
use super::from::From;
use super::select::volatile_over_retractions;
use super::{Binder, Failed, Relation};

/// An UNNEST among the relations of a block.
#[derive(Clone, Debug)]
pub(crate) struct Unnest {
    /// The array or map, over the scope's columns before it.
    pub(super) argument: Expr,
    /// Rows without elements stay.
    pub(super) outer: bool,
    /// A last column numbers the elements.
    pub(super) ordinality: bool,
}

impl Binder<'_> {
    /// Binds a join with an UNNEST. The walker has seen to its kind.
    pub(super) fn unnest_join(
        &mut self,
        join: &ast::Join,
        call: &UnnestCall<'_>,
        from: &mut From,
    ) -> Result<(), Failed> {
        let outer = matches!(
            join.join_operator,
            JoinOperator::Left(_) | JoinOperator::LeftOuter(_)
        );
        self.bind_unnest(call, outer, from)?;
        if let JoinOperator::Join(JoinConstraint::On(condition))
        | JoinOperator::Inner(JoinConstraint::On(condition)) = &join.join_operator
        {
            let aggregates = Aggregates::NotIn("ON");
            let mut binder = ExprBinder::new(&from.scope, aggregates, &mut self.diagnostics);
            let bound = binder.bind_condition(condition, "ON")?;
            if let Some(relation) = from.relations.last_mut() {
                relation.on = bound.conjuncts();
            }
        }
        Ok(())
    }

    /// Adds the elements' columns to the scope.
    pub(super) fn bind_unnest(
        &mut self,
        call: &UnnestCall<'_>,
        outer: bool,
        from: &mut From,
    ) -> Result<(), Failed> {
        let aggregates = Aggregates::NotIn("UNNEST");
        let mut binder = ExprBinder::new(&from.scope, aggregates, &mut self.diagnostics);
        let argument = match call.arguments.as_slice() {
            [] => {
                return self.fail(
                    Diagnostic::error(codes::UNNEST_FORM, "UNNEST takes arrays, or one map")
                        .at(call.span, "no argument")
                        .help("UNNEST(tags) AS t (tag)"),
                );
            }
            [argument] => binder.bind(argument)?,
            several => {
                let mut failed = false;
                for argument in several {
                    match binder.bind(argument) {
                        Ok(array) if is_plain_array(&array.data_type) => {}
                        Ok(other) => {
                            let message = format!(
                                "UNNEST of several arrays, and one of them is {}",
                                with_article(&other.data_type)
                            );
                            let problem = Diagnostic::error(codes::UNNEST_FORM, message)
                                .at(other.span, "not an array of single values")
                                .help("unnest it by itself, WITH ORDINALITY, and compare the numbers in WHERE");
                            binder.diagnostics.push(problem);
                            failed = true;
                        }
                        Err(Failed) => failed = true,
                    }
                }
                if failed {
                    return Err(Failed);
                }
                binder.bind(&side_by_side(several, call.span))?
            }
        };
        let name = call.alias.map(|alias| Name::from_ident(&alias.name));
        if let Some(name) = &name
            && from.scope.relations_called(&name.value).next().is_some()
        {
            let message = format!("`{}` stands twice in FROM", name.spelling);
            return self.fail(
                Diagnostic::error(codes::DUPLICATE_NAME, message)
                    .at(name.span, "the second of that name")
                    .help("give one of them another alias"),
            );
        }
        let only = name
            .as_ref()
            .map_or(call.name.as_str(), |name| name.value.as_str());
        let Some(mut columns) = element_columns(&argument.data_type, only) else {
            let message = format!("{} has no elements", with_article(&argument.data_type));
            return self.fail(
                Diagnostic::error(codes::UNNEST_FORM, message)
                    .at(argument.span, "UNNEST takes an ARRAY or a MAP")
                    .help("make an array of it, e.g. string_to_array(text, ',')"),
            );
        };
        if call.ordinality {
            columns.push(Column::new("ordinality", DataType::Int64));
        }
        let named: Vec<Name> = call
            .alias
            .iter()
            .flat_map(|alias| &alias.columns)
            .map(|column| Name::from_ident(&column.name))
            .collect();
        // The node comes with the chain of joins, because it reads what is to its left.
        let relation = self.renamed(Relation { node: 0, columns }, &named)?;
        let position = from.relations.len() + 1;
        let alias = name.map(|name| name.value);
        let name = alias.clone().unwrap_or_else(|| position.to_string());
        // It keeps no state, and so its role names nothing.
        from.push(alias, relation, name, String::new(), call.span);
        if let Some(relation) = from.relations.last_mut() {
            relation.unnest = Some(Unnest {
                argument,
                outer,
                ordinality: call.ordinality,
            });
        }
        Ok(())
    }

    /// The step on top of everything that is joined so far.
    pub(super) fn unnested(
        &mut self,
        input: NodeId,
        unnest: &Unnest,
        columns: &Schema,
        path: &Path,
        span: Span,
    ) -> Result<NodeId, Failed> {
        let below = &self.graph.nodes[input];
        if below.properties.changelog == Changelog::Retractions && unnest.argument.is_volatile() {
            return self.fail(volatile_over_retractions(unnest.argument.span));
        }
        let mut all = below.columns.clone();
        all.extend(columns.iter().cloned());
        let number = (all.len() - 1, unnest.ordinality);
        let properties = Properties::unnested(&below.properties, number);
        Ok(self.add(Node {
            kind: NodeKind::Unnest {
                argument: unnest.argument.clone(),
                outer: unnest.outer,
                ordinality: unnest.ordinality,
            },
            inputs: vec![input],
            columns: all,
            properties,
            path: path.clone(),
            id: None,
            shared: false,
            span,
        }))
    }
}

/// What PostgreSQL makes rows of where it is an item of a SELECT list: here it would silently be an array.
pub(super) fn rows_in_list(item: &ast::Expr) -> Option<Diagnostic> {
    match item {
        ast::Expr::Nested(inner) => rows_in_list(inner),
        ast::Expr::Function(call)
            if Name::from_object(&call.name).is_ok_and(|name| name.value == "generate_series") =>
        {
            let problem = "generate_series() in a SELECT list would give an array, and not rows";
            let problem = Diagnostic::error(codes::UNNEST_FORM, problem);
            Some(
                problem
                    .at(crate::syntax::span_of(item), "rows come from FROM")
                    .help("move it there: FROM generate_series(1, 3) AS g (n)")
                    .help("range(1, 4) is the array of 1, 2 and 3"),
            )
        }
        _ => None,
    }
}

/// An array whose elements are one column each.
fn is_plain_array(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Array(element) if !matches!(element.as_ref(), DataType::Row(_)))
}

/// What an element is made of; `only` is the name of a column that has none.
fn element_columns(data_type: &DataType, only: &str) -> Option<Schema> {
    Some(match data_type {
        DataType::Array(element) => match element.as_ref() {
            DataType::Row(fields) => fields
                .iter()
                .map(|field| Column {
                    nullable: true,
                    ..field.clone()
                })
                .collect(),
            element => vec![Column::new(only, element.clone())],
        },
        DataType::Map(key, value) => vec![
            Column::new("key", key.as_ref().clone()),
            Column::new("value", value.as_ref().clone()),
        ],
        _ => return None,
    })
}
