//! Aggregate calls: which there are, and what they accumulate.
//!
//! The first seven are typed by the library, as scalar functions are; the others by the rules here. Several names are one
//! function in the plan: `approx_distinct(x)` is `count(DISTINCT x)`, `median(x)` is `percentile_cont(x, 0.5)`: they share state.

use datafusion_expr::{Expr as LibraryExpr, ExprSchemable};
use weir_types::{Code, DataType, Diagnostic, Scalar, Span};

use super::aggregate_names::{ignores_duplicates, is_typed_by_library, minds_order};
use crate::codes;
use crate::convert::{CastKind, Level, Refusal, cast_to, sql_type};
use crate::logical::{AggregateCall, OrderItem};
use crate::plan::{Expr, ExprKind};

/// Whether values of that type can be compared, and therefore kept in order: arrays and rows part by part.
fn is_comparable(data_type: &DataType) -> bool {
    use DataType as T;
    match data_type {
        T::Null | T::Interval | T::Map(..) => false,
        T::Decimal(precision, _) => *precision <= 38,
        T::Array(element) => is_comparable(element),
        T::Row(fields) => fields.iter().all(|field| is_comparable(&field.data_type)),
        _ => true,
    }
}

/// Whether values of that type can be kept as what belongs to a row, and given back.
fn is_kept(data_type: &DataType) -> bool {
    use DataType as T;
    match data_type {
        T::Null => false,
        T::Decimal(precision, _) => *precision <= 38,
        T::Array(element) => is_kept(element),
        T::Row(fields) => fields.iter().all(|field| is_kept(&field.data_type)),
        T::Map(key, value) => is_kept(key) && is_kept(value),
        _ => true,
    }
}

fn is_numeric(data_type: &DataType) -> bool {
    use DataType as T;
    is_integer(data_type)
        || matches!(
            data_type,
            T::Null | T::Float32 | T::Float64 | T::Decimal(..)
        )
}

fn is_integer(data_type: &DataType) -> bool {
    use DataType as T;
    matches!(
        data_type,
        T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64
    )
}

/// Whether the engine can accumulate that type.
fn is_supported(call: &AggregateCall) -> bool {
    use DataType as T;
    let argument = call
        .arguments
        .first()
        .map_or(&T::Int64, |argument| &argument.data_type);
    let decimal = |data_type: &T| matches!(data_type, T::Decimal(precision, _) if *precision <= 38);
    match call.function.as_str() {
        "min" | "max" => is_comparable(argument),
        "sum" => {
            matches!(call.data_type, T::Int64 | T::UInt64 | T::Float64) || decimal(&call.data_type)
        }
        "avg" => *argument == T::Float64 || decimal(argument),
        _ => true,
    }
}

/// The call as the library bound and coerced it, over the level's operands.
pub(crate) fn from_library(
    bound: &LibraryExpr,
    level: &Level<'_>,
    filter: Option<Expr>,
    span: Span,
) -> Result<AggregateCall, Box<Diagnostic>> {
    let unplanned = |reason: String| {
        Box::new(
            Diagnostic::error(codes::NOT_YET, "this aggregate cannot be planned yet")
                .at(span, reason),
        )
    };
    let mut bound = bound;
    while let LibraryExpr::Alias(alias) = bound {
        bound = &alias.expr;
    }
    let LibraryExpr::AggregateFunction(call) = bound else {
        return Err(unplanned(format!("it is `{bound}`")));
    };
    let data_type = bound
        .get_type(level.schema)
        .map_err(|error| super::library_message(&error))
        .and_then(|arrow| sql_type(&arrow))
        .map_err(&unplanned)?;
    let mut arguments = Vec::with_capacity(call.params.args.len());
    for argument in &call.params.args {
        arguments.push(
            level
                .convert(argument.clone())
                .map_err(|refusal| match refusal {
                    Refusal::NotYet(reason) => unplanned(reason),
                    Refusal::BadLiteral(literal, to) => {
                        let shown = crate::canonical::text(&literal, &|_| String::new());
                        unplanned(format!("{shown} is not a value of {to}"))
                    }
                })?,
        );
    }
    let function = call.func.name().to_owned();
    let mut distinct = call.params.distinct;
    // `count(1)` and `count(*)` count rows: no argument has to be computed.
    let counts_rows = |argument: &Expr| matches!(&argument.kind, ExprKind::Literal(value) if *value != Scalar::Null);
    if function == "count" && !distinct && arguments.iter().all(counts_rows) {
        arguments.clear();
    }
    distinct &= !ignores_duplicates(&function);
    let mut call = AggregateCall {
        function,
        arguments,
        distinct,
        filter,
        order_by: Vec::new(),
        parameters: Vec::new(),
        registered: None,
        data_type,
        span,
    };
    accumulation_types(&mut call);
    if !is_supported(&call) {
        let argument = call
            .arguments
            .first()
            .map_or(DataType::Null, |argument| argument.data_type.clone());
        let message = format!("`{}` of {argument} is not there yet", call.function);
        return Err(Box::new(
            Diagnostic::error(codes::NOT_YET, message)
                .at(span, "cannot be accumulated")
                .help("cast the argument to a type of fixed width, e.g. CAST(… AS DOUBLE)"),
        ));
    }
    check_kept(&call)?;
    Ok(call)
}

