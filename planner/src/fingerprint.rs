//! Fingerprints: the hash of an operator's own logic, and of all logic upstream of it. EVOLUTION 2 is the contract.
//!
//! The text that is hashed is made of typed column identities (`identity.rs`), sorted wherever the order of the text
//! means nothing. So comments, formatting, aliases, the order of columns and aggregates, unused columns, other readers,
//! and where a filter happens to run change nothing; a changed expression, key, window, type, value option does.
//!
//! What a source reads and filters for its readers is *not* its own logic: its state is its position alone.

use std::collections::BTreeMap;

use crate::identity::{Identity, Logic, Timed, hash, kind_name, value_options};
use crate::plan::{OperatorKind, TableDefinition};

/// The texts that an operator's fingerprints are made of.
pub(crate) struct Fingerprints {
    /// Of its own logic.
    pub(crate) own: String,
    /// Of everything below.
    pub(crate) upstream: String,
}

/// Settings under which the same SQL gives other values: those that differ from their defaults.
pub(crate) fn value_settings(settings: &BTreeMap<String, String>) -> String {
    [("row.error", "fail"), ("time.zone", "UTC")]
        .into_iter()
        .filter_map(|(key, default)| {
            settings
                .get(key)
                .filter(|value| *value != default)
                .map(|value| (key, value.as_str()))
        })
        // Where rows that are left out go to is the sink's business.
        .map(|(key, value)| match value.strip_prefix("dead-letter:") {
            Some(_) => (key, "skip"),
            None => (key, value),
        })
        .map(|(key, value)| format!("{key}={value}"))
        .collect::<Vec<_>>()
        .join(",")
}

/// The fingerprints of an operator over inputs of known logic. `detail` is its own logic in canonical form.
pub(crate) fn fingerprints(
    kind: &OperatorKind,
    detail: &str,
    inputs: &[&Logic],
    table: Option<&TableDefinition>,
    settings: &str,
) -> Fingerprints {
    let detail = match (kind, table) {
        (OperatorKind::Source { .. }, Some(table)) => value_options(table),
        _ => detail.to_owned(),
    };
    let timed = match kind {
        OperatorKind::WindowAggregate { .. }
        | OperatorKind::WindowAssign { .. }
        | OperatorKind::Session { .. }
        | OperatorKind::FinalRank { .. }
        | OperatorKind::Over { time: Some(_), .. }
        | OperatorKind::TimedJoin { .. } => Timed::Yes,
        _ => Timed::No,
    };
    let inputs: Vec<String> = inputs.iter().map(|input| input.relation(timed)).collect();
    Fingerprints {
        own: hash(&format!("{}({detail}) under {settings}", kind_name(kind))),
        upstream: hash(&format!("[{}] under {settings}", inputs.join(","))),
    }
}

/// The typed texts, sorted: for lists whose order means nothing.
pub(crate) fn sorted(identities: impl IntoIterator<Item = Identity>) -> String {
    let mut texts: Vec<String> = identities
        .into_iter()
        .map(|identity| identity.typed)
        .collect();
    texts.sort();
    texts.join(", ")
}
