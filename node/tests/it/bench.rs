//! A load test finds where a node breaks and names what held it up; profiles that were tried are taken back.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use weir_proto::control::v1 as pb;

use crate::common::{Backend, PATIENCE, Weir, scripted_backend, web};
use crate::control_cli::fake::Fake;

static ONE_AT_A_TIME: Semaphore = Semaphore::const_new(1);

/// A backend that does one request at a time, each for 20 ms: 50 a second at most.
async fn slow_backend() -> SocketAddr {
    scripted_backend(|mut stream| async move {
        let mut head = [0; 4_096];
        while stream.read(&mut head).await.is_ok_and(|count| count > 0) {
            let turn = ONE_AT_A_TIME.acquire().await.unwrap();
            sleep(Duration::from_millis(20)).await;
            drop(turn);
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            if stream.write_all(answer).await.is_err() {
                return;
            }
        }
    })
    .await
}

async fn bench(arguments: &[&str]) -> (i32, String, String) {
    let run = Command::new(env!("CARGO_BIN_EXE_weir"))
        .arg("bench")
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(PATIENCE, run).await.expect("it ends").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let code = output.status.code().unwrap_or(-1);
    (code, text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn a_ramp_against_a_slow_backend_names_the_backend_and_writes_its_steps() {
    let node = Weir::start(&web(&[slow_backend().await], "")).await;
    let folder = tempfile::tempdir().unwrap();
    let [html, svg] = ["bench.html", "bench.svg"].map(|name| {
        let path = folder.path().join(name);
        path.to_str().unwrap().to_owned()
    });
    let (url, api) = (format!("http://{}/", node.ingress), node.api.to_string());
    let (code, out, err) = bench(&[
        &url,
        "--node",
        &api,
        "--ramp",
        "20,400",
        "--duration",
        "500ms",
        "--p99-max",
        "500ms",
        "-o",
        "json",
        "--html",
        &html,
        "--svg",
        &svg,
    ])
    .await;
    assert_eq!(code, 12, "{out}{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    let steps = report["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 2, "{out}");
    assert_eq!(
        (&steps[0]["due"], &steps[0]["answered"]),
        (&10.into(), &10.into()),
        "{out}"
    );
    assert!(steps[1]["unfinished"].as_u64() > Some(0), "{out}");
    let breaking = &report["breaking"];
    assert_eq!(breaking["offered_per_second"], 400, "{out}");
    assert_eq!(breaking["bottleneck"], "backend", "{out}");
    let html = std::fs::read_to_string(html).unwrap();
    assert!(
        html.contains("bottleneck: backend") && html.contains("<td>400</td>"),
        "{html}"
    );
    assert!(html.ends_with("</html>\n") && !html.contains("src=") && !html.contains("href="));
    let svg = std::fs::read_to_string(svg).unwrap();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>"), "{svg}");
    for step in ["20/s", "400/s", "<title>p99 "] {
        assert!(svg.contains(step) && html.contains(step), "{step} in {svg}");
    }
    assert_eq!(svg.matches("<g").count(), svg.matches("</g>").count());
}

#[tokio::test]
async fn a_node_that_asks_for_a_token_is_looked_at_with_it_and_the_flag_is_named_without() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "s3cret\n").unwrap();
    let backend = Backend::start("one").await;
    let file = file.to_str().unwrap();
    let token = format!("file:{file}");
    let environment = [("WEIR_HTTP_API__TOKEN", &*token)];
    let node = Weir::start_in("", &web(&[backend.address], ""), &environment).await;
    let (url, api) = (format!("http://{}/", node.ingress), node.api.to_string());
    let load = [
        &*url,
        "--node",
        &api,
        "--rate",
        "20",
        "--duration",
        "200ms",
        "--achieved-min",
        "10",
    ];
    let (code, _, err) = bench(&load).await;
    assert!(
        code == 6 && err.contains("--node-token-file or WEIR_API_TOKEN"),
        "{code}: {err}"
    );
    let (code, _, err) = bench(&[&load[..], &["--node-token", "wrong"]].concat()).await;
    assert_eq!(code, 6, "{err}");
    let (code, out, err) = bench(&[&load[..], &["--node-token-file", file]].concat()).await;
    assert_eq!(code, 0, "{out}{err}");
}

