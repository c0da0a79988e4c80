//! Requests by method and status, as the semantic conventions of OpenTelemetry for HTTP servers have them. Over OTLP
//! only: `/metrics` tells of services.
//!
//! Each core writes its own histograms. One is made for a method and status when it is first seen; methods are those of
//! the conventions, and there is a bound for statuses, which backends choose.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use http::{Method, StatusCode};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::Metric;

use super::counters::{Counter, LatencyHistogram, LatencyTotals};
use super::metrics::NodeMetrics;
use super::otlp::key_value;
use super::points::{Points, Window};

/// Methods as they are told; every other one is the last.
const METHODS: [&str; 10] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE", "_OTHER",
];
/// The first status, and how many there are.
const STATUS_MIN: u16 = 100;
const STATUSES: usize = 500;
/// Places of each method: one for each status, and one for requests that are told without.
const OF_METHOD: usize = STATUSES + 1;
/// Histograms with a status that one core makes; what would need more is told without its status.
const WITH_STATUS_MAX: u64 = 200;

/// A method that is told, by its place among those that have a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownMethod(usize);

impl From<&Method> for KnownMethod {
    fn from(method: &Method) -> Self {
        Self(match *method {
            Method::GET => 0,
            Method::HEAD => 1,
            Method::POST => 2,
            Method::PUT => 3,
            Method::DELETE => 4,
            Method::OPTIONS => 5,
            Method::PATCH => 6,
            Method::CONNECT => 7,
            Method::TRACE => 8,
            _ => 9,
        })
    }
}

/// What one core counts.
#[derive(Debug)]
pub struct HttpServer {
    took: Box<[OnceLock<Box<LatencyHistogram>>]>,
    with_status: Counter,
    active: [Counter; METHODS.len()],
}

impl Default for HttpServer {
    fn default() -> Self {
        let places = METHODS.len() * OF_METHOD;
        Self {
            took: std::iter::repeat_with(OnceLock::new).take(places).collect(),
            with_status: Counter::default(),
            active: std::array::from_fn(|_| Counter::default()),
        }
    }
}

impl HttpServer {
    /// A request began.
    pub fn began(&self, method: KnownMethod) {
        self.active[method.0].increment();
    }

    /// It ended, with that answer if it had one.
    pub fn ended(&self, method: KnownMethod, status: Option<StatusCode>, took: Duration) {
        self.active[method.0].decrement();
        let first = method.0 * OF_METHOD;
        let with_status = status
            .and_then(|status| status.as_u16().checked_sub(STATUS_MIN))
            .map(usize::from)
            .filter(|at| *at < STATUSES)
            .map(|at| &self.took[first + at])
            .filter(|place| place.get().is_some() || self.with_status.get() < WITH_STATUS_MAX);
        let place = with_status.unwrap_or(&self.took[first + STATUSES]);
        let histogram = place.get_or_init(|| {
            self.with_status.add(u64::from(with_status.is_some()));
            Box::default()
        });
        histogram.observe(took);
    }

    fn add_to(&self, totals: &mut BTreeMap<usize, LatencyTotals>, active: &mut [u64]) {
        for (at, place) in self.took.iter().enumerate() {
            if let Some(histogram) = place.get() {
                histogram.add_to(totals.entry(at).or_default());
            }
        }
        for (sum, count) in active.iter_mut().zip(&self.active) {
            *sum = sum.wrapping_add(count.get());
        }
    }
}

/// Both metrics, of all cores together.
pub fn points(metrics: &NodeMetrics, window: Window) -> Vec<Metric> {
    let mut totals = BTreeMap::new();
    let mut active = [0; METHODS.len()];
    for core in 0..metrics.cores() {
        let http = &metrics.core(core).http;
        http.add_to(&mut totals, &mut active);
    }
    let mut points = Points::new(window);
    points.family(
        "http.server.request.duration",
        "histogram",
        "Duration of HTTP server requests.",
        Some("seconds"),
    );
    for (at, totals) in &totals {
        points.histogram_of(attributes(*at), totals);
    }
    points.up_down(
        "http.server.active_requests",
        "Number of active HTTP server requests.",
        "{request}",
    );
    let seen = |method: &usize| {
        let places = method * OF_METHOD..(method + 1) * OF_METHOD;
        active[*method] > 0 || totals.range(places).next().is_some()
    };
    for method in (0..METHODS.len()).filter(seen) {
        points.value(of_method(method), active[method]);
    }
    points.into_metrics()
}

