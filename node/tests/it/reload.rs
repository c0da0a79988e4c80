//! Editing the file changes a running node, or is refused whole; no request notices.

use std::os::unix::fs::PermissionsExt as _;

use rustix::process::Signal;

use crate::client::{Client, Load};
use crate::common::{Backend, Weir, web};
use crate::operator::{wait_until, weir};
use crate::steered::Steered;

/// Replaces the configuration and waits until it is in force.
async fn apply(weir: &Weir, config: &str) {
    let before = weir.metric("weir_config_revision").await;
    weir.edit(config);
    weir.signal(Signal::HUP);
    weir.wait_for_metric("weir_config_revision", |revision| revision > before)
        .await;
}

/// Replaces the configuration and waits until it is refused.
async fn refuse(weir: &Weir, config: &str) {
    let before = weir.metric("weir_config_refusals_total").await;
    weir.edit(config);
    weir.wait_for_metric("weir_config_refusals_total", |count| count > before)
        .await;
}

#[tokio::test]
async fn twenty_edits_under_load_cost_no_request_and_no_connection() {
    let mut backends = Vec::new();
    for name in ["one", "two", "three"] {
        backends.push(Backend::start(name).await);
    }
    let addresses: Vec<_> = backends.iter().map(|backend| backend.address).collect();
    let weir = Weir::start(&web(&addresses, "")).await;
    let load = Load::start(weir.ingress, 16);
    for edit in 0..20_usize {
        load.passes(100).await;
        // One backend leaves, another returns with a new weight, policy and time-outs; services and
        // routes come and go.
        let stay: Vec<String> = (0..3)
            .filter(|at| at % 3 != edit % 3)
            .map(|at| {
                let weight = 1 + (edit + at) % 5;
                format!("{{ address = \"{}\", weight = {weight} }}", addresses[at])
            })
            .collect();
        let policy = ["random", "round_robin", "peak_ewma", "least_connections"][edit % 4];
        let service = ["web", "other"][edit % 2];
        apply(
            &weir,
            &format!(
                "[services.{service}]\nbackends = [{}]\nbalance = {{ policy = \"{policy}\" }}\n\
                 timeouts = {{ read = \"{}s\" }}\npool = {{ idle_max = {edit} }}\n\
                 [[routes]]\nservice = \"{service}\"\nmethods = \"GET\"\n",
                stay.join(", "),
                10 + edit
            ),
        )
        .await;
    }
    load.passes(100).await;
    let tally = load.stop().await;
    assert_eq!(tally.bad, Vec::<String>::new());
    assert_eq!(tally.reconnects, 0);
    assert_eq!(weir.metric("weir_requests_abandoned_total").await, 0.0);
}

#[tokio::test]
async fn an_edit_without_a_signal_is_seen_by_itself() {
    let [one, two] = Steered::start_all(["one", "two"]).await;
    let weir = Weir::start(&web(&[one.address], "")).await;
    let mut client = Client::connect(weir.ingress).await;
    assert_eq!(client.get("/").await.unwrap().text(), "one");
    weir.edit(&web(&[two.address], ""));
    weir.wait_for_metric("weir_config_revision", |revision| revision == 2.0)
        .await;
    assert_eq!(client.get("/").await.unwrap().text(), "two");
}

#[tokio::test]
async fn limits_change_with_an_edit() {
    let backend = Steered::start("one").await;
    let weir = Weir::start(&web(&[backend.address], "")).await;
    let limited = |at_most: usize| {
        let text = std::fs::read_to_string(weir.config_path()).unwrap();
        let listen = text.lines().nth(1).unwrap().to_owned();
        let new = format!("{listen}\nhead_bytes_max = \"{at_most}B\"\nconnections_max = {at_most}");
        text.replacen(&listen, &new, 1)
    };
    let revised = limited(2_048);
    std::fs::write(weir.config_path(), revised).unwrap();
    weir.wait_for_metric("weir_config_revision", |revision| revision == 2.0)
        .await;
    let long = format!(
        "GET / HTTP/1.1\r\nHost: test\r\nX: {}\r\n\r\n",
        "x".repeat(3_000)
    );
    let answer = Client::connect(weir.ingress).await.ask(&long).await;
    assert_eq!(answer.unwrap().status, 431);
}

