//! The doctor asks real servers: who answers is in order, and who is stopped is named with effect and fix.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use weir_fakes::containers::Docker;
use weir_fakes::redis::Redis;

use crate::control_plane_etcd::etcd::Etcd;

async fn doctor(config: &Path, store: &str) -> (Output, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command
        .args([
            "doctor",
            "--config",
            config.to_str().unwrap(),
            "--store",
            store,
        ])
        .args(["--all", "--timeout", "2s", "-o", "json"]);
    let ran = tokio::task::spawn_blocking(move || command.output());
    let output = ran.await.unwrap().unwrap();
    let document = serde_json::from_slice(&output.stdout);
    let document = document.unwrap_or_else(|_| panic!("{output:?}"));
    (output, document)
}

fn finding<'a>(document: &'a Value, check: &str) -> &'a Value {
    let mut findings = document["findings"].as_array().unwrap().iter();
    let found = findings.find(|one| one["check"].as_str().unwrap().starts_with(check));
    found.unwrap_or_else(|| panic!("a finding of {check}: {document}"))
}

#[tokio::test]
async fn whoever_answers_is_in_order_and_whoever_is_stopped_is_named_with_effect_and_fix() {
    let docker = tokio::task::spawn_blocking(|| Docker::own().unwrap());
    let mut etcd = Etcd::start().await;
    let (mut redis, docker) = (Redis::start(), docker.await.unwrap());
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("node.toml");
    let socket = docker.socket().to_owned();
    let text = format!(
        "[redis]\nurl = \"{}\"\n[provision]\ndocker_socket = \"unix://{}\"\n[services.web.engines]\n\
         image = \"some:1\"\nnetwork = \"host\"\nmin = 1\nmax = 2\n[[routes]]\nservice = \"web\"\n",
        redis.url(),
        socket.display()
    );
    std::fs::write(&config, text).unwrap();
    let endpoint = etcd.endpoint();
    let store = endpoint.replace("http://", "etcd://");
    let asked = [
        (
            format!("Redis redis://127.0.0.1:{}", redis.port()),
            "redis.url",
        ),
        (format!("etcd {endpoint}"), "--store"),
        ("Docker ".to_owned(), "provision.docker_socket"),
    ];
    let (_, told) = doctor(&config, &store).await;
    for (check, _) in &asked {
        assert_eq!(finding(&told, check)["severity"], "ok", "{told}");
    }
    redis.kill();
    etcd.kill();
    docker.crash().unwrap();
    let (ended, told) = doctor(&config, &store).await;
    assert_eq!(ended.status.code(), Some(11), "{told}");
    for (check, key) in &asked {
        let found = finding(&told, check);
        assert_eq!(found["severity"], "error", "{found}");
        assert!(found["fix"].as_str().unwrap().contains(key), "{found}");
        assert!(!found["effect"].as_str().unwrap().is_empty(), "{found}");
    }
}
