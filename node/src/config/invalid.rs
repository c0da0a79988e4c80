//! Why a configuration was refused.

use std::fmt;

use weir_core::tuning::{Code, Problem as KnobProblem};

use super::Problem;

/// Why a configuration was refused.
#[derive(Clone, Debug)]
pub struct Invalid {
    /// Every problem that was found.
    pub problems: Vec<Problem>,
    /// What the profile has to do with it; empty when the file is wrong by itself.
    pub infeasible: Vec<KnobProblem>,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}

impl Invalid {
    /// A problem of the file as a whole.
    pub fn of_file(what: &str) -> Self {
        Self::one("the file", what)
    }

    pub(super) fn one(path: impl Into<String>, what: impl Into<String>) -> Self {
        let (path, what) = (path.into(), what.into());
        Self::of(vec![Problem { path, what }])
    }

    /// Everything as problems of what was given.
    pub(crate) fn into_infeasible(self) -> Vec<KnobProblem> {
        if !self.infeasible.is_empty() {
            return self.infeasible;
        }
        let problems = self.problems.into_iter();
        problems
            .map(|problem| KnobProblem::new(problem.path, Code::Infeasible, problem.what, ""))
            .collect()
    }

    /// Problems of the file alone.
    pub(crate) const fn of(problems: Vec<Problem>) -> Self {
        Self {
            problems,
            infeasible: Vec::new(),
        }
    }
}
