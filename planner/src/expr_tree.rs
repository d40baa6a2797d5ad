//! Walking the plan's expressions: children, columns, substitution, and equality that does not look at spans.

use std::collections::BTreeSet;

use datafusion_expr::Volatility;
use weir_types::{DataType, Scalar, Span};

use crate::library::Library;
use crate::plan::{BinaryOp, Expr, ExprKind};

impl Expr {
    /// A column of the input.
    pub fn column(index: usize, data_type: DataType, span: Span) -> Self {
        Self {
            kind: ExprKind::Column(index),
            data_type,
            span,
        }
    }

    /// A literal.
    pub fn literal(value: Scalar, data_type: DataType, span: Span) -> Self {
        Self {
            kind: ExprKind::Literal(value),
            data_type,
            span,
        }
    }

    /// The column's index, if the expression is one.
    pub fn as_column(&self) -> Option<usize> {
        match self.kind {
            ExprKind::Column(index) => Some(index),
            _ => None,
        }
    }

    /// The operands, in the order in which they are written.
    pub fn children(&self) -> Vec<&Expr> {
        match &self.kind {
            ExprKind::Column(_) | ExprKind::Literal(_) | ExprKind::ProcessingTime => Vec::new(),
            ExprKind::Binary { left, right, .. } => vec![left, right],
            ExprKind::Not(inner) | ExprKind::Negate(inner) => vec![inner],
            ExprKind::IsNull { expr, .. }
            | ExprKind::IsTruth { expr, .. }
            | ExprKind::Cast { expr, .. } => vec![expr],
            ExprKind::Case {
                branches,
                otherwise,
            } => {
                let branches = branches.iter().flat_map(|(when, then)| [when, then]);
                branches.chain(otherwise.as_deref()).collect()
            }
            ExprKind::InList { expr, list, .. } => {
                std::iter::once(expr.as_ref()).chain(list).collect()
            }
            ExprKind::Like { expr, pattern, .. } => vec![expr, pattern],
            ExprKind::Function { arguments, .. } => arguments.iter().collect(),
        }
    }

    /// The operands, to be changed.
    pub fn children_mut(&mut self) -> Vec<&mut Expr> {
        match &mut self.kind {
            ExprKind::Column(_) | ExprKind::Literal(_) | ExprKind::ProcessingTime => Vec::new(),
            ExprKind::Binary { left, right, .. } => vec![left, right],
            ExprKind::Not(inner) | ExprKind::Negate(inner) => vec![inner],
            ExprKind::IsNull { expr, .. }
            | ExprKind::IsTruth { expr, .. }
            | ExprKind::Cast { expr, .. } => vec![expr],
            ExprKind::Case {
                branches,
                otherwise,
            } => {
                let branches = branches.iter_mut().flat_map(|(when, then)| [when, then]);
                branches.chain(otherwise.as_deref_mut()).collect()
            }
            ExprKind::InList { expr, list, .. } => {
                std::iter::once(expr.as_mut()).chain(list).collect()
            }
            ExprKind::Like { expr, pattern, .. } => vec![expr, pattern],
            ExprKind::Function { arguments, .. } => arguments.iter_mut().collect(),
        }
    }

    /// Every column that the expression reads.
    pub fn columns(&self) -> BTreeSet<usize> {
        let mut columns = BTreeSet::new();
        self.collect_columns(&mut columns);
        columns
    }

    fn collect_columns(&self, columns: &mut BTreeSet<usize>) {
        if let ExprKind::Column(index) = self.kind {
            columns.insert(index);
        }
        self.children()
            .into_iter()
            .for_each(|child| child.collect_columns(columns));
    }

    /// How often the expression reads a column.
    pub fn uses(&self, column: usize) -> usize {
        let here = usize::from(self.as_column() == Some(column));
        here + self
            .children()
            .into_iter()
            .map(|child| child.uses(column))
            .sum::<usize>()
    }

    /// Whether some part of the expression has the property.
    pub fn any(&self, property: &dyn Fn(&Expr) -> bool) -> bool {
        property(self) || self.children().into_iter().any(|child| child.any(property))
    }

    /// The same expression over other column numbers.
    pub fn renumbered(mut self, number: &dyn Fn(usize) -> usize) -> Self {
        self.renumber(number);
        self
    }

    fn renumber(&mut self, number: &dyn Fn(usize) -> usize) {
        if let ExprKind::Column(index) = &mut self.kind {
            *index = number(*index);
        }
        self.children_mut()
            .into_iter()
            .for_each(|child| child.renumber(number));
    }

    /// The same expression with each column replaced by the expression that computes it.
    ///
    /// A replaced column keeps the place where it was *read* if the definition has none.
    pub fn substituted(&self, definition: &dyn Fn(usize) -> Expr) -> Self {
        let mut copy = self.clone();
        copy.substitute(definition);
        copy
    }

    fn substitute(&mut self, definition: &dyn Fn(usize) -> Expr) {
        if let ExprKind::Column(index) = self.kind {
            let span = self.span;
            *self = definition(index);
            if self.span.is_empty() || matches!(self.kind, ExprKind::Column(_)) {
                self.span = span;
            }
            return;
        }
        self.children_mut()
            .into_iter()
            .for_each(|child| child.substitute(definition));
    }

    /// The expression without its places: what is left is what it means.
    pub fn without_spans(&self) -> Self {
        let mut copy = self.clone();
        copy.clear_spans();
        copy
    }

    fn clear_spans(&mut self) {
        self.span = Span::default();
        self.children_mut().into_iter().for_each(Expr::clear_spans);
    }

    /// Whether both mean the same, wherever they stand.
    pub fn same(&self, other: &Self) -> bool {
        self.without_spans() == other.without_spans()
    }

    /// Whether the expression asks for the processing time.
    pub fn reads_clock(&self) -> bool {
        self.any(&|part| matches!(part.kind, ExprKind::ProcessingTime))
    }

    /// The first call of a volatile function: its name and its place.
    pub fn volatile_call(&self) -> Option<(&str, Span)> {
        if let ExprKind::Function { name, .. } = &self.kind {
            let function = Library::get().scalar(name);
            let is_volatile = crate::registered::is_volatile_name(name)
                || function.is_some_and(|function| {
                    function.signature().volatility == Volatility::Volatile
                });
            if is_volatile {
                return Some((name, self.span));
            }
        }
        self.children().into_iter().find_map(Expr::volatile_call)
    }

    /// Whether evaluating it twice on one row could give two values.
    pub fn is_volatile(&self) -> bool {
        self.reads_clock() || self.volatile_call().is_some()
    }

    /// The conjuncts of a condition, in the order of the text.
    pub fn conjuncts(self) -> Vec<Expr> {
        match self.kind {
            ExprKind::Binary {
                op: BinaryOp::And,
                left,
                right,
            } => {
                let mut all = left.conjuncts();
                all.extend(right.conjuncts());
                all
            }
            _ => vec![self],
        }
    }

    /// The conjunction; `None` of nothing.
    pub fn conjunction(conjuncts: impl IntoIterator<Item = Expr>) -> Option<Expr> {
        conjuncts.into_iter().reduce(|left, right| {
            let span = left.span.union(right.span);
            let kind = ExprKind::Binary {
                op: BinaryOp::And,
                left: Box::new(left),
                right: Box::new(right),
            };
            Expr {
                kind,
                data_type: DataType::Boolean,
                span,
            }
        })
    }
}
