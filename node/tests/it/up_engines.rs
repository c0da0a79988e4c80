//! `weir up --engines`: processes that it starts, balances over, replaces and takes with it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::common::{PATIENCE, free_ports, read_to_end};
use crate::control_cli::weir;
use crate::engines_face::watch::{Watch, is};
use crate::up::{all_end, stat};

const ENGINES: usize = 4;

/// A mesh of two nodes with four engines.
struct Mesh {
    child: Child,
    ingress: SocketAddr,
    node: String,
}

impl Mesh {
    async fn start() -> Self {
        let [ingress, _, grpc, _, api, _, control_plane] = free_ports();
        let ports = free_ports::<40>().map(|address| address.port());
        let (first, last) = (ports.iter().min().unwrap(), ports.iter().max().unwrap());
        let mut child = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(["up", "--nodes", "2", "--engines", &ENGINES.to_string()])
            .args(["--control-plane-listen", &control_plane.to_string()])
            .env("WEIR_INGRESS__LISTEN", ingress.to_string())
            .env("WEIR_GRPC__LISTEN", grpc.to_string())
            .env("WEIR_HTTP_API__LISTEN", api.to_string())
            .env("WEIR_PROVISION__HOST_PORTS", format!("{first}-{last}"))
            .env("WEIR_NODE__DRAIN_TIMEOUT", "0s")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = timeout(PATIENCE, async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.contains("Ctrl-C stops everything") {
                    break;
                }
            }
        });
        said.await.expect("it comes up");
        // Its further lines must find a reader.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self {
            child,
            ingress,
            node: grpc.to_string(),
        }
    }

    async fn list(&self) -> Vec<Value> {
        let list = ["engines", "list", "-o", "json", "--node", &self.node];
        serde_json::from_value(weir("", &list).await.json()).unwrap()
    }

    /// Who answered a request.
    async fn served_by(&self) -> String {
        let mut client = TcpStream::connect(self.ingress).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
        client.write_all(request).await.unwrap();
        let answer = read_to_end(&mut client).await;
        let name = answer.rsplit_once("hello from ");
        name.unwrap_or_else(|| panic!("{answer}"))
            .1
            .trim()
            .to_owned()
    }

    /// Requests until each of the engines has answered one; all of them are answered.
    async fn all_serve(&self, engines: &[Value]) {
        let wanted: BTreeSet<&str> = engines
            .iter()
            .map(|one| one["id"].as_str().unwrap())
            .collect();
        let mut served = BTreeSet::new();
        let deadline = Instant::now() + PATIENCE;
        while !wanted.iter().all(|id| served.contains(*id)) {
            served.insert(self.served_by().await);
            assert!(Instant::now() < deadline, "{wanted:?}: only {served:?}");
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().unwrap().try_into().unwrap()).unwrap()
    }

    /// Everything that runs below it: nodes, guards, engines.
    fn family(&self) -> BTreeSet<i32> {
        let all = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        let all = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let parents: Vec<(i32, i32)> = all.filter_map(|pid| Some((pid, stat(pid)?.1))).collect();
        let mut family = BTreeSet::from([self.pid().as_raw_pid()]);
        loop {
            let children = parents.iter().filter(|(_, parent)| family.contains(parent));
            let grown: BTreeSet<i32> = family
                .iter()
                .copied()
                .chain(children.map(|(pid, _)| *pid))
                .collect();
            if grown.len() == family.len() {
                return family;
            }
            family = grown;
        }
    }
}

fn pid_of(engine: &Value) -> i32 {
    engine["pid"].as_i64().unwrap().try_into().unwrap()
}

fn all_ready(list: &[Value]) -> bool {
    list.len() == ENGINES && list.iter().all(|one| is(one, "ready"))
}

/// What a list promises to tell of each engine.
fn is_complete(engine: &Value) {
    let text = |key: &str| {
        engine[key]
            .as_str()
            .unwrap_or_else(|| panic!("{key}: {engine}"))
    };
    assert!(text("id").starts_with("web-"), "{engine}");
    assert_eq!(
        (text("service"), text("state"), text("driver")),
        ("web", "ready", "process")
    );
    assert!(["node-1", "node-2"].contains(&text("node")), "{engine}");
    assert_eq!((text("vpn"), text("container_id")), ("", ""));
    let port = engine["port"].as_u64().unwrap();
    assert_eq!(text("address"), format!("127.0.0.1:{port}"));
    let command = std::fs::read(format!("/proc/{}/cmdline", pid_of(engine))).unwrap();
    assert!(
        String::from_utf8_lossy(&command).contains("demo-backend"),
        "{engine}"
    );
    let since = std::time::Duration::from_millis(engine["since_unix_ms"].as_u64().unwrap());
    let age = std::time::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .saturating_sub(since);
    assert!(age < 3 * PATIENCE, "{engine}");
    assert_eq!(engine["restarts"], 0, "{engine}");
}

#[tokio::test]
async fn four_engines_of_up_serve_are_replaced_when_killed_and_end_at_ctrl_c() {
    let mut mesh = Mesh::start().await;
    let mut watch = Watch::start(&mesh.node);
    let four = watch.until("four are ready", all_ready).await;
    let listed = mesh.list().await;
    assert!(all_ready(&listed), "{listed:#?}");
    listed.iter().for_each(is_complete);
    let pids: BTreeSet<i32> = listed.iter().map(pid_of).collect();
    assert_eq!(pids, four.iter().map(pid_of).collect());
    mesh.all_serve(&listed).await;

    let victim = pid_of(&four[0]);
    kill_process(Pid::from_raw(victim).unwrap(), Signal::KILL).unwrap();
    let has = |list: &[Value]| {
        list.iter()
            .any(|one| pid_of(one) == victim && is(one, "ready"))
    };
    watch.until("it is gone", |list| !has(list)).await;
    let after = watch
        .until("it is replaced", |list| all_ready(list) && !has(list))
        .await;
    let kept = after.iter().filter(|one| pids.contains(&pid_of(one)));
    assert_eq!(kept.count(), ENGINES - 1, "{after:#?}");
    mesh.all_serve(&after).await;

    let family = mesh.family();
    assert!(
        after.iter().all(|one| family.contains(&pid_of(one))),
        "{family:?}"
    );
    kill_process(mesh.pid(), Signal::INT).unwrap();
    let ended = timeout(PATIENCE, mesh.child.wait()).await.expect("it ends");
    assert_eq!(ended.unwrap().code(), Some(0));
    all_end(&family).await;
    watch.ctrl_c().await;
}

#[tokio::test]
async fn engines_of_up_end_with_it_when_it_is_killed() {
    let mut mesh = Mesh::start().await;
    let deadline = Instant::now() + PATIENCE;
    while !all_ready(&mesh.list().await) {
        assert!(Instant::now() < deadline, "{:#?}", mesh.list().await);
        sleep(std::time::Duration::from_millis(50)).await;
    }
    let family = mesh.family();
    // A control plane, two nodes, three backends, and a guard for each engine.
    assert!(family.len() >= 1 + 6 + 2 * ENGINES, "{family:?}");
    mesh.child.kill().await.unwrap();
    all_end(&family).await;
}
