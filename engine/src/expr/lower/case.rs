//! CASE: as it is written, and in the form `CASE value WHEN literal …`, whose value is computed once for each row.

use super::*;

impl Lowering<'_> {
    pub(super) fn case(
        &self,
        expr: &Expr,
        branches: &[(Expr, Expr)],
        otherwise: Option<&Expr>,
    ) -> Result<Lowered> {
        let mut children = Vec::with_capacity(branches.len() * 2 + 1);
        for (condition, result) in branches {
            children.push(self.lower(condition)?);
            children.push(self.lower_as(result, &expr.data_type)?);
        }
        if let Some(otherwise) = otherwise {
            children.push(self.lower_as(otherwise, &expr.data_type)?);
        }
        case_of(expr, children, is_of_one_value(branches))
    }
}

/// Whether every condition compares the same value with a text. The plan has the value in each of them, and the library would
/// compute it for each.
fn is_of_one_value(branches: &[(Expr, Expr)]) -> bool {
    let first = branches.first().and_then(compared_with_text);
    let is_first = |branch: &(Expr, Expr)| compared_with_text(branch) == first;
    branches.len() > 1 && first.is_some() && branches.iter().all(is_first)
}

/// What the condition of a branch compares with a literal text.
fn compared_with_text((condition, _): &(Expr, Expr)) -> Option<&Expr> {
    let ExprKind::Binary {
        op: BinaryOp::Eq,
        left,
        right,
    } = &condition.kind
    else {
        return None;
    };
    let is_text = matches!(right.kind, ExprKind::Literal(Scalar::String(_)));
    (is_text && left.data_type == DataType::String).then_some(left)
}

fn case_of(expr: &Expr, children: Vec<Lowered>, of_one_value: bool) -> Result<Lowered> {
    let branches = children.len() / 2;
    let value = of_one_value.then(|| Arc::clone(&children[0].children[0].physical));
    let when_then = (0..branches)
        .map(|i| {
            let (condition, result) = (&children[2 * i], &children[2 * i + 1]);
            let when = match of_one_value {
                true => &condition.children[1].physical,
                false => &condition.physical,
            };
            (Arc::clone(when), Arc::clone(&result.physical))
        })
        .collect();
    let otherwise = (children.len() % 2 == 1).then(|| Arc::clone(&children[2 * branches].physical));
    let physical = CaseExpr::try_new(value, when_then, otherwise)
        .map_err(|error| failed(expr, error.strip_backtrace()))?;
    Ok(Lowered {
        form: Form::Case,
        ..over(Arc::new(physical), children, false)
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, StringViewArray};
    use arrow::datatypes::Field;

    use super::*;

    fn expr(kind: ExprKind, data_type: DataType) -> Expr {
        Expr {
            kind,
            data_type,
            span: Span::default(),
        }
    }

    fn text(value: &str) -> Expr {
        expr(
            ExprKind::Literal(Scalar::String(value.to_owned())),
            DataType::String,
        )
    }

    fn call(name: &str, arguments: Vec<Expr>) -> Expr {
        let name = name.to_owned();
        expr(ExprKind::Function { name, arguments }, DataType::String)
    }

    /// `CASE lower(x) WHEN 'a' THEN … WHEN 'b' THEN … ELSE … END`, the conditions written as the plan has them.
    fn case(results: [Expr; 2], otherwise: Option<Expr>) -> Expr {
        let x = expr(ExprKind::Column(0), DataType::String);
        let branches = ["a", "b"].into_iter().zip(results).map(|(when, then)| {
            let condition = ExprKind::Binary {
                op: BinaryOp::Eq,
                left: call("lower", vec![x.clone()]).into(),
                right: text(when).into(),
            };
            (expr(condition, DataType::Boolean), then)
        });
        let kind = ExprKind::Case {
            branches: branches.collect(),
            otherwise: otherwise.map(Box::new),
        };
        expr(kind, DataType::String)
    }

    fn schema() -> ArrowSchema {
        ArrowSchema::new(vec![Field::new("x", ArrowType::Utf8View, true)])
    }

    /// What the expression gives, in the form of one value and in that of conditions.
    fn both(case: &Expr, values: &[Option<&str>]) -> [Vec<Option<String>>; 2] {
        let (schema, clock) = (schema(), Arc::default());
        let lowering = Lowering {
            schema: &schema,
            clock: &clock,
        };
        let ExprKind::Case {
            branches,
            otherwise,
        } = &case.kind
        else {
            panic!("a CASE")
        };
        assert!(is_of_one_value(branches));
        let column: StringViewArray = values.iter().collect();
        let batch = RecordBatch::try_new(Arc::new(schema.clone()), vec![Arc::new(column)]).unwrap();
        [true, false].map(|of_one_value| {
            let mut children = Vec::new();
            for expr in branches.iter().flat_map(|(when, then)| [when, then]) {
                children.push(lowering.lower(expr).ok().unwrap());
            }
            let otherwise = otherwise.as_deref();
            children.extend(otherwise.map(|expr| lowering.lower(expr).ok().unwrap()));
            let lowered = case_of(case, children, of_one_value).ok().unwrap();
            let values = lowered.physical.evaluate(&batch).unwrap();
            let values = values.into_array(batch.num_rows()).unwrap();
            let values = arrow::compute::cast(&values, &ArrowType::Utf8View).unwrap();
            let values = values
                .as_any()
                .downcast_ref::<StringViewArray>()
                .unwrap()
                .clone();
            values.iter().map(|text| text.map(str::to_owned)).collect()
        })
    }

    #[test]
    fn one_value_gives_what_its_conditions_give() {
        let x = || expr(ExprKind::Column(0), DataType::String);
        let cases = [
            case([text("1"), text("2")], Some(x())),
            case([text("1"), text("2")], Some(text("3"))),
            case([text("1"), x()], None),
            case([x(), text("2")], Some(call("upper", vec![x()]))),
        ];
        let columns: [&[Option<&str>]; 4] = [
            &[Some("A"), None, Some("b"), Some("c"), Some("a"), None],
            &[Some("a"), Some("A")],
            &[None, None],
            &[Some("a text that is longer than a view"), Some("B")],
        ];
        for case in &cases {
            for values in columns {
                let [one, many] = both(case, values);
                assert_eq!(one, many, "{values:?} in {case:?}");
            }
        }
    }

    #[test]
    fn conditions_of_several_values_stay_conditions() {
        let mut one = case([text("1"), text("2")], None);
        let ExprKind::Case { branches, .. } = &mut one.kind else {
            panic!("a CASE")
        };
        assert!(!is_of_one_value(&branches[..1]));
        let ExprKind::Binary { left, .. } = &mut branches[1].0.kind else {
            panic!("a comparison")
        };
        **left = expr(ExprKind::Column(0), DataType::String);
        assert!(!is_of_one_value(branches));
    }
}
