//! What requests carry: read whole or refused, with the field that is wrong.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use weir_engine::SavepointOrder;

use super::flags::EditFlags;
use super::problem::{ApiError, Place};
use super::server::order;

/// `POST /v1/jobs`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SubmitRequest {
    /// The text of the query.
    pub(crate) sql: String,
    /// The job's name, unless the text has SET 'job.name'.
    #[serde(default)]
    pub(crate) name: Option<String>,
    #[serde(default)]
    pub(crate) settings: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) variables: BTreeMap<String, String>,
    /// Where relative paths start, on the server's machine.
    #[serde(default)]
    pub(crate) folder: Option<PathBuf>,
    /// A savepoint to go on from.
    #[serde(default)]
    pub(crate) from: Option<PathBuf>,
}

impl SubmitRequest {
    /// The name that the request or the text gives.
    pub(crate) fn job_name(&self) -> Result<String, ApiError> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        // Variables may stand in it; a text that cannot be planned is told so later, with all its mistakes.
        let mut file = crate::query_file::QueryFile::of_text("query.sql", &self.sql);
        file.fill_in(&self.variables)
            .map_err(|problems| ApiError::sql(&problems))?;
        let planned = file
            .plan_at(self.folder.as_deref().unwrap_or(std::path::Path::new(".")))
            .map_err(|problems| ApiError::sql(&problems))?;
        planned.plan.job_name.ok_or_else(|| {
            let mut error = ApiError::malformed(
                Place::named("field", "name"),
                "the job has no name",
                "give the request a `name`, or the text SET 'job.name' = '…'",
            );
            error.problems[0].code = "J0086".to_owned();
            error
        })
    }
}

/// `POST /v1/jobs/{id}/stop`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StopRequest {
    #[serde(default)]
    pub(crate) savepoint: bool,
    #[serde(default)]
    pub(crate) drain: bool,
    #[serde(default)]
    folder: Option<PathBuf>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    note: Option<String>,
}

impl StopRequest {
    pub(crate) fn order(&self) -> SavepointOrder {
        order(self.folder.as_ref(), self.name.as_ref(), self.note.as_ref())
    }

    pub(crate) fn check(&self) -> Result<(), ApiError> {
        let named = self.folder.is_some() || self.name.is_some() || self.note.is_some();
        if named && !self.savepoint {
            return Err(ApiError::malformed(
                Place::named("field", "savepoint"),
                "`folder`, `name` and `note` are a savepoint's, and none is asked for",
                "add \"savepoint\": true, or leave them out",
            ));
        }
        check_folder(self.folder.as_ref())
    }
}

/// `POST /v1/jobs/{id}/savepoint`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavepointRequest {
    #[serde(default)]
    folder: Option<PathBuf>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    note: Option<String>,
}

impl SavepointRequest {
    pub(crate) fn order(&self) -> SavepointOrder {
        order(self.folder.as_ref(), self.name.as_ref(), self.note.as_ref())
    }

    pub(crate) fn check(&self) -> Result<(), ApiError> {
        check_folder(self.folder.as_ref())
    }
}

/// `POST /v1/jobs/{id}/upgrade`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpgradeRequest {
    pub(crate) sql: String,
    /// Those of the job stay unless they are given.
    #[serde(default)]
    pub(crate) settings: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(crate) variables: Option<BTreeMap<String, String>>,
    /// Judges, and does nothing.
    #[serde(default)]
    pub(crate) report_only: bool,
    #[serde(default)]
    pub(crate) flags: EditFlags,
}

/// A job's process has a folder of its own: a relative path would mean something else there.
fn check_folder(folder: Option<&PathBuf>) -> Result<(), ApiError> {
    match folder {
        Some(folder) if !folder.is_absolute() && !folder.to_string_lossy().contains("://") => {
            Err(ApiError::malformed(
                Place::named("field", "folder"),
                format!("{} is no absolute path, and no URL", folder.display()),
                "name the savepoint's folder from the root of the server's machine, or leave the field out",
            ))
        }
        _ => Ok(()),
    }
}

/// Reads a body; an empty one is an empty object where that is enough.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let body: &[u8] = if body.iter().all(u8::is_ascii_whitespace) {
        b"{}"
    } else {
        body
    };
    serde_json::from_slice(body).map_err(|error| {
        let place = Place {
            part: "body".to_owned(),
            line: Some(error.line() as u32),
            column: Some(error.column() as u32),
            ..Place::default()
        };
        // The place stands beside the message.
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or(&message);
        ApiError::malformed(
            place,
            format!("the body is not what is wanted here: {message}"),
            "send one JSON object as GET /openapi.json describes it",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_is_none_is_told_with_its_place() {
        let error = read::<SubmitRequest>(b"{\n \"sql\": 3}").unwrap_err();
        assert_eq!(error.status, 400);
        assert_eq!(error.problems[0].place.line, Some(2));
        let error = read::<SubmitRequest>(b"{\"sql\": \"\", \"nme\": \"x\"}").unwrap_err();
        assert!(error.problems[0].message.contains("nme"));
        assert!(read::<StopRequest>(b" ").is_ok());
        assert!(read::<SubmitRequest>(b"").is_err());
    }

    #[test]
    fn what_belongs_to_a_savepoint_wants_one() {
        let stop: StopRequest = read(b"{\"name\": \"x\"}").unwrap();
        assert_eq!(stop.check().unwrap_err().status, 400);
        let stop: StopRequest = read(b"{\"savepoint\": true, \"folder\": \"x\"}").unwrap();
        assert_eq!(stop.check().unwrap_err().status, 400);
        let stop: StopRequest = read(b"{\"savepoint\": true, \"name\": \"x\"}").unwrap();
        assert!(stop.check().is_ok());
    }
}
