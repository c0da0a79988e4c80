//! `weir control-plane`: runs an instance of the control plane, and shows and manages it.

mod bootstrap;
mod bounds;
mod flags;
mod run;
mod show;
mod tokens;
mod traced;

use clap::{Args, Subcommand};

pub(super) use flags::{EtcdFlags, named_store};
pub(super) use run::{Etcd, StorePlace};

use super::block_on;
use super::control::Target;
use super::output::Failure;

/// Run the control plane, or ask how it is
///
/// Without a subcommand this runs one instance until SIGTERM. It keeps profiles, weights, nodes and tokens in a
/// store: one file below --data-dir, or an etcd that several instances share.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Example:\n  weir control-plane --data-dir /var/lib/weir\n  \
        weir control-plane --store etcd://10.0.0.1:2379,10.0.0.2:2379 --listen 0.0.0.0:7500 \\\n    \
        --tls-cert cp.pem --tls-key cp.key --access tokens\n  \
        weir control-plane --otlp http://127.0.0.1:4317\n  weir control-plane status"
)]
pub(super) struct ControlPlane {
    #[command(flatten)]
    instance: flags::Flags,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// Show how the control plane is: store, leader, instances
    #[command(after_help = "Example:\n  weir control-plane status -o json")]
    Status {
        #[command(flatten)]
        target: Target,
    },
    /// Show who did what, the newest first
    #[command(after_help = "Example:\n  weir control-plane audit --limit 10")]
    Audit {
        /// How many records.
        #[arg(
            long,
            value_name = "N",
            default_value_t = 50,
            value_parser = clap::value_parser!(u32).range(1..=1_000)
        )]
        limit: u32,
        #[command(flatten)]
        target: Target,
    },
    /// Make, show and revoke tokens
    #[command(
        after_help = "Example:\n  weir control-plane token create ci --role operator --ttl 30d"
    )]
    Token(tokens::Tokens),
}

impl ControlPlane {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.action {
            None => run::run(self.instance.check()?),
            Some(Action::Status { target }) => block_on(show::status(&target)),
            Some(Action::Audit { limit, target }) => block_on(show::audit(&target, limit)),
            Some(Action::Token(tokens)) => tokens.run(),
        }
    }
}
