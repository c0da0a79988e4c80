//! What is wrong with a setting.

use std::fmt;

/// What kind of wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// No such knob.
    Unknown,
    /// Not of the knob's kind.
    Type,
    /// Out of bounds.
    Range,
    /// Contradicts another setting.
    Conflict,
    /// This node cannot do it.
    Infeasible,
    /// No part of this node reads it.
    Unsupported,
    /// This very content crashed the node.
    Quarantined,
}

/// One thing that is wrong, with the field, the value and the bound.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Problem {
    /// The knob's path, or another field.
    pub path: String,
    /// What kind of wrong.
    pub code: Code,
    /// One sentence.
    pub message: String,
    /// The value, as it was written.
    pub value: String,
    /// What it may be; empty where that makes no sense.
    pub bound: String,
}

impl Problem {
    /// A problem without a bound.
    pub fn new(
        path: impl Into<String>,
        code: Code,
        message: impl Into<String>,
        value: impl Into<String>,
    ) -> Self {
        Self {
            path: path.into(),
            code,
            message: message.into(),
            value: value.into(),
            bound: String::new(),
        }
    }

    /// With what it may be.
    #[must_use]
    pub fn bounded(mut self, bound: impl Into<String>) -> Self {
        self.bound = bound.into();
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: `{}` {}", self.path, self.value, self.message)?;
        if self.bound.is_empty() {
            Ok(())
        } else {
            write!(f, " (allowed: {})", self.bound)
        }
    }
}
