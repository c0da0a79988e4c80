//! What is wrong with a request, field by field.

use std::fmt;

/// One field that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldProblem {
    /// Where, as in the request: `endpoint.labels.region`.
    pub path: String,
    /// What is there, as people write it.
    pub value: String,
    /// What may be there.
    pub bound: String,
    /// One sentence for people.
    pub message: String,
}

impl fmt::Display for FieldProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Collects problems, so that all are told at once.
#[derive(Debug, Default)]
pub struct Problems(Vec<FieldProblem>);

/// How much of a wrong value is repeated.
const VALUE_CHARS_MAX: usize = 100;

impl Problems {
    /// Notes a problem unless `fits`.
    pub fn check(&mut self, fits: bool, path: &str, value: impl fmt::Display, bound: &str) {
        if fits {
            return;
        }
        let value = value.to_string();
        let mut shown: String = value.escape_debug().take(VALUE_CHARS_MAX).collect();
        if shown.len() < value.len() {
            shown.push('…');
        }
        self.0.push(FieldProblem {
            message: format!("{path}: `{shown}` is not allowed; it must be {bound}"),
            path: path.to_owned(),
            value: shown,
            bound: bound.to_owned(),
        });
    }

    /// All of them, or nothing if there are none.
    pub fn into_result(self) -> Result<(), Vec<FieldProblem>> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(self.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_field_value_and_bound() {
        let mut problems = Problems::default();
        problems.check(true, "fits", 1, "anything");
        problems.check(false, "weight", 70_000, "0 to 65535");
        problems.check(false, "zone", "x\n".repeat(200), "short");
        let problems = problems.into_result().unwrap_err();
        let told = "weight: `70000` is not allowed; it must be 0 to 65535";
        assert_eq!(problems[0].to_string(), told);
        assert_eq!(problems[1].value.chars().count(), VALUE_CHARS_MAX + 1);
        assert!(Problems::default().into_result().is_ok());
    }
}
