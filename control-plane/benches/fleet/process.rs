//! The control plane under test, as a process.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::{Child, Command};
use tokio::time::{Duration, Instant, sleep};
use tonic::transport::{Channel, Endpoint};
use weir_proto::control::v1 as pb;
use weir_proto::control::v1::control_plane_client::ControlPlaneClient;

use super::PATIENCE;

const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Below the ports that the system gives to clients: a node that tries again while nobody listens must not be given
/// the port that it tries, which would connect it with itself.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
const PORTS_TRIED_MAX: usize = 100;

/// The process; it dies with this.
pub(super) struct ControlPlane {
    pub(super) address: SocketAddr,
    weir: PathBuf,
    data_dir: PathBuf,
    child: Child,
}

impl ControlPlane {
    /// Starts one on a free port, with an empty store in `data_dir`.
    pub(super) async fn start(weir: &Path, data_dir: &Path) -> Result<Self, String> {
        let address = free_address()?;
        let mut started = Self {
            address,
            weir: weir.to_owned(),
            data_dir: data_dir.to_owned(),
            child: spawn(weir, data_dir, address)?,
        };
        started.answers().await?;
        Ok(started)
    }

    /// Ends it as kill -9 does, and starts it again on what it had.
    pub(super) async fn restart(&mut self) -> Result<(), String> {
        let killed = self.child.kill().await;
        killed.map_err(|error| error.to_string())?;
        self.child = spawn(&self.weir, &self.data_dir, self.address)?;
        self.answers().await
    }

    /// A channel to it.
    pub(super) async fn channel(&self) -> Result<Channel, tonic::transport::Error> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address))?;
        endpoint.timeout(PATIENCE).connect().await
    }

    /// Resident memory in KiB.
    pub(super) fn resident_kib(&self) -> Result<u64, String> {
        let id = self.child.id().ok_or("it ended")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"));
        let status = status.map_err(|error| error.to_string())?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        kib.ok_or_else(|| "no VmRSS".to_owned())
    }

    /// Processor time that it used, in milliseconds.
    pub(super) fn cpu_ms(&self) -> Result<u64, String> {
        let id = self.child.id().ok_or("it ended")?;
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat"));
        let stat = stat.map_err(|error| error.to_string())?;
        let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let field = |at: usize| after_name.split(' ').nth(at)?.parse::<u64>().ok();
        // Fields 14 and 15 of proc(5), in ticks of 10 ms.
        let ticks = field(11).zip(field(12)).map(|(user, system)| user + system);
        ticks
            .map(|ticks| ticks * 10)
            .ok_or_else(|| "no times".to_owned())
    }

    async fn answers(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Ok(channel) = self.channel().await {
                let asked = ControlPlaneClient::new(channel)
                    .get_control_plane(pb::GetControlPlaneRequest {})
                    .await;
                if asked.is_ok_and(|told| !told.get_ref().epoch.is_empty()) {
                    return Ok(());
                }
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("the control plane ended: {status}"));
            }
            sleep(LOOK_INTERVAL).await;
        }
        Err("the control plane does not answer".to_owned())
    }
}

fn free_address() -> Result<SocketAddr, String> {
    let mut random = fastrand::Rng::new();
    for _ in 0..PORTS_TRIED_MAX {
        let address = SocketAddr::from(([127, 0, 0, 1], random.u16(PORTS)));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err("no free port was found".to_owned())
}

fn spawn(weir: &Path, data_dir: &Path, address: SocketAddr) -> Result<Child, String> {
    Command::new(weir)
        .args([
            "control-plane",
            "--listen",
            &address.to_string(),
            // Its end ends the child, should this be killed.
            "--stop-with-stdin",
            "--data-dir",
        ])
        .arg(data_dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{}: {error}", weir.display()))
}
