//! The control plane of the mesh as a process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tonic::transport::Endpoint;
use weir_proto::control::v1::GetControlPlaneRequest;
use weir_proto::control::v1::control_plane_client::ControlPlaneClient;

use super::process::Process;
use super::processes::{Plan, did_not_start, start_control_plane};
use crate::cli::output::Failure;

/// How long it may take until it answers.
const READY_TIMEOUT: Duration = Duration::from_secs(20);
const READY_LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// The control plane.
pub(super) struct ControlPlaneProcess {
    pub(super) listen: SocketAddr,
    log: PathBuf,
    pub(super) process: Option<Process>,
}

impl ControlPlaneProcess {
    /// One that does not run yet.
    pub(super) fn new(listen: SocketAddr, log: PathBuf) -> Self {
        Self {
            listen,
            log,
            process: None,
        }
    }

    pub(super) fn start(&mut self, plan: &Plan) -> Result<(), Failure> {
        self.process = Some(start_control_plane(self.listen, plan, &self.log)?);
        Ok(())
    }

    /// Waits until it has read its store; fails with the last line it wrote when it ends before.
    pub(super) async fn ready(&mut self) -> Result<(), Failure> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.listen))
            .map_err(|error| Failure::Other(error.to_string()))?;
        let mut client = ControlPlaneClient::new(endpoint.connect_lazy());
        let reads = async {
            loop {
                let asked = client.get_control_plane(GetControlPlaneRequest {}).await;
                if asked.is_ok_and(|told| !told.get_ref().epoch.is_empty()) {
                    return;
                }
                sleep(READY_LOOK_INTERVAL).await;
            }
        };
        let process = self.process.as_mut().expect("it was started");
        let ended = tokio::select! {
            biased;
            how = process.ended() => Some(how),
            read = timeout(READY_TIMEOUT, reads) => match read {
                Ok(()) => return Ok(()),
                Err(_) => None,
            },
        };
        Err(did_not_start("the control plane", ended, &self.log))
    }
}
