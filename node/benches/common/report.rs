//! Figures with their bars.

use std::fmt::{Display, Write as _};
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

/// One table of all that was measured.
#[derive(Debug, Default)]
pub(super) struct Report {
    text: String,
    missed: usize,
}

impl Report {
    /// What follows belongs to this.
    pub(super) fn section(&mut self, title: &str) {
        let _ = writeln!(self.text, "{title} (load {})", load_average());
    }

    /// A figure without a bar.
    pub(super) fn figure(&mut self, what: &str, figure: impl Display) {
        let _ = writeln!(self.text, "  {what:<58} {figure:>14}");
    }

    /// A figure with its bar, in words, and whether it is on the right side of it.
    pub(super) fn bar(&mut self, what: &str, figure: impl Display, bar: &str, holds: bool) {
        let verdict = if holds { "ok" } else { "MISSED" };
        self.missed += usize::from(!holds);
        let _ = writeln!(self.text, "  {what:<58} {figure:>14}   {bar:<24} {verdict}");
    }

    /// Prints the table, and why it ends early if it does; a failure too when a bar was missed.
    pub(super) fn conclude(self, bench: &str, measured: Result<(), impl Display>) -> ExitCode {
        // Whoever reads it may be gone.
        let _ = write!(io::stdout().lock(), "{}", self.text);
        match measured {
            Ok(()) if self.missed == 0 => ExitCode::SUCCESS,
            Ok(()) => ExitCode::FAILURE,
            Err(why) => {
                let _ = writeln!(io::stderr(), "{bench}: {why}");
                ExitCode::FAILURE
            }
        }
    }
}

/// Milliseconds with three digits behind the point.
pub(super) fn ms(duration: Duration) -> String {
    format!("{:.3} ms", duration.as_secs_f64() * 1_000.0)
}

/// Seconds with one digit behind the point.
pub(super) fn secs(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

fn load_average() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or_default().to_owned()
}
