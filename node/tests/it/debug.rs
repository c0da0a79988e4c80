//! What a running node does is told to whoever shows the token, and to nobody else.

use std::collections::BTreeSet;

use prost::Message as _;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;
use weir_node::debug_api::pprof::Profile;

use crate::common::{Backend, PATIENCE, Weir, web};
use crate::leaks::resident_bytes;
use crate::operator::wait_until;

/// What a node may have more after a profile than before: the sampler's table, in huge pages, and some more.
const KEPT_BYTES_MAX: u64 = 128 << 20;

const PATHS: [&str; 5] = [
    "/debug/profile/cpu?seconds=1",
    "/debug/heap",
    "/debug/heap/profile",
    "/debug/actors",
    "/debug/tasks",
];

/// Status and body of a path for whoever shows this token.
async fn get(node: &Weir, path: &str, token: Option<&str>) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(node.api).await.unwrap();
    let token = token.map_or_else(String::new, |token| {
        format!("Authorization: Bearer {token}\r\n")
    });
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{token}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    read.expect("it answers").unwrap();
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap();
    let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
    (status, answer.split_off(end + 4))
}

#[tokio::test]
async fn nothing_is_told_without_the_token_and_the_key_is_named_that_allows_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "s3cret\n").unwrap();
    let node = Weir::start(&format!("[debug]\ntoken = \"file:{}\"\n", file.display())).await;
    for path in PATHS {
        for token in [None, Some("wrong"), Some(""), Some("s3cre")] {
            let (status, body) = get(&node, path, token).await;
            let body = String::from_utf8_lossy(&body).into_owned();
            assert!(
                status == 401 && !body.contains("s3cret"),
                "{path} {token:?}: {status} {body}"
            );
        }
    }
    for path in ["/debug/heap", "/debug/actors", "/debug/tasks"] {
        assert_eq!(get(&node, path, Some("s3cret")).await.0, 200, "{path}");
    }
    wrong_questions_are_told_what_is_allowed(&node).await;
    // Without the key nothing is told, whatever is shown; it applies live.
    node.edit("");
    let refused = timeout(PATIENCE, async {
        loop {
            let (status, body) = get(&node, "/debug/actors", Some("s3cret")).await;
            if status == 403 {
                return String::from_utf8(body).unwrap();
            }
        }
    });
    assert!(
        refused
            .await
            .expect("it is taken back")
            .contains("debug.token")
    );
}

async fn wrong_questions_are_told_what_is_allowed(node: &Weir) {
    let (cpu, heap) = ("/debug/profile/cpu", "/debug/heap/profile");
    for (path, query, told) in [
        (cpu, "seconds=0", "1 to 600"),
        (cpu, "seconds=601", "1 to 600"),
        (cpu, "seconds=x", "1 to 600"),
        (cpu, "format=png", "svg or pprof"),
        (heap, "seconds=0", "1 to 600"),
        (heap, "seconds=601", "1 to 600"),
        (heap, "seconds=1&interval=65535", "65536 to 1073741824"),
        (heap, "seconds=1&interval=1073741825", "65536 to 1073741824"),
        (heap, "seconds=1&interval=-1", "65536 to 1073741824"),
        (heap, "seconds=1&show=leaks", "in_use or allocated"),
        (heap, "format=png", "svg or pprof"),
        (heap, "second=1", "seconds=1 to 600"),
        // Nothing is sampled all the time unless somebody says so.
        (heap, "", "telemetry.heap_sample_interval"),
    ] {
        let (status, body) = get(node, &format!("{path}?{query}"), Some("s3cret")).await;
        let body = String::from_utf8_lossy(&body).into_owned();
        assert!(
            status == 400 && body.contains(told),
            "{path} {query}: {status} {body}"
        );
    }
}

#[tokio::test]
async fn where_the_api_has_a_token_too_each_opens_its_own_part() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "of-debug").unwrap();
    let config = format!("[debug]\ntoken = \"file:{}\"\n", file.display());
    let of_all = [("WEIR_HTTP_API__TOKEN", "env:OF_ALL"), ("OF_ALL", "of-all")];
    let node = Weir::start_in("", &config, &of_all).await;
    for (path, its, of_others) in [
        ("/debug/actors", "of-debug", "of-all"),
        ("/api/status", "of-all", "of-debug"),
    ] {
        assert_eq!(get(&node, path, Some(its)).await.0, 200, "{path}");
        assert_eq!(get(&node, path, Some(of_others)).await.0, 401, "{path}");
        assert_eq!(get(&node, path, None).await.0, 401, "{path}");
    }
}