#[tokio::test]
async fn a_bad_edit_is_refused_whole_with_every_problem_named() {
    let [one, two] = Steered::start_all(["one", "two"]).await;
    let weir = Weir::start(&web(&[one.address], "")).await;
    let bad = format!(
        "{}[[routes]]\nservice = \"nowhere\"\n",
        web(
            &[two.address],
            "timeouts = { read = \"0s\" }\nbalance = { policy = \"magic\" }"
        )
    );
    refuse(&weir, &bad).await;
    let problems = [
        "services.web.timeouts.read: `0s` is out of bounds (1ms to 1d)",
        "services.web.balance.policy: `magic`",
        "routes[1].service: `nowhere` is no configured service",
    ];
    let (code, status) = weir.command(&["status"]).await;
    assert_eq!(code, 0, "{status}");
    for problem in problems {
        assert!(weir.log().contains(problem), "{problem}: {}", weir.log());
        assert!(status.contains(problem), "{problem}: {status}");
    }
    assert!(
        status.contains("configuration 1 in force, 1 refused"),
        "{status}"
    );
    let mut client = Client::connect(weir.ingress).await;
    assert_eq!(client.get("/").await.unwrap().text(), "one");

    apply(&weir, &web(&[two.address], "")).await;
    assert_eq!(client.get("/").await.unwrap().text(), "two");
    wait_until(&weir, "the problems are gone", async || {
        let (_, status) = weir.command(&["status"]).await;
        status.contains("configuration 2 in force") && !status.contains("magic")
    })
    .await;
}

#[tokio::test]
async fn what_needs_a_restart_is_refused_by_name() {
    let backend = Steered::start("one").await;
    let web = web(&[backend.address], "");
    let weir = Weir::start(&web).await;
    refuse(
        &weir,
        &format!("[node]\nname = \"other\"\n[telemetry]\notlp = \"http://127.0.0.1:1\"\n{web}"),
    )
    .await;
    for key in ["node.name: other needs a restart", "telemetry.otlp: "] {
        assert!(weir.log().contains(key), "{}", weir.log());
    }
    let listen = weir.ingress.to_string();
    let text = std::fs::read_to_string(weir.config_path()).unwrap();
    std::fs::write(weir.config_path(), text.replace(&listen, "127.0.0.1:1")).unwrap();
    weir.wait_for_metric("weir_config_refusals_total", |count| count == 2.0)
        .await;
    assert!(weir.log().contains("ingress.listen: "), "{}", weir.log());
    let mut client = Client::connect(weir.ingress).await;
    assert_eq!(client.get("/").await.unwrap().text(), "one");
}

