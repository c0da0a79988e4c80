//! Jobs that start engines: what bounds them, what is told of that, and nodes that hang in the middle of one.

mod burst;
mod hung;
mod spans;
mod tuned;

use std::path::Path;

use serde_json::Value;
use weir_proto::node::v1 as pb;

use super::{ask, client, json};
use crate::client::Answer;
use crate::common::Weir;

/// Ports that no other test's engines have, above those that the kernel gives to clients.
fn ports() -> String {
    let first = 61_000 + std::process::id() * 3 % 290 * 15;
    format!("{first}-{}", first + 14)
}

/// A shell that does this, as the command of engines.
fn shell(script: &str) -> String {
    format!("command = [\"sh\", \"-c\", \"{script}\"]\n")
}

/// The program that serves, for [`shell`].
fn serve() -> String {
    let weir = env!("CARGO_BIN_EXE_weir");
    format!("exec {weir} demo-backend --listen 127.0.0.1:{{port}} --name {{id}}")
}

async fn by_http(weir: &Weir, service: &str) -> Answer {
    let wish = format!("{{\"service\": \"{service}\"}}");
    ask(weir, "POST", "/api/provision", "", &wish).await
}

async fn by_grpc(weir: &Weir, service: &str) -> pb::provision_response::Outcome {
    let request = pb::ProvisionRequest {
        service: service.to_owned(),
        idempotency_key: String::new(),
    };
    let answer = client(weir).await.provision(request).await.unwrap();
    answer.into_inner().outcome.unwrap()
}

async fn provisioning(weir: &Weir) -> Value {
    json(&ask(weir, "GET", "/api/provisioning", "", "").await)
}

/// When engines began that write the time to this file, in ns since 1970.
fn begun(file: &Path) -> Vec<u64> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let mut times: Vec<u64> = text.lines().filter_map(|line| line.parse().ok()).collect();
    times.sort_unstable();
    times
}
