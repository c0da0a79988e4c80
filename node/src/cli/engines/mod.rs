//! `weir engines`: backends that nodes start themselves.

mod find;
mod provision;
mod watch;

use std::time::Duration;

use clap::{Args, Subcommand};
use tonic::transport::Channel;
use weir_core::units::parse_duration;
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::provision_client::ProvisionClient;

use self::provision::Provision;
use super::control::text::{ago, or_dash};
use super::output::{Failure, Format, connect, note, print, print_json, table};
use super::{Target, block_on};
use crate::ports::clock::WallClock;

/// List engines, start one more, stop one, read what it wrote
///
/// An engine is a backend that a node runs itself, as a process or in a container. PORTS are those beside the one of
/// ADDRESS, as `extra_ports` of its service names them. IMAGE is what it runs; DRIFT says
/// `outdated` when its service's configuration makes another engine by now, and `image` when its image's name means
/// another image by now. To change the image of engines, edit `image` in the configuration: each node replaces its
/// outdated engines one after the other.
#[derive(Args)]
#[command(
    after_help = "Example:\n  weir engines\n  weir engines provision web --wait\n  \
    weir engines stop web-2"
)]
pub(super) struct Engines {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// Show the engines of every node (the default)
    #[command(after_help = "Example:\n  weir engines list -o json")]
    List {
        #[command(flatten)]
        scope: Scope,
    },
    /// Show engines again after each change, until interrupted; JSON is one list a line
    ///
    /// A node that ends is waited for, and that is said.
    #[command(after_help = "Example:\n  weir engines watch\n  weir engines watch -o json")]
    Watch {
        #[command(flatten)]
        scope: Scope,
    },
    /// Ask for more engines of a service
    ///
    /// Each is a job, which survives the node and is done by whichever node has room for it.
    #[command(after_help = "Example:\n  weir engines provision web --count 2 --wait")]
    Provision {
        /// The service.
        service: String,
        /// How many more.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        count: u32,
        /// Repeated with the same key, the command asks for the same engines while they are on the way.
        #[arg(long)]
        key: Option<String>,
        /// Wait until so many more engines of the service are ready somewhere in the mesh.
        #[arg(long)]
        wait: bool,
        /// How long to wait.
        #[arg(long, value_parser = parse_duration, default_value = "5m")]
        timeout: Duration,
        /// The span that the engines' traces belong to (W3C Trace Context).
        #[arg(long, env = "TRACEPARENT", hide_env_values = true)]
        traceparent: Option<String>,
    },
    /// Take an engine out of traffic, let what runs on it finish, and stop it, on whichever node it runs
    #[command(after_help = "Example:\n  weir engines stop web-2")]
    Stop {
        /// The engine's id.
        engine: String,
        /// Cut what runs on it.
        #[arg(long)]
        now: bool,
    },
    /// Show the last lines that an engine wrote, on whichever node it runs
    #[command(after_help = "Example:\n  weir engines logs web-2 --lines 20")]
    Logs {
        /// The engine's id.
        engine: String,
        /// How many.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        lines: u32,
    },
}

#[derive(Args)]
struct Scope {
    /// Only those of the node that is asked.
    #[arg(long)]
    node_only: bool,
}

impl Engines {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (node, format) = (self.target.node, self.target.output);
        let scope = Scope { node_only: false };
        let action = self.action.unwrap_or(Action::List { scope });
        block_on(async move {
            let channel = connect(&node).await?;
            match action {
                Action::List { scope } => list(channel, &scope, format).await,
                Action::Watch { scope } => {
                    watch::run(channel, &node, !scope.node_only, format).await
                }
                Action::Provision {
                    service,
                    count,
                    key,
                    wait,
                    timeout,
                    traceparent,
                } => {
                    let provision = Provision {
                        service,
                        count,
                        key,
                        wait: wait.then_some(timeout),
                        traceparent,
                    };
                    provision.run(channel, format).await
                }
                Action::Stop { engine, now } => stop(channel, engine, now, format).await,
                Action::Logs { engine, lines } => logs(channel, engine, lines, format).await,
            }
        })
    }
}

async fn list(channel: Channel, scope: &Scope, format: Format) -> Result<(), Failure> {
    let mesh = !scope.node_only;
    let request = pb::ListEnginesRequest { mesh };
    let list = ProvisionClient::new(channel).list_engines(request).await?;
    show(list.get_ref(), format)
}

