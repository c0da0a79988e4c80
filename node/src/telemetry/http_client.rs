//! Requests to backends by method and outcome, as the semantic conventions of OpenTelemetry for HTTP clients have them.
//! Over OTLP only: `/metrics` tells of services.
//!
//! A backend has a short list on each core, which only that core writes; what finds no place there is told together.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use http::StatusCode;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::Metric;

use super::counters::{LatencyHistogram, LatencyTotals};
use super::http_server::KnownMethod;
use super::otlp::key_value;
use super::points::{Points, Window};
use crate::data_plane::answer::Reason;
use crate::data_plane::routing::{Backend, Routing};

/// Methods and outcomes that are told apart of a backend on one core.
const OUTCOMES_MAX: usize = 12;

/// What became of a request to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It answered, whole.
    Status(u16),
    /// It failed, or its answer was cut.
    Failed(Reason),
    /// Whoever asked did not wait for the end.
    Cancelled,
}

/// A method with an outcome; nothing for what found no place.
type Key = Option<(KnownMethod, Outcome)>;

/// Made when it is first needed.
type Place = OnceLock<Box<((KnownMethod, Outcome), LatencyHistogram)>>;

/// One backend over all cores.
#[derive(Debug)]
pub struct HttpClient(Box<[OfCore]>);

#[derive(Debug, Default)]
#[repr(align(128))]
struct OfCore {
    places: [Place; OUTCOMES_MAX],
    others: OnceLock<Box<LatencyHistogram>>,
}

impl HttpClient {
    /// For a node with `cores` cores.
    pub fn new(cores: usize) -> Self {
        Self(
            std::iter::repeat_with(OfCore::default)
                .take(cores)
                .collect(),
        )
    }

    /// A request on that core ended.
    pub fn ended(&self, core: usize, method: KnownMethod, outcome: Outcome, took: Duration) {
        let Some(of_core) = self.0.get(core) else {
            return;
        };
        let key = (method, outcome);
        for place in &of_core.places {
            let (known, histogram) =
                &**place.get_or_init(|| Box::new((key, LatencyHistogram::default())));
            if *known == key {
                return histogram.observe(took);
            }
        }
        of_core.others.get_or_init(Box::default).observe(took);
    }

    fn totals(&self) -> BTreeMap<Key, LatencyTotals> {
        let mut totals = BTreeMap::<Key, LatencyTotals>::new();
        for of_core in &self.0 {
            for (key, histogram) in of_core
                .places
                .iter()
                .filter_map(OnceLock::get)
                .map(|one| &**one)
            {
                histogram.add_to(totals.entry(Some(*key)).or_default());
            }
            if let Some(others) = of_core.others.get() {
                others.add_to(totals.entry(None).or_default());
            }
        }
        totals
    }
}

impl Outcome {
    /// Of what is known at the end.
    pub fn of(status: Option<StatusCode>, failed: Option<Reason>, is_whole: bool) -> Self {
        match (failed, status) {
            (Some(reason), _) => Self::Failed(reason),
            (None, Some(status)) if is_whole => Self::Status(status.as_u16()),
            (None, _) => Self::Cancelled,
        }
    }

    fn attributes(self) -> Vec<KeyValue> {
        let error = |text: String| key_value("error.type", text.into());
        match self {
            Self::Status(status) => {
                let code = key_value("http.response.status_code", i64::from(status).into());
                let failed = (status >= 400).then(|| error(status.to_string()));
                std::iter::once(code).chain(failed).collect()
            }
            Self::Failed(reason) => vec![error(reason.as_str().to_owned())],
            Self::Cancelled => vec![error("cancelled".to_owned())],
        }
    }
}

/// The metric, of all backends of a picture.
pub fn points(routing: &Routing, window: Window) -> Vec<Metric> {
    let mut points = Points::new(window);
    points.family(
        "http.client.request.duration",
        "histogram",
        "Duration of HTTP client requests.",
        Some("seconds"),
    );
    for service in &routing.services {
        for view in &service.backends {
            let whose = of_backend(service.settings.name.as_str(), &view.backend);
            for (key, totals) in view.backend.client.totals() {
                let mut attributes = whose.clone();
                let method = key.map_or("_OTHER", |(method, _)| method.name());
                attributes.push(key_value("http.request.method", method.into()));
                attributes.extend(
                    key.into_iter()
                        .flat_map(|(_, outcome)| outcome.attributes()),
                );
                points.histogram_of(attributes, &totals);
            }
        }
    }
    points.into_metrics()
}

fn of_backend(service: &str, backend: &Backend) -> Vec<KeyValue> {
    let (host, port) = backend.endpoint.host_and_port();
    vec![
        key_value("server.address", host.into()),
        key_value("server.port", i64::from(port).into()),
        key_value("weir.service", service.to_owned().into()),
    ]
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_backend_that_makes_up_statuses_is_bounded_and_no_request_is_lost() {
        let client = HttpClient::new(2);
        let get = KnownMethod::from(&Method::GET);
        for status in 100..1_000 {
            client.ended(0, get, Outcome::Status(status), MS);
        }
        client.ended(1, get, Outcome::Status(100), MS);
        let totals = client.totals();
        assert_eq!(totals.len(), OUTCOMES_MAX + 1);
        assert_eq!(totals[&Some((get, Outcome::Status(100)))].count(), 2);
        assert_eq!(totals.values().map(LatencyTotals::count).sum::<u64>(), 901);
    }

    #[test]
    fn an_outcome_is_told_by_status_or_by_what_went_wrong() {
        let ok = Some(StatusCode::OK);
        assert_eq!(Outcome::of(ok, None, true), Outcome::Status(200));
        assert_eq!(Outcome::of(ok, None, false), Outcome::Cancelled);
        assert_eq!(Outcome::of(None, None, false), Outcome::Cancelled);
        let reason = Reason::ALL[0];
        assert_eq!(Outcome::of(ok, Some(reason), true), Outcome::Failed(reason));
        let keys = |outcome: Outcome| {
            let attributes = outcome.attributes().into_iter();
            attributes.map(|one| one.key).collect::<Vec<_>>()
        };
        assert_eq!(keys(Outcome::Status(399)), ["http.response.status_code"]);
        let failed = ["http.response.status_code", "error.type"];
        assert_eq!(keys(Outcome::Status(400)), failed);
        assert_eq!(keys(Outcome::Failed(reason)), ["error.type"]);
    }
}
