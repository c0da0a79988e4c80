//! The doctor names what is wrong, what comes of it and what mends it, and ends with a code that says how grave it is.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::docs::commands_of_the_readme;

/// Runs the doctor on this configuration.
fn doctor(folder: &Path, config: &str, arguments: &[&str]) -> Output {
    let path = folder.join("node.toml");
    std::fs::write(&path, config).unwrap();
    Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["doctor", "--config", path.to_str().unwrap()])
        .args(arguments)
        .env_remove("WEIR_STORE")
        .output()
        .unwrap()
}

fn finding<'a>(document: &'a Value, check: &str) -> &'a Value {
    let findings = document["findings"].as_array().unwrap();
    let found = findings.iter().find(|finding| {
        let name = finding["check"].as_str().unwrap();
        name.starts_with(check)
    });
    found.unwrap_or_else(|| panic!("a finding of {check}: {document}"))
}

/// A port at which nobody listens.
fn dead() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[test]
fn who_does_not_answer_is_named_with_effect_and_fix_and_decides_the_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let (redis, etcd) = (dead(), dead());
    // These two take connections and say nothing.
    let [vpn, collector] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [vpn_at, collector_at] = [&vpn, &collector].map(|silent| silent.local_addr().unwrap());
    let config = format!(
        "[node]\ndata_dir = \"{}\"\n[redis]\nurl = \"redis://:hunter2@{redis}\"\n\
         [vpns.nl]\ncontrol_url = \"http://{vpn_at}\"\n[telemetry]\notlp = \"http://{collector_at}\"\n",
        folder.path().display()
    );
    let store = format!("etcd://{etcd}");
    let began = Instant::now();
    let arguments = ["--store", &store, "--timeout", "1s", "-o", "json"];
    let ended = doctor(folder.path(), &config, &arguments);
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "all are asked at once"
    );
    assert_eq!(ended.status.code(), Some(11), "{ended:?}");
    let text = String::from_utf8(ended.stdout).unwrap();
    assert!(!text.contains("hunter2"), "{text}");
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["worst"], "error");
    for (check, severity, named) in [
        (format!("Redis redis://{redis}"), "error", "redis.url"),
        (format!("etcd http://{etcd}"), "error", "--store"),
        (
            format!("Gluetun http://{vpn_at}"),
            "error",
            "vpns.nl.control_url",
        ),
        (
            format!("OTLP collector http://{collector_at}"),
            "warning",
            "telemetry.otlp",
        ),
    ] {
        let found = finding(&document, &check);
        assert_eq!(found["severity"], severity, "{found}");
        assert!(found["fix"].as_str().unwrap().contains(named), "{found}");
        assert!(!found["effect"].as_str().unwrap().is_empty(), "{found}");
    }
    assert_eq!(finding(&document, "node.data_dir")["severity"], "ok");
    finding(&document, "RLIMIT_NOFILE");
    finding(&document, "net.core.somaxconn");
}

#[test]
fn a_file_for_sysctl_holds_just_what_the_findings_say() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("90-weir.conf");
    let arguments = [
        "--profile",
        "high-traffic",
        "-o",
        "json",
        "--write-sysctl",
        path.to_str().unwrap(),
    ];
    let ended = doctor(folder.path(), "", &arguments);
    assert!(matches!(ended.status.code(), Some(0 | 10)), "{ended:?}");
    let document: Value = serde_json::from_slice(&ended.stdout).unwrap();
    let findings = document["findings"].as_array().unwrap();
    let expected: Vec<&str> = findings
        .iter()
        .filter_map(|finding| finding["sysctl"].as_str())
        .collect();
    let written = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = written
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    assert_eq!(lines, expected);
    let again = doctor(folder.path(), "", &arguments);
    assert_eq!(again.status.code(), Some(2), "{again:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), written);
}

#[test]
fn every_command_of_the_readme_looks() {
    let commands = commands_of_the_readme(&["doctor"]);
    assert!(commands.len() >= 4, "{commands:?}");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("node.toml"), "").unwrap();
    for command in commands {
        let ran = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(&command)
            .current_dir(folder.path())
            .output()
            .unwrap();
        let code = ran.status.code();
        assert!(
            matches!(code, Some(0 | 10 | 11)),
            "weir {command:?}: {ran:?}"
        );
    }
}

#[test]
fn what_cannot_be_looked_at_ends_as_with_other_commands() {
    let folder = tempfile::tempdir().unwrap();
    let code =
        |config: &str, arguments: &[&str]| doctor(folder.path(), config, arguments).status.code();
    assert_eq!(code("[node]\ncores = 0\n", &[]), Some(64));
    assert_eq!(code("", &["--profile", "none"]), Some(2));
    assert_eq!(code("", &["--store", "etcd://"]), Some(2));
    assert_eq!(code("", &["--timeout", "1h"]), Some(2));
    assert_eq!(code("", &["--force"]), Some(2));
}
