//! Asks everybody that the configuration names, all at once, each with the same deadline.

use std::io;
use std::path::Path;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _, join_all};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout};
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};
use weir_cache::redis::{FailureKind, RedisUrl, time_of};
use weir_control_plane::governance::tls::{ClientTls, KeyPair};
use weir_control_plane::store::Store as _;
use weir_control_plane::store::etcd::EtcdStore;
use weir_core::cache::{UnixMs, parse_http_date};
use weir_core::doctor::{Answer, Offset, Place, Probe};
use weir_core::error::chain;
use weir_engines::gluetun;
use weir_proto::control::v1::GetControlPlaneRequest;
use weir_proto::control::v1::control_plane_client::ControlPlaneClient;

use super::uses_docker;
use crate::actors::config_agent::control_plane::bearer;
use crate::cli::control_plane::Etcd;
use crate::config::{Config, ControlPlane, VpnSettings};
use crate::engine_room;
use crate::ports::clock::WallClock;

/// Bytes of the head of an answer; what is longer is not looked at.
const HEAD_BYTES_MAX: usize = 8 << 10;
/// A date tells whole seconds.
const DATE_DOUBT_MS: u64 = 500;

/// What came of one question, and what the other's clock said.
type Asked = (Probe, Option<Offset>);

/// How long a question may take, and the clock that others are compared with.
#[derive(Clone, Copy)]
struct Terms {
    limit: Duration,
    clock: WallClock,
}

/// Asks all, and tells who answered and what their clocks say.
pub(super) async fn ask(
    config: &Config,
    etcd: Option<&Etcd>,
    limit: Duration,
    clock: WallClock,
) -> (Vec<Probe>, Vec<Offset>) {
    let terms = Terms { limit, clock };
    let mut questions: Vec<BoxFuture<'_, Asked>> = Vec::new();
    let control_plane = &config.control_plane;
    for endpoint in &control_plane.endpoints {
        questions.push(ask_control_plane(control_plane, endpoint, terms).boxed());
    }
    for member in etcd.iter().flat_map(|etcd| &etcd.endpoints) {
        questions.extend(etcd.map(|etcd| ask_etcd(etcd, member, terms).boxed()));
    }
    if let Some(url) = &config.cache.shared.url {
        questions.push(ask_redis(url, terms).boxed());
    }
    if uses_docker(config) {
        questions.push(ask_docker(&config.provision.docker_socket, terms).boxed());
    }
    for vpn in &config.vpns {
        questions.push(ask_gluetun(vpn, terms).boxed());
    }
    if let Some(url) = &config.telemetry.otlp {
        questions.push(ask_collector(url, terms).boxed());
    }
    let (probes, offsets): (Vec<Probe>, Vec<Option<Offset>>) =
        join_all(questions).await.into_iter().unzip();
    (probes, offsets.into_iter().flatten().collect())
}

/// Puts the deadline on a question; `Ok` is what the other said of itself.
async fn within(terms: Terms, question: impl Future<Output = Result<String, Answer>>) -> Answer {
    let asked = Instant::now();
    match timeout(terms.limit, question).await {
        Ok(Ok(what)) => {
            let ms = asked.elapsed().as_millis();
            Answer::Yes(u64::try_from(ms).unwrap_or(u64::MAX), what)
        }
        Ok(Err(answer)) => answer,
        Err(_) => Answer::No(format!("nothing within {:?}", terms.limit)),
    }
}

fn probe(
    place: Place,
    address: impl Into<String>,
    key: impl Into<String>,
    answer: Answer,
) -> Probe {
    Probe {
        place,
        address: address.into(),
        key: key.into(),
        answer,
    }
}

fn no(error: impl ToString) -> Answer {
    Answer::No(error.to_string())
}

/// What a gRPC status means to who only wants to know whether somebody answers.
fn of_status(status: &Status) -> Result<String, Answer> {
    match status.code() {
        Code::Unauthenticated => Err(Answer::Refused(status.message().to_owned())),
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded => {
            Err(Answer::No(status.message().to_owned()))
        }
        Code::Unimplemented => Err(Answer::No(
            "it speaks gRPC, but not this service".to_owned(),
        )),
        // Whoever may not see it was answered.
        _ => Ok(String::new()),
    }
}

async fn ask_control_plane(settings: &ControlPlane, endpoint: &str, terms: Terms) -> Asked {
    let answer = within(terms, async {
        let mut to = Endpoint::from_shared(endpoint.to_owned()).map_err(no)?;
        if let Some(ca) = &settings.ca {
            let own = settings.cert.clone().zip(settings.key.clone());
            let tls = ClientTls {
                ca: ca.clone(),
                own: own.map(|(certificate, key)| KeyPair { certificate, key }),
                server_name: None,
            };
            to = to
                .tls_config(tls.load().map_err(|error| no(chain(&error)))?)
                .map_err(no)?;
        }
        let mut request = Request::new(GetControlPlaneRequest {});
        if let Some(token) = &settings.token {
            let token =
                bearer(token).map_err(|error| Answer::Refused(format!("token: {error}")))?;
            request.metadata_mut().insert("authorization", token);
        }
        let channel = to.connect().await.map_err(|error| no(chain(&error)))?;
        match ControlPlaneClient::new(channel)
            .get_control_plane(request)
            .await
        {
            Ok(_) => Ok(String::new()),
            Err(status) => of_status(&status),
        }
    });
    let answer = answer.await;
    (
        probe(
            Place::ControlPlane,
            endpoint,
            "control_plane.endpoints",
            answer,
        ),
        None,
    )
}