async fn stop(
    channel: Channel,
    engine_id: String,
    now: bool,
    format: Format,
) -> Result<(), Failure> {
    let there = find::node_of(channel, &engine_id).await?;
    let request = pb::StopEngineRequest {
        engine_id: engine_id.clone(),
        now,
    };
    ProvisionClient::new(there).stop_engine(request).await?;
    match format {
        Format::Text => print(&format!("{engine_id} stops")),
        Format::Json => print_json(&serde_json::json!({ "stops": engine_id })),
    }
}

async fn logs(
    channel: Channel,
    engine_id: String,
    lines_max: u32,
    format: Format,
) -> Result<(), Failure> {
    let there = find::node_of(channel, &engine_id).await?;
    let request = pb::EngineLogsRequest {
        engine_id,
        lines_max,
    };
    let told = ProvisionClient::new(there).engine_logs(request).await?;
    match format {
        Format::Json => print_json(&told.get_ref().lines),
        Format::Text if told.get_ref().lines.is_empty() => Ok(()),
        Format::Text => print(&told.get_ref().lines.join("\n")),
    }
}

fn show(list: &pb::ListEnginesResponse, format: Format) -> Result<(), Failure> {
    notes(list);
    match format {
        Format::Json => print_json(&list.engines),
        Format::Text => print(&as_text(&list.engines, WallClock::system().unix_now())),
    }
}

/// Says, beside the list, what is not in it and what is in the way.
fn notes(list: &pb::ListEnginesResponse) {
    if !list.unreachable_nodes.is_empty() {
        let nodes = list.unreachable_nodes.join(", ");
        note(&format!(
            "not told, because they do not answer: engines of {nodes}"
        ));
    }
    for problem in &list.problems {
        note(&format!("{}: {}", problem.node, problem.what));
    }
}

/// How an engine and what is wanted of it differ: by its configuration, by what its image's name means.
const fn drift(engine: &pb::Engine) -> &'static str {
    match (engine.outdated, engine.image_drifted) {
        (true, true) => "outdated, image",
        (true, false) => "outdated",
        (false, true) => "image",
        (false, false) => "-",
    }
}

/// Those beside the one of its address, as `name=port`.
fn further_ports(engine: &pb::Engine) -> String {
    let ports = engine.extra_ports.iter();
    let ports: Vec<String> = ports.map(|(name, port)| format!("{name}={port}")).collect();
    or_dash(&ports.join(", "))
}

fn as_text(engines: &[pb::Engine], now: Duration) -> String {
    let heading = [
        "ENGINE", "SERVICE", "NODE", "STATE", "FOR", "ADDRESS", "PORTS", "VPN", "RUNNING",
        "RESTARTS", "IMAGE", "DRIFT", "REASON",
    ];
    let mut rows = vec![heading.map(String::from).into()];
    for engine in engines {
        let vpn = match engine.forwarded {
            true => format!("{} (forwarded)", engine.vpn),
            false => or_dash(&engine.vpn),
        };
        rows.push(vec![
            engine.id.clone(),
            engine.service.clone(),
            engine.node.clone(),
            engine.state.clone(),
            ago(engine.since_unix_ms, now),
            engine.address.clone(),
            further_ports(engine),
            vpn,
            engine.in_flight.to_string(),
            engine.restarts.to_string(),
            or_dash(&engine.image),
            drift(engine).to_owned(),
            engine.reason.clone(),
        ]);
    }
    table(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_ports_stand_by_name_in_a_column_of_their_own() {
        let engine = |id: &str, further: &[(&str, u32)]| pb::Engine {
            id: id.to_owned(),
            address: "127.0.0.1:19000".to_owned(),
            extra_ports: further
                .iter()
                .map(|(name, port)| ((*name).to_owned(), *port))
                .collect(),
            ..pb::Engine::default()
        };
        let all = [
            engine("tv-1", &[("https", 19_001), ("api", 19_002)]),
            engine("tv-2", &[]),
        ];
        let text = as_text(&all, Duration::ZERO);
        let lines: Vec<&str> = text.lines().collect();
        let at = lines[0].find("PORTS").unwrap();
        assert!(
            lines[1][at..].starts_with("api=19002, https=19001  "),
            "{text}"
        );
        assert!(lines[2][at..].starts_with("- "), "{text}");
    }
}
