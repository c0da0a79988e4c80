//! `weir bench`: how much a node takes, where it breaks and at what; and whether one profile is better than another.

mod chart;
mod duel;
mod goal;
mod lever;
mod load;
mod node;
mod ramp;
mod report;
mod show;
mod side;

use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use weir_core::bench::limits;
use weir_core::bench::rule::Rule;
use weir_core::tuning::Scope;
use weir_core::units::parse_duration;

use super::block_on;
use super::control::{Author, Target, read_secret};
use super::output::{Failure, Format, print, print_json};
use goal::Goal;
use load::Plan;
use node::NodeProbe;
use report::Report;

/// The code of a ramp that broke, or of a second profile that is worse; no other command ends with it.
const BROKE: u8 = 12;

/// Load a node step by step until it breaks, and name what held it up; or compare two profiles on it
///
/// Requests begin at a fixed rate, whatever became of those before, and latencies count from when a request was to
/// begin. A step holds if its p99, its failures and its achieved rate do; the first one that does not is the breaking
/// point and ends the ramp. What held it up is told by the node's own counters (--node).
///
/// With two profiles the node gets each in turn (A B B A in every round) at one rate; differences that may be chance
/// are told as such. What was in force before is put back, also after Ctrl-C and failures.
#[derive(Args)]
#[command(
    after_help = "Example:\n  weir bench http://127.0.0.1:8080/ --node 127.0.0.1:7480 --node-token-file api.token\n  \
    weir bench http://127.0.0.1:8080/ --ramp 100,500,1000,2000 --duration 5s --p99-max 50ms --html bench.html\n  \
    weir bench http://127.0.0.1:8080/ --rate 500 --profile-a standard --profile-b high-traffic\n\n\
    A profile is a preset (weir profile presets), `none`, or what a scope has or had: fleet, node/ID@3.\n\n\
    Exit codes:\n  0 every step held, or B is not worse than A; 12 a step did not hold, or B is worse;\n  \
    those of other commands where there was nothing to measure: 1, 2, 3, 5, 6, 64"
)]
pub(super) struct Bench {
    /// What to ask for: http://HOST[:PORT]/PATH.
    url: String,
    /// Requests a second of each step, rising.
    #[arg(long, value_name = "N,N,...", conflicts_with = "rate", value_parser = ramp_rates)]
    ramp: Option<Ramp>,
    /// Requests a second of one step, or of all steps of a comparison.
    #[arg(long, value_name = "N", value_parser = limits::rate)]
    rate: Option<u32>,
    /// How long each step is.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = limits::duration)]
    duration: Duration,
    /// Connections [default: 64; 8 with --http2, each with up to 32 streams].
    #[arg(long, value_name = "N", value_parser = limits::connections)]
    connections: Option<u32>,
    /// HTTP/2 without TLS in the place of HTTP/1.1.
    #[arg(long)]
    http2: bool,
    /// A step holds only if its 99th percentile is at most this.
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = p99_max)]
    p99_max: Duration,
    /// A step holds only if at most this percentage failed.
    #[arg(long, value_name = "PERCENT", default_value = "1", value_parser = limits::percent)]
    failed_max: f64,
    /// A step holds only if at least this percentage of its rate was achieved.
    #[arg(long, value_name = "PERCENT", default_value = "95", value_parser = limits::percent)]
    achieved_min: f64,
    /// The node's HTTP API, whose /metrics say what held it up.
    #[arg(long, value_name = "HOST:PORT")]
    node: Option<String>,
    /// What the node's HTTP API asks for (`http_api.token`).
    #[arg(
        long,
        value_name = "TOKEN",
        env = "WEIR_API_TOKEN",
        hide_env_values = true
    )]
    node_token: Option<String>,
    /// A file that holds it; wins over --node-token.
    #[arg(long, value_name = "FILE")]
    node_token_file: Option<PathBuf>,
    /// Write a page with table and charts.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the charts.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    duel: DuelArgs,
    #[command(flatten)]
    author: Author,
    #[command(flatten)]
    target: Target,
}

