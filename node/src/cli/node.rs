//! `weir node`: runs one node.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::control::text::counted;
use super::output::{Failure, note, print};
use crate::config::Environment;
use crate::node;
use crate::telemetry::logs;

/// Run one node from a configuration file
///
/// Changes of the file (or SIGHUP) are applied without losing a request; a wrong one is refused whole,
/// with every problem named, and the old one stays. SIGTERM finishes what runs.
#[derive(Args)]
#[command(
    after_help = "Example:\n  weir node --config node.toml\n  weir node --config node.toml --check"
)]
pub(super) struct Node {
    /// The configuration file (TOML).
    #[arg(long)]
    config: PathBuf,
    /// Only check: print every problem and exit with 64, or exit with 0. Looks at what the file names, too (secrets,
    /// certificates, folders); `--check=file` at the file alone.
    #[arg(
        long,
        value_enum,
        value_name = "WHAT",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "all"
    )]
    check: Option<Check>,
    /// Which log lines to write, as in RUST_LOG.
    #[arg(long, env = "WEIR_LOG", default_value = "info")]
    log: String,
    /// Write log lines as JSON.
    #[arg(long)]
    log_json: bool,
    /// Stop when standard input ends: for processes that start nodes.
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
}

/// What is checked.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Check {
    /// The file and what it names.
    All,
    /// The file alone.
    File,
}

impl Check {
    fn run(self, path: &Path, environment: &Environment) -> Result<(), Failure> {
        let warnings = match self {
            Self::All => node::check(path, environment)?,
            Self::File => node::load(path, environment).map(|_| Vec::new())?,
        };
        for warning in &warnings {
            note(&format!("warning: {warning}"));
        }
        let warned = match warnings.len() {
            0 => String::new(),
            count => format!(", {}", counted(count, "warning")),
        };
        print(&format!("{}: no problems{warned}", path.display()))
    }
}

impl Node {
    pub(super) fn run(self) -> Result<(), Failure> {
        let environment = std::env::vars().collect();
        if let Some(check) = self.check {
            return check.run(&self.config, &environment);
        }
        let logs = logs::start_kept(&self.log, self.log_json)?;
        let stop_with_stdin = self.stop_with_stdin;
        Ok(node::run(&self.config, environment, logs, stop_with_stdin)?)
    }
}
