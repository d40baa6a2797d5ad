//! The names of aggregates, and what is known of a function by its name.

/// Every name of an aggregate, and the function that it means.
const NAMES: [(&str, &str); 57] = [
    ("count", "count"),
    ("sum", "sum"),
    ("avg", "avg"),
    ("mean", "avg"),
    ("min", "min"),
    ("max", "max"),
    ("any_value", "min"),
    ("bool_and", "bool_and"),
    ("every", "bool_and"),
    ("bool_or", "bool_or"),
    ("bit_and", "bit_and"),
    ("bit_or", "bit_or"),
    ("bit_xor", "bit_xor"),
    ("var", "var_samp"),
    ("var_samp", "var_samp"),
    ("var_sample", "var_samp"),
    ("variance", "var_samp"),
    ("var_pop", "var_pop"),
    ("var_population", "var_pop"),
    ("stddev", "stddev_samp"),
    ("stddev_samp", "stddev_samp"),
    ("stddev_pop", "stddev_pop"),
    ("covar", "covar_samp"),
    ("covar_samp", "covar_samp"),
    ("covar_pop", "covar_pop"),
    ("corr", "corr"),
    ("regr_avgx", "regr_avgx"),
    ("regr_avgy", "regr_avgy"),
    ("regr_count", "regr_count"),
    ("regr_intercept", "regr_intercept"),
    ("regr_r2", "regr_r2"),
    ("regr_slope", "regr_slope"),
    ("regr_sxx", "regr_sxx"),
    ("regr_sxy", "regr_sxy"),
    ("regr_syy", "regr_syy"),
    ("median", "median"),
    ("approx_median", "median"),
    ("percentile_cont", "percentile_cont"),
    ("quantile_cont", "percentile_cont"),
    ("approx_percentile_cont", "percentile_cont"),
    ("approx_percentile_cont_with_weight", "percentile_cont"),
    ("percentile_disc", "percentile_disc"),
    ("quantile_disc", "percentile_disc"),
    ("mode", "mode"),
    ("string_agg", "string_agg"),
    ("listagg", "string_agg"),
    ("array_agg", "array_agg"),
    ("collect", "array_agg"),
    ("first_value", "first_value"),
    ("last_value", "last_value"),
    ("nth_value", "nth_value"),
    ("approx_distinct", "approx_distinct"),
    ("approx_count_distinct", "approx_distinct"),
    ("bit_and_agg", "bit_and"),
    ("bit_or_agg", "bit_or"),
    ("bit_xor_agg", "bit_xor"),
    ("grouping", "grouping"),
];

/// The function that an aggregate's (folded) name means, if Weir has it.
pub(crate) fn canonical_name(name: &str) -> Option<&'static str> {
    let known = NAMES.iter().find(|(known, _)| *known == name);
    known.map(|(_, function)| *function)
}

/// The names of aggregates, for "did you mean".
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().map(|(name, _)| *name)
}

/// Whether the library says of which types the function's arguments and result are.
pub(crate) fn is_typed_by_library(function: &str) -> bool {
    matches!(
        function,
        "count" | "sum" | "avg" | "min" | "max" | "bool_and" | "bool_or"
    )
}

/// Whether DISTINCT changes nothing.
pub(super) fn ignores_duplicates(function: &str) -> bool {
    matches!(
        function,
        "min" | "max" | "bool_and" | "bool_or" | "bit_and" | "bit_or"
    )
}

/// Whether the order of the rows decides about the result.
pub(super) fn minds_order(function: &str) -> bool {
    matches!(
        function,
        "string_agg" | "array_agg" | "first_value" | "last_value" | "nth_value"
    )
}

/// Whether IGNORE NULLS means something.
pub(crate) fn may_ignore_nulls(function: &str) -> bool {
    minds_order(function)
}
