//! Typed expressions: what a filter, a projection, a join's further condition computes.

use serde::{Deserialize, Serialize};
use weir_types::{DataType, Scalar, Span};

use crate::expr_form::ExprForm;

/// A typed expression over the columns of an operator's input.
///
/// Serialized as the list of its parts, operands first (`expr_form.rs`), so that no depth is too deep for a reader.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "ExprForm", try_from = "ExprForm")]
pub struct Expr {
    /// What it computes.
    pub kind: ExprKind,
    /// The type of its result.
    pub data_type: DataType,
    /// Where it stands in the SQL (the innermost construct that is known).
    pub span: Span,
}

/// The kinds of expressions. All implicit casts are explicit here: both sides of a comparison or an arithmetic
/// operation have the types that the operation takes. `E` is what an operand is: an expression, or its number in the
/// serialized form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExprKind<E = Expr> {
    /// A column of the input.
    Column(usize),
    /// A literal of the expression's type.
    Literal(Scalar),
    /// Two operands.
    Binary {
        /// The operator.
        op: BinaryOp,
        /// Left operand.
        left: Box<E>,
        /// Right operand.
        right: Box<E>,
    },
    /// NOT.
    Not(Box<E>),
    /// Unary minus.
    Negate(Box<E>),
    /// IS \[NOT\] NULL.
    IsNull {
        /// The operand.
        expr: Box<E>,
        /// IS NOT NULL.
        negated: bool,
    },
    /// IS \[NOT\] TRUE / FALSE / UNKNOWN: never NULL. `Some(true)` is IS TRUE, `None` is IS UNKNOWN.
    IsTruth {
        /// The operand.
        expr: Box<E>,
        /// Which truth value.
        value: Option<bool>,
        /// IS NOT ….
        negated: bool,
    },
    /// CAST or TRY_CAST to the expression's type.
    Cast {
        /// The operand.
        expr: Box<E>,
        /// TRY_CAST: NULL instead of an error.
        safe: bool,
    },
    /// CASE: searched form (`operand` is already compared); the first true condition wins.
    Case {
        /// WHEN condition THEN result.
        branches: Vec<(E, E)>,
        /// ELSE.
        otherwise: Option<Box<E>>,
    },
    /// \[NOT\] IN (list).
    InList {
        /// The operand.
        expr: Box<E>,
        /// The list; every item has the operand's type.
        list: Vec<E>,
        /// NOT IN.
        negated: bool,
    },
    /// \[NOT\] LIKE / ILIKE / SIMILAR TO.
    Like {
        /// The text.
        expr: Box<E>,
        /// The pattern.
        pattern: Box<E>,
        /// The escape character.
        escape: Option<char>,
        /// Case does not matter.
        case_insensitive: bool,
        /// NOT LIKE.
        negated: bool,
    },
    /// A scalar function of the library (`datafusion-functions`, `-nested`) or of Weir, by its canonical name.
    Function {
        /// The name.
        name: String,
        /// The arguments.
        arguments: Vec<E>,
    },
    /// `now()`, `CURRENT_TIMESTAMP`, `PROCTIME()`: the epoch's processing time, TIMESTAMP_LTZ(3).
    ProcessingTime,
}

/// Operators with two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names are SQL's")]
pub enum BinaryOp {
    Eq,
    NotEq,
    Lt,
    LtEq,
    Gt,
    GtEq,
    IsDistinctFrom,
    IsNotDistinctFrom,
    And,
    Or,
    Plus,
    Minus,
    Multiply,
    Divide,
    Modulo,
    BitAnd,
    BitOr,
    BitXor,
    ShiftLeft,
    ShiftRight,
    RegexMatch,
    RegexIMatch,
    RegexNotMatch,
    RegexNotIMatch,
    StringConcat,
}

impl BinaryOp {
    /// The comparison that says the same with its operands exchanged.
    pub(crate) fn mirrored(self) -> Self {
        match self {
            Self::Lt => Self::Gt,
            Self::LtEq => Self::GtEq,
            Self::Gt => Self::Lt,
            Self::GtEq => Self::LtEq,
            other => other,
        }
    }
}
