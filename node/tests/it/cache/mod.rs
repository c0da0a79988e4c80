//! Answers are kept, and not a moment longer than they may be.

mod purges;