#[tokio::test]
async fn a_file_that_is_gone_or_unreadable_keeps_the_old_configuration() {
    let [one, two] = Steered::start_all(["one", "two"]).await;
    let weir = Weir::start(&web(&[one.address], "")).await;
    let mut client = Client::connect(weir.ingress).await;
    let path = weir.config_path();
    let said = |count: usize| weir.log().matches("configuration not readable").count() >= count;

    std::fs::remove_file(&path).unwrap();
    weir.signal(Signal::HUP);
    wait_until(&weir, "it is missed", async || said(1)).await;
    assert_eq!(client.get("/").await.unwrap().text(), "one");
    // A folder cannot be read by anyone, whatever rights the test has.
    std::fs::create_dir(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    weir.signal(Signal::HUP);
    wait_until(&weir, "it is not readable", async || said(2)).await;
    assert_eq!(client.get("/").await.unwrap().text(), "one");
    std::fs::remove_dir(&path).unwrap();
    // What is no text is refused just so.
    std::fs::write(&path, [0xff, 0xfe, 0x00]).unwrap();
    weir.signal(Signal::HUP);
    wait_until(&weir, "it is no text", async || said(3)).await;
    assert_eq!(client.get("/").await.unwrap().text(), "one");

    apply(&weir, &web(&[two.address], "")).await;
    assert_eq!(client.get("/").await.unwrap().text(), "two");
}

#[tokio::test]
async fn check_prints_every_problem_with_its_bound_and_exits_64() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.toml");
    let bad = "[node]\nname = \"no spaces\"\ncores = 0\n[ingress]\nlisten = \"nowhere\"\n\
        [services.web]\nbackends = [{ address = \"127.0.0.1\", weight = 70000 }]\nsecret = 1\n";
    std::fs::write(&path, bad).unwrap();
    let shown = path.to_str().unwrap();
    let (code, text) = weir(&["node", "--config", shown, "--check"]).await;
    assert_eq!(code, 64, "{text}");
    for problem in [
        "node.name: `no spaces` must be 1 to 63 letters",
        "node.cores: 0 is out of bounds (1 to 1024)",
        "ingress.listen: `nowhere`: expected IP:PORT",
        "services.web.backends[0].address: `127.0.0.1`: expected host:port",
        "services.web.backends[0].weight: 70000 is out of bounds (0 to 65535)",
        "services.web.secret: unknown key",
    ] {
        assert!(text.contains(problem), "{problem}: {text}");
    }
    // A node does not start with it either.
    let (code, again) = weir(&["node", "--config", shown]).await;
    assert_eq!((code, again), (64, text));
    std::fs::write(&path, "").unwrap();
    let (code, text) = weir(&["node", "--config", shown, "--check"]).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("warning: the file: is empty: "), "{text}");
    // What the file names is elsewhere, and may not be there where it is checked.
    std::fs::write(&path, "[http_api]\ntoken = \"file:/nonexist\"\n").unwrap();
    let (code, text) = weir(&["node", "--config", shown, "--check"]).await;
    assert_eq!(code, 64, "{text}");
    assert!(
        text.contains("http_api.token: secret file:/nonexist"),
        "{text}"
    );
    let (code, text) = weir(&["node", "--config", shown, "--check=file"]).await;
    assert_eq!(code, 0, "{text}");
}

#[tokio::test]
async fn the_environment_fills_in_texts_and_sets_keys() {
    let backend = Steered::start("one").await;
    let config = "[services.web]\nbackends = [\"${BACKEND}\"]\ntimeouts = { read = \"${READ:-1s}\" }\n\
        [[routes]]\nservice = \"web\"\npath = \"/\"\n";
    let environment = [
        ("BACKEND", backend.address.to_string()),
        ("WEIR_NODE__NAME", "from-outside".to_owned()),
        ("WEIR_SERVICES__WEB__TIMEOUTS__READ", "100ms".to_owned()),
    ];
    let environment = environment.each_ref().map(|(k, v)| (*k, v.as_str()));
    let weir = Weir::start_in("", config, &environment).await;
    let mut client = Client::connect(weir.ingress).await;
    let answer = client.get("/").await.unwrap();
    assert_eq!(answer.text(), "one");
    assert_eq!(answer.header("via"), Some("1.1 from-outside"));
    let slow = client.get("/hold").await.unwrap();
    assert_eq!(slow.header("x-weir-reason"), Some("read_timeout"));
}

#[tokio::test]
async fn a_file_that_is_gone_is_in_the_status_until_it_is_back_and_what_is_in_force_goes_on() {
    let [one] = Steered::start_all(["one"]).await;
    let config = web(&[one.address], "[telemetry]\nstatus_cache_ttl = \"0s\"\n");
    let weir = Weir::start(&config).await;
    let path = weir.config_path();
    let aside = path.with_extension("aside");
    let gone = format!("configuration file {} cannot be read for ", path.display());
    let why = ": No such file or directory (os error 2); what is in force goes on";
    let ways = async || {
        let (_, text) = weir.command(&["status"]).await;
        let (_, status) = weir.get_api("/api/status").await.unwrap();
        let (_, overview) = weir.get_api("/api/overview").await.unwrap();
        [text, status, overview]
    };
    assert!(!ways().await.concat().contains("cannot be read"));

    std::fs::rename(&path, &aside).unwrap();
    wait_until(&weir, "the file is gone in each", async || {
        let told = ways().await;
        told.iter()
            .all(|told| told.contains(&gone) && told.contains(why))
    })
    .await;
    let mut client = Client::connect(weir.ingress).await;
    assert_eq!(client.get("/").await.unwrap().text(), "one");

    std::fs::rename(&aside, &path).unwrap();
    wait_until(&weir, "the file is back", async || {
        !ways().await.concat().contains("cannot be read")
    })
    .await;
    assert_eq!(weir.metric("weir_config_revision").await, 1.0);
}
