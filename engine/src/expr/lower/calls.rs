//! Calls of functions.

use super::*;

impl Lowering<'_> {
    pub(super) fn function(&self, expr: &Expr, name: &str, arguments: &[Expr]) -> Result<Lowered> {
        match (name, arguments) {
            // The library leaves these to its optimizer, which rewrites them; they choose, so their
            // arguments are evaluated only where needed.
            ("coalesce" | "nvl" | "ifnull", [_, ..]) => return self.coalesce(expr, arguments),
            ("nvl2", [test, then, otherwise]) => {
                let branch = (not_null(test), then.clone());
                return self.case(expr, &[branch], Some(otherwise));
            }
            ("arrow_cast" | "cast_to_type", [operand, ..]) => {
                return self.cast(expr, operand, false);
            }
            ("arrow_try_cast" | "try_cast_to_type", [operand, ..]) => {
                return self.cast(expr, operand, true);
            }
            _ => {}
        }
        let function =
            functions::find(name).ok_or_else(|| failed(expr, functions::missing(name)))?;
        let mut children = arguments
            .iter()
            .map(|argument| self.lower(argument))
            .collect::<Result<Vec<_>>>()?;
        let build = || -> datafusion_common::Result<ScalarFunctionExpr> {
            let fields = children
                .iter()
                .map(|child| child.physical.return_field(self.schema))
                .collect::<datafusion_common::Result<Vec<_>>>()?;
            let wanted = fields_with_udf(&fields, function.as_ref())?;
            for ((child, field), wanted) in children.iter_mut().zip(&fields).zip(&wanted) {
                child.physical = cast_to(
                    Arc::clone(&child.physical),
                    field.data_type(),
                    wanted.data_type(),
                )
                .map_err(datafusion_common::DataFusionError::Plan)?;
            }
            let compares = functions::compares(name);
            let arguments = children
                .iter()
                .map(|child| match Arc::clone(&child.physical) {
                    argument if compares => self.comparable(argument),
                    argument => argument,
                })
                .collect();
            ScalarFunctionExpr::try_new(
                Arc::clone(&function),
                arguments,
                self.schema,
                functions::config(),
            )
        };
        let mut build = build;
        let physical = build().map_err(|error| failed(expr, error.strip_backtrace()))?;
        let physical: Arc<dyn PhysicalExpr> = Arc::new(physical);
        Ok(
            match direct::direct(name, arguments, &children, &physical, self.schema) {
                Some((direct, may_fail)) => Lowered {
                    may_fail,
                    ..over(direct, children, false)
                },
                None => over(physical, children, call_may_fail(name, arguments)),
            },
        )
    }

    fn coalesce(&self, expr: &Expr, arguments: &[Expr]) -> Result<Lowered> {
        let (last, first) = match arguments.split_last() {
            Some((last, first)) if !first.is_empty() => (last, first),
            _ => return self.lower_as(&arguments[0], &expr.data_type),
        };
        let branches: Vec<_> = first
            .iter()
            .map(|argument| (not_null(argument), argument.clone()))
            .collect();
        self.case(expr, &branches, Some(last))
    }
}
