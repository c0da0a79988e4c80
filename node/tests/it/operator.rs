//! What an operator asks a node, and waits for.

use std::time::Duration;

use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use crate::common::{PATIENCE, Weir};

const LOOK_INTERVAL: Duration = Duration::from_millis(10);

impl Weir {
    /// What `/api/services` says of a backend, by its id.
    pub async fn backend(&self, id: &str) -> serde_json::Value {
        let (_, text) = self.get_api("/api/services").await.unwrap();
        let services: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        let all = services.iter().filter_map(|s| s["backends"].as_array());
        let found = all.flatten().find(|backend| backend["id"] == id);
        found.cloned().unwrap_or_default()
    }

    /// Runs a `weir` command against this node: exit code and everything it printed.
    pub async fn command(&self, arguments: &[&str]) -> (i32, String) {
        let node = self.grpc.to_string();
        weir(&[arguments, &["--node", &node]].concat()).await
    }
}

/// Runs `weir` with these arguments: exit code and everything it printed.
pub async fn weir(arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    let ran = command.args(arguments).kill_on_drop(true).output();
    let output = timeout(PATIENCE, ran).await.expect("it ends").unwrap();
    let mut text = String::from_utf8(output.stdout).unwrap();
    text.push_str(&String::from_utf8(output.stderr).unwrap());
    (output.status.code().unwrap_or(-1), text)
}

/// Waits until `is_so`.
pub async fn wait_until(weir: &Weir, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "not so: {what}: {}", weir.log());
        sleep(LOOK_INTERVAL).await;
    }
}