/// Requests to a node for as long as it is held.
fn load(node: &Weir) -> Child {
    let url = format!("http://{}/", node.ingress);
    Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["bench", &url, "--rate", "1500", "--duration", "30s"])
        .args(["--connections", "16"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// A node with demo traffic's backend, whose token is `s3cret`.
async fn with_token(backend: &Backend, folder: &std::path::Path) -> Weir {
    let file = folder.join("token");
    std::fs::write(&file, "s3cret").unwrap();
    let (web, file) = (web(&[backend.address], ""), file.display());
    Weir::start(&format!("{web}\n[debug]\ntoken = \"file:{file}\"\n")).await
}

#[tokio::test]
async fn a_profile_under_load_is_a_flame_graph_and_a_profile_for_pprof() {
    let backend = Backend::start("one").await;
    let folder = tempfile::tempdir().unwrap();
    let node = with_token(&backend, folder.path()).await;
    let mut load = load(&node);
    node.wait_for_metric("weir_requests_in_flight", |count| count > 0.0)
        .await;
    let pprof = async || {
        let path = "/debug/profile/cpu?seconds=1&format=pprof";
        get(&node, path, Some("s3cret")).await
    };
    let (one, other) = futures::join!(pprof(), pprof());
    let (taken, refused) = if one.0 == 200 {
        (one, other)
    } else {
        (other, one)
    };
    assert_eq!((taken.0, refused.0), (200, 409), "one at a time");
    assert_is_of_the_cores(&Profile::decode(taken.1.as_slice()).unwrap());
    assert_is_drawn(&node, &folder.path().join("cpu.svg")).await;
    let (_, tasks) = get(&node, "/debug/tasks", Some("s3cret")).await;
    let tasks: Value = serde_json::from_slice(&tasks).unwrap();
    let all = tasks.as_array().unwrap().iter();
    let names: Vec<_> = all.map(|one| &one["name"]).collect();
    assert_eq!(names, ["control", "core-0", "core-1"]);
    assert!(tasks[1]["busy_seconds"].as_f64() > Some(0.0), "{tasks}");
    let (_, actors) = get(&node, "/debug/actors", Some("s3cret")).await;
    let actors: Value = serde_json::from_slice(&actors).unwrap();
    assert_every_actor_is_told(&actors);
    load.kill().await.unwrap();
}

fn assert_is_of_the_cores(profile: &Profile) {
    let samples = profile.sample.iter();
    let calls: BTreeSet<&str> = samples.flat_map(|one| profile.calls(one)).collect();
    let has = |is: fn(&str) -> bool| calls.iter().any(|call| is(call));
    assert!(has(|call| call.starts_with("core-")), "{calls:?}");
    assert!(has(|call| call.contains("weir_node")), "{calls:?}");
}

async fn assert_is_drawn(node: &Weir, file: &std::path::Path) {
    let (svg, api) = (file.to_str().unwrap(), node.api.to_string());
    let written = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["debug", "cpu", "--seconds", "1", "--file", svg])
        .args(["--node", &api])
        .env("WEIR_DEBUG_TOKEN", "s3cret")
        .output();
    let written = written.await.unwrap();
    assert!(written.status.success(), "{written:?}");
    let svg = std::fs::read_to_string(file).unwrap();
    assert!(svg.starts_with("<svg "), "{svg}");
    assert!(svg.contains("<title>core-"), "{svg}");
}

/// The sum of each kind over samples with such a call.
#[tokio::test]
async fn what_names_of_calls_take_is_given_back_after_a_profile() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "s3cret\n").unwrap();
    let node = Weir::start(&format!("[debug]\ntoken = \"file:{}\"\n", file.display())).await;
    let before = resident_bytes(&node);
    for path in [
        "/debug/profile/cpu?seconds=1",
        "/debug/heap/profile?seconds=1",
    ] {
        let (status, _) = get(&node, path, Some("s3cret")).await;
        assert_eq!(status, 200, "{path}");
        wait_until(&node, "its memory is given back", async || {
            resident_bytes(&node) < before + KEPT_BYTES_MAX
        })
        .await;
    }
}

fn sums(profile: &Profile, call: &str) -> [i64; 4] {
    let mut sums = [0; 4];
    for sample in &profile.sample {
        if profile.calls(sample).any(|one| one.contains(call)) {
            let all = sums.iter_mut().zip(&sample.value);
            all.for_each(|(sum, value)| *sum += value);
        }
    }
    sums
}

async fn heap_profile(node: &Weir, query: &str) -> Profile {
    let path = format!("/debug/heap/profile?format=pprof&{query}");
    let (status, body) = get(node, &path, Some("s3cret")).await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    let profile = Profile::decode(body.as_slice()).unwrap();
    let kinds: Vec<_> = profile.kinds().collect();
    let expected = [
        "inuse_objects",
        "inuse_space",
        "alloc_objects",
        "alloc_space",
    ];
    assert_eq!(kinds, expected);
    profile
}

