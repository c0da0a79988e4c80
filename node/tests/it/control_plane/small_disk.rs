//! A disk of 64 KiB, mounted where only the processes of one test see it.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::common::PATIENCE;

/// Mounts the disk, says so, and keeps it until standard input ends.
const HOLD: &str = "mount -t tmpfs -o size=64k,mode=700 tmpfs \"$1\" && echo mounted && exec cat";
/// What makes a namespace of mounts, and what enters it: for root, and for everybody.
const WAYS: [(&[&str], &[&str]); 2] = [
    (&["--mount"], &["--mount"]),
    (
        &["--mount", "--user", "--map-root-user"],
        &["--mount", "--user", "--preserve-credentials"],
    ),
];

/// The disk, which goes with the process that holds it, however the test ends.
pub struct SmallDisk {
    holder: Child,
    enter: &'static [&'static str],
    at: PathBuf,
}

impl SmallDisk {
    /// Mounts one at this folder. A test that cannot have one fails and says what is missing.
    pub async fn at(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let mut said = Vec::new();
        for (make, enter) in WAYS {
            match hold(make, folder).await {
                Ok(holder) => {
                    return Self {
                        holder,
                        enter,
                        at: folder.to_owned(),
                    };
                }
                Err(why) => said.push(format!("unshare {}: {why}", make.join(" "))),
            }
        }
        panic!(
            "no disk can be filled here: `unshare` and `nsenter` of util-linux are needed, and either root with \
             CAP_SYS_ADMIN or user namespaces for everybody (user.max_user_namespaces, \
             kernel.apparmor_restrict_unprivileged_userns): {said:#?}"
        )
    }

    /// What a process must be started through to see it.
    pub fn enter(&self) -> Vec<String> {
        let target = format!("--target={}", self.pid());
        let enter = ["nsenter", &target].into_iter();
        enter
            .chain(self.enter.iter().copied())
            .map(str::to_owned)
            .collect()
    }

    /// The folder, as the test reaches it from outside.
    pub fn path(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.pid()));
        root.join(self.at.strip_prefix("/").unwrap())
    }

    fn pid(&self) -> u32 {
        self.holder.id().expect("it is held")
    }
}

async fn hold(make: &[&str], folder: &Path) -> Result<Child, String> {
    let mut holder = Command::new("unshare")
        .args(make)
        .args(["sh", "-c", HOLD, "sh"])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut stdout = holder.stdout.take().unwrap();
    let mut word = [0; b"mounted".len()];
    let mounted = timeout(PATIENCE, stdout.read_exact(&mut word)).await;
    if mounted.is_ok_and(|read| read.is_ok()) {
        return Ok(holder);
    }
    let ended = timeout(PATIENCE, holder.wait_with_output()).await;
    let ended = ended.map_err(|_| "it does not mount, nor end".to_owned())?;
    Err(String::from_utf8_lossy(&ended.unwrap().stderr).into_owned())
}
