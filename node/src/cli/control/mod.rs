//! What commands that talk to the control plane share: where it is, who asks, and how it is shown.

mod client;
mod files;
mod problems;
mod standing;
pub(super) mod text;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

pub(super) use client::{ControlPlane, Repeat, Session};
pub(super) use files::{read_bounded, read_secret};
pub(super) use problems::{Found, ProblemView, of_status, report};
pub(super) use standing::{Standing, is_connected};

use super::output::{Failure, Format};

/// Options of the connection are shown apart from those of the command.
const HEADING: &str = "Control plane";

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A table for people.
    Text,
    /// One JSON document.
    Json,
    /// A profile as `weir profile apply` reads it.
    #[value(hide = true)]
    Toml,
}

/// Which control plane to talk to, as whom, and how to show what it says.
#[derive(Args)]
pub(super) struct Target {
    /// The control plane's addresses, separated by commas; tried in turn.
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "WEIR_CONTROL_PLANE",
        default_value = "127.0.0.1:7500",
        value_delimiter = ',',
        global = true,
        help_heading = HEADING
    )]
    control_plane: Vec<String>,
    /// The token that says who asks.
    #[arg(long, env = "WEIR_TOKEN", hide_env_values = true, global = true, help_heading = HEADING)]
    token: Option<String>,
    /// A file that holds the token; wins over --token.
    #[arg(long, value_name = "FILE", global = true, help_heading = HEADING)]
    token_file: Option<PathBuf>,
    /// Who signs the control plane's certificate (PEM); asks for TLS.
    #[arg(long, value_name = "FILE", global = true, help_heading = HEADING)]
    ca: Option<PathBuf>,
    /// The caller's certificate (PEM), where the control plane asks for one.
    #[arg(long, value_name = "FILE", requires = "key", global = true, help_heading = HEADING)]
    cert: Option<PathBuf>,
    /// Its key (PEM).
    #[arg(long, value_name = "FILE", requires = "cert", global = true, help_heading = HEADING)]
    key: Option<PathBuf>,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Output::Text, global = true)]
    output: Output,
}

impl Target {
    /// Text or JSON.
    pub(super) fn format(&self) -> Result<Format, Failure> {
        match self.output {
            Output::Text => Ok(Format::Text),
            Output::Json => Ok(Format::Json),
            Output::Toml => Err(Failure::Usage(
                "-o toml: only `weir profile get` and `weir profile show` print TOML; \
                 allowed: text, json"
                    .to_owned(),
            )),
        }
    }

    /// Whether TOML is wanted.
    pub(super) fn wants_toml(&self) -> bool {
        self.output == Output::Toml
    }
}

/// Who changes something.
#[derive(Args)]
pub(super) struct Author {
    /// Who, where no token or certificate proves it.
    #[arg(
        long,
        env = "USER",
        default_value = "",
        hide_default_value = true,
        hide_env_values = true
    )]
    pub(super) author: String,
}

/// Who changes something, and why.
#[derive(Args)]
pub(super) struct Signature {
    /// Why, in a few words; kept with the change.
    #[arg(short, long, default_value = "", hide_default_value = true)]
    pub(super) message: String,
    #[command(flatten)]
    pub(super) author: Author,
}
