//! Writes: what they print, what refuses them, and which exit code says so.

use weir_proto::control::v1 as pb;
use weir_proto::tuning::v1::{FieldError, FieldErrorCode};

use super::fake::Fake;
use super::{file, weir, weir_with};

#[tokio::test]
async fn a_write_says_what_it_changes_and_waits_for_nodes() {
    let (fake, address) = Fake::with_nodes().await;
    fake.state().await.rollouts_until_taken = 3;
    let set = [
        "profile",
        "set",
        "balancer.drain_timeout=10s",
        "ingress.workers=4",
        "-m",
        "faster",
    ];
    let out = weir(&address.to_string(), &set).await.done();
    let (changes, trace) = out.split_once("  trace: ").unwrap();
    assert_eq!(
        changes,
        "fleet: revision 1\n\
         \x20 balancer.drain_timeout: default 30s -> 10s (hot)\n\
         \x20 ingress.workers: default 0 -> 4 (restart)\n"
    );
    let (trace, rollout) = trace.split_once('\n').unwrap();
    assert_eq!((trace.len(), rollout), (32, "in force on 3 of 3 nodes\n"));
    let state = fake.state().await;
    let written = &state.profiles["fleet"][0];
    assert_eq!(
        (written.author.as_str(), written.message.as_str()),
        ("alice", "faster")
    );
}

