//! `weir engines watch` as a program follows it.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::timeout;

use super::{engines, ready};
use crate::common::{PATIENCE, Weir};

/// The command, and what it printed so far.
pub struct Watch {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    notes: Lines<BufReader<ChildStderr>>,
    seen: Vec<Value>,
}

impl Watch {
    pub fn start(node: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(["engines", "watch", "-o", "json", "--node", node])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self {
            lines: BufReader::new(child.stdout.take().unwrap()).lines(),
            notes: BufReader::new(child.stderr.take().unwrap()).lines(),
            child,
            seen: Vec::new(),
        }
    }

    /// Reads until a list is so; each line is one list.
    pub async fn until(&mut self, what: &str, is_so: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let reading = async {
            loop {
                let line = self
                    .lines
                    .next_line()
                    .await
                    .unwrap()
                    .expect("it watches on");
                let list: Value = serde_json::from_str(&line).expect("a line is a document");
                self.seen.push(list.clone());
                let list = list.as_array().expect("of engines").clone();
                if is_so(&list) {
                    return list;
                }
            }
        };
        let found = timeout(PATIENCE, reading).await;
        found.unwrap_or_else(|_| panic!("not so: {what}: {:#?}", self.seen))
    }

    /// Reads notes until one says this.
    pub async fn says(&mut self, what: &str) {
        let reading = async {
            loop {
                let note = self
                    .notes
                    .next_line()
                    .await
                    .unwrap()
                    .expect("it watches on");
                if note.contains(what) {
                    return;
                }
            }
        };
        let said = timeout(PATIENCE, reading).await;
        assert!(said.is_ok(), "it does not say `{what}`");
    }

    /// What a key at the terminal does.
    pub async fn ctrl_c(mut self) {
        let pid = self.child.id().unwrap().try_into().unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::INT).unwrap();
        let ended = timeout(PATIENCE, self.child.wait()).await;
        assert!(ended.is_ok(), "it ends");
    }
}

pub fn is(engine: &Value, state: &str) -> bool {
    engine["state"] == state
}

/// An engine that takes a while until it answers.
fn slow() -> String {
    let weir = env!("CARGO_BIN_EXE_weir");
    let direct = format!("[\"{weir}\", \"demo-backend\"");
    let late = format!(
        "[\"sh\", \"-c\", \"sleep 1; exec \\\"$@\\\"\", \"sh\", \"{weir}\", \"demo-backend\""
    );
    let config = engines(1, 2);
    assert!(config.contains(&direct), "{config}");
    config
        .replace(&direct, &late)
        .replace("min = 1", "min = 1\nextra_ports = [\"api\"]")
}

#[tokio::test]
async fn a_watch_sees_start_end_and_successor_of_an_engine_and_outlives_its_node() {
    let mut weir = Weir::start(&slow()).await;
    let mut watch = Watch::start(&weir.grpc.to_string());
    watch
        .until("one starts", |list| {
            list.iter()
                .any(|one| is(one, "starting") || is(one, "probing"))
        })
        .await;
    let up = watch
        .until("it is ready", |list| {
            list.len() == 1 && is(&list[0], "ready")
        })
        .await;
    let pid = up[0]["pid"].as_u64().unwrap();
    let further = up[0]["extra_ports"]["api"].as_u64();
    assert!(
        further.is_some() && further != up[0]["port"].as_u64(),
        "{up:?}"
    );
    kill_process(
        Pid::from_raw(pid.try_into().unwrap()).unwrap(),
        Signal::KILL,
    )
    .unwrap();
    watch
        .until("it is not ready any more", |list| {
            !list.iter().any(|one| one["pid"] == pid && is(one, "ready"))
        })
        .await;
    watch
        .until("another one is", |list| {
            list.len() == 1 && is(&list[0], "ready") && list[0]["pid"] != pid
        })
        .await;

    weir.crash().await;
    watch.says("ended; waiting for it").await;
    weir.start_again().await;
    watch.says("is back").await;
    let last = ready(&weir, 1).await.remove(0);
    watch
        .until("that of the node's next life", |list| {
            list.len() == 1 && is(&list[0], "ready") && list[0]["pid"] == last.pid
        })
        .await;
    watch.ctrl_c().await;
}