/// Casts the argument to the type in which it is accumulated, where the library leaves that to its accumulators.
fn accumulation_types(call: &mut AggregateCall) {
    let Some(argument) = call.arguments.first_mut() else {
        return;
    };
    let target = match (call.function.as_str(), &argument.data_type) {
        // Sums of decimals and averages of anything else keep the argument's type; sums have the result's.
        ("sum", DataType::Decimal(..)) | ("avg", DataType::Decimal(..)) => return,
        ("sum", _) => call.data_type.clone(),
        ("avg", _) => DataType::Float64,
        _ => return,
    };
    let (span, owned) = (argument.span, argument.clone());
    *argument = cast_to(owned, target, CastKind::Fails, span);
}

/// A call of a function that is typed here, its parts bound.
pub(crate) struct OwnCall<'a> {
    /// The canonical function.
    pub(crate) function: &'static str,
    /// The name as the user wrote it.
    pub(crate) spelling: &'a str,
    pub(crate) arguments: Vec<Expr>,
    pub(crate) distinct: bool,
    pub(crate) filter: Option<Expr>,
    pub(crate) order_by: Vec<OrderItem>,
    /// WITHIN GROUP: the order holds what is aggregated.
    pub(crate) within_group: bool,
    pub(crate) span: Span,
}

