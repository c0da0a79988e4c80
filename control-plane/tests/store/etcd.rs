//! A real etcd process on free ports, with a folder of its own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use weir_control_plane::store::Store;
use weir_control_plane::store::etcd::{EtcdStore, Options};

const STARTS_MAX: usize = 5;

/// The process. It dies with this, and with the thread that started it.
pub(crate) struct Etcd {
    process: Child,
    folder: TempDir,
    data_dir: PathBuf,
    client_port: u16,
    peer_port: u16,
    quota_bytes: Option<u64>,
}

impl Etcd {
    /// Starts an empty one and waits until it answers.
    pub(crate) async fn start() -> Self {
        Self::start_with(None).await
    }

    /// The same; it takes no more than so many bytes.
    pub(crate) async fn start_with(quota_bytes: Option<u64>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut data_dir = folder.path().join("data");
        let (client_port, peer_port) = (free_port(), free_port());
        let mut etcd = Self {
            process: spawn_alone(&data_dir, client_port, peer_port, quota_bytes),
            folder,
            data_dir: data_dir.clone(),
            client_port,
            peer_port,
            quota_bytes,
        };
        // Another process may have taken a port meanwhile.
        for start in 1..=STARTS_MAX {
            if etcd.answers().await {
                return etcd;
            }
            etcd.kill();
            data_dir = etcd.folder.path().join(format!("data-{start}"));
            (etcd.client_port, etcd.peer_port) = (free_port(), free_port());
            etcd.data_dir.clone_from(&data_dir);
            etcd.process = etcd.spawn();
        }
        panic!("etcd did not start {STARTS_MAX} times");
    }

    /// Where clients find it.
    pub(crate) fn endpoint(&self) -> String {
        url(self.client_port)
    }

    /// Ends it as kill -9 does.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again on what it had.
    pub(crate) async fn start_again(&mut self) {
        self.process = self.spawn();
        assert!(self.answers().await, "etcd did not start again");
    }

    /// Stops its clock.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Saves a snapshot.
    pub(crate) fn save(&self) -> PathBuf {
        let file = self.folder.path().join("snapshot");
        etcdctl(
            &["--endpoints", &self.endpoint(), "snapshot", "save"],
            &file,
            &[],
        );
        file
    }

    /// Ends it and starts it on a snapshot: the same members, an older state.
    pub(crate) async fn restore(&mut self, snapshot: &Path) {
        self.kill();
        self.data_dir = self.folder.path().join("restored");
        let peer = url(self.peer_port);
        let cluster = format!("default={peer}");
        let data_dir = self.data_dir.to_str().unwrap();
        let rest = [
            "--data-dir",
            data_dir,
            "--initial-cluster",
            &cluster,
            "--initial-advertise-peer-urls",
            &peer,
        ];
        etcdctl(&["snapshot", "restore"], snapshot, &rest);
        self.start_again().await;
    }

    /// Forgets what was before now in its file too, and lets it take writes again.
    pub(crate) fn make_room(&self, revision: u64) {
        let endpoint = self.endpoint();
        let at = revision.to_string();
        for command in [&["compaction", &at][..], &["defrag"], &["alarm", "disarm"]] {
            let arguments = [&["--endpoints", &endpoint], command].concat();
            etcdctl(&arguments, Path::new(""), &[]);
        }
    }

    fn spawn(&self) -> Child {
        spawn_alone(
            &self.data_dir,
            self.client_port,
            self.peer_port,
            self.quota_bytes,
        )
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.process.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    async fn answers(&mut self) -> bool {
        let options = Options {
            call_limit: Duration::from_millis(500),
            ..Options::new(vec![self.endpoint()])
        };
        let store = EtcdStore::connect(options).await.unwrap();
        for _ in 0..400 {
            if self.process.try_wait().unwrap().is_some() {
                return false;
            }
            if store.status().await.is_ok_and(|status| status.healthy) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        false
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn_alone(
    data_dir: &Path,
    client_port: u16,
    peer_port: u16,
    quota_bytes: Option<u64>,
) -> Child {
    let members = format!("default={}", url(peer_port));
    let quota = quota_bytes.map(|bytes| ["--quota-backend-bytes".to_owned(), bytes.to_string()]);
    let mut command = command(data_dir, "default", client_port, peer_port, &members);
    start(command.args(quota.into_iter().flatten()))
}

/// Starts one member of a cluster.
pub(crate) fn spawn(
    data_dir: &Path,
    name: &str,
    client_port: u16,
    peer_port: u16,
    members: &str,
) -> Child {
    start(&mut command(
        data_dir,
        name,
        client_port,
        peer_port,
        members,
    ))
}

fn command(
    data_dir: &Path,
    name: &str,
    client_port: u16,
    peer_port: u16,
    members: &str,
) -> Command {
    let (client, peer) = (url(client_port), url(peer_port));
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "etcd", "--name", name])
        .args(["--data-dir", data_dir.to_str().unwrap()])
        .args(["--listen-client-urls", &client])
        .args(["--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer])
        .args(["--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", members])
        .args(["--heartbeat-interval", "20", "--election-timeout", "200"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn start(command: &mut Command) -> Child {
    command
        .spawn()
        .expect("these tests need etcd: apt-get install etcd-server etcd-client")
}

fn etcdctl(first: &[&str], file: &Path, rest: &[&str]) {
    let done = Command::new("etcdctl")
        .env("ETCDCTL_API", "3")
        .args(first)
        .args(Some(file).filter(|file| !file.as_os_str().is_empty()))
        .args(rest)
        .output()
        .expect("these tests need etcdctl: apt-get install etcd-client");
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
}

/// An address on this machine.
pub(crate) fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