#[tokio::test]
async fn a_load_that_is_not_allowed_is_refused_by_name_value_and_bound() {
    for (arguments, expected) in [
        (
            ["--ramp", "100,50"],
            "`50` does not rise; allowed: more than 100",
        ),
        (
            ["--rate", "60000"],
            "`60000` is no rate; allowed: 1 to 50000 requests a second",
        ),
        (["--duration", "1h"], "allowed: 100ms to 5m"),
        (["--connections", "0"], "allowed: 1 to 4096 connections"),
        (["--profile-a", "standard"], "--profile-b"),
    ] {
        let (code, _, err) = bench(&[&["http://127.0.0.1:9/"], &arguments[..]].concat()).await;
        let said = err.contains(expected) && err.contains(arguments[0]);
        assert!(code == 2 && said, "{code}: {err}");
    }
    let (code, _, err) = bench(&["https://127.0.0.1:9/"]).await;
    assert!(code == 2 && err.contains("allowed: http://HOST"), "{err}");
    let (code, _, err) = bench(&["http://127.0.0.1:9/"]).await;
    assert!(
        code == 3 && err.contains("nobody takes requests there"),
        "{code}: {err}"
    );
}

/// What the fleet has when a comparison begins.
async fn fleet_has_a_profile(fake: &Fake) -> Vec<pb::TextSetting> {
    let settings = vec![pb::TextSetting {
        path: "balancer.drain_timeout".to_owned(),
        value: "7s".to_owned(),
    }];
    let first = pb::ProfileRevision {
        scope: "fleet".to_owned(),
        revision: 1,
        settings: settings.clone(),
        ..pb::ProfileRevision::default()
    };
    let mut state = fake.state().await;
    state.profiles.insert("fleet".to_owned(), vec![first]);
    settings
}

/// Compares presets on the fleet of this control plane; a round is four steps of 100 ms.
fn duel(url: &str, plane: SocketAddr, rounds: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command
        .args([
            "bench",
            url,
            "--rate",
            "100",
            "--duration",
            "100ms",
            "--connections",
            "4",
        ])
        .args(["--profile-a", "standard", "--profile-b", "high-traffic"])
        .args(["--scope", "fleet", "--rounds", rounds, "-o", "json"])
        .env("WEIR_CONTROL_PLANE", plane.to_string())
        .env("USER", "alice")
        .env_remove("WEIR_TOKEN")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

#[tokio::test]
async fn a_comparison_tries_both_in_turn_and_puts_back_what_was_there() {
    let backend = Backend::start("one").await;
    let (fake, plane) = Fake::with_nodes().await;
    let before = fleet_has_a_profile(&fake).await;
    let url = format!("http://{}/", backend.address);
    let run = duel(&url, plane, "4").output();
    let output = timeout(PATIENCE, run).await.expect("it ends").unwrap();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let turns: Vec<&str> = report["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["profile"].as_str().unwrap())
        .collect();
    assert_eq!(turns, ["A", "B", "B", "A"].repeat(4));
    let comparison = &report["comparison"];
    assert_eq!(
        (&comparison["pairs"], &comparison["scope"]),
        (&8.into(), &"fleet".into())
    );
    assert_eq!(
        comparison["measures"][2]["real"], false,
        "nothing failed: {report}"
    );
    let state = fake.state().await;
    let written = &state.profiles["fleet"];
    // A, then B and A in turn, and what was there before.
    assert_eq!(written.len(), 1 + 9 + 1, "{written:?}");
    assert_eq!(written.last().unwrap().settings, before);
    assert_ne!(written[2].settings, before);
}

#[tokio::test]
async fn a_comparison_that_is_interrupted_puts_back_what_was_there() {
    let backend = Backend::start("one").await;
    let (fake, plane) = Fake::with_nodes().await;
    let before = fleet_has_a_profile(&fake).await;
    let url = format!("http://{}/", backend.address);
    let child = duel(&url, plane, "10").spawn().unwrap();
    let pid = child.id().unwrap().try_into().unwrap();
    let written = async || fake.state().await.profiles["fleet"].len();
    timeout(PATIENCE, async {
        while written().await < 3 {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("it writes both profiles");
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let ended = timeout(PATIENCE, child.wait_with_output()).await;
    let ended = ended.expect("it ends").unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(
        ended.status.code() == Some(1) && said.contains("is put back"),
        "{said}"
    );
    let state = fake.state().await;
    assert_eq!(state.profiles["fleet"].last().unwrap().settings, before);
}
