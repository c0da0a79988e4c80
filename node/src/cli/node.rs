//! `weir node`: runs one node.

use std::path::PathBuf;

use clap::Args;

use super::output::{Failure, print};
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
    /// Only check the file: print every problem and exit with 64, or exit with 0.
    #[arg(long)]
    check: bool,
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

impl Node {
    pub(super) fn run(self) -> Result<(), Failure> {
        let environment = std::env::vars().collect();
        if self.check {
            node::load(&self.config, &environment)?;
            return print(&format!("{}: no problems", self.config.display()));
        }
        let logs = logs::start_kept(&self.log, self.log_json)?;
        let stop_with_stdin = self.stop_with_stdin;
        Ok(node::run(&self.config, environment, logs, stop_with_stdin)?)
    }
}