async fn ask_etcd(etcd: &Etcd, member: &str, terms: Terms) -> Asked {
    let answer = within(terms, async {
        let mut options = etcd.options().map_err(no)?;
        options.endpoints = vec![member.to_owned()];
        options.call_limit = terms.limit;
        let store = EtcdStore::connect(options)
            .await
            .map_err(|error| no(chain(&error)))?;
        let status = store.status().await.map_err(|error| no(chain(&error)))?;
        match status.healthy {
            true => Ok(String::new()),
            false => Err(no(status.problems.join("; "))),
        }
    });
    let plain = member.strip_prefix("http://");
    let offset = async {
        match plain {
            Some(address) => date_of(address, terms).await,
            None => None,
        }
    };
    let (answer, offset) = tokio::join!(answer, offset);
    (probe(Place::Etcd, member, "--store", answer), offset)
}

async fn ask_redis(url: &RedisUrl, terms: Terms) -> Asked {
    let sent = Instant::now();
    let mut offset = None;
    let answer = within(terms, async {
        match time_of(url, terms.limit).await {
            Ok(theirs) => {
                offset = Some(apart(format!("Redis {url}"), theirs, 0, sent, terms.clock));
                Ok(String::new())
            }
            Err(failure) if failure.kind == FailureKind::Denied => {
                Err(Answer::Refused(failure.to_string()))
            }
            Err(failure) => Err(no(failure)),
        }
    });
    let answer = answer.await;
    (
        probe(Place::Redis, url.to_string(), "redis.url", answer),
        offset,
    )
}

async fn ask_docker(socket: &str, terms: Terms) -> Asked {
    let answer = within(terms, async {
        let path = engine_room::socket_of(socket);
        let head = head_of(
            UnixStream::connect(Path::new(&path)).await,
            "docker",
            "/_ping",
        );
        let head = head.await.map_err(no)?;
        match head.split(' ').nth(1) {
            Some("200") => Ok(String::new()),
            _ => Err(no("what answers there is no Docker")),
        }
    });
    let answer = answer.await;
    (
        probe(Place::Docker, socket, "provision.docker_socket", answer),
        None,
    )
}

async fn ask_gluetun(vpn: &VpnSettings, terms: Terms) -> Asked {
    let answer = within(terms, async {
        let server = engine_room::connect(vpn).map_err(Answer::Refused)?;
        match server.status(terms.limit).await {
            Ok(status) => Ok(format!("the tunnel is {status:?}").to_lowercase()),
            Err(gluetun::Error::AuthRequired { .. }) => Err(Answer::Refused(
                "its role for Weir must allow the routes that the README names".to_owned(),
            )),
            Err(error) => Err(no(error)),
        }
    });
    let answer = answer.await;
    let key = format!("vpns.{}.control_url", vpn.name);
    (probe(Place::Gluetun, &*vpn.control_url, key, answer), None)
}

async fn ask_collector(url: &str, terms: Terms) -> Asked {
    let answer = within(terms, async {
        let to = Endpoint::from_shared(url.to_owned()).map_err(no)?;
        let channel = to.connect().await.map_err(|error| no(chain(&error)))?;
        // An export of nothing is an export.
        let nothing = ExportTraceServiceRequest::default();
        match TraceServiceClient::new(channel).export(nothing).await {
            Ok(_) => Ok(String::new()),
            Err(status) => of_status(&status),
        }
    });
    let answer = answer.await;
    (probe(Place::Collector, url, "telemetry.otlp", answer), None)
}

/// What the clock behind an HTTP server says.
async fn date_of(address: &str, terms: Terms) -> Option<Offset> {
    let sent = Instant::now();
    let head = async { head_of(TcpStream::connect(address).await, address, "/version").await };
    let head = timeout(terms.limit, head).await.ok()?.ok()?;
    let line = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("date")
            .then(|| value.trim().to_owned())
    })?;
    let now = UnixMs(terms.clock.unix_ms_now());
    let theirs = parse_http_date(line.as_bytes(), now)?;
    let middle = Duration::from_millis(theirs.0 + DATE_DOUBT_MS);
    Some(apart(
        format!("etcd {address}"),
        middle,
        DATE_DOUBT_MS,
        sent,
        terms.clock,
    ))
}

/// How far another clock is ahead, which was read between `sent` and now.
fn apart(of: String, theirs: Duration, doubt_ms: u64, sent: Instant, clock: WallClock) -> Offset {
    let received = Instant::now();
    let half = received.saturating_duration_since(sent) / 2;
    let ours = clock.unix_at(sent + half);
    let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    Offset {
        of,
        ahead_ms: ms(theirs).saturating_sub(ms(ours)),
        doubt_ms: doubt_ms.saturating_add(u64::try_from(half.as_millis()).unwrap_or(u64::MAX)),
    }
}

/// The head of the answer to one GET.
async fn head_of<S>(stream: io::Result<S>, host: &str, path: &str) -> io::Result<String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stream = stream?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    let mut buffer = [0; 1_024];
    while head.len() < HEAD_BYTES_MAX && !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer).await? {
            0 => break,
            count => head.extend_from_slice(&buffer[..count]),
        }
    }
    match head.is_empty() {
        true => Err(io::ErrorKind::UnexpectedEof.into()),
        false => Ok(String::from_utf8_lossy(&head).into_owned()),
    }
}
