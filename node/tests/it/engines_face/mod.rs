//! Engines and ports of VPNs as operators and programs see and order them.

mod apart;
pub mod clocks;
mod events;
mod jobs;
mod mesh;
mod operators;
mod ports;
mod programs;
mod renewal;
mod tokens;
mod traces;
mod turns;
pub mod watch;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::transport::Channel;
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::provision_client::ProvisionClient;

use crate::client::{Answer, Client};
use crate::common::{PATIENCE, Weir, free_ports, read_to_end};
use crate::grpc::channel;

/// A service `web` whose engines are demo backends: so many at least and at most.
pub fn engines(min: u32, max: u32) -> String {
    let ports = free_ports::<4>().map(|address| address.port());
    let (first, last) = (ports.iter().min().unwrap(), ports.iter().max().unwrap());
    let weir = env!("CARGO_BIN_EXE_weir");
    format!(
        "[provision]\nhost_ports = \"{first}-{last}\"\ninterval_min = \"0s\"\n\
         [services.web.engines]\ndriver = \"process\"\nmin = {min}\nmax = {max}\n\
         command = [\"{weir}\", \"demo-backend\", \"--listen\", \"127.0.0.1:{{port}}\", \"--name\", \"{{id}}\"]\n\
         [services.web.engines.probe]\ncheck = \"http\"\ninterval = \"100ms\"\n\
         [[routes]]\nservice = \"web\"\n"
    )
}

async fn client(weir: &Weir) -> ProvisionClient<Channel> {
    ProvisionClient::new(channel(weir.grpc).await)
}

/// Follows the list of engines until it is so.
async fn seen(
    weir: &Weir,
    mesh: bool,
    what: &str,
    is_so: impl Fn(&pb::ListEnginesResponse) -> bool,
) -> pb::ListEnginesResponse {
    let request = pb::ListEnginesRequest { mesh };
    let lists = client(weir).await.watch_engines(request).await;
    let mut lists = lists.unwrap().into_inner();
    let mut last = None;
    let looking = async {
        loop {
            let list = lists.message().await.unwrap().expect("the node lives");
            if is_so(&list) {
                return list;
            }
            last = Some(list);
        }
    };
    let found = timeout(PATIENCE, looking).await;
    found.unwrap_or_else(|_| panic!("not so: {what}: {last:#?}\n{}", weir.log()))
}

fn is_ready(engine: &&pb::Engine) -> bool {
    engine.state == "ready"
}

/// Waits for so many ready engines, and for no others.
pub async fn ready(weir: &Weir, count: usize) -> Vec<pb::Engine> {
    let what = format!("{count} ready");
    let list = seen(weir, false, &what, |list| {
        list.engines.len() == count && list.engines.iter().all(|engine| is_ready(&engine))
    });
    list.await.engines
}

/// A request to the HTTP API.
async fn ask(weir: &Weir, method: &str, path: &str, head: &str, body: &str) -> Answer {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{head}\r\n{body}"
    );
    let mut client = Client::connect(weir.api).await;
    client.ask(&request).await.unwrap()
}

/// The answer, as it is sent, to a request for what was answered before.
async fn ask_again(weir: &Weir, path: &str, before: &Answer) -> String {
    let etag = before.header("etag").unwrap();
    let mut stream = TcpStream::connect(weir.api).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: {etag}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    read_to_end(&mut stream).await
}

fn json(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}
