//! `weir up` leaves nothing behind, and what keeps it from starting is said in one line.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::common::{PATIENCE, free_ports, read_to_end, read_until};
use crate::control_cli;
use crate::operator::weir;
use crate::tracing::{attribute, receiver};

/// A mesh of two nodes and three demo backends.
struct Mesh {
    child: Child,
    ingress: SocketAddr,
    grpc: SocketAddr,
    control_plane: SocketAddr,
    /// What it said when it was up.
    welcome: String,
}

/// What the file says of how long a stopping node waits for what runs.
const FILE_DRAIN_TIMEOUT: &str = "0s";
/// What `weir up` allows a process beyond that.
const STOP_GRACE: Duration = Duration::from_secs(5);

fn command([ingress, grpc, api, control_plane]: [SocketAddr; 4]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command
        .args(["up", "--nodes", "2"])
        .args(["--control-plane-listen", &control_plane.to_string()])
        .env("WEIR_INGRESS__LISTEN", ingress.to_string())
        .env("WEIR_GRPC__LISTEN", grpc.to_string())
        .env("WEIR_HTTP_API__LISTEN", api.to_string())
        .env("WEIR_NODE__DRAIN_TIMEOUT", FILE_DRAIN_TIMEOUT)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Ports for two nodes, each with a free neighbour, and for a control plane.
fn ports() -> [SocketAddr; 4] {
    let [first, _, second, _, third, _, control_plane] = free_ports();
    [first, second, third, control_plane]
}

impl Mesh {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    async fn start_with(flags: &[&str]) -> Self {
        Self::start_in(&std::env::temp_dir(), flags).await
    }

    /// One whose folder is in `among`.
    async fn start_in(among: &Path, flags: &[&str]) -> Self {
        let ports = ports();
        let mut command = command(ports);
        let mut child = command.args(flags).env("TMPDIR", among).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = timeout(PATIENCE, async {
            let mut welcome = String::new();
            while let Some(line) = lines.next_line().await.unwrap() {
                welcome.push_str(&line);
                if line.contains("Ctrl-C stops everything") {
                    break;
                }
            }
            welcome
        });
        let welcome = said.await.expect("it comes up");
        // Its further lines must find a reader.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self {
            child,
            ingress: ports[0],
            grpc: ports[1],
            control_plane: ports[3],
            welcome,
        }
    }

    /// Lets stopping nodes wait for a minute, and returns a request that is under way: 2 of the 4 bytes of its body
    /// were sent, and came back.
    async fn busy(&self) -> TcpStream {
        let control_plane = self.control_plane.to_string();
        let tuned = ["profile", "set", "ingress.drain_timeout=1m"];
        let tuned = control_cli::weir(&control_plane, &tuned).await.done();
        assert!(tuned.contains("in force on 2 of 2 nodes"), "{tuned}");
        let mut client = TcpStream::connect(self.ingress).await.unwrap();
        let head = "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\npi";
        client.write_all(head.as_bytes()).await.unwrap();
        read_until(&mut client, "\r\n\r\npi").await;
        client
    }

    /// Sends Ctrl-C, and waits until the first node takes nobody any more.
    async fn ctrl_c(&self) {
        kill_process(self.pid(), Signal::INT).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(self.ingress).await.is_ok() {
            assert!(Instant::now() < deadline, "it does not stop");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// One node tells what each has written.
    async fn tells_lines_of_both_nodes(&self) {
        let node = self.grpc.to_string();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (code, text) = weir(&["logs", "--node", &node, "--grep", "node ready"]).await;
            assert_eq!(code, 0, "{text}");
            let of = |name: &str| text.lines().filter(|line| line.contains(name)).count();
            if [of(" INFO  node-1 "), of(" INFO  node-2 ")] == [1, 1] {
                return;
            }
            assert!(Instant::now() < deadline, "{text}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().unwrap().try_into().unwrap()).unwrap()
    }

    /// Every process that this one started, found by its parent.
    fn children(&self) -> BTreeSet<i32> {
        let parent = self.pid().as_raw_pid();
        let all = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
            .filter(|pid| stat(*pid).is_some_and(|(_, its_parent)| its_parent == parent))
            .collect()
    }
}

/// State and parent of a process.
pub fn stat(pid: i32) -> Option<(char, i32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// A process that ended may stay as a zombie where nobody reaps orphans.
pub async fn all_end(children: &BTreeSet<i32>) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let runs = |pid: &&i32| stat(**pid).is_some_and(|(state, _)| !"ZX".contains(state));
        let left: Vec<_> = children.iter().filter(runs).collect();
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "{left:?} still run");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_killed_parent_leaves_no_process_behind() {
    let mut mesh = Mesh::start().await;
    let children = mesh.children();
    assert_eq!(
        children.len(),
        6,
        "a control plane, two nodes, three backends"
    );
    mesh.child.kill().await.unwrap();
    all_end(&children).await;
}

#[tokio::test]
async fn a_folder_of_a_mesh_that_was_killed_goes_with_the_next_start_and_no_folder_that_is_used() {
    let among = tempfile::tempdir().unwrap();
    let folders = || -> BTreeSet<_> {
        let all = std::fs::read_dir(among.path()).unwrap();
        all.map(|entry| entry.unwrap().file_name()).collect()
    };
    let mut killed = Mesh::start_in(among.path(), &[]).await;
    let first = folders();
    let children = killed.children();
    assert_eq!(first.len(), 1);
    let mut lives = Mesh::start_in(among.path(), &[]).await;
    assert!(folders().is_superset(&first), "its mesh runs");

    killed.child.kill().await.unwrap();
    all_end(&children).await;
    let before = folders();
    assert_eq!(before.len(), 2, "nobody was there to take it away");
    let mut next = Mesh::start_in(among.path(), &[]).await;
    let after = folders();
    assert_eq!(after.len(), 2, "{after:?}");
    assert_eq!(after.intersection(&first).count(), 0, "{after:?}");

    for mesh in [&mut lives, &mut next] {
        kill_process(mesh.pid(), Signal::INT).unwrap();
        let ended = timeout(PATIENCE, mesh.child.wait()).await.expect("it ends");
        assert_eq!(ended.unwrap().code(), Some(0));
    }
    assert_eq!(folders().len(), 0);
}

#[tokio::test]
async fn a_control_plane_that_is_away_is_told_beside_the_mesh_that_is_up() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mesh.toml");
    let [nobody] = free_ports();
    std::fs::write(
        &file,
        format!("[control_plane]\nendpoints = [\"{nobody}\"]\n"),
    )
    .unwrap();
    let mesh = Mesh::start_with(&["--config", file.to_str().unwrap()]).await;
    let told = "control plane away: ";
    assert!(mesh.welcome.contains(told), "{}", mesh.welcome);
    let mesh = Mesh::start().await;
    assert!(!mesh.welcome.contains(told), "{}", mesh.welcome);
}

#[tokio::test]
async fn an_edit_of_what_a_mesh_gives_its_nodes_is_refused_with_field_value_and_reason() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mesh.toml");
    let text = "[services.web]\nbackends = [\"127.0.0.1:1\"]\n[[routes]]\nservice = \"web\"\n";
    std::fs::write(&file, text).unwrap();
    let mesh = Mesh::start_with(&["--config", file.to_str().unwrap()]).await;
    let node = mesh.grpc.to_string();
    let says = async |wanted: &str| {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (_, text) = weir(&["status", "--node", &node]).await;
            if text.contains(wanted) {
                return text;
            }
            assert!(Instant::now() < deadline, "no `{wanted}` in {text}");
            sleep(Duration::from_millis(20)).await;
        }
    };
    let edit = |text: &str| {
        let next = file.with_extension("next");
        std::fs::write(&next, text).unwrap();
        std::fs::rename(next, &file).unwrap();
    };
    edit(&format!("[node]\nname = \"other\"\n{text}"));
    let told = says("node.name: ").await;
    let why = "node.name: other has no effect: it needs a restart of the node, and WEIR_NODE__NAME says node-1 \
               whatever the file says";
    assert!(told.contains(why), "{told}");
    assert!(told.contains(" in force, 1 refused"), "{told}");
    edit(&format!("# Another one.\n{text}"));
    let deadline = Instant::now() + PATIENCE;
    while says(" in force, 1 refused").await.contains("node.name") {
        assert!(Instant::now() < deadline, "it is not taken");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn ctrl_c_ends_everything() {
    let mut mesh = Mesh::start().await;
    let children = mesh.children();
    assert_eq!(
        children.len(),
        6,
        "a control plane, two nodes, three backends"
    );
    mesh.tells_lines_of_both_nodes().await;
    kill_process(mesh.pid(), Signal::INT).unwrap();
    let ended = timeout(PATIENCE, mesh.child.wait()).await.expect("it ends");
    assert_eq!(ended.unwrap().code(), Some(0));
    all_end(&children).await;
    let again = tokio::net::TcpListener::bind(mesh.ingress).await;
    assert!(again.is_ok(), "{again:?}");
}

#[tokio::test]
async fn what_runs_at_ctrl_c_has_the_time_that_the_profile_gives() {
    let mut mesh = Mesh::start().await;
    let mut client = mesh.busy().await;
    mesh.ctrl_c().await;
    // As long as the file would allow, and more.
    sleep(STOP_GRACE + Duration::from_secs(1)).await;
    client.write_all(b"ng").await.unwrap();
    assert_eq!(read_to_end(&mut client).await, "ng");
    let ended = timeout(PATIENCE, mesh.child.wait()).await.expect("it ends");
    assert_eq!(ended.unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_second_ctrl_c_ends_everything_at_once() {
    let mut mesh = Mesh::start().await;
    let children = mesh.children();
    let mut client = mesh.busy().await;
    mesh.ctrl_c().await;
    kill_process(mesh.pid(), Signal::INT).unwrap();
    let ended = timeout(PATIENCE, mesh.child.wait()).await;
    assert!(ended.is_ok(), "it waits for what runs");
    all_end(&children).await;
    assert_eq!(read_to_end(&mut client).await, "");
}

#[tokio::test]
async fn a_node_of_the_mesh_that_is_killed_comes_back() {
    let mesh = Mesh::start().await;
    let is_node = |pid: &i32| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.split(|byte| *byte == 0).nth(1) == Some(b"node")
    };
    let nodes: Vec<i32> = mesh.children().into_iter().filter(is_node).collect();
    assert_eq!(nodes.len(), 2);
    kill_process(Pid::from_raw(nodes[0]).unwrap(), Signal::KILL).unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now: Vec<i32> = mesh.children().into_iter().filter(is_node).collect();
        if now.len() == 2 && !now.contains(&nodes[0]) {
            break;
        }
        assert!(Instant::now() < deadline, "{now:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_collector_of_the_command_line_is_told_by_the_control_plane_and_every_node() {
    let (otlp, mut spans) = receiver().await;
    let url = format!("http://{otlp}");
    let mesh = Mesh::start_with(&["--otlp", &url]).await;
    let control_plane = mesh.control_plane.to_string();
    let tuned = ["profile", "set", "ingress.drain_timeout=1s"];
    control_cli::weir(&control_plane, &tuned).await.done();
    let mut missing = BTreeSet::from(["weir-up", "node-1", "node-2"]);
    let all = timeout(PATIENCE, async {
        while !missing.is_empty() {
            let span = spans.recv().await.unwrap();
            missing.remove(&*attribute(&span, "service.instance.id"));
        }
    });
    assert!(all.await.is_ok(), "{missing:?} tell nothing");
}

#[tokio::test]
async fn a_taken_port_is_named_in_one_line() {
    let ports = ports();
    for taken in ports {
        let _listener = std::net::TcpListener::bind(taken).unwrap();
        let ran = timeout(PATIENCE, command(ports).output()).await;
        let output = ran.expect("it ends").unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success());
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
        assert!(said.contains(&taken.to_string()), "{said}");
        assert!(said.contains("in use"), "{said}");
    }
}

#[tokio::test]
async fn what_a_user_gets_wrong_is_said_in_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.toml");
    let missing = missing.to_str().unwrap();
    for (arguments, expected, said) in [
        (vec!["node", "--config", missing], 64, missing),
        (vec!["node", "--config", missing, "--check"], 64, missing),
        (vec!["up", "--config", missing], 64, missing),
        (vec!["status", "--node", "127.0.0.1:1"], 3, "127.0.0.1:1"),
    ] {
        let (code, text) = weir(&arguments).await;
        assert_eq!(code, expected, "{arguments:?}: {text}");
        assert_eq!(text.trim_end().lines().count(), 1, "{arguments:?}: {text}");
        assert!(text.starts_with("weir: ") && text.contains(said), "{text}");
    }
    let (code, text) = weir(&["up", "--otlp", "tcp://x:1"]).await;
    assert!(
        code == 64 && text.contains("telemetry.otlp: `tcp://x:1`"),
        "{text}"
    );
    let (code, text) = weir(&["node", "--no-such-flag"]).await;
    assert_eq!(code, 2);
    let first = text.lines().next().unwrap();
    assert!(first.contains("--no-such-flag"), "{text}");
}

#[tokio::test]
async fn a_node_whose_port_is_taken_says_which_and_ends() {
    let [ingress, grpc, api] = free_ports();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.toml");
    for (taken, key) in [
        (ingress, "ingress.listen"),
        (grpc, "grpc.listen"),
        (api, "http_api.listen"),
    ] {
        let config = format!(
            "[ingress]\nlisten = \"{ingress}\"\n[grpc]\nlisten = \"{grpc}\"\n\
             [http_api]\nlisten = \"{api}\"\n"
        );
        std::fs::write(&path, config).unwrap();
        let _listener = std::net::TcpListener::bind(taken).unwrap();
        let (code, text) = weir(&["node", "--config", path.to_str().unwrap()]).await;
        assert_eq!(code, 1, "{text}");
        assert!(text.contains(&format!("{key} {taken}")), "{text}");
    }
}
