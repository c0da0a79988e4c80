//! What the control plane or this program finds wrong with a profile.

use std::fmt;

use prost::Message as _;
use serde::Serialize;
use tonic::Status;
use weir_core::tuning::Problem;
use weir_proto::control::v1::PutProblems;
use weir_proto::convert;
use weir_proto::tuning::v1::FieldError;

use super::text;
use crate::cli::output::{Failure, Format, print_json};

/// More than a person reads.
const PROBLEMS_SHOWN_MAX: usize = 100;

/// One problem, and the line of the file that it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Found {
    pub(in crate::cli) line: Option<usize>,
    pub(in crate::cli) problem: Problem,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        self.problem.fmt(f)
    }
}

impl From<Problem> for Found {
    fn from(problem: Problem) -> Self {
        Self {
            line: None,
            problem,
        }
    }
}

/// The problems in a refusal's details.
pub(in crate::cli) fn of_status(status: &Status) -> Option<Vec<Problem>> {
    if status.code() != tonic::Code::InvalidArgument {
        return None;
    }
    let told = PutProblems::decode(status.details()).ok()?;
    (!told.problems.is_empty()).then(|| told.problems.iter().map(convert::problem).collect())
}

/// The failure that names every problem of `what`; scripts that want JSON get them on standard output.
pub(in crate::cli) fn report(
    what: &str,
    found: &[Found],
    format: Format,
) -> Result<Failure, Failure> {
    if format == Format::Json {
        let problems: Vec<ProblemView> = found.iter().map(ProblemView::from).collect();
        print_json(&ProblemsView { problems })?;
    }
    let mut lines: Vec<String> = found
        .iter()
        .take(PROBLEMS_SHOWN_MAX)
        .map(|found| format!("\n  {found}"))
        .collect();
    if let Some(more) = found.len().checked_sub(PROBLEMS_SHOWN_MAX + 1) {
        lines.push(format!("\n  and {} more", more + 1));
    }
    let count = text::counted(found.len(), "problem");
    Ok(Failure::Config(format!(
        "{what}: {count}, nothing is changed{}",
        lines.concat()
    )))
}

#[derive(Serialize)]
struct ProblemsView {
    problems: Vec<ProblemView>,
}

/// A problem as scripts read it.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub(in crate::cli) struct ProblemView {
    path: String,
    code: &'static str,
    message: String,
    value: String,
    bound: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
}

impl From<&Found> for ProblemView {
    fn from(found: &Found) -> Self {
        let problem = &found.problem;
        Self {
            path: problem.path.clone(),
            code: text::problem_code(problem.code),
            message: problem.message.clone(),
            value: problem.value.clone(),
            bound: problem.bound.clone(),
            line: found.line,
        }
    }
}

impl From<&FieldError> for ProblemView {
    fn from(error: &FieldError) -> Self {
        Self::from(&Found::from(convert::problem(error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_core::tuning::Code;

    fn problem() -> Problem {
        Problem::new(
            "balancer.drain_timeout",
            Code::Range,
            "is out of bounds",
            "99d",
        )
        .bounded("0ms to 1d")
    }

    #[test]
    fn problems_are_read_from_a_refusals_details() {
        let told = PutProblems {
            problems: vec![convert::field_error(&problem())],
        };
        let details = told.encode_to_vec().into();
        let status = Status::with_details(tonic::Code::InvalidArgument, "no", details);
        assert_eq!(of_status(&status), Some(vec![problem()]));
        assert_eq!(of_status(&Status::invalid_argument("no")), None);
    }

    #[test]
    fn a_report_names_path_value_bound_and_line() {
        let found = Found {
            line: Some(3),
            problem: problem(),
        };
        let failure = report("p.toml", &[found], Format::Text).unwrap();
        assert_eq!(
            failure.to_string(),
            "p.toml: 1 problem, nothing is changed\n  line 3: balancer.drain_timeout: \
             `99d` is out of bounds (allowed: 0ms to 1d)"
        );
    }
}
