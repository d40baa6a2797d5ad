//! The columns that a SELECT block can name: those of its FROM, in order.

use std::ops::Range;

use sqlparser::ast::{Expr as Expression, Ident};
use weir_types::{Column, DataType, Diagnostic, Schema, Span};

use crate::codes;
use crate::plan::Expr;
use crate::syntax::Name;

/// The columns of a FROM clause; a column's number here is its number in expressions of the block.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    pub(crate) relations: Vec<ScopeRelation>,
    pub(crate) columns: Vec<ScopeColumn>,
    /// Values of scalar subqueries, over the columns: what stands for the placeholders of [`lifted_name`].
    pub(crate) lifted: Vec<Expr>,
    /// Values that the subqueries of the block compare with, over the columns: what stands for those of [`outer_name`].
    pub(crate) values: Vec<Expr>,
    /// Number of the relations that belong to the block around a correlated subquery: their columns come first, and
    /// their names are looked up last.
    pub(super) outer: usize,
}

/// The placeholder of the `index`-th scalar subquery; no identifier of a text begins like it.
pub(crate) fn lifted_name(index: usize) -> Expression {
    Expression::Identifier(Ident::new(format!("\u{1}{index}")))
}

/// The placeholder of the `index`-th value of a block in its subqueries.
pub(crate) fn outer_name(index: usize) -> Expression {
    Expression::Identifier(Ident::new(format!("\u{2}{index}")))
}

/// A relation of the FROM clause.
#[derive(Clone, Debug)]
pub(crate) struct ScopeRelation {
    /// The alias, or the table's name; `None` for a derived table without alias.
    pub(crate) alias: Option<String>,
    /// Number of its first column.
    pub(crate) first: usize,
}

/// A column of the FROM clause.
#[derive(Clone, Debug)]
pub(crate) struct ScopeColumn {
    /// Which relation it belongs to.
    pub(crate) relation: usize,
    pub(crate) name: String,
    /// The spelling of the DDL, for headers and records.
    pub(crate) external_name: Option<String>,
    pub(crate) data_type: DataType,
    pub(crate) nullable: bool,
    /// The right column of a USING: reached by its relation's name only.
    pub(crate) merged: bool,
}

impl Scope {
    /// Adds a relation on the right.
    pub(crate) fn push(&mut self, alias: Option<String>, columns: &Schema) {
        let relation = self.relations.len();
        self.relations.push(ScopeRelation {
            alias,
            first: self.columns.len(),
        });
        self.columns
            .extend(columns.iter().map(|column| ScopeColumn {
                relation,
                name: column.name.clone(),
                external_name: column.external_name.clone(),
                data_type: column.data_type.clone(),
                nullable: column.nullable,
                merged: false,
            }));
    }

    /// Takes the relations away whose columns come from number `first` on.
    pub(crate) fn truncate(&mut self, first: usize) {
        self.relations.retain(|relation| relation.first < first);
        self.columns.truncate(first);
    }

    /// Adds the relations of another scope on the right.
    pub(crate) fn append(&mut self, other: Self) {
        let (relations, width) = (self.relations.len(), self.columns.len());
        self.relations
            .extend(other.relations.into_iter().map(|relation| ScopeRelation {
                first: relation.first + width,
                ..relation
            }));
        self.columns
            .extend(other.columns.into_iter().map(|column| ScopeColumn {
                relation: column.relation + relations,
                ..column
            }));
    }

    /// The columns of an enclosing block, then those of a correlated subquery in it.
    pub(crate) fn nested(outer: &Self, inner: &Self) -> Self {
        let (relations, width) = (outer.relations.len(), outer.columns.len());
        let mut nested = Self {
            lifted: Vec::new(),
            outer: relations,
            ..outer.clone()
        };
        nested
            .relations
            .extend(inner.relations.iter().map(|relation| ScopeRelation {
                first: relation.first + width,
                ..relation.clone()
            }));
        nested
            .columns
            .extend(inner.columns.iter().map(|column| ScopeColumn {
                relation: column.relation + relations,
                ..column.clone()
            }));
        let lifted = inner.lifted.iter().cloned();
        nested.lifted = lifted
            .map(|value| value.renumbered(&|column| column + width))
            .collect();
        nested
    }