#[tokio::test]
async fn a_write_that_changes_nothing_says_so() {
    let (_, address) = Fake::with_nodes().await;
    let address = address.to_string();
    let set = ["profile", "set", "balancer.drain_timeout=10s"];
    weir(&address, &set).await.done();
    let out = weir(&address, &set).await.done();
    assert!(
        out.starts_with("fleet: nothing to change, revision 1 stays\n"),
        "{out}"
    );
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_named_after_the_wait() {
    let (fake, address) = Fake::with_nodes().await;
    fake.state().await.rollouts_until_taken = usize::MAX;
    let set = [
        "profile",
        "set",
        "balancer.drain_timeout=10s",
        "--wait",
        "300ms",
    ];
    let out = weir(&address.to_string(), &set).await.done();
    assert!(
        out.contains("in force on 0 of 3 nodes\nnode-1 has not answered yet\n"),
        "{out}"
    );
    let set = ["profile", "set", "balancer.drain_timeout=11s", "--no-wait"];
    let out = weir(&address.to_string(), &set).await.done();
    assert!(!out.contains("node"), "{out}");
}

#[tokio::test]
async fn a_node_that_refuses_is_named_and_fails_the_command() {
    let (fake, address) = Fake::with_nodes().await;
    let refusal = FieldError {
        path: "ingress.workers".to_owned(),
        code: FieldErrorCode::Infeasible.into(),
        message: "is more than this node has cores".to_owned(),
        value: "64".to_owned(),
        bound: "at most 8".to_owned(),
    };
    fake.state()
        .await
        .refusals
        .insert("node-2".to_owned(), refusal);
    let address = address.to_string();
    let ended = weir(&address, &["profile", "set", "ingress.workers=64"]).await;
    assert_eq!(ended.code, 1);
    assert!(
        ended.out.ends_with(
            "in force on 2 of 3 nodes\nnode-2 refused: ingress.workers: `64` is more than this \
             node has cores (allowed: at most 8)\n"
        ),
        "{}",
        ended.out
    );
    assert_eq!(ended.err, "weir: written, but refused by node-2\n");
    let list = weir(&address, &["nodes", "list", "--rejected"])
        .await
        .done();
    assert!(list.contains("node-2") && list.contains("refused") && !list.contains("node-1"));

    let ended = weir(
        &address,
        &["profile", "set", "ingress.workers=65", "-o", "json"],
    )
    .await;
    let rollout = &ended.json()["rollout"];
    assert_eq!((ended.code, &rollout["effective"]), (1, &2.into()));
    assert_eq!(rollout["nodes"][1]["state"], "refused");
    assert_eq!(rollout["nodes"][1]["errors"][0]["code"], "infeasible");
}

#[tokio::test]
async fn a_lost_race_says_who_won_and_has_an_exit_code() {
    let (fake, address) = Fake::with_nodes().await;
    let address = address.to_string();
    let first = [
        "profile",
        "set",
        "balancer.policy=random",
        "-m",
        "mine",
        "--author",
        "bob",
    ];
    weir(&address, &first).await.done();
    let late = [
        "profile",
        "set",
        "balancer.policy=round_robin",
        "--revision",
        "0",
    ];
    let ended = weir(&address, &late).await;
    assert_eq!(ended.code, 5);
    assert_eq!(
        ended.err,
        "weir: fleet is at revision 1, which bob wrote (\"mine\")\n"
    );
    assert_eq!(fake.state().await.profiles["fleet"].len(), 1);
}

#[tokio::test]
async fn a_bad_file_is_refused_whole_with_every_problem() {
    let (fake, address) = Fake::with_nodes().await;
    let address = address.to_string();
    let folder = tempfile::tempdir().unwrap();
    let text = "[balancer]\ndrain_timeout = \"99d\"\npolicy = \"random\"\n[ingress]\nwarp = 9\n";
    let path = file(&folder, text);
    let ended = weir(&address, &["profile", "apply", "-f", &path]).await;
    assert_eq!(ended.code, 64);
    let lines: Vec<&str> = ended.err.lines().collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(
        lines[0],
        format!("weir: {path}: 2 problems, nothing is changed")
    );
    assert_eq!(
        lines[1],
        "  line 2: balancer.drain_timeout: `99d` is out of bounds (allowed: 0ms to 1d)"
    );
    assert!(
        lines[2].starts_with("  line 5: ingress.warp: `9` is set for no knob"),
        "{lines:?}"
    );
    assert!(fake.state().await.profiles.is_empty());

    let ended = weir(&address, &["profile", "apply", "-f", &path, "-o", "json"]).await;
    let problems = &ended.json()["problems"];
    assert_eq!((ended.code, &problems[0]["line"]), (64, &2.into()));
    assert_eq!(problems[0]["path"], "balancer.drain_timeout");
    assert_eq!(
        (&problems[0]["code"], &problems[0]["bound"]),
        (&"range".into(), &"0ms to 1d".into())
    );

    for offline in [&["--offline"][..], &[]] {
        let validate = [&["profile", "validate", "-f", &path], offline].concat();
        let ended = weir(&address, &validate).await;
        assert_eq!(
            (ended.code, ended.err.lines().count()),
            (64, 3),
            "{}",
            ended.err
        );
    }
}

#[tokio::test]
async fn what_get_prints_apply_takes_and_nothing_changes() {
    let (fake, address) = Fake::with_nodes().await;
    let address = address.to_string();
    let set = [
        "profile",
        "set",
        "balancer.drain_timeout=10s",
        "ingress.connections_max=7",
        "ingress.compression=br, gzip",
        "telemetry.sample_ratio=0.25",
        "ingress.forwarded=true",
        "ingress.slow_request=off",
        "balancer.panic_percent=40",
        "ingress.head_bytes_max=16KiB",
    ];
    weir(&address, &set).await.done();
    let toml = weir(&address, &["profile", "get", "-o", "toml"])
        .await
        .done();
    let apply = ["profile", "apply", "-f", "-"];
    let out = weir_with(&address, &apply, &[], &toml).await.done();
    assert!(
        out.starts_with("fleet: nothing to change, revision 1 stays\n"),
        "{out}"
    );
    assert_eq!(fake.state().await.profiles["fleet"].len(), 1);
    let list = weir(&address, &["profile", "list", "-o", "toml"]).await;
    assert_eq!(list.code, 2, "only `get` and `show` print TOML");
}

#[tokio::test]
async fn apply_replaces_and_a_preset_lies_below_the_file() {
    let (fake, address) = Fake::with_nodes().await;
    let address = address.to_string();
    weir(&address, &["profile", "set", "balancer.policy=random"])
        .await
        .done();
    let folder = tempfile::tempdir().unwrap();
    let path = file(
        &folder,
        "preset = \"strict\"\n[ingress]\nheaders_max = 32\n",
    );
    weir(&address, &["profile", "apply", "-f", &path])
        .await
        .done();
    let state = fake.state().await;
    let value = |path: &str| {
        let settings = &state.profiles["fleet"][1].settings;
        settings
            .iter()
            .find(|s| s.path == path)
            .map(|s| s.value.clone())
    };
    assert_eq!(value("balancer.policy"), None);
    assert_eq!(value("ingress.headers_max").as_deref(), Some("32"));
    assert_eq!(value("ingress.rate_limit").as_deref(), Some("true"));
    drop(state);
    let ended = weir(
        &address,
        &["profile", "apply", "-f", &path, "--preset", "standard"],
    )
    .await;
    assert_eq!(ended.code, 2, "{}", ended.err);
}

#[tokio::test]
async fn a_dry_run_shows_each_nodes_difference_and_writes_nothing() {
    let (fake, address) = Fake::with_nodes().await;
    let address = address.to_string();
    let set = ["profile", "set", "balancer.drain_timeout=10s", "--dry-run"];
    let out = weir(&address, &set).await.done();
    assert_eq!(
        out,
        "fleet would change; nothing is written\n\
         \x20 balancer.drain_timeout: default 30s -> 10s (hot)\n\
         node-1, node-2, node-3:\n\
         \x20 balancer.drain_timeout: default 30s -> 10s (hot)\n"
    );
    let json = weir(&address, &[&set[..], &["-o", "json"]].concat())
        .await
        .json();
    assert_eq!(
        (&json["dry_run"], &json["changed"]),
        (&true.into(), &true.into())
    );
    assert_eq!(json["changes"][0]["before"], serde_json::Value::Null);
    assert_eq!(json["nodes"][0]["nodes"], 3);
    assert!(fake.state().await.profiles.is_empty());
}

#[tokio::test]
async fn groups_and_overrides_say_which_nodes_and_how_long() {
    let (fake, address) = Fake::with_nodes().await;
    let address = address.to_string();
    let set = ["profile", "set", "balancer.policy=random", "--group", "eu"];
    weir(
        &address,
        &[
            &set[..],
            &["--selector", "zone=eu,disk=ssd", "--priority", "7"],
        ]
        .concat(),
    )
    .await
    .done();
    let set = [
        "profile",
        "set",
        "balancer.policy=round_robin",
        "--override",
        "--node",
        "node-1",
    ];
    let ended = weir(&address, &set).await;
    assert!(
        ended.code == 2 && ended.err.contains("--for"),
        "{}",
        ended.err
    );
    weir(&address, &[&set[..], &["--for", "10m"]].concat())
        .await
        .done();
    weir(
        &address,
        &[
            "profile",
            "unset",
            "--all",
            "--override",
            "--node",
            "node-1",
        ],
    )
    .await
    .done();
    let state = fake.state().await;
    let group = state.profiles["group/eu"][0].group.as_ref().unwrap();
    assert_eq!((group.priority, group.labels["zone"].as_str()), (7, "eu"));
    let over = &state.profiles["override/node-1"];
    assert_eq!(
        over[0].until_unix_ms - super::fake::WRITTEN_UNIX_MS,
        600_000
    );
    assert!(over[1].settings.is_empty());
}

#[tokio::test]
async fn a_rollback_is_a_new_revision() {
    let (fake, address) = Fake::with_nodes().await;
    let address = address.to_string();
    for policy in ["random", "round_robin"] {
        let setting = format!("balancer.policy={policy}");
        weir(&address, &["profile", "set", &setting]).await.done();
    }
    let out = weir(&address, &["profile", "rollback", "1", "-m", "back"])
        .await
        .done();
    assert!(
        out.contains("balancer.policy: round_robin -> random (hot)"),
        "{out}"
    );
    assert_eq!(fake.state().await.profiles["fleet"][2].rollback_of, 1);
    let ended = weir(&address, &["profile", "rollback", "9"]).await;
    assert_eq!(
        (ended.code, ended.err.as_str()),
        (4, "weir: fleet has no revision 9\n")
    );
}

#[tokio::test]
async fn weights_are_compared_and_set() {
    let (fake, address) = Fake::with_nodes().await;
    let address = address.to_string();
    let set = [
        "weights",
        "set",
        "web",
        "127.0.0.1:9001=5",
        "[::1]:80=0",
        "-m",
        "canary",
    ];
    let out = weir(&address, &set).await.done();
    assert_eq!(
        out,
        "web: revision 1\n  127.0.0.1:9001: its own -> 5\n  [::1]:80: its own -> 0\n"
    );
    let late = [
        "weights",
        "set",
        "web",
        "127.0.0.1:9001=1",
        "--revision",
        "0",
    ];
    let ended = weir(&address, &late).await;
    assert_eq!(ended.code, 5);
    assert!(ended.err.contains("which alice wrote"), "{}", ended.err);
    let out = weir(&address, &["weights", "unset", "web", "[::1]:80"])
        .await
        .done();
    assert_eq!(out, "web: revision 2\n  [::1]:80: 0 -> its own\n");
    let json = weir(&address, &["weights", "get", "web", "-o", "json"])
        .await
        .json();
    assert_eq!(json["weights"], serde_json::json!({ "127.0.0.1:9001": 5 }));
    assert_eq!(json["written_at"], "2026-03-01T12:00:00.000Z");
    assert_eq!(fake.state().await.weights["web"].revision, 2);
}

#[tokio::test]
async fn without_the_right_to_write_nothing_is_written() {
    let (fake, address) = Fake::with_nodes().await;
    fake.state().await.token = Some(("weir_reader", pb::Role::Viewer));
    let address = address.to_string();
    let set = ["profile", "set", "balancer.policy=random"];
    let ended = weir(&address, &set).await;
    assert_eq!(
        (ended.code, ended.err.as_str()),
        (6, "weir: this needs a token (--token-file or WEIR_TOKEN)\n")
    );
    let token = [("WEIR_TOKEN", "weir_reader")];
    let ended = weir_with(&address, &set, &token, "").await;
    assert_eq!(
        (ended.code, ended.err.as_str()),
        (6, "weir: a viewer may not write\n")
    );
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "weir_reader\n");
    weir(&address, &["profile", "list", "--token-file", &path])
        .await
        .done();
}
