//! Engines by demand: none while nobody asks, more before they are full, and new work where it does the least harm.

mod hints;
mod ramp;
mod waits;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use weir_proto::node::v1::GetServiceRequest;
use weir_proto::node::v1::load_balancer_client::LoadBalancerClient;

use crate::common::{PATIENCE, Weir};
use crate::grpc::channel;

const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// A stream that its backend leaves without an answer for as long as it is kept.
pub struct Stream(TcpStream);

impl Weir {
    /// Begins a request that is answered by nobody for ten minutes.
    async fn stream(&self) -> Stream {
        let mut stream = self.connect().await;
        let request = b"GET /slow?ms=600000 HTTP/1.1\r\nHost: test\r\n\r\n";
        stream.write_all(request).await.unwrap();
        Stream(stream)
    }

    /// Begins one, and waits until it runs somewhere.
    async fn running_stream(&self, service: &str) -> Stream {
        let before: u64 = self.in_flight(service).await.values().sum();
        let stream = self.stream().await;
        self.until("one more runs", async || {
            self.in_flight(service).await.values().sum::<u64>() > before
        })
        .await;
        stream
    }

    /// What runs on each backend that gets work.
    async fn in_flight(&self, service: &str) -> BTreeMap<String, u64> {
        let mut client = LoadBalancerClient::new(channel(self.grpc).await);
        let request = GetServiceRequest {
            service: service.to_owned(),
        };
        let told = client.get_service(request).await.unwrap().into_inner();
        let backends = told.backends.into_iter();
        let backends = backends.filter(|backend| backend.standing <= 2);
        backends
            .map(|backend| (backend.id, backend.in_flight))
            .collect()
    }

    async fn until(&self, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so().await {
            assert!(Instant::now() < deadline, "not so: {what}: {}", self.log());
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Kinds of all events of engines, the oldest first.
    async fn engine_events(&self) -> Vec<String> {
        let path = "/api/events?kind=engine.started,engine.gone,service.waits";
        let (_, text) = self.get_api(path).await.unwrap();
        let told: Value = serde_json::from_str(&text).unwrap();
        let events = told["events"].as_array().unwrap().iter();
        let kinds = events.map(|event| event["kind"].as_str().unwrap().to_owned());
        kinds.collect()
    }
}
