//! One node of the mesh as a process.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tonic::transport::{Channel, Endpoint};
use weir_core::units::format_rough;
use weir_proto::node::v1::node_client::NodeClient;
use weir_proto::node::v1::{ControlLink, GetStatusRequest, Status};

use super::process::Process;
use super::processes::{Place, Plan, did_not_start, start_node};
use crate::cli::output::Failure;
use crate::cli::status::percent;
use crate::orders::WARMING;

/// How long a node may take until it answers.
const READY_TIMEOUT: Duration = Duration::from_secs(20);
/// More than any node may take to fetch what it shall have.
const WARM_TIMEOUT: Duration = Duration::from_secs(610);
/// How long it may take until the control plane knows it. It serves without, so longer is no reason to end.
const JOIN_TIMEOUT: Duration = Duration::from_secs(5);
const READY_LOOK_INTERVAL: Duration = Duration::from_millis(50);
const STATUS_TIMEOUT: Duration = Duration::from_millis(500);

/// The node.
pub(super) struct NodeProcess {
    pub(super) place: Place,
    log: PathBuf,
    pub(super) process: Option<Process>,
    client: NodeClient<Channel>,
    last: Option<(Instant, u64)>,
}

impl NodeProcess {
    /// One that does not run yet.
    pub(super) fn new(place: Place, log: PathBuf) -> Result<Self, Failure> {
        let endpoint = Endpoint::from_shared(format!("http://{}", place.grpc))
            .map_err(|error| Failure::Other(error.to_string()))?;
        Ok(Self {
            client: NodeClient::new(endpoint.timeout(STATUS_TIMEOUT).connect_lazy()),
            process: None,
            last: None,
            place,
            log,
        })
    }

    pub(super) fn start(&mut self, plan: &Plan) -> Result<(), Failure> {
        self.process = Some(start_node(plan, &self.place, &self.log)?);
        Ok(())
    }

    /// Waits until the node answers; fails with the last line it wrote when it ends before.
    pub(super) async fn ready(&mut self) -> Result<(), Failure> {
        let answers = async {
            while self.client.get_status(GetStatusRequest {}).await.is_err() {
                sleep(READY_LOOK_INTERVAL).await;
            }
        };
        let process = self.process.as_mut().expect("it was started");
        let ended = tokio::select! {
            biased;
            how = process.ended() => Some(how),
            answered = timeout(READY_TIMEOUT, answers) => match answered {
                Ok(()) => return Ok(()),
                Err(_) => None,
            },
        };
        Err(did_not_start(&self.place.name, ended, &self.log))
    }

    /// Waits until it has fetched what it shall have when it is ready; the node sees to it that this ends.
    pub(super) async fn warm(&mut self) {
        let warms = async {
            while let Ok(status) = self.client.get_status(GetStatusRequest {}).await
                && status.get_ref().state == WARMING
            {
                sleep(READY_LOOK_INTERVAL).await;
            }
        };
        let _ = timeout(WARM_TIMEOUT, warms).await;
    }

    /// Waits until the control plane counts it, so that what is said to the mesh next reaches it.
    ///
    /// # Errors
    /// Why it does not, after some seconds.
    pub(super) async fn joined(&mut self) -> Result<(), String> {
        let mut last = None;
        let joins = async {
            loop {
                let status = self.client.get_status(GetStatusRequest {}).await;
                let link = status
                    .ok()
                    .and_then(|status| status.into_inner().control_plane);
                if link.as_ref().is_some_and(is_counted) {
                    return;
                }
                last = link.or(last.take());
                sleep(READY_LOOK_INTERVAL).await;
            }
        };
        let joined = timeout(JOIN_TIMEOUT, joins).await;
        joined.map_err(|_| last.map_or_else(|| "the node does not answer".to_owned(), why_not))
    }

    pub(super) async fn line(&mut self) -> String {
        let name = &self.place.name;
        match self.client.get_status(GetStatusRequest {}).await {
            Ok(status) => {
                let status = status.into_inner();
                let per_second = self.rate(status.requests);
                line_of(&status, per_second)
            }
            Err(_) => format!("{name}  no answer"),
        }
    }

    /// Requests a second since the last look.
    fn rate(&mut self, requests: u64) -> u64 {
        let now = Instant::now();
        let before = self.last.replace((now, requests));
        let Some((then, count)) = before else {
            return 0;
        };
        let ms = u64::try_from(now.duration_since(then).as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        requests.saturating_sub(count) * 1_000 / ms
    }
}

fn is_counted(link: &ControlLink) -> bool {
    link.state == "connected" && link.peers > 0
}

/// Why the control plane does not count a node.
fn why_not(link: ControlLink) -> String {
    match (&*link.state, &*link.why) {
        ("connected", _) => "it answers, and tells of no nodes yet".to_owned(),
        (_, "") => "it does not answer".to_owned(),
        (_, why) => why.to_owned(),
    }
}

fn line_of(status: &Status, per_second: u64) -> String {
    let services: Vec<String> = status
        .services
        .iter()
        .map(|service| format!("{} {}/{}", service.name, service.healthy, service.total))
        .collect();
    format!(
        "{}  {}  up {}  {per_second} req/s  {} ok  mean {:?}  {}",
        status.node,
        status.state,
        format_rough(Duration::from_secs(status.uptime_s)),
        percent(status.success_rate),
        Duration::from_micros(status.mean_response_us),
        services.join("  "),
    )
}