/// What a comparison has.
#[derive(Args)]
struct DuelArgs {
    /// The profile that another one is compared with.
    #[arg(long, value_name = "PROFILE", requires_all = ["profile_b", "rate"])]
    profile_a: Option<String>,
    /// The other one.
    #[arg(long, value_name = "PROFILE", requires = "profile_a")]
    profile_b: Option<String>,
    /// Where both are put; an override ends by itself, whatever becomes of this program.
    #[arg(long, value_name = "SCOPE", default_value = "override", value_parser = scope)]
    scope: Scope,
    /// Rounds of four steps.
    #[arg(long, value_name = "N", default_value = "4", value_parser = limits::rounds)]
    rounds: u32,
    /// How sure to be that no chance is called a difference, in percent.
    #[arg(long, value_name = "PERCENT", default_value = "95", value_parser = confidence)]
    confidence: f64,
}

/// The rates of a ramp; a type of its own, so that an argument is not taken for one of many.
#[derive(Clone, Debug)]
struct Ramp(Vec<u32>);

fn ramp_rates(text: &str) -> Result<Ramp, limits::Refused> {
    limits::ramp(text).map(Ramp)
}

fn scope(text: &str) -> Result<Scope, String> {
    text.parse().map_err(|error| format!("{error}"))
}

fn p99_max(text: &str) -> Result<Duration, String> {
    let bounds = Duration::from_millis(1)..=Duration::from_secs(60);
    match parse_duration(text) {
        Ok(time) if bounds.contains(&time) => Ok(time),
        Ok(_) => Err("allowed: 1ms to 60s".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Fewer rounds than allowed could show nothing with more than this.
fn confidence(text: &str) -> Result<f64, String> {
    match limits::percent(text) {
        Ok(percent) if (50.0..=97.0).contains(&percent) => Ok(percent),
        Ok(_) => Err(format!("`{text}` is no confidence; allowed: 50 to 97")),
        Err(refused) => Err(refused.to_string()),
    }
}

impl Bench {
    /// # Errors
    /// What kept it from measuring; what it measured is its exit code.
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let format = self.target.format()?;
        block_on(async move {
            let report = self.measure(format).await?;
            for (path, text) in [(&self.html, report.as_html()), (&self.svg, report.as_svg())] {
                if let Some(path) = path {
                    std::fs::write(path, text).map_err(|error| {
                        Failure::Other(format!("{} cannot be written: {error}", path.display()))
                    })?;
                }
            }
            match format {
                Format::Json => print_json(&report)?,
                Format::Text => print(&show::text(&report))?,
            }
            Ok(match report.is_good() {
                true => ExitCode::SUCCESS,
                false => ExitCode::from(BROKE),
            })
        })
    }

    async fn measure(&self, format: Format) -> Result<Report, Failure> {
        let node = match &self.node {
            Some(address) => Some(NodeProbe::new(address, self.node_token()?).await?),
            None => None,
        };
        let plan = self.plan()?;
        match (&self.duel.profile_a, &self.duel.profile_b) {
            (Some(a), Some(b)) => duel::run(self, &plan, (a, b), node.as_ref(), format).await,
            _ => ramp::run(self, &plan, &self.rates(), node.as_ref(), format).await,
        }
    }

    fn node_token(&self) -> Result<Option<String>, Failure> {
        let token = match &self.node_token_file {
            Some(path) => Some(read_secret("--node-token-file", path)?),
            None => self.node_token.clone(),
        };
        Ok(token
            .map(|token| token.trim().to_owned())
            .filter(|token| !token.is_empty()))
    }

    fn rates(&self) -> Vec<u32> {
        match (&self.ramp, self.rate) {
            (Some(ramp), _) => ramp.0.clone(),
            (None, Some(rate)) => vec![rate],
            (None, None) => vec![10, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000],
        }
    }

    fn plan(&self) -> Result<Plan, Failure> {
        let goal = Goal::new(&self.url, self.http2).map_err(Failure::Usage)?;
        Ok(Plan {
            goal: Rc::new(goal),
            connections: self.connections.unwrap_or(if self.http2 { 8 } else { 64 }),
            rate: self.rate.unwrap_or(1),
            duration: self.duration,
            patience: self.p99_max + Duration::from_secs(1),
        })
    }

    fn rule(&self) -> Rule {
        Rule {
            p99_max: self.p99_max,
            failed_share_max: self.failed_max / 100.0,
            achieved_share_min: self.achieved_min / 100.0,
        }
    }
}