#[tokio::test]
async fn a_heap_profile_under_load_says_who_allocates_and_what_is_in_use() {
    let backend = Backend::start("one").await;
    let folder = tempfile::tempdir().unwrap();
    let node = with_token(&backend, folder.path()).await;
    let mut load = load(&node);
    node.wait_for_metric("weir_requests_in_flight", |count| count > 0.0)
        .await;
    // Who gives up does not keep others from it.
    let mut given_up = TcpStream::connect(node.api).await.unwrap();
    let question = "GET /debug/heap/profile?seconds=600 HTTP/1.1\r\nHost: localhost\r\n\
                    Authorization: Bearer s3cret\r\n\r\n";
    given_up.write_all(question.as_bytes()).await.unwrap();
    let busy = timeout(PATIENCE, async {
        while get(&node, "/debug/profile/cpu?seconds=1", Some("s3cret"))
            .await
            .0
            != 409
        {}
    });
    busy.await.expect("one at a time, whatever of");
    drop(given_up);
    let free = timeout(PATIENCE, async {
        // With hardly a sample, so that no names have to be found.
        let path = "/debug/heap/profile?seconds=1&interval=1073741824";
        while get(&node, path, Some("s3cret")).await.0 != 200 {}
    });
    free.await.expect("it ends with who asked");
    let profile = heap_profile(&node, "seconds=2&interval=65536").await;
    let [in_use, _, objects, bytes] = sums(&profile, "weir_node::");
    assert!(objects > 100 && bytes > 10_000, "{objects} {bytes}");
    assert!(in_use < objects, "requests free what they allocate");
    assert_eq!(
        sums(&profile, "weir_heap::"),
        [0; 4],
        "of the callers alone"
    );
    assert_eq!(profile.period, 65_536);
    assert_heap_is_drawn(&node, &folder.path().join("heap.svg")).await;
    load.kill().await.unwrap();
}

async fn assert_heap_is_drawn(node: &Weir, file: &std::path::Path) {
    let (svg, api) = (file.to_str().unwrap(), node.api.to_string());
    let written = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["debug", "heap-profile", "--seconds", "1", "--file", svg])
        .args(["--show", "allocated", "--interval", "64KiB"])
        .args(["--node", &api])
        .env("WEIR_DEBUG_TOKEN", "s3cret")
        .output();
    let written = written.await.unwrap();
    assert!(written.status.success(), "{written:?}");
    let svg = std::fs::read_to_string(file).unwrap();
    let title = "bytes allocated in 1 s, one sample in 64KiB";
    assert!(svg.contains(title) && svg.contains("weir_node::"), "{svg}");
}

#[tokio::test]
async fn what_lives_since_the_start_is_told_while_samples_are_always_taken() {
    let backend = Backend::start("one").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "s3cret").unwrap();
    let config = format!(
        "{}\n[debug]\ntoken = \"file:{}\"\n[telemetry]\nheap_sample_interval = \"64KiB\"\n",
        web(&[backend.address], ""),
        file.display()
    );
    let node = Weir::start(&config).await;
    node.get("/").await;
    let profile = heap_profile(&node, "").await;
    let [_, in_use, _, bytes] = sums(&profile, "weir_node::");
    assert!(in_use > 10_000 && bytes >= in_use, "{in_use} {bytes}");
    assert_eq!(profile.duration_nanos, 0);
    // It is live: off, there is nothing to tell.
    node.edit(&config.replace("64KiB", "0B"));
    let off = timeout(PATIENCE, async {
        while get(&node, "/debug/heap/profile", Some("s3cret")).await.0 != 400 {}
    });
    off.await.expect("it is switched off");
}

fn assert_every_actor_is_told(actors: &Value) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/actors");
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let folders = entries.filter(|entry| entry.path().is_dir());
    let expected: BTreeSet<String> = folders
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    let told = actors.as_array().unwrap().iter();
    let told: BTreeSet<String> = told
        .map(|one| one["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(told, expected);
    for actor in actors.as_array().unwrap() {
        assert!(
            actor["bound"].as_u64() > Some(0) && actor["restarts"] == 0,
            "{actor}"
        );
    }
    let config_agent = |key: &str| {
        let all = actors.as_array().unwrap();
        all.iter()
            .find(|one| one["name"] == "load_balancer")
            .unwrap()[key]
            .as_u64()
    };
    assert!(config_agent("handled") > Some(0), "{actors}");
}
