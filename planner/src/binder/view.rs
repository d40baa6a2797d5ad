//! CREATE VIEW: a named node, bound once where it is declared; whoever reads it reads this one. What a materialized one keeps
//! is in `materialized.rs`.

use sqlparser::ast;
use weir_types::{Diagnostic, Span};

use crate::codes;
use crate::logical::NodeId;
use crate::names::Path;
use crate::syntax::Name;

use super::{Binder, Failed, Relation};

impl Binder<'_> {
    /// Binds CREATE VIEW. A failed view is remembered, so that its readers stay silent. What a materialized one keeps is a
    /// root of the job.
    pub(crate) fn create_view(
        &mut self,
        name: &Name,
        columns: &[Name],
        query: &ast::Query,
        materialized: bool,
        span: Span,
    ) -> Result<Option<NodeId>, Failed> {
        let declared = self.declare(name);
        let path = Path::global(&name.value);
        let relation = self
            .named_query(query, &path, None)
            .and_then(|relation| self.renamed(relation, columns));
        declared?;
        let root = match &relation {
            Ok(relation) if materialized => self.materialized(name, relation, span).map(Some),
            _ => Ok(None),
        };
        let relation = root.and(relation);
        self.views.insert(name.value.clone(), relation.clone());
        relation.and(root)
    }

    /// The relation under other column names; too many are an error, too few rename the first ones.
    pub(crate) fn renamed(
        &mut self,
        mut relation: Relation,
        names: &[Name],
    ) -> Result<Relation, Failed> {
        if names.len() > relation.columns.len() {
            let (given, there) = (names.len(), relation.columns.len());
            let place = names
                .iter()
                .fold(Span::default(), |all, name| all.union(name.span));
            return self.fail(
                Diagnostic::error(
                    codes::INSERT_COLUMNS,
                    format!(
                        "{} for {}",
                        super::counted(given, "column name"),
                        super::counted(there, "column")
                    ),
                )
                .at(place, "more names than columns"),
            );
        }
        for (column, name) in relation.columns.iter_mut().zip(names) {
            column.name = name.value.clone();
            column.external_name = (name.spelling != name.value).then(|| name.spelling.clone());
        }
        Ok(relation)
    }

    /// A table or view by its name.
    pub(crate) fn global_relation(&mut self, name: &Name) -> Result<Relation, Failed> {
        if let Some(view) = self.views.get(&name.value) {
            return view.clone();
        }
        if self.tables.contains_key(&name.value) {
            return self.scan(&name.value);
        }
        if self.declared.contains_key(&name.value) {
            // Declared, but with mistakes that were reported there.
            return Err(Failed);
        }
        self.unknown_table(name)
    }

    /// Reports an unknown table.
    pub(crate) fn unknown_table<T>(&mut self, name: &Name) -> Result<T, Failed> {
        let near = super::nearest(&name.value, self.declared.keys().map(String::as_str))
            .map(str::to_owned);
        let mut diagnostic = Diagnostic::error(
            codes::UNKNOWN_TABLE,
            format!("no table or view `{}`", name.spelling),
        )
        .at(name.span, "not declared before this place");
        diagnostic = match near {
            Some(_) => diagnostic.nearest(near),
            None => diagnostic.help(format!(
                "declare it first: CREATE TABLE {} (…) WITH (…)",
                name.spelling
            )),
        };
        self.fail(diagnostic)
    }
}
