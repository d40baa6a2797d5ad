//! How an expression is serialized: the list of its parts, operands before what they are operands of; the last part is
//! the expression. `docs/formats/plan.md` has the form.
//!
//! ```text
//!   price * 2 > 10   ─▶   [price, 2, part 0 * part 1, 10, part 2 > part 3]
//! ```
//!
//! A tree of objects would nest three levels deep for each operator, and readers of JSON stop at some depth: a manifest
//! with a long `a || b || …` could be written and not read again.

use serde::{Deserialize, Serialize};
use weir_types::{DataType, Span};

use crate::plan::{Expr, ExprKind};

/// The parts of an expression.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct ExprForm(Vec<Part>);

/// An expression whose operands are numbers of parts before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Part {
    kind: ExprKind<usize>,
    data_type: DataType,
    #[serde(default, skip_serializing_if = "Span::is_empty")]
    span: Span,
}

impl From<Expr> for ExprForm {
    fn from(expr: Expr) -> Self {
        let mut parts = Vec::new();
        add(expr, &mut parts);
        Self(parts)
    }
}

/// Adds an expression after its operands, and gives its number.
fn add(expr: Expr, parts: &mut Vec<Part>) -> usize {
    let kind = expr.kind.map(&mut |operand| add(operand, parts));
    parts.push(Part {
        kind,
        data_type: expr.data_type,
        span: expr.span,
    });
    parts.len() - 1
}

impl TryFrom<ExprForm> for Expr {
    type Error = String;

    fn try_from(form: ExprForm) -> Result<Self, String> {
        // Each part is the operand of one other: it is taken out of its place when that comes.
        let mut built: Vec<Option<Expr>> = Vec::with_capacity(form.0.len());
        for part in form.0 {
            let mut missing = None;
            let kind = part.kind.map(&mut |number: usize| {
                let operand = built.get_mut(number).and_then(Option::take);
                operand.unwrap_or_else(|| {
                    missing = Some(number);
                    Expr {
                        kind: ExprKind::ProcessingTime,
                        data_type: DataType::Null,
                        span: Span::default(),
                    }
                })
            });
            if let Some(number) = missing {
                return Err(format!(
                    "part {number} of an expression is not there, or used twice"
                ));
            }
            built.push(Some(Expr {
                kind,
                data_type: part.data_type,
                span: part.span,
            }));
        }
        let last = built.pop().flatten();
        if built.iter().any(Option::is_some) {
            return Err("a part of an expression belongs to nothing".to_owned());
        }
        last.ok_or_else(|| "an expression without parts".to_owned())
    }
}

impl<E> ExprKind<E> {
    /// The same kind over other operands, which are visited in the order in which they are written.
    fn map<F>(self, f: &mut impl FnMut(E) -> F) -> ExprKind<F> {
        let mut boxed = |operand: Box<E>| Box::new(f(*operand));
        match self {
            Self::Column(index) => ExprKind::Column(index),
            Self::Literal(value) => ExprKind::Literal(value),
            Self::ProcessingTime => ExprKind::ProcessingTime,
            Self::Binary { op, left, right } => ExprKind::Binary {
                op,
                left: boxed(left),
                right: boxed(right),
            },
            Self::Not(inner) => ExprKind::Not(boxed(inner)),
            Self::Negate(inner) => ExprKind::Negate(boxed(inner)),
            Self::IsNull { expr, negated } => ExprKind::IsNull {
                expr: boxed(expr),
                negated,
            },
            Self::IsTruth {
                expr,
                value,
                negated,
            } => ExprKind::IsTruth {
                expr: boxed(expr),
                value,
                negated,
            },
            Self::Cast { expr, safe } => ExprKind::Cast {
                expr: boxed(expr),
                safe,
            },
            Self::Case {
                branches,
                otherwise,
            } => ExprKind::Case {
                branches: branches
                    .into_iter()
                    .map(|(when, then)| (f(when), f(then)))
                    .collect(),
                otherwise: otherwise.map(|otherwise| Box::new(f(*otherwise))),
            },
            Self::InList {
                expr,
                list,
                negated,
            } => ExprKind::InList {
                expr: boxed(expr),
                list: list.into_iter().map(f).collect(),
                negated,
            },
            Self::Like {
                expr,
                pattern,
                escape,
                case_insensitive,
                negated,
            } => ExprKind::Like {
                expr: boxed(expr),
                pattern: boxed(pattern),
                escape,
                case_insensitive,
                negated,
            },
            Self::Function { name, arguments } => ExprKind::Function {
                name,
                arguments: arguments.into_iter().map(f).collect(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use weir_types::Scalar;

    use super::*;

    fn column(index: usize) -> Expr {
        Expr::column(index, DataType::Boolean, Span::default())
    }

    #[test]
    fn an_expression_of_any_depth_comes_back_from_json() {
        let mut expr = column(0);
        for index in 1..500 {
            let otherwise = Some(Box::new(expr));
            let branches = vec![(
                column(index),
                Expr::literal(Scalar::Boolean(true), DataType::Boolean, Span::default()),
            )];
            expr = Expr {
                kind: ExprKind::Case {
                    branches,
                    otherwise,
                },
                data_type: DataType::Boolean,
                span: Span::new((1, 1), (1, 2)),
            };
        }
        let text = serde_json::to_string(&expr).unwrap();
        assert_eq!(serde_json::from_str::<Expr>(&text).unwrap(), expr);
    }

    #[test]
    fn a_list_that_is_no_expression_is_refused() {
        for text in [
            "[]",
            r#"[{"kind": {"not": 0}, "data_type": "boolean"}]"#,
            r#"[{"kind": {"column": 0}, "data_type": "boolean"}, {"kind": {"column": 1}, "data_type": "boolean"}]"#,
        ] {
            assert!(serde_json::from_str::<Expr>(text).is_err(), "{text}");
        }
    }
}
