//! What requests cost a node that exports what it knows of them: processor time, not speed.
//!
//! The nodes run on one processor; clients, origin and collector run on another and keep the node busy all the time:
//! one that waits for clients pays for its waking what it likes. Each round starts new processes, one at a time and
//! every time another one first, because two processes of one program may differ by more than what is looked for. The
//! figure is the median over the rounds of what a request cost more than in the same round on a node without a
//! collector, which keeps recent failed and slow requests for `weir trace`.

use std::io;
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
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use super::Options;
use super::client::Client;
use super::process::{Process, free_address, text, weir};
use super::report::Report;

/// Connections that ask.
const CLIENTS: usize = 64;
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n";
const BODY_BYTES: usize = 1 << 10;
const BODY_END: &[u8] = b"the end.";
const NODE_CPU: usize = 0;
const REST_CPU: usize = 1;
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

pub(super) async fn run(options: &Options, report: &mut Report) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    run_on(REST_CPU)?;
    let origin = origin().await?;
    let otlp = receiver().await?;
    let told = |ratio: f64| {
        format!(
            "otlp = \"http://{otlp}\"\nsample_ratio = {ratio}\nmetrics_export_interval = \"10s\"\n"
        )
    };
    let nothing = "sample_ratio = 0.0\ntrace_tail_per_second_max = 0\ntrace_recent_bytes_max = 0\n";
    let kinds = ["sample_ratio = 0.0\n", nothing, &told(0.0), &told(0.1)];
    let mut more = [const { Vec::new() }; 3];
    for round in 0..options.rounds {
        let mut costs = [0.0; 4];
        for turn in 0..kinds.len() {
            let kind = (round + turn) % kinds.len();
            let weir = weir(options.weir.as_ref())?;
            let node = Node::start(&weir, folder.path(), kinds[kind], origin).await?;
            node.cost_ns(options.seconds / 4.0).await?;
            costs[kind] = node.cost_ns(options.seconds).await?;
        }
        for (more, cost) in more.iter_mut().zip(&costs[1..]) {
            more.push((cost / costs[0] - 1.0) * 100.0);
        }
    }
    report.section("telemetry of requests, beside a node that exports nothing");
    let [bare, unsampled, sampled] = more.map(median);
    report.figure(
        "no trace kept for failures either, more CPU",
        format!("{bare:+.2} %"),
    );
    for (what, cost, bar) in [
        ("an unsampled request, more CPU", unsampled, UNSAMPLED_BAR),
        ("10 % of requests sampled, more CPU", sampled, SAMPLED_BAR),
    ] {
        let (figure, wanted) = (format!("{cost:+.2} %"), format!("<= {bar} %"));
        report.bar(what, figure, &wanted, cost <= bar);
    }
    Ok(())
}

struct Node {
    process: Process,
    ingress: SocketAddr,
}

impl Node {
    async fn start(
        weir: &Path,
        folder: &Path,
        telemetry: &str,
        origin: SocketAddr,
    ) -> Result<Self, String> {
        let mut random = fastrand::Rng::new();
        let mut address = || free_address(&mut random);
        let (ingress, grpc, api) = (address()?, address()?, address()?);
        let config = format!(
            "[node]\nname = \"told\"\ncores = 1\n[ingress]\nlisten = \"{ingress}\"\n\
             [grpc]\nlisten = \"{grpc}\"\n[http_api]\nlisten = \"{api}\"\n[telemetry]\n{telemetry}\
             [services.web]\nbackends = [\"{origin}\"]\n[[routes]]\nservice = \"web\"\n"
        );
        let file = folder.join("node.toml");
        std::fs::write(&file, config).map_err(|error| error.to_string())?;
        let log = folder.join("node.log");
        run_on(NODE_CPU)?;
        let process = Process::start(weir, &["node", "--config", text(&file)?], &log)?;
        run_on(REST_CPU)?;
        let node = Self { process, ingress };
        let begun = Instant::now();
        while node.ask_once().await.is_err() {
            if begun.elapsed() > START_LIMIT {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                return Err(format!("the node does not serve: {said}"));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(node)
    }

    async fn ask_once(&self) -> Result<(), String> {
        let mut client = Client::connect(self.ingress).await?;
        client.get("/").await.map(drop)
    }

    /// Processor time of one request, over many that come as fast as they are answered.
    async fn cost_ns(&self, seconds: f64) -> Result<f64, String> {
        let until = Instant::now() + Duration::from_secs_f64(seconds);
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            clients.push(TcpStream::connect(self.ingress).await);
        }
        let before = self.process.cpu_ns()?;
        let mut asking: JoinSet<_> = clients
            .into_iter()
            .map(|stream| ask_until(stream, until))
            .collect();
        let mut asked = 0;
        while let Some(client) = asking.join_next().await {
            let client = client.map_err(|error| error.to_string())?;
            asked += client.map_err(|error| error.to_string())?;
        }
        Ok((self.process.cpu_ns()? - before) as f64 / asked.max(1) as f64)
    }
}

/// Counts answers by their end, which is cheap; all of them are alike.
async fn ask_until(stream: io::Result<TcpStream>, until: Instant) -> io::Result<u64> {
    let mut stream = stream?;
    let mut answer = [0; 4 << 10];
    let mut asked = 0_u64;
    while Instant::now() < until {
        stream.write_all(REQUEST).await?;
        let mut read = 0;
        while !answer[..read].ends_with(BODY_END) {
            read += match stream.read(&mut answer[read..]).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                bytes => bytes,
            };
        }
        asked += 1;
    }
    Ok(asked)
}

/// Answers whatever it reads at once, with 1 KiB.
async fn origin() -> Result<SocketAddr, String> {
    let listener = TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.map_err(|error| error.to_string())?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let mut answer =
        format!("HTTP/1.1 200 OK\r\ncontent-length: {BODY_BYTES}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + BODY_BYTES - BODY_END.len(), b'w');
    answer.extend_from_slice(BODY_END);
    let answer: &[u8] = answer.leak();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4 << 10];
                // A request comes in one piece from a node whose head is this short.
                while stream.read(&mut request).await.is_ok_and(|bytes| bytes > 0) {
                    if stream.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(address)
}

/// This thread, and the processes that it starts from now on.
fn run_on(cpu: usize) -> Result<(), String> {
    let mut cpus = rustix::thread::CpuSet::new();
    cpus.set(cpu);
    rustix::thread::sched_setaffinity(None, &cpus).map_err(|error| error.to_string())
}

async fn receiver() -> Result<SocketAddr, String> {
    let listener = TcpListener::bind("127.0.0.1:0").await;
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
