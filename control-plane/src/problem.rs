//! What is wrong with a request, field by field.

use std::fmt;

use weir_core::tuning::{Code, NAME_BOUND, Problem, is_name};

/// How much of a wrong value is repeated.
const SHOWN_CHARS_MAX: usize = 60;

/// A field that is wrong, with what it may be.
pub(crate) fn refused(
    path: impl Into<String>,
    code: Code,
    message: &str,
    value: impl fmt::Display,
    bound: impl Into<String>,
) -> Problem {
    Problem::new(path, code, message, shown(&value.to_string())).bounded(bound)
}

/// What stands against a text that is no name ([`is_name`]).
pub(crate) fn no_name(path: &str, message: &str, text: &str) -> Option<Problem> {
    (!is_name(text)).then(|| refused(path, Code::Type, message, text, NAME_BOUND))
}

/// A text of others as it is repeated: shortened, and without what plays with a terminal.
pub(crate) fn shown(text: &str) -> String {
    let mut shown = String::new();
    for char in text.chars().take(SHOWN_CHARS_MAX) {
        match char {
            '"' | '\'' | '\\' => shown.push(char),
            _ => shown.extend(char.escape_debug()),
        }
    }
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

/// All of them in one line.
pub(crate) fn one_line(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("; ")
}

/// Collects problems, so that all are told at once.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    /// Notes that a value is out of bounds unless it `fits`.
    pub(crate) fn range(&mut self, fits: bool, path: &str, value: impl fmt::Display, bound: &str) {
        self.note(fits, path, Code::Range, "is out of bounds", value, bound);
    }

    /// Notes that a text is not what it should be unless it `fits`.
    pub(crate) fn form(&mut self, fits: bool, path: &str, text: &str, bound: &str) {
        self.note(fits, path, Code::Type, "is not of the form", text, bound);
    }

    fn note(
        &mut self,
        fits: bool,
        path: &str,
        code: Code,
        message: &str,
        value: impl fmt::Display,
        bound: &str,
    ) {
        if !fits {
            self.0.push(refused(path, code, message, value, bound));
        }
    }

    /// All of them, or nothing if there are none.
    pub(crate) fn into_result(self) -> Result<(), Vec<Problem>> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_field_value_and_bound() {
        let mut problems = Problems::default();
        problems.range(true, "fits", 1, "anything");
        problems.range(false, "weight", 70_000, "0 to 65535");
        problems.form(false, "zone", &"x\n".repeat(200), "short");
        let problems = problems.into_result().unwrap_err();
        let told = "weight: `70000` is out of bounds (allowed: 0 to 65535)";
        assert_eq!(problems[0].to_string(), told);
        assert_eq!(
            problems[1].value,
            format!("{}…", "x\\n".repeat(SHOWN_CHARS_MAX / 2))
        );
        assert!(Problems::default().into_result().is_ok());
        assert_eq!(shown("<ä> \"b\""), "<ä> \"b\"");
    }
}
