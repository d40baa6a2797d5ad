//! Errors of the server, as programs read them: each says what, where, and what to do.
//!
//! ```text
//!   {"error":  {"code": "P1001", "message": "…", "where": {"in": "sql", "line": 3, "column": 6, …}, "help": ["…"]},
//!    "errors": [ all of them, the first one included ]}
//! ```

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use weir_engine::Error;
use weir_types::{Diagnostic, Diagnostics, Severity};

use crate::exit::{Code, Failure};

/// Where something is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// `sql`, `body`, `field`, `query`, `header`, `path`, `job` or `server`.
    #[serde(rename = "in")]
    pub(crate) part: String,
    /// The field, parameter, header, path or job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) column: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) end_line: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) end_column: Option<u32>,
    /// What is wrong just there, in a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
}

impl Place {
    /// A part of the request, or something that it names.
    pub(crate) fn named(part: &str, name: impl Into<String>) -> Self {
        Self {
            part: part.to_owned(),
            name: Some(name.into()),
            ..Self::default()
        }
    }
}

/// One error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Problem {
    pub(crate) code: String,
    pub(crate) message: String,
    #[serde(rename = "where")]
    pub(crate) place: Place,
    /// What to do.
    pub(crate) help: Vec<String>,
}

impl Problem {
    pub(crate) fn new(code: &str, place: Place, message: impl Into<String>, help: &str) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
            place,
            help: vec![help.to_owned()],
        }
    }

    /// What the planner says of the text.
    pub(crate) fn of_diagnostic(diagnostic: &Diagnostic) -> Self {
        let mut place = Place {
            part: "sql".to_owned(),
            ..Place::default()
        };
        let label = diagnostic
            .labels
            .iter()
            .find(|label| !label.span.is_empty());
        if let Some(label) = label {
            place.line = Some(label.span.start.line);
            place.column = Some(label.span.start.column);
            place.end_line = Some(label.span.end.line);
            place.end_column = Some(label.span.end.column);
            place.text = (!label.text.is_empty()).then(|| label.text.clone());
        }
        let mut help = diagnostic.help.clone();
        if help.is_empty() {
            help.push(format!("docs/errors/{}.md says more", diagnostic.code));
        }
        Self {
            code: diagnostic.code.clone(),
            message: diagnostic.message.clone(),
            place,
            help,
        }
    }

    /// As the planner would have said it, to be shown with the lines of the text.
    pub(crate) fn to_diagnostic(&self) -> Diagnostic {
        let mut diagnostic = Diagnostic {
            severity: Severity::Error,
            code: self.code.clone(),
            message: self.message.clone(),
            labels: Vec::new(),
            help: self.help.clone(),
        };
        let place = &self.place;
        if let (Some(line), Some(column)) = (place.line, place.column)
            && place.part == "sql"
        {
            let end = (
                place.end_line.unwrap_or(line),
                place.end_column.unwrap_or(column + 1),
            );
            let text = place.text.clone().unwrap_or_default();
            diagnostic = diagnostic.at(weir_types::Span::new((line, column), end), text);
        }
        diagnostic
    }

    /// What the engine says of a job.
    pub(crate) fn of_engine(job: &str, error: &Error) -> Self {
        match error {
            Error::Plan(Diagnostics(all)) => match all.first() {
                Some(first) => Self::of_diagnostic(first),
                None => Self::said(job, &error.to_string()),
            },
            Error::Connector(weir_connectors::Error::Diagnostic(diagnostic)) => {
                Self::of_diagnostic(diagnostic)
            }
            Error::Row(row) => {
                let at = Diagnostic::error("R0001", row.reason.clone())
                    .at(row.span, format!("in operator {}", row.operator));
                let values: Vec<String> = row
                    .row
                    .iter()
                    .map(|(column, value)| format!("{column} = {value}"))
                    .collect();
                let mut problem =
                    Self::of_diagnostic(&at.help(format!("the row: {}", values.join(", "))));
                problem.help.push(
                    "mend the query, or say SET 'row.error' = 'null' or 'skip' in it".to_owned(),
                );
                problem
            }
            other => Self::said(job, &other.to_string()),
        }
    }

    /// A message, with its code in front if it has one.
    pub(crate) fn said(job: &str, message: &str) -> Self {
        let message = message.trim_end();
        let message = message.strip_prefix("error").unwrap_or(message);
        let (code, rest) = match message
            .strip_prefix('[')
            .and_then(|rest| rest.split_once(']'))
        {
            Some((code, rest)) => (code, rest),
            None => ("J0098", message),
        };
        Self::new(
            code,
            Place::named("job", job),
            rest.trim_start_matches([':', ' ']),
            "the message says what is wrong; the job's logs say more: GET /v1/jobs/{id}/logs",
        )
    }
}