impl OwnCall<'_> {
    /// The call as the plan has it.
    pub(crate) fn typed(mut self) -> Result<AggregateCall, Box<Diagnostic>> {
        let mut parameters = Vec::new();
        let data_type = match self.function {
            "var_samp" | "var_pop" | "stddev_samp" | "stddev_pop" => self.doubles(1)?,
            "regr_count" => {
                self.doubles(2)?;
                DataType::Int64
            }
            "covar_samp" | "covar_pop" | "corr" => self.doubles(2)?,
            function if function.starts_with("regr_") => self.doubles(2)?,
            "bit_and" | "bit_or" | "bit_xor" => self.integer()?,
            "median" => {
                let data_type = self.doubles(1)?;
                self.function = "percentile_cont";
                self.order_by.clear();
                parameters.push(Scalar::float(0.5));
                data_type
            }
            "percentile_cont" if self.is_weighted() => {
                parameters.push(self.percentile()?);
                self.weighted()?
            }
            "percentile_cont" | "percentile_disc" => {
                parameters.push(self.percentile()?);
                match self.function {
                    "percentile_cont" => self.doubles(1)?,
                    _ => self.first_type()?,
                }
            }
            "mode" => {
                self.ordered_value()?;
                self.counted(1)?;
                self.first_type()?
            }
            "string_agg" => {
                parameters.extend(self.delimiter()?);
                DataType::String
            }
            "array_agg" => {
                self.counted(1)?;
                DataType::Array(Box::new(self.first_type()?))
            }
            "grouping" => DataType::Int64,
            "approx_distinct" => {
                self.counted(1)?;
                (self.function, self.distinct) = ("count", true);
                DataType::Int64
            }
            "nth_value" => {
                parameters.push(self.place()?);
                self.picked()?
            }
            _ => self.picked()?,
        };
        if !minds_order(self.function) && !matches!(self.function, "percentile_disc" | "mode") {
            self.order_by.clear();
        }
        let call = AggregateCall {
            function: self.function.to_owned(),
            arguments: self.arguments,
            distinct: self.distinct && !ignores_duplicates(self.function),
            filter: self.filter,
            order_by: self.order_by,
            parameters,
            registered: None,
            data_type,
            span: self.span,
        };
        check_kept(&call)?;
        Ok(call)
    }

    fn error(&self, code: Code, message: String, label: &str, help: &str) -> Box<Diagnostic> {
        Box::new(
            Diagnostic::error(code, message)
                .at(self.span, label)
                .help(help),
        )
    }

    fn counted(&self, count: usize) -> Result<(), Box<Diagnostic>> {
        if self.arguments.len() == count {
            return Ok(());
        }
        let message = format!(
            "`{}` takes {}",
            self.spelling,
            super::counted(count, "argument")
        );
        Err(self.error(
            codes::TYPE_MISMATCH,
            message,
            &format!("here it has {}", self.arguments.len()),
            "docs/sql/aggregates.md lists the aggregates",
        ))
    }

    fn misfit(&self, wanted: &str) -> Box<Diagnostic> {
        let types: Vec<String> = self
            .arguments
            .iter()
            .map(|argument| argument.data_type.to_string())
            .collect();
        let message = format!("`{}` does not take {}", self.spelling, types.join(" and "));
        self.error(
            codes::TYPE_MISMATCH,
            message,
            &format!("it takes {wanted}"),
            "CAST(… AS type) makes it fit, where a cast is meant",
        )
    }

    /// So many numbers, cast to DOUBLE; the result is one too.
    fn doubles(&mut self, count: usize) -> Result<DataType, Box<Diagnostic>> {
        self.counted(count)?;
        if !self
            .arguments
            .iter()
            .all(|argument| is_numeric(&argument.data_type))
        {
            return Err(self.misfit("numbers"));
        }
        for argument in &mut self.arguments {
            let (span, owned) = (argument.span, argument.clone());
            *argument = cast_to(owned, DataType::Float64, CastKind::Fails, span);
        }
        Ok(DataType::Float64)
    }

    fn integer(&mut self) -> Result<DataType, Box<Diagnostic>> {
        self.counted(1)?;
        match self.arguments[0].data_type.clone() {
            data_type if is_integer(&data_type) => Ok(data_type),
            _ => Err(self.misfit("integers")),
        }
    }

    fn first_type(&self) -> Result<DataType, Box<Diagnostic>> {
        let fits = match minds_order(self.function) && !self.distinct {
            true => is_kept,
            false => is_comparable,
        };
        match self
            .arguments
            .first()
            .map(|argument| argument.data_type.clone())
        {
            Some(data_type) if fits(&data_type) => Ok(data_type),
            _ => Err(self.misfit("values that can be compared: no maps or intervals")),
        }
    }

    /// Whether it says how often each value counts.
    fn is_weighted(&self) -> bool {
        self.spelling.to_ascii_lowercase().ends_with("_with_weight")
    }

    /// A number, and how often it counts.
    fn weighted(&mut self) -> Result<DataType, Box<Diagnostic>> {
        let (value, weight) = (&self.arguments[0], &self.arguments[1]);
        if !is_numeric(&value.data_type) || !is_integer(&weight.data_type) {
            return Err(self.misfit("a number and an integer, which says how often it counts"));
        }
        for (argument, target) in self
            .arguments
            .iter_mut()
            .zip([DataType::Float64, DataType::Int64])
        {
            let (span, owned) = (argument.span, argument.clone());
            *argument = cast_to(owned, target, CastKind::Fails, span);
        }
        Ok(DataType::Float64)
    }

    /// first_value and its like: one value, chosen by an order that the text gives.
    fn picked(&self) -> Result<DataType, Box<Diagnostic>> {
        self.counted(1)?;
        if self.order_by.is_empty() {
            let message = format!("`{}` needs an order", self.spelling);
            let help = format!("say which row comes first: {}(x ORDER BY t)", self.spelling);
            return Err(self.error(
                codes::AGGREGATE_ORDER,
                message,
                "the rows of a group come in no order",
                &help,
            ));
        }
        self.first_type()
    }

    /// Takes the value from WITHIN GROUP (ORDER BY value), if it is there.
    fn ordered_value(&mut self) -> Result<(), Box<Diagnostic>> {
        if !self.within_group {
            self.order_by.clear();
            return Ok(());
        }
        if self.order_by.len() != 1 {
            let message = format!("`{}` takes one value in WITHIN GROUP", self.spelling);
            return Err(self.error(
                codes::AGGREGATE_ORDER,
                message,
                "more than one",
                "WITHIN GROUP (ORDER BY x)",
            ));
        }
        self.arguments.insert(0, self.order_by[0].expr.clone());
        // Ascending is what it is anyway.
        if !self.order_by[0].descending {
            self.order_by.clear();
        }
        Ok(())
    }

    /// The fraction of a percentile: `percentile_cont(0.9) WITHIN GROUP (ORDER BY x)`, `percentile_cont(x, 0.9)`. What a
    /// sketch would be told about its size (`approx_percentile_cont(x, 0.9, 100)`) changes nothing here.
    fn percentile(&mut self) -> Result<Scalar, Box<Diagnostic>> {
        self.ordered_value()?;
        let count = if self.is_weighted() { 3 } else { 2 };
        let spelling = self.spelling.to_ascii_lowercase();
        if self.arguments.len() == count + 1 && spelling.starts_with("approx_percentile_cont") {
            self.arguments.pop();
        }
        self.counted(count)?;
        let fraction = self.arguments.pop().as_ref().and_then(number);
        match fraction.filter(|fraction| (0.0..=1.0).contains(fraction)) {
            Some(fraction) => {
                let descending = self.order_by.first().is_some_and(|item| item.descending);
                if self.function == "percentile_cont" && descending {
                    self.order_by.clear();
                    return Ok(Scalar::float(1.0 - fraction));
                }
                Ok(Scalar::float(fraction))
            }
            None => Err(self.error(
                codes::AGGREGATE_CONSTANT,
                format!(
                    "the fraction of `{}` is a constant between 0 and 1",
                    self.spelling
                ),
                "not such a constant",
                "percentile_cont(0.95) WITHIN GROUP (ORDER BY x)",
            )),
        }
    }

    /// The delimiter, if it is a constant; another stays an argument.
    fn delimiter(&mut self) -> Result<Option<Scalar>, Box<Diagnostic>> {
        let has_default = self.spelling.eq_ignore_ascii_case("listagg");
        if !(has_default && self.arguments.len() == 1) {
            self.counted(2)?;
        }
        for argument in &mut self.arguments {
            let (span, owned) = (argument.span, argument.clone());
            *argument = cast_to(owned, DataType::String, CastKind::Fails, span);
        }
        let Some(delimiter) = self.arguments.get(1).map(constant_text) else {
            return Ok(Some(Scalar::String(",".to_owned())));
        };
        if delimiter.is_some() {
            self.arguments.truncate(1);
        }
        Ok(delimiter.map(Scalar::String))
    }

    fn place(&mut self) -> Result<Scalar, Box<Diagnostic>> {
        self.counted(2)?;
        let place = self.arguments.pop().as_ref().and_then(number);
        match place.filter(|place| *place >= 1.0 && place.fract() == 0.0 && *place < 1e15) {
            Some(place) => Ok(Scalar::Int(place as i64)),
            None => Err(self.error(
                codes::AGGREGATE_CONSTANT,
                format!("the place in `{}` is a constant from 1 on", self.spelling),
                "not such a constant",
                "nth_value(x, 2 ORDER BY t)",
            )),
        }
    }
}

