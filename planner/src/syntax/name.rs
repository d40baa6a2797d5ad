//! Names as the user wrote them.

use sqlparser::ast::{Ident, ObjectName, ObjectNamePart};
use weir_types::{Diagnostic, Span};

use super::{errors, to_span};

/// A name as the user wrote it: folded (`value`) and as spelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Folded to lower case (ASCII letters, as PostgreSQL and the library do) unless it was quoted.
    pub value: String,
    /// Without quotes, in the user's case.
    pub spelling: String,
    /// Where it stands, quotes included.
    pub span: Span,
}

impl Name {
    /// The name that an identifier of the AST stands for.
    pub fn from_ident(ident: &Ident) -> Self {
        let value = match ident.quote_style {
            Some(_) => ident.value.clone(),
            None => ident.value.to_ascii_lowercase(),
        };
        Self {
            value,
            spelling: ident.value.clone(),
            span: to_span(ident.span),
        }
    }

    /// The name that an object name of one part stands for.
    ///
    /// # Errors
    /// There are no catalogs or databases: more than one part is an error.
    pub fn from_object(name: &ObjectName) -> Result<Self, Diagnostic> {
        if let [ObjectNamePart::Identifier(ident)] = name.0.as_slice() {
            return Ok(Self::from_ident(ident));
        }
        let last = match name.0.last() {
            Some(ObjectNamePart::Identifier(ident)) => ident.value.clone(),
            _ => name.to_string(),
        };
        Err(errors::qualified_name(
            &name.to_string(),
            &last,
            super::span_of(name),
        ))
    }
}
