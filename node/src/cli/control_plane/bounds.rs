//! How many nodes and backends may register, as it is written.

use clap::Args;
use weir_control_plane::quota::Bounds;

/// Most of anything that registers.
const MOST: usize = 1_000_000;

/// How many nodes and backends may register; give every instance the same.
#[derive(Args)]
pub(super) struct BoundsFlags {
    /// Nodes of the namespace, connected or away.
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = Bounds::default().nodes_max,
        value_parser = count
    )]
    nodes_max: usize,
    /// Nodes that one token registers.
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = Bounds::default().nodes_per_token_max,
        value_parser = count
    )]
    nodes_per_token_max: usize,
    /// Registered backends of the namespace.
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = Bounds::default().backends_max,
        value_parser = count
    )]
    backends_max: usize,
    /// Registered backends of one service.
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = Bounds::default().backends_per_service_max,
        value_parser = count
    )]
    backends_per_service_max: usize,
    /// Backends that one token registers.
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = Bounds::default().backends_per_token_max,
        value_parser = count
    )]
    backends_per_token_max: usize,
}

fn count(text: &str) -> Result<usize, String> {
    let number: Option<usize> = text.parse().ok();
    let fits = number.filter(|number| (1..=MOST).contains(number));
    fits.ok_or_else(|| format!("allowed: 1 to {MOST}"))
}

impl From<BoundsFlags> for Bounds {
    fn from(flags: BoundsFlags) -> Self {
        Self {
            nodes_max: flags.nodes_max,
            nodes_per_token_max: flags.nodes_per_token_max,
            backends_max: flags.backends_max,
            backends_per_service_max: flags.backends_per_service_max,
            backends_per_token_max: flags.backends_per_token_max,
        }
    }
}
