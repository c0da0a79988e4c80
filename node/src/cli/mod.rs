//! The command line: one file for each subcommand.

mod backends;
mod bench;
mod cache;
mod cache_values;
mod cache_warm;
mod connections;
mod control;
mod control_plane;
mod debug;
mod demo;
mod doctor;
mod engine;
mod engines;
mod events;
mod http;
mod jobs;
mod logs;
mod node;
mod nodes;
mod output;
mod ports;
mod profile;
mod publish;
mod services;
mod status;
mod status_mesh;
mod subscribe;
mod trace;
mod up;
mod weights;
mod weights_known;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use output::{Failure, Format};

use crate::telemetry::logs as log_lines;

const EXIT_CODES: &str = "Exit codes:
  0 done, 1 failed or refused by a node, 2 wrong usage, 3 nobody answers, 4 not found,
  5 somebody else wrote first, 6 not allowed, 64 the configuration or the profile is wrong;
  of `weir doctor` also: 10 it warns, 11 it found an error;
  of `weir bench`: 12 a step did not hold, or the second profile is worse";

/// Balances, watches and tunes the traffic of a cluster's backends.
#[derive(Parser)]
#[command(
    name = "weir",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = EXIT_CODES
)]
struct Weir {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Up(up::Up),
    Node(node::Node),
    Status(status::Status),
    Services(services::Services),
    Engines(engines::Engines),
    Ports(ports::Ports),
    Cache(cache::Cache),
    Events(events::Events),
    Publish(publish::Publish),
    Subscribe(subscribe::Subscribe),
    Connections(connections::Connections),
    Trace(trace::Trace),
    Logs(logs::Logs),
    Profile(profile::Profile),
    Weights(weights::Weights),
    Nodes(nodes::Nodes),
    Backends(backends::Backends),
    Jobs(Box<jobs::Jobs>),
    Doctor(Box<doctor::Doctor>),
    Bench(Box<bench::Bench>),
    Debug(debug::Debug),
    ControlPlane(Box<control_plane::ControlPlane>),
    #[command(hide = true)]
    DemoBackend(demo::DemoBackend),
    #[command(hide = true)]
    EngineGuard(engine::EngineGuard),
    #[command(hide = true)]
    EngineExec(engine::EngineExec),
}

/// Which node to talk to, and how to show what it says.
#[derive(Args)]
struct Target {
    /// The node's gRPC address.
    #[arg(
        long,
        env = "WEIR_NODE",
        default_value = "127.0.0.1:7400",
        global = true
    )]
    node: String,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Format::Text, global = true)]
    output: Format,
}

/// Runs the command that the process was started with.
///
/// Exit codes: 0 done; 1 failed; 2 wrong usage; 3 the node or the control plane cannot be reached; 4 not
/// found; 5 somebody else wrote first; 6 the caller may not do it; 10 the doctor warns; 11 it found an error; 12 a
/// step of a load test did not hold; 64 the configuration or the profile is wrong.
pub fn run() -> ExitCode {
    let _last_lines = LastLines;
    let result = match Weir::parse().command {
        Command::Up(up) => up.run(),
        Command::Node(node) => node.run(),
        Command::Status(status) => status.run(),
        Command::Services(services) => services.run(),
        Command::Engines(engines) => engines.run(),
        Command::Ports(ports) => ports.run(),
        Command::Cache(cache) => cache.run(),
        Command::Events(events) => events.run(),
        Command::Publish(publish) => publish.run(),
        Command::Subscribe(subscribe) => subscribe.run(),
        Command::Connections(connections) => connections.run(),
        Command::Trace(trace) => trace.run(),
        Command::Logs(logs) => logs.run(),
        Command::Profile(profile) => profile.run(),
        Command::Weights(weights) => weights.run(),
        Command::Nodes(nodes) => nodes.run(),
        Command::Backends(backends) => backends.run(),
        Command::Jobs(jobs) => jobs.run(),
        Command::ControlPlane(control_plane) => control_plane.run(),
        Command::DemoBackend(demo) => demo.run(),
        Command::EngineExec(exec) => exec.run(),
        Command::Debug(debug) => debug.run(),
        Command::Doctor(doctor) => {
            return doctor.run().unwrap_or_else(|failure| failure.report());
        }
        Command::Bench(bench) => {
            return bench.run().unwrap_or_else(|failure| failure.report());
        }
        Command::EngineGuard(guard) => {
            return guard.run().unwrap_or_else(|failure| failure.report());
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Has what the process said last written when it ends, in whatever way.
struct LastLines;

impl Drop for LastLines {
    fn drop(&mut self) {
        log_lines::flush_stderr();
    }
}

/// Runs one asynchronous command on this thread.
fn block_on<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = tokio::task::LocalSet::new();
    runtime.block_on(local.run_until(command))
}
