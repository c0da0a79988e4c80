//! A Docker daemon that lives no longer than its test.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::client;

const PREFIX: &str = "weir-docker-";
const START_LIMIT: Duration = Duration::from_secs(30);
const END_LIMIT: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const CGROUPS: &str = "/sys/fs/cgroup";
const LOG_LINES_TOLD: usize = 12;

/// `$1` is its folder, `$2` its cgroup. As the first process of its own process space this shell reaps, and all that
/// containers are made of ends with it; what they write ends with its mounts.
const SCRIPT: &str = r#"
mount -t tmpfs weir "$1/state" || exit 1
while :; do
    rm -f "$1/state/pid"
    dockerd --host "unix://$1/docker.sock" --data-root "$1/state/root" --exec-root "$1/state/exec" \
        --pidfile "$1/state/pid" --cgroup-parent "$2" --iptables=false --ip6tables=false --bridge=none \
        --live-restore >>"$1/log" 2>&1 &
    wait $!
    [ -e "$1/away" ] || exit
    while [ -e "$1/away" ]; do sleep 0.05; done
done
"#;
/// While this file is in its folder a daemon that ended stays away, and its containers live on.
const AWAY: &str = "away";

static STARTED: AtomicU32 = AtomicU32::new(0);

/// Ends when dropped, and when this process ends in any way.
pub(super) struct Daemon {
    folder: PathBuf,
    end: Option<Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

impl Daemon {
    pub(super) fn start() -> Result<Self, String> {
        sweep();
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}", process::id());
        let folder = std::env::temp_dir().join(&name);
        fs::create_dir_all(folder.join("state"))
            .map_err(|error| format!("{}: {error}", folder.display()))?;
        let (end, ended) = channel();
        let (tell, told) = channel();
        let keeper = thread::spawn({
            let folder = folder.clone();
            move || keep(&folder, &name, &tell, &ended)
        });
        let daemon = Self {
            folder,
            end: Some(end),
            keeper: Some(keeper),
        };
        told.recv()
            .map_err(|_| "the keeper of dockerd ended".to_owned())??;
        Ok(daemon)
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.folder.join("docker.sock")
    }

    /// Ends it as a crash would, until [`Self::come_back`].
    pub(super) fn crash(&self) -> Result<(), String> {
        let away = self.folder.join(AWAY);
        fs::write(&away, "").map_err(|error| format!("{}: {error}", away.display()))?;
        self.signal("KILL")?;
        let ended = || self.pid().is_none();
        within(END_LIMIT, ended)
            .then_some(())
            .ok_or("dockerd did not end".to_owned())
    }

    pub(super) fn come_back(&self) -> Result<(), String> {
        let away = self.folder.join(AWAY);
        fs::remove_file(&away).map_err(|error| format!("{}: {error}", away.display()))?;
        let answers = || client::answers(&self.socket());
        let back = within(START_LIMIT, answers).then_some(());
        back.ok_or_else(|| why(&self.folder, "did not come back"))
    }

    /// Sends the daemon a signal, and nobody else.
    pub(super) fn signal(&self, signal: &str) -> Result<(), String> {
        let pid = self.pid().ok_or("dockerd does not run")?;
        let sent = Command::new("kill")
            .args([format!("-{signal}"), pid])
            .status();
        match sent {
            Ok(status) if status.success() => Ok(()),
            other => Err(format!("dockerd was not sent {signal}: {other:?}")),
        }
    }

    /// The daemon's number outside of its own process space, found by the socket that it was told.
    fn pid(&self) -> Option<String> {
        let host = format!("unix://{}", self.socket().display());
        let all = fs::read_dir("/proc").into_iter().flatten().flatten();
        let mut numbers = all.filter_map(|entry| entry.file_name().into_string().ok());
        numbers.find(|pid| {
            let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            words
                .split(|byte| *byte == 0)
                .any(|word| word == host.as_bytes())
        })
    }
}

fn within(limit: Duration, is_so: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    while !is_so() {
        if begun.elapsed() >= limit {
            return false;
        }
        thread::sleep(LOOK_AGAIN);
    }
    true
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
        remove(&self.folder);
    }
}

/// The death signal comes when the thread ends that started the daemon, so one thread stays for as long as it.
fn keep(folder: &Path, name: &str, tell: &Sender<Result<(), String>>, ended: &Receiver<()>) {
    let mut child = match spawn(folder, name) {
        Ok(child) => child,
        Err(error) => {
            let _ = tell.send(Err(format!(
                "dockerd cannot be started with setpriv and unshare: {error}"
            )));
            return;
        }
    };
    let ready = wait_until_ready(folder, &mut child);
    if tell.send(ready).is_ok() {
        // Nothing is sent: the other end goes away.
        let _ = ended.recv();
    }
    let _ = child.kill();
    let _ = child.wait();
}

fn spawn(folder: &Path, name: &str) -> io::Result<Child> {
    Command::new("setpriv")
        .args([
            "--pdeathsig",
            "KILL",
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child=KILL",
            "--mount-proc",
        ])
        .args(["sh", "-c", SCRIPT, "dockerd"])
        .arg(folder)
        .arg(format!("/{name}"))
        .env_remove("DOCKER_HOST")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(folder.join("start"))?)
        .spawn()
}

fn wait_until_ready(folder: &Path, child: &mut Child) -> Result<(), String> {
    let begun = Instant::now();
    while begun.elapsed() < START_LIMIT {
        if client::answers(&folder.join("docker.sock")) {
            return Ok(());
        }
        match child.try_wait() {
            Ok(None) => thread::sleep(LOOK_AGAIN),
            _ => return Err(why(folder, "ended")),
        }
    }
    Err(why(
        folder,
        &format!("did not answer within {START_LIMIT:?}"),
    ))
}

fn why(folder: &Path, what: &str) -> String {
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
    let said = read("start") + &read("log");
    let lines: Vec<&str> = said.lines().rev().take(LOG_LINES_TOLD).collect();
    let last: Vec<&str> = lines.into_iter().rev().collect();
    format!(
        "this test needs Docker: none answers, and one of its own {what}; that needs root and the packages docker.io \
         and util-linux (`make setup-test` installs them). It said:\n{}",
        last.join("\n")
    )
}

/// Folders and cgroups of processes that were killed.
fn sweep() {
    for entry in fs::read_dir(std::env::temp_dir())
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.split_once('-'));
        if owner.is_some_and(|(pid, _)| !Path::new("/proc").join(pid).exists()) {
            remove(&entry.path());
        }
    }
}

/// Of a daemon that was sent its end. The folder goes last: by its name whoever sweeps finds the cgroups.
fn remove(folder: &Path) {
    // The kernel ends a process space in its own time, and no cgroup goes before its last process.
    within(END_LIMIT, || remove_cgroups(folder));
    let _ = fs::remove_dir_all(folder);
}

/// The daemon's and its containers', in each hierarchy (version 1) or in the one (version 2). Whether none is left.
fn remove_cgroups(folder: &Path) -> bool {
    let Some(name) = folder.file_name() else {
        return true;
    };
    let entries = fs::read_dir(CGROUPS).into_iter().flatten().flatten();
    let hierarchies = entries.map(|entry| entry.path()).chain([CGROUPS.into()]);
    hierarchies.fold(true, |gone, hierarchy| {
        let cgroup = hierarchy.join(name);
        remove_folders(&cgroup);
        gone && !cgroup.exists()
    })
}

/// Files of a cgroup go with its folder.
fn remove_folders(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_folders(&entry.path());
    }
    let _ = fs::remove_dir(folder);
}
