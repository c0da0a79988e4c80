//! `weir profile`: the tuning of nodes, read and changed while they run.

mod catalogue;
mod diff;
mod edit;
mod effective;
mod file;
mod hidden;
mod rollout;
mod scope;
mod show;
mod validate;
mod view;
mod write;

use clap::{Args, Subcommand};

use super::block_on;
use super::control::Target;
use super::output::Failure;
pub(super) use rollout::{Before, wait_for_nodes};
use scope::ScopeArgs;
pub(super) use show::{fetch, head};
pub(super) use write::{put, tell_command};

/// Tune nodes live: profiles of the fleet, of groups, of one node
///
/// A profile sets some knobs and leaves the others to the layer below: defaults < fleet < groups by priority <
/// node < override < override of a node. Every write is a revision with author and message. A write based on a
/// revision that is no longer the newest is refused (exit code 5), and a profile with a problem is refused whole
/// (exit code 64), every problem named.
#[derive(Args)]
#[command(
    after_help = "Example:\n  weir profile set balancer.drain_timeout=10s -m \"faster deploys\"\n  \
    weir profile apply -f fleet.toml --dry-run\n  weir profile effective node-1 --changed"
)]
pub(super) struct Profile {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Show every scope that has a profile
    #[command(after_help = "Example:\n  weir profile list")]
    List,
    /// Show a profile; -o toml prints what `apply` reads
    #[command(
        after_help = "Example:\n  weir profile get -o toml > fleet.toml\n  weir profile get --group eu"
    )]
    Get {
        #[command(flatten)]
        scope: ScopeArgs,
    },
    /// Set knobs
    #[command(
        after_help = "Example:\n  weir profile set balancer.drain_timeout=10s -m \"faster deploys\"\n  \
        weir profile set ingress.slow_request=100ms --override --node node-1 --for 10m\n  \
        weir profile set upstream.idle_max=200 --group eu --selector zone=eu-1 --priority 10"
    )]
    Set(edit::Set),
    /// Leave knobs to the layer below again
    #[command(
        after_help = "Example:\n  weir profile unset balancer.drain_timeout\n  \
        weir profile unset --all --override"
    )]
    Unset(edit::Unset),
    /// Put a file in the place of a profile
    #[command(
        after_help = "Example:\n  weir profile apply -f fleet.toml -m \"as measured\"\n  \
        weir profile apply --preset high-traffic --node node-1\n  weir profile apply -f fleet.toml --dry-run"
    )]
    Apply(edit::Apply),
    /// Show what a revision changed, or what a file would change
    #[command(
        after_help = "Example:\n  weir profile diff\n  weir profile diff 3 7\n  weir profile diff -f fleet.toml"
    )]
    Diff(diff::Diff),
    /// Show who changed a profile, when and why
    #[command(after_help = "Example:\n  weir profile history --group eu")]
    History {
        #[command(flatten)]
        scope: ScopeArgs,
        /// How many revisions, from the newest on.
        #[arg(
            long,
            value_name = "N",
            default_value_t = 20,
            value_parser = clap::value_parser!(u32).range(1..=1_000)
        )]
        limit: u32,
    },
    /// Show one revision
    #[command(after_help = "Example:\n  weir profile show 3")]
    Show {
        /// Its number.
        #[arg(value_name = "REV", value_parser = clap::value_parser!(u64).range(1..))]
        revision: u64,
        #[command(flatten)]
        scope: ScopeArgs,
    },
    /// Write an older revision again, as a new one
    #[command(after_help = "Example:\n  weir profile rollback 3 -m \"back to what worked\"")]
    Rollback(edit::Rollback),
    /// Check a file and change nothing
    #[command(after_help = "Example:\n  weir profile validate -f fleet.toml\n  \
        weir profile validate --offline -f fleet.toml")]
    Validate(validate::Validate),
    /// Show what each knob of a node is, where that comes from and who reads it
    #[command(after_help = "Example:\n  weir profile effective node-1 --changed")]
    Effective {
        /// The node's id.
        node: String,
        /// Only knobs that something sets.
        #[arg(long)]
        changed: bool,
    },
    /// Show the presets of this version, or what one sets
    #[command(after_help = "Example:\n  weir profile presets high-traffic")]
    Presets {
        /// Its name.
        name: Option<String>,
    },
    /// Show the knobs of this version: default, bounds, when a change takes effect
    #[command(after_help = "Example:\n  weir profile knobs balancer")]
    Knobs {
        /// Only this section, or this knob.
        section: Option<String>,
    },
}

impl Profile {
    pub(super) fn run(self) -> Result<(), Failure> {
        let target = &self.target;
        block_on(async move {
            match self.action {
                Action::List => show::list(target).await,
                Action::Get { scope } => show::show(target, &scope, 0).await,
                Action::Show { revision, scope } => show::show(target, &scope, revision).await,
                Action::History { scope, limit } => show::history(target, &scope, limit).await,
                Action::Diff(diff) => diff.run(target).await,
                Action::Set(set) => set.run(target).await,
                Action::Unset(unset) => unset.run(target).await,
                Action::Apply(apply) => apply.run(target).await,
                Action::Rollback(rollback) => rollback.run(target).await,
                Action::Validate(validate) => validate.run(target).await,
                Action::Effective { node, changed } => effective::run(target, node, changed).await,
                Action::Presets { name } => catalogue::presets(name.as_deref(), target.format()?),
                Action::Knobs { section } => catalogue::knobs(section.as_deref(), target.format()?),
            }
        })
    }
}
