//! Columns, fields of a ROW, elements of an ARRAY or MAP.

use sqlparser::ast::{self, Ident};
use weir_types::{DataType, Diagnostic, Scalar, Span};

use crate::codes;
use crate::plan::{Expr, ExprKind};
use crate::syntax::Name;

use super::expr::{ExprBinder, placeholder_ident, with_article};
use super::{Failed, nearest};

impl ExprBinder<'_> {
    pub(super) fn bind_column(&mut self, names: &[Ident], span: Span) -> Result<Expr, Failed> {
        if let Some(value) = self.scope.lifted_value(names) {
            return Ok(value.clone());
        }
        let (column, used) = match self.scope.resolve(names) {
            Ok(found) => found,
            Err(diagnostic) => return self.fail(*diagnostic),
        };
        let mut expr = self.scope.reference(column, span);
        for field in &names[used..] {
            expr = self.field(expr, &Name::from_ident(field))?;
        }
        Ok(expr)
    }

    /// A field of a ROW.
    pub(super) fn field(&mut self, row: Expr, name: &Name) -> Result<Expr, Failed> {
        let DataType::Row(fields) = &row.data_type else {
            return self.fail(
                Diagnostic::error(
                    codes::TYPE_MISMATCH,
                    format!("`.{}` needs a ROW", name.spelling),
                )
                .at(
                    row.span,
                    format!("this is {}", with_article(&row.data_type)),
                ),
            );
        };
        let Some(field) = fields.iter().find(|field| field.name == name.value) else {
            let near = nearest(&name.value, fields.iter().map(|field| field.name.as_str()));
            return self.fail(
                Diagnostic::error(
                    codes::UNKNOWN_COLUMN,
                    format!("no field `{}` in this ROW", name.spelling),
                )
                .at(name.span, format!("the row is {}", row.data_type))
                .nearest(near),
            );
        };
        let (data_type, span) = (field.data_type.clone(), row.span.union(name.span));
        let key = Expr::literal(
            Scalar::String(field.name.clone()),
            DataType::String,
            name.span,
        );
        let kind = ExprKind::Function {
            name: "get_field".to_owned(),
            arguments: vec![row, key],
        };
        Ok(Expr {
            kind,
            data_type,
            span,
        })
    }

    /// `t.a.b[1].c`: leading names are a column, the rest is taken step by step.
    pub(super) fn bind_access(
        &mut self,
        root: &ast::Expr,
        chain: &[ast::AccessExpr],
        span: Span,
    ) -> Result<Expr, Failed> {
        let mut names = match root {
            ast::Expr::Identifier(name) => vec![name.clone()],
            ast::Expr::CompoundIdentifier(names) => names.clone(),
            _ => Vec::new(),
        };
        let mut rest = chain;
        if !names.is_empty() {
            while let [ast::AccessExpr::Dot(ast::Expr::Identifier(name)), tail @ ..] = rest {
                names.push(name.clone());
                rest = tail;
            }
        }
        let mut value = if names.is_empty() {
            self.bind(root)?
        } else {
            self.bind_column(&names, span)?
        };
        for step in rest {
            value = match step {
                ast::AccessExpr::Dot(ast::Expr::Identifier(name)) => {
                    self.field(value, &Name::from_ident(name))?
                }
                ast::AccessExpr::Subscript(_) => self.subscript(value, step, span)?,
                ast::AccessExpr::Dot(_) => {
                    return self.fail(
                        Diagnostic::error(codes::TYPE_MISMATCH, "a field is taken by its name")
                            .at(span, "only a name can follow the dot"),
                    );
                }
            };
        }
        Ok(value)
    }

    /// `value[index]` or `value[low:high]`, by the library; the placeholder of the value is the level's root.
    pub(super) fn subscript(
        &mut self,
        value: Expr,
        step: &ast::AccessExpr,
        span: Span,
    ) -> Result<Expr, Failed> {
        let mut operands = vec![value];
        let mut step = step.clone();
        if let ast::AccessExpr::Subscript(subscript) = &mut step {
            let indices: Vec<&mut ast::Expr> = match subscript {
                ast::Subscript::Index { index } => vec![index],
                ast::Subscript::Slice {
                    lower_bound,
                    upper_bound,
                    stride,
                } => [lower_bound, upper_bound, stride]
                    .into_iter()
                    .flatten()
                    .collect(),
            };
            for index in indices {
                self.replace_operand(index, &mut operands)?;
            }
        }
        let root = Box::new(placeholder_ident(0));
        let level = ast::Expr::CompoundFieldAccess {
            root,
            access_chain: vec![step],
        };
        self.library_level(level, operands, "the subscript", span)
    }
}