/// Why a request was not answered as it was meant.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    pub(crate) status: u16,
    /// At least one.
    pub(crate) problems: Vec<Problem>,
    /// The report of an upgrade that was refused.
    pub(crate) report: Option<Value>,
}

impl ApiError {
    pub(crate) fn new(status: u16, problem: Problem) -> Self {
        Self {
            status,
            problems: vec![problem],
            report: None,
        }
    }

    /// A request that is not one.
    pub(crate) fn malformed(place: Place, message: impl Into<String>, help: &str) -> Self {
        Self::new(400, Problem::new("J0085", place, message, help))
    }

    /// Mistakes in the text.
    pub(crate) fn sql(diagnostics: &Diagnostics) -> Self {
        let problems: Vec<Problem> = diagnostics.0.iter().map(Problem::of_diagnostic).collect();
        if problems.is_empty() {
            return Self::mistake("a plan was refused without a reason");
        }
        Self {
            status: 400,
            problems,
            report: None,
        }
    }

    /// What the engine says: the text is wrong, the job's folder refuses, or the world failed.
    pub(crate) fn engine(job: &str, error: &Error) -> Self {
        if let Error::Plan(diagnostics) = error {
            return Self::sql(diagnostics);
        }
        let status = match error {
            Error::Connector(weir_connectors::Error::Diagnostic(_)) => 400,
            Error::Job(_) | Error::State(weir_state::Error::Incompatible(_)) => 409,
            _ => 500,
        };
        Self::new(status, Problem::of_engine(job, error))
    }

    /// What a command of this machine would have printed.
    pub(crate) fn failure(job: &str, failure: Failure) -> Self {
        let (code, text) = failure.into_parts();
        let status = match code {
            Code::Usage => 400,
            Code::Refused => 409,
            _ => 500,
        };
        Self::new(status, Problem::said(job, &text))
    }

    /// A mistake of ours.
    pub(crate) fn mistake(message: impl Into<String>) -> Self {
        let place = Place {
            part: "server".to_owned(),
            ..Place::default()
        };
        Self::new(
            500,
            Problem::new(
                "J0094",
                place,
                message,
                "this is a mistake in Weir: report it with the server's log; the jobs are not harmed",
            ),
        )
    }

    /// The answer's body.
    pub(crate) fn body(&self) -> Value {
        let mut body = json!({"error": self.problems.first(), "errors": self.problems});
        if let Some(report) = &self.report {
            body["report"] = report.clone();
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_in_brackets_goes_where_codes_are() {
        let problem = Problem::said("j", "error[S0028]: the job has ended\n");
        assert_eq!(
            (problem.code.as_str(), problem.message.as_str()),
            ("S0028", "the job has ended")
        );
        let problem = Problem::said("j", "[S0028] the job has ended");
        assert_eq!(problem.code, "S0028");
        let problem = Problem::said("j", "error: no code here");
        assert_eq!(
            (problem.code.as_str(), problem.message.as_str()),
            ("J0098", "no code here")
        );
    }

    #[test]
    fn a_diagnostic_comes_back_as_it_was_with_its_place() {
        let diagnostic = Diagnostic::error("P1001", "no table `x`")
            .at(weir_types::Span::new((2, 3), (2, 7)), "not known")
            .help("declare it");
        let problem = Problem::of_diagnostic(&diagnostic);
        assert_eq!(
            (problem.place.line, problem.place.column),
            (Some(2), Some(3))
        );
        assert_eq!(problem.to_diagnostic(), diagnostic);
        let body = ApiError::new(400, problem).body();
        assert_eq!(body["error"]["where"]["in"], "sql");
        assert_eq!(body["errors"].as_array().unwrap().len(), 1);
    }
}