fn of_method(method: usize) -> Vec<KeyValue> {
    vec![
        key_value("http.request.method", METHODS[method].into()),
        key_value("url.scheme", "http".into()),
    ]
}

fn attributes(at: usize) -> Vec<KeyValue> {
    let mut attributes = of_method(at / OF_METHOD);
    let status = at % OF_METHOD;
    if status < STATUSES {
        let status = i64::from(STATUS_MIN) + i64::try_from(status).unwrap_or(0);
        attributes.push(key_value("http.response.status_code", status.into()));
        if status >= 500 {
            attributes.push(key_value("error.type", status.to_string().into()));
        }
    }
    attributes
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::metrics::v1::metric::Data;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn ended(metrics: &NodeMetrics, core: usize, method: &Method, status: u16) {
        let http = &metrics.core(core).http;
        let method = KnownMethod::from(method);
        http.began(method);
        http.ended(method, StatusCode::from_u16(status).ok(), MS);
    }

    /// Each histogram's attributes and count.
    fn told(metrics: &NodeMetrics) -> Vec<(Vec<(String, Value)>, u64)> {
        let all = points(metrics, Window::default());
        assert_eq!(
            (&*all[0].name, &*all[0].unit),
            ("http.server.request.duration", "s")
        );
        let Some(Data::Histogram(histogram)) = &all[0].data else {
            panic!("{all:?}");
        };
        let points = histogram.data_points.iter().map(|point| {
            let pairs = point.attributes.iter().map(|pair| {
                let value = pair.value.clone().and_then(|value| value.value);
                (pair.key.clone(), value.unwrap())
            });
            (pairs.collect(), point.count)
        });
        points.collect()
    }

    #[test]
    fn every_method_has_the_place_of_its_name() {
        for (at, name) in METHODS.iter().enumerate() {
            let method = Method::from_bytes(name.as_bytes()).unwrap();
            assert_eq!(KnownMethod::from(&method), KnownMethod(at), "{name}");
        }
    }

    #[test]
    fn requests_are_told_by_the_names_of_the_conventions_over_all_cores() {
        let metrics = NodeMetrics::new(2);
        ended(&metrics, 0, &Method::GET, 200);
        ended(&metrics, 1, &Method::GET, 200);
        ended(&metrics, 1, &Method::from_bytes(b"BREW").unwrap(), 503);
        metrics.core(0).http.began(KnownMethod::from(&Method::PUT));
        let text = |key: &str, text: &str| (key.to_owned(), Value::StringValue(text.to_owned()));
        let status = |status| {
            (
                "http.response.status_code".to_owned(),
                Value::IntValue(status),
            )
        };
        let expected = [
            (
                vec![
                    text("http.request.method", "GET"),
                    text("url.scheme", "http"),
                    status(200),
                ],
                2,
            ),
            (
                vec![
                    text("http.request.method", "_OTHER"),
                    text("url.scheme", "http"),
                    status(503),
                    text("error.type", "503"),
                ],
                1,
            ),
        ];
        assert_eq!(told(&metrics), expected);
        let all = points(&metrics, Window::default());
        let Some(Data::Sum(active)) = &all[1].data else {
            panic!("{all:?}");
        };
        assert!(!active.is_monotonic && all[1].unit == "{request}");
        assert_eq!(active.data_points.len(), 3);
    }

    #[test]
    fn backends_that_make_up_statuses_and_clients_that_make_up_methods_are_bounded() {
        let metrics = NodeMetrics::new(1);
        for status in 100..1_000 {
            for method in ["GET", "POST", "MADE-UP", "UP"] {
                let method = Method::from_bytes(method.as_bytes()).unwrap();
                ended(&metrics, 0, &method, status);
            }
        }
        let told = told(&metrics);
        let most = usize::try_from(WITH_STATUS_MAX).unwrap() + METHODS.len();
        assert!(told.len() <= most, "{}", told.len());
        assert_eq!(told.iter().map(|(_, count)| count).sum::<u64>(), 900 * 4);
    }
}
