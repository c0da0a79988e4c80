//! `weir engine-guard` and `weir engine-exec`: what a node starts its engines through. Not for people.

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::Args;

use super::output::Failure;

/// Guard one engine, told over standard input
#[derive(Args)]
pub(super) struct EngineGuard {
    /// Whom it guards, for lists of processes.
    #[arg(long)]
    name: String,
}

impl EngineGuard {
    /// Gives the engine's exit code.
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let code = weir_engines::process::guard().map_err(|error| told(&self.name, &error))?;
        Ok(ExitCode::from(code))
    }
}

fn told(name: &str, error: &io::Error) -> Failure {
    Failure::Other(format!("the guard of {name}: {error}"))
}

/// Become an engine that dies with its guard
#[derive(Args)]
pub(super) struct EngineExec {
    /// The guard's process.
    #[arg(long)]
    guard: u32,
    /// Files that the program may have open.
    #[arg(long)]
    open_files: Option<u64>,
    /// Program and arguments.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

impl EngineExec {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Some((program, arguments)) = self.command.split_first() else {
            return Err(Failure::Usage("a program is wanted".to_owned()));
        };
        let error = weir_engines::process::exec(self.guard, self.open_files, program, arguments);
        Err(told(&program.to_string_lossy(), &error))
    }
}
