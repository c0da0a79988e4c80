//! What requests cost a node that tells of them, beside one that tells nothing: processor time, not speed, because this
//! machine has other things to do.
//!
//! All nodes run at once and are asked in turns; the figure is the median over the rounds of what a request cost more
//! than in the same round on the node that tells nothing.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use tokio::time::{Instant, sleep};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use super::Options;
use super::client::Client;
use super::origin::Origin;
use super::process::{Process, free_address, text, weir};
use super::report::Report;

/// Connections that ask.
const CLIENTS: usize = 8;
const START_LIMIT: Duration = Duration::from_secs(20);
/// What telling may cost, in percent.
const UNSAMPLED_BAR: f64 = 2.0;
const SAMPLED_BAR: f64 = 8.0;

/// Takes everything and keeps nothing.
struct Sink;

#[tonic::async_trait]
impl TraceService for Sink {
    async fn export(
        &self,
        _: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Sink {
    async fn export(
        &self,
        _: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

struct Node {
    process: Process,
    ingress: SocketAddr,
}

pub(super) async fn run(options: &Options, report: &mut Report) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let origin = Origin::start().await?;
    let otlp = receiver().await?;
    let told = |ratio: f64| {
        format!(
            "otlp = \"http://{otlp}\"\nsample_ratio = {ratio}\nmetrics_export_interval = \"10s\"\n"
        )
    };
    let nothing = "sample_ratio = 0.0\ntrace_tail_per_second_max = 0\ntrace_recent_bytes_max = 0\n";
    let mut nodes = Vec::new();
    for (name, telemetry) in [
        ("off", nothing),
        ("unsampled", &told(0.0)),
        ("sampled", &told(0.1)),
    ] {
        let weir = weir(options.weir.as_ref())?;
        nodes.push(Node::start(&weir, folder.path(), name, telemetry, origin.address).await?);
    }
    let mut more = [Vec::new(), Vec::new()];
    // The first round only warms.
    for round in 0..=options.rounds {
        let mut costs = Vec::new();
        for node in &nodes {
            costs.push(node.cost_ns(options.seconds).await?);
        }
        for (more, cost) in more.iter_mut().zip(&costs[1..]) {
            if round > 0 {
                more.push((cost / costs[0] - 1.0) * 100.0);
            }
        }
    }
    report.section("telemetry of requests");
    let [unsampled, sampled] = more.map(median);
    for (what, cost, bar) in [
        (
            "an unsampled request, more CPU than untold",
            unsampled,
            UNSAMPLED_BAR,
        ),
        (
            "requests of which 10 % are sampled, more CPU",
            sampled,
            SAMPLED_BAR,
        ),
    ] {
        let (figure, wanted) = (format!("{cost:+.2} %"), format!("<= {bar} %"));
        report.bar(what, figure, &wanted, cost <= bar);
    }
    Ok(())
}

impl Node {
    async fn start(
        weir: &Path,
        folder: &Path,
        name: &str,
        telemetry: &str,
        origin: SocketAddr,
    ) -> Result<Self, String> {
        let mut random = fastrand::Rng::new();
        let mut address = || free_address(&mut random);
        let (ingress, grpc, api) = (address()?, address()?, address()?);
        let config = format!(
            "[node]\nname = \"{name}\"\ncores = 1\n[ingress]\nlisten = \"{ingress}\"\n\
             [grpc]\nlisten = \"{grpc}\"\n[http_api]\nlisten = \"{api}\"\n[telemetry]\n{telemetry}\
             [services.web]\nbackends = [\"{origin}\"]\n[[routes]]\nservice = \"web\"\n"
        );
        let file = folder.join(format!("{name}.toml"));
        std::fs::write(&file, config).map_err(|error| error.to_string())?;
        let log = folder.join(format!("{name}.log"));
        let process = Process::start(weir, &["node", "--config", text(&file)?], &log)?;
        let node = Self { process, ingress };
        let begun = Instant::now();
        while node.ask_once().await.is_err() {
            if begun.elapsed() > START_LIMIT {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                return Err(format!("{name} does not serve: {said}"));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(node)
    }

    async fn ask_once(&self) -> Result<(), String> {
        Client::connect(self.ingress)
            .await?
            .get("/")
            .await
            .map(drop)
    }

    /// Processor time of one request, over many that come as fast as they are answered.
    async fn cost_ns(&self, seconds: f64) -> Result<f64, String> {
        let before = self.process.cpu_ns()?;
        let until = Instant::now() + Duration::from_secs_f64(seconds);
        let asking = (0..CLIENTS).map(|_| async {
            let mut client = Client::connect(self.ingress).await?;
            let mut asked = 0_u64;
            while Instant::now() < until {
                client.get("/").await?;
                asked += 1;
            }
            Ok::<_, String>(asked)
        });
        let asked = futures::future::try_join_all(asking).await?;
        let asked: u64 = asked.iter().sum();
        Ok((self.process.cpu_ns()? - before) as f64 / asked.max(1) as f64)
    }
}

async fn receiver() -> Result<SocketAddr, String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.map_err(|error| error.to_string())?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let server = tonic::transport::Server::builder()
        .add_service(TraceServiceServer::new(Sink))
        .add_service(MetricsServiceServer::new(Sink))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
    Ok(address)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
