//! A Docker of a test's own and what is left of it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "tests may panic, and wait for processes"
)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use weir_fakes::containers::Docker;

const EVENTUALLY: Duration = Duration::from_secs(20);

/// Starts an engine that `mark` tells from all others.
fn run_engine(docker: &Docker, mark: &str) {
    let image = docker.image_of("fake-engine").unwrap();
    let body = format!(
        r#"{{"Image":"{image}","Cmd":["--http-port=0","{mark}"],"HostConfig":{{"NetworkMode":"none","Init":true}}}}"#
    );
    let created = docker
        .ask("POST", "/containers/create?name=engine", body.as_bytes())
        .unwrap();
    assert_eq!(created.status, 201, "{created:?}");
    let started = docker.ask("POST", "/containers/engine/start", &[]).unwrap();
    assert_eq!(started.status, 204, "{started:?}");
}

/// Processes whose command holds this.
fn processes(part: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let commands = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let commands = commands.map(|command| String::from_utf8_lossy(&command).replace('\0', " "));
    commands.filter(|command| command.contains(part)).collect()
}

fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(
            begun.elapsed() < EVENTUALLY,
            "not within {EVENTUALLY:?}: {what}"
        );
        thread::sleep(Duration::from_millis(20));
    }
}

fn cgroups(folder: &Path) -> Vec<PathBuf> {
    let name = folder.file_name().unwrap();
    let hierarchies = fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
    let all = hierarchies.map(|entry| entry.path().join(name));
    all.filter(|path| path.exists()).collect()
}

#[test]
fn nothing_is_left_of_a_docker_that_is_let_go() {
    let docker = Docker::own().unwrap();
    let folder = docker.socket().parent().unwrap().to_owned();
    run_engine(&docker, "--let-go");
    eventually("the engine runs", || {
        !processes("/fake-engine --http-port=0 --let-go").is_empty()
    });
    drop(docker);
    assert_eq!(processes("--let-go"), [""; 0]);
    let path = folder.to_str().unwrap();
    eventually("the daemon has ended", || processes(path).is_empty());
    assert!(!folder.exists());
    assert_eq!(cgroups(&folder), [""; 0].map(PathBuf::from));
}

#[test]
#[ignore = "is the process that another test kills"]
fn holds_a_docker() {
    let docker = Docker::own().unwrap();
    run_engine(&docker, "--to-be-killed");
    println!("socket={}", docker.socket().display());
    loop {
        thread::park();
    }
}

#[test]
fn nothing_runs_on_when_a_process_with_a_docker_is_killed_and_the_next_one_sweeps_up() {
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "holds_a_docker", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let line = lines
        .find_map(|line| {
            line.split_once("socket=")
                .map(|(_, socket)| socket.to_owned())
        })
        .unwrap();
    let folder = Path::new(&line).parent().unwrap().to_owned();
    let path = folder.to_str().unwrap();
    eventually("the engine runs", || {
        !processes("--to-be-killed").is_empty()
    });
    assert_ne!(processes(path), [""; 0]);

    holder.kill().unwrap();
    holder.wait().unwrap();
    eventually("all have ended", || {
        processes("--to-be-killed").is_empty() && processes(path).is_empty()
    });
    drop(Docker::own().unwrap());
    assert!(!folder.exists());
    assert_eq!(cgroups(&folder), [""; 0].map(PathBuf::from));
}

#[test]
fn a_machine_without_dockerd_is_told_what_it_lacks() {
    let mut probe = Command::new(std::env::current_exe().unwrap());
    probe.args(["--ignored", "--exact", "holds_a_docker", "--nocapture"]);
    // A path with what the script needs before dockerd, and no more.
    let folder = std::env::temp_dir().join(format!("weir-path-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    for program in ["setpriv", "unshare", "sh", "mount"] {
        let found =
            ["/usr/bin", "/bin", "/usr/sbin", "/sbin"].map(|bin| Path::new(bin).join(program));
        let found = found.iter().find(|path| path.exists()).unwrap();
        std::os::unix::fs::symlink(found, folder.join(program)).unwrap();
    }
    let output = probe.env("PATH", &folder).output().unwrap();
    fs::remove_dir_all(&folder).unwrap();
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success());
    assert!(
        said.contains("this test needs Docker") && said.contains("dockerd: not found"),
        "{said}"
    );
}
