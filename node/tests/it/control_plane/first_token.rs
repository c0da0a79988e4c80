//! A control plane that asks for tokens and has none.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use super::plane::ControlPlane;
use crate::common::{PATIENCE, free_ports};

async fn start(folder: &Path, address: &str) -> (Option<i32>, String) {
    let child = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["control-plane", "--access", "tokens", "--listen", address])
        .arg("--data-dir")
        .arg(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(PATIENCE, child).await.expect("it ends").unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[tokio::test]
async fn without_an_administrators_token_it_does_not_start_and_says_how_to_get_one() {
    let folder = tempfile::tempdir().unwrap();
    let [address] = free_ports();
    let (code, told) = start(folder.path(), &address.to_string()).await;
    assert_eq!(code, Some(2), "{told}");
    let line = told.lines().last().unwrap();
    assert_eq!(
        line,
        format!(
            "weir: --access tokens: the store has no administrator's token, so nobody could come in; start with \
             --bootstrap-token-file FILE, which puts the first administrator's token into FILE, and make others \
             with `weir control-plane token create NAME --role ROLE --token-file FILE --control-plane {address}`"
        )
    );
}

#[tokio::test]
async fn what_it_says_how_to_do_works() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("first");
    let file = file.to_str().unwrap();
    let flags = ["--access", "tokens", "--bootstrap-token-file", file];
    let plane = ControlPlane::spawn(&flags);
    let command = "weir control-plane token create NAME --role ROLE --token-file ";
    let deadline = Instant::now() + PATIENCE;
    while !plane.log().contains("control plane ready") {
        assert!(Instant::now() < deadline, "{}", plane.log());
        sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(
        plane.log().contains(&format!("{command}{file}")),
        "{}",
        plane.log()
    );
    let create = [
        "control-plane",
        "token",
        "create",
        "ana",
        "--role",
        "admin",
        "--token-file",
        file,
    ];
    let token = plane.weir(&create).await.done();
    assert!(token.starts_with("weir_"), "{token}");
    let other = folder.path().join("ana");
    std::fs::write(&other, token).unwrap();
    let list = [
        "control-plane",
        "token",
        "list",
        "--token-file",
        other.to_str().unwrap(),
    ];
    let listed = plane.weir(&list).await.done();
    assert!(
        listed.contains("ana") && listed.contains("bootstrap"),
        "{listed}"
    );
}
