//! The first tier in process: what a hit costs, and how much of public traces it answers.
//!
//! Run by `make bench`, alone by `make bench-cache`, or by
//! `cargo bench --profile load -p weir-cache --bench tiers -- --traces DIR`. Ends with 1 when a bar is missed.

mod hit;
mod one_hit;
#[path = "../../../benches/common/report.rs"]
#[expect(dead_code, reason = "shared with other benches")]
mod report;
mod traces;

use std::path::PathBuf;
use std::process::ExitCode;

use self::report::Report;

fn main() -> ExitCode {
    let mut report = Report::default();
    let measured = folder().and_then(|folder| {
        hit::run(&mut report);
        traces::run(folder, &mut report)
    });
    report.conclude("tiers", measured)
}

/// Where the traces are, if that is told.
fn folder() -> Result<Option<PathBuf>, String> {
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench");
    match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => Ok(None),
        (Some("--traces"), Some(folder)) => Ok(Some(folder.into())),
        (Some(other), _) => Err(format!("{other}: only --traces DIR is known")),
    }
}