    /// Columns from `first` on are reached by no name.
    pub(crate) fn hide_from(&mut self, first: usize) {
        for column in &mut self.columns[first..] {
            column.merged = true;
        }
    }

    /// The columns as those of a relation.
    pub(crate) fn schema(&self) -> Schema {
        let column = |column: &ScopeColumn| Column {
            name: column.name.clone(),
            data_type: column.data_type.clone(),
            nullable: column.nullable,
            external_name: column.external_name.clone(),
        };
        self.columns.iter().map(column).collect()
    }

    /// The value of the placeholder, if the name is one.
    pub(crate) fn lifted_value(&self, names: &[Ident]) -> Option<&Expr> {
        let [name] = names else { return None };
        let (values, index) = match name.value.strip_prefix('\u{1}') {
            Some(index) => (&self.lifted, index),
            // They are of the block around: the columns of it come first.
            None if self.outer > 0 => (&self.values, name.value.strip_prefix('\u{2}')?),
            None => return None,
        };
        values.get(index.parse::<usize>().ok()?)
    }

    /// The columns of one relation alone.
    pub(crate) fn of_relation(alias: Option<String>, columns: &Schema) -> Self {
        let mut scope = Self::default();
        scope.push(alias, columns);
        scope
    }

    /// A reference to a column by its number.
    pub(crate) fn reference(&self, index: usize, span: Span) -> Expr {
        Expr::column(index, self.columns[index].data_type.clone(), span)
    }