/// What a side table keeps has to be comparable; DISTINCT rows are ordered by what they consist of.
fn check_kept(call: &AggregateCall) -> Result<(), Box<Diagnostic>> {
    let looks = call.function != "grouping";
    let keeps = looks && (call.distinct || !is_typed_by_library(&call.function));
    // What belongs to a row only breaks ties; what is distinct, or an order, is compared.
    let fits = match minds_order(&call.function) && !call.distinct {
        true => is_kept,
        false => is_comparable,
    };
    let mut kept = call.arguments.iter().filter(|_| keeps);
    let mut order = call.order_by.iter().map(|item| &item.expr);
    let misfit = kept.find(|part| !fits(&part.data_type));
    let misfit = misfit.or_else(|| order.find(|part| !is_comparable(&part.data_type)));
    if let Some(part) = misfit {
        let message = format!(
            "values of type {} cannot be kept in order here",
            part.data_type
        );
        return Err(Box::new(
            Diagnostic::error(codes::TYPE_MISMATCH, message)
                .at(
                    call.span.union(part.span),
                    "the aggregate compares its values",
                )
                .help("aggregate a part of it, or cast it: CAST(… AS STRING)"),
        ));
    }
    let stranger = |item: &&OrderItem| {
        call.distinct
            && call
                .arguments
                .iter()
                .all(|argument| !argument.same(&item.expr))
    };
    if let Some(item) = call.order_by.iter().find(stranger) {
        return Err(Box::new(
            Diagnostic::error(
                codes::AGGREGATE_ORDER,
                "a DISTINCT aggregate is ordered by its own arguments",
            )
            .at(
                item.expr.span,
                "equal values can have different values of this",
            )
            .help("order by the argument itself, or leave DISTINCT out"),
        ));
    }
    Ok(())
}

/// A constant number; casts that only change its type are looked through.
fn number(expr: &Expr) -> Option<f64> {
    match &expr.kind {
        ExprKind::Cast { expr, .. } => number(expr),
        ExprKind::Negate(inner) => number(inner).map(|value| -value),
        ExprKind::Literal(value) => match value {
            Scalar::Int(value) => Some(*value as f64),
            Scalar::UInt(value) => Some(*value as f64),
            Scalar::Float(bits) => Some(f64::from_bits(*bits)),
            Scalar::Decimal(digits) => {
                let DataType::Decimal(_, scale) = expr.data_type else {
                    return None;
                };
                let unscaled: f64 = digits.parse().ok()?;
                Some(unscaled / 10f64.powi(i32::from(scale)))
            }
            _ => None,
        },
        _ => None,
    }
}

/// A constant text; NULL is none at all.
fn constant_text(expr: &Expr) -> Option<String> {
    match &expr.kind {
        ExprKind::Cast { expr, .. } => constant_text(expr),
        ExprKind::Literal(Scalar::String(text)) => Some(text.clone()),
        ExprKind::Literal(Scalar::Null) => Some(String::new()),
        _ => None,
    }
}
