//! What an upgrade may do to a job's state, as a request says it: the flags of `weir upgrade`, as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::problem::{ApiError, Place};
use crate::evolution::{EvolutionFlags, table_and_start};

/// As `weir upgrade --accept … --rename …`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EditFlags {
    /// Operators and sinks whose results need not stay exact, or `all`.
    #[serde(default)]
    pub(crate) accept: Vec<String>,
    #[serde(default)]
    pub(crate) allow_dropped_state: bool,
    #[serde(default)]
    pub(crate) start_empty: Vec<String>,
    /// Old name to new name.
    #[serde(default)]
    pub(crate) rename: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) replay: Vec<String>,
    /// Table to `keep`, `earliest`, `latest` or a time.
    #[serde(default)]
    pub(crate) sources: BTreeMap<String, String>,
}

impl EditFlags {
    /// As the command has them.
    pub(crate) fn evolution(&self) -> Result<EvolutionFlags, ApiError> {
        let mut sources = Vec::new();
        for (table, start) in &self.sources {
            let source = table_and_start(&format!("{table}={start}")).map_err(|message| {
                ApiError::malformed(
                    Place::named("field", format!("sources.{table}")),
                    message,
                    "name keep, earliest, latest or a time for each table",
                )
            })?;
            sources.push(source);
        }
        Ok(EvolutionFlags {
            upgrade: true,
            accept: self.accept.clone(),
            allow_dropped_state: self.allow_dropped_state,
            start_empty: self.start_empty.clone(),
            rename: self.rename.clone().into_iter().collect(),
            replay: self.replay.clone(),
            sources,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_a_request_are_those_of_the_command() {
        let flags: EditFlags = serde_json::from_str(
            r#"{"accept": ["all"], "rename": {"a": "b"}, "sources": {"t": "earliest"}}"#,
        )
        .unwrap();
        let evolution = flags.evolution().unwrap();
        assert_eq!(evolution.rename, [("a".to_owned(), "b".to_owned())]);
        assert!(evolution.upgrade && evolution.sources.len() == 1);
        let wrong: EditFlags = serde_json::from_str(r#"{"sources": {"t": "soon"}}"#).unwrap();
        assert_eq!(wrong.evolution().unwrap_err().status, 400);
        assert!(serde_json::from_str::<EditFlags>(r#"{"acept": []}"#).is_err());
    }
}