    /// Columns of that name; of all relations, or of one.
    fn find<'a>(
        &'a self,
        relation: Option<usize>,
        name: &'a str,
        within: Range<usize>,
    ) -> impl Iterator<Item = usize> + 'a {
        self.columns
            .iter()
            .enumerate()
            .filter_map(move |(index, column)| {
                let reachable = within.contains(&column.relation)
                    && match relation {
                        Some(relation) => column.relation == relation,
                        None => !column.merged,
                    };
                (reachable && column.name == name).then_some(index)
            })
    }

    /// Relations of that alias.
    pub(crate) fn relations_called<'a>(
        &'a self,
        alias: &'a str,
    ) -> impl Iterator<Item = usize> + 'a {
        let called = move |relation: &ScopeRelation| relation.alias.as_deref() == Some(alias);
        self.relations
            .iter()
            .enumerate()
            .filter_map(move |(i, relation)| called(relation).then_some(i))
    }

    /// Resolves `column`, `relation.column` or either followed by ROW fields: the column's number, and how many of the
    /// names were used for it.
    /// In a correlated subquery names of its own come first.
    pub(crate) fn resolve(&self, names: &[Ident]) -> Result<(usize, usize), Box<Diagnostic>> {
        let own = self.resolve_within(names, self.outer..self.relations.len());
        match own {
            Err(unknown) if self.outer > 0 && unknown.code == codes::UNKNOWN_COLUMN => {
                let first = names.first().map(Name::from_ident);
                let is_outer = first.is_some_and(|name| {
                    let mut called = self.relations_called(&name.value);
                    names.len() > 1 && called.any(|relation| relation < self.outer)
                });
                self.resolve_within(names, 0..self.outer)
                    .map_err(|outer| if is_outer { outer } else { unknown })
            }
            own => own,
        }
    }

    fn resolve_within(
        &self,
        names: &[Ident],
        within: Range<usize>,
    ) -> Result<(usize, usize), Box<Diagnostic>> {
        let parts: Vec<Name> = names.iter().map(Name::from_ident).collect();
        let span = parts
            .iter()
            .fold(Span::default(), |all, part| all.union(part.span));
        if let [relation, column, ..] = parts.as_slice() {
            let relations: Vec<usize> = self
                .relations_called(&relation.value)
                .filter(|relation| within.contains(relation))
                .collect();
            if let [only] = relations.as_slice() {
                let found: Vec<usize> = self.find(Some(*only), &column.value, within).collect();
                return match found.as_slice() {
                    [column] => Ok((*column, 2)),
                    [] => Err(self.unknown(Some(*only), column, span)),
                    _ => Err(self.ambiguous(&column.value, &found, span)),
                };
            }
        }
        let Some(first) = parts.first() else {
            return Err(Box::new(Diagnostic::error(
                codes::UNKNOWN_COLUMN,
                "a column without a name",
            )));
        };
        let found: Vec<usize> = self.find(None, &first.value, within).collect();
        match found.as_slice() {
            [column] => Ok((*column, 1)),
            [] if parts.len() > 1 => Err(self.unknown_relation(first)),
            [] => Err(self.unknown(None, first, first.span)),
            _ => Err(self.ambiguous(&first.value, &found, first.span)),
        }
    }

    fn unknown(&self, relation: Option<usize>, name: &Name, span: Span) -> Box<Diagnostic> {
        let reachable = self
            .columns
            .iter()
            .filter(|column| relation.is_none_or(|only| column.relation == only));
        let near = super::nearest(&name.value, reachable.map(|column| column.name.as_str()));
        let place = match relation.and_then(|only| self.relations[only].alias.as_deref()) {
            Some(alias) => format!("`{alias}` has no such column"),
            None if self.columns.is_empty() => "there is no FROM to take columns from".to_owned(),
            None => "not a column of any relation in FROM".to_owned(),
        };
        let spelled = &name.spelling;
        let mut diagnostic =
            Diagnostic::error(codes::UNKNOWN_COLUMN, format!("no column `{spelled}`"))
                .at(span, place);
        if name.value == "default" {
            let help = "columns have no defaults: give the value itself, or NULL";
            return Box::new(diagnostic.help(help));
        }
        // An unquoted name is folded: whoever declared a quoted one has to quote it here as well.
        let quoted = self.columns.iter().find(|column| {
            column.name != name.value && column.name.eq_ignore_ascii_case(&name.value)
        });
        diagnostic = match quoted {
            Some(column) => diagnostic.help(format!(
                "write \"{}\": the name was declared with quotes",
                column.name
            )),
            None => diagnostic.nearest(near),
        };
        if near.is_none() && quoted.is_none() {
            let columns: Vec<&str> = self
                .columns
                .iter()
                .filter(|column| relation.is_none_or(|only| column.relation == only))
                .map(|column| column.name.as_str())
                .collect();
            if !columns.is_empty() && columns.len() <= 20 {
                diagnostic = diagnostic.help(format!("the columns are {}", columns.join(", ")));
            }
        }
        Box::new(diagnostic)
    }

    fn unknown_relation(&self, name: &Name) -> Box<Diagnostic> {
        let known: Vec<&str> = self
            .relations
            .iter()
            .filter_map(|relation| relation.alias.as_deref())
            .collect();
        let near = super::nearest(&name.value, known.iter().copied());
        let message = format!("no relation or column `{}` here", name.spelling);
        let mut diagnostic = Diagnostic::error(codes::UNKNOWN_COLUMN, message)
            .at(name.span, "not in FROM")
            .nearest(near);
        if near.is_none() && !known.is_empty() {
            diagnostic = diagnostic.help(format!("the relations in FROM are {}", known.join(", ")));
        }
        Box::new(diagnostic)
    }

    fn ambiguous(&self, name: &str, found: &[usize], span: Span) -> Box<Diagnostic> {
        let mut ways: Vec<String> = found
            .iter()
            .filter_map(|&column| {
                self.relations[self.columns[column].relation]
                    .alias
                    .as_deref()
            })
            .map(|alias| format!("{alias}.{name}"))
            .collect();
        let distinct = ways.len();
        ways.dedup();
        let message = format!("`{name}` can mean more than one column");
        let mut diagnostic =
            Diagnostic::error(codes::AMBIGUOUS_COLUMN, message).at(span, "which one?");
        if ways.len() < distinct {
            let help = format!(
                "one relation has two columns `{name}`: name them apart where it is defined, with AS"
            );
            diagnostic = diagnostic.help(help);
        } else if !ways.is_empty() {
            diagnostic = diagnostic.help(format!("write {}", ways.join(" or ")));
        }
        Box::new(diagnostic)
    }
}
