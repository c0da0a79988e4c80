//! Sends metrics to an OTLP gRPC receiver, all that `/metrics` tells, once in an interval that may change.
//!
//! Sums are cumulative: what a receiver does not take is in what it takes next, so nothing is kept for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::metrics::v1 as pb;
use opentelemetry_proto::tonic::resource::v1::Resource;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tonic::Status;
use tonic::transport::Channel;

use super::otlp;
use super::points::{Window, points_of};
use super::spans::SpanCounts;
use crate::ports::clock::WallClock;

/// How often it is looked whether it is time; no interval is shorter.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Points of one request at most, but for a family that has more: receivers bound what they take.
const POINTS_MAX: usize = 5_000;

/// What an exporter asks its node.
pub struct Asked {
    /// The interval in force; absent while nothing is to be sent.
    pub interval: Box<dyn Fn() -> Option<Duration>>,
    /// What `/metrics` tells, as points of that window.
    pub read: Box<dyn Fn(Window) -> Vec<pb::Metric>>,
}

/// Sends until it is stopped.
pub struct MetricsExporter {
    client: MetricsServiceClient<Channel>,
    resource: Resource,
    counts: Arc<SpanCounts>,
    clock: WallClock,
    asked: Asked,
}

impl MetricsExporter {
    /// An exporter to `url`; connects when there is something to send.
    ///
    /// # Errors
    /// When `url` is no URL.
    pub fn new(
        url: String,
        node: &str,
        (counts, clock): (Arc<SpanCounts>, WallClock),
        asked: Asked,
    ) -> Result<Self, tonic::transport::Error> {
        Ok(Self {
            client: MetricsServiceClient::new(otlp::channel(url)?),
            resource: otlp::resource(node),
            counts,
            clock,
            asked,
        })
    }

    /// Sends once in the interval, and a last time when it is told to stop.
    pub async fn run(self, stop: Arc<Notify>) {
        let since_unix_ns = self.unix_ns();
        let mut last = Instant::now();
        loop {
            let is_last = tokio::select! {
                biased;
                () = stop.notified() => true,
                () = sleep(LOOK_INTERVAL) => false,
            };
            let interval = (self.asked.interval)();
            let is_due = interval.is_some_and(|interval| is_last || last.elapsed() >= interval);
            if is_due {
                last = Instant::now();
                self.export(since_unix_ns).await;
            }
            if is_last {
                return;
            }
        }
    }

    fn unix_ns(&self) -> u64 {
        u64::try_from(self.clock.unix_now().as_nanos()).unwrap_or(u64::MAX)
    }

    async fn export(&self, since_unix_ns: u64) {
        let metrics = (self.asked.read)(Window {
            since_unix_ns,
            at_unix_ns: self.unix_ns(),
        });
        for together in lots(metrics) {
            let points = together.iter().map(points_of).sum::<usize>() as u64;
            // The channel bounds connecting; this bounds all.
            let mut client = self.client.clone();
            let sent = timeout(otlp::EXPORT_TIMEOUT, client.export(self.request(together))).await;
            let became =
                sent.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")));
            self.counts.metrics.exported("metrics", &became);
            let dropped = match became {
                Ok(answer) => {
                    let refused = answer.into_inner().partial_success;
                    let refused = refused.map_or(0, |partial| partial.rejected_data_points);
                    u64::try_from(refused).unwrap_or(0).min(points)
                }
                Err(_) => points,
            };
            self.counts
                .points_dropped
                .fetch_add(dropped, Ordering::Relaxed);
            let sent = points - dropped;
            self.counts.points_sent.fetch_add(sent, Ordering::Relaxed);
            if dropped == points {
                // Whoever takes nothing is not asked again for the rest.
                return;
            }
        }
    }

    fn request(&self, metrics: Vec<pb::Metric>) -> ExportMetricsServiceRequest {
        ExportMetricsServiceRequest {
            resource_metrics: vec![pb::ResourceMetrics {
                resource: Some(self.resource.clone()),
                scope_metrics: vec![pb::ScopeMetrics {
                    scope: Some(otlp::scope()),
                    metrics,
                    ..pb::ScopeMetrics::default()
                }],
                ..pb::ResourceMetrics::default()
            }],
        }
    }
}

/// Families in lots of so many points.
fn lots(metrics: Vec<pb::Metric>) -> Vec<Vec<pb::Metric>> {
    let mut lots = vec![Vec::new()];
    let mut points = 0;
    for metric in metrics {
        let more = points_of(&metric);
        if points > 0 && points + more > POINTS_MAX {
            points = 0;
            lots.push(Vec::new());
        }
        points += more;
        if let Some(lot) = lots.last_mut() {
            lot.push(metric);
        }
    }
    lots.retain(|lot| !lot.is_empty());
    lots
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Snapshot;

    fn family(points: usize) -> pb::Metric {
        let data = pb::Gauge {
            data_points: vec![pb::NumberDataPoint::default(); points],
        };
        pb::Metric {
            data: Some(pb::metric::Data::Gauge(data)),
            ..pb::Metric::default()
        }
    }

    #[test]
    fn families_go_together_up_to_a_bound_and_none_is_lost_or_torn() {
        let sizes = [1, POINTS_MAX - 1, 1, POINTS_MAX + 7, 2, 3];
        let lots = lots(sizes.into_iter().map(family).collect());
        let sizes: Vec<Vec<usize>> = lots
            .iter()
            .map(|lot| lot.iter().map(points_of).collect())
            .collect();
        let expected = [
            vec![1, POINTS_MAX - 1],
            vec![1],
            vec![POINTS_MAX + 7],
            vec![2, 3],
        ];
        assert_eq!(sizes, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_receiver_that_is_away_or_never_answers_costs_points_and_the_next_interval_is_kept() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let interval = Snapshot::new(Some(Duration::from_secs(10)));
        let counts = Arc::<SpanCounts>::default();
        let of = (Arc::clone(&counts), WallClock::system());
        let in_force = interval.clone();
        let asked = Asked {
            interval: Box::new(move || *in_force.load()),
            read: Box::new(|_| vec![family(3)]),
        };
        let exporter = MetricsExporter::new(url, "n1", of, asked).unwrap();
        let stop = Arc::new(Notify::new());
        let local = tokio::task::LocalSet::new();
        let dropped = || counts.points_dropped.load(Ordering::Relaxed);
        local
            .run_until(async {
                let running = tokio::task::spawn_local(exporter.run(Arc::clone(&stop)));
                sleep(Duration::from_secs(9)).await;
                assert_eq!(dropped(), 0);
                sleep(Duration::from_secs(28)).await;
                assert_eq!(dropped(), 9);
                interval.publish(None);
                sleep(Duration::from_secs(60)).await;
                assert_eq!(dropped(), 9);
                stop.notify_one();
                running.await.unwrap();
            })
            .await;
        assert_eq!(dropped(), 9);
    }
}
