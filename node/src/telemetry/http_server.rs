//! Requests by method, route and status, as the semantic conventions of OpenTelemetry for HTTP servers have them. Over
//! OTLP only: `/metrics` tells of services.
//!
//! Each core writes its own histograms. One is made for a method, route and status when it is first seen; methods are
//! those of the conventions, routes are the patterns of the configuration, and there are bounds for those and for
//! statuses, which backends choose.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{Method, StatusCode};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use weir_core::route::RouteTable;

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
/// Histograms with a status that one core makes of a route; what would need more is told without its status.
const WITH_STATUS_MAX: u64 = 50;
/// Patterns of routes that are told; what belongs to more is told without.
const ROUTES_MAX: usize = 64;

/// A method that is told, by its place among those that have a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KnownMethod(usize);

impl KnownMethod {
    /// As the conventions have it.
    pub fn name(self) -> &'static str {
        METHODS[self.0]
    }
}

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

/// One method, by status; made when it is first needed.
type OfMethod = OnceLock<Box<[OnceLock<Box<LatencyHistogram>>]>>;

/// Requests that ended, of one route or of none, as one core counts them.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Ended {
    methods: [OfMethod; METHODS.len()],
    with_status: Counter,
}

impl Ended {
    fn count(&self, method: KnownMethod, status: Option<StatusCode>, took: Duration) {
        let places = self.methods[method.0].get_or_init(|| {
            std::iter::repeat_with(OnceLock::new)
                .take(OF_METHOD)
                .collect()
        });
        let with_status = status
            .and_then(|status| status.as_u16().checked_sub(STATUS_MIN))
            .map(usize::from)
            .filter(|at| *at < STATUSES)
            .map(|at| &places[at])
            .filter(|place| place.get().is_some() || self.with_status.get() < WITH_STATUS_MAX);
        let place = with_status.unwrap_or(&places[STATUSES]);
        let histogram = place.get_or_init(|| {
            self.with_status.add(u64::from(with_status.is_some()));
            Box::default()
        });
        histogram.observe(took);
    }

    fn add_to(&self, totals: &mut BTreeMap<usize, LatencyTotals>) {
        for (method, places) in self.methods.iter().enumerate() {
            let places = places.get().into_iter().flatten().enumerate();
            for (status, histogram) in places.filter_map(|(at, place)| Some((at, place.get()?))) {
                let at = method * OF_METHOD + status;
                histogram.add_to(totals.entry(at).or_default());
            }
        }
    }
}

/// Requests of the routes that have a pattern in common.
#[derive(Debug)]
pub struct RouteMetrics {
    pattern: String,
    cores: Box<[Ended]>,
}

/// Of each route of a table, in its order; none beyond the first 64 patterns.
pub type OfRoutes = Arc<[Option<Arc<RouteMetrics>>]>;

impl RouteMetrics {
    /// Of these routes: patterns that were there before go on.
    pub fn of(table: &RouteTable, before: &OfRoutes, cores: usize) -> OfRoutes {
        let before = before.iter().flatten();
        let before: BTreeMap<&str, _> = before.map(|one| (&*one.pattern, one)).collect();
        let mut known: BTreeMap<String, Arc<Self>> = BTreeMap::new();
        let routes = table.routes().iter().map(|route| {
            let pattern = route.path.pattern();
            if let Some(one) = known.get(&pattern) {
                return Some(Arc::clone(one));
            }
            if known.len() == ROUTES_MAX {
                return None;
            }
            let made = || {
                Arc::new(Self {
                    pattern: pattern.clone(),
                    cores: std::iter::repeat_with(Ended::default).take(cores).collect(),
                })
            };
            let one = before
                .get(&*pattern)
                .map_or_else(made, |one| Arc::clone(one));
            known.insert(pattern, Arc::clone(&one));
            Some(one)
        });
        routes.collect()
    }
}

/// What one core counts.
#[derive(Debug, Default)]
pub struct HttpServer {
    without_route: Ended,
    active: [Counter; METHODS.len()],
}

impl HttpServer {
    /// A request began.
    pub fn began(&self, method: KnownMethod) {
        self.active[method.0].increment();
    }

    /// It ended, with that answer if it had one, on that core.
    pub fn ended(
        &self,
        method: KnownMethod,
        status: Option<StatusCode>,
        took: Duration,
        route: Option<(&RouteMetrics, usize)>,
    ) {
        self.active[method.0].decrement();
        let of_route = route.and_then(|(route, core)| route.cores.get(core));
        let ended = of_route.unwrap_or(&self.without_route);
        ended.count(method, status, took);
    }
}

/// Both metrics, of all cores together.
pub fn points(metrics: &NodeMetrics, routes: &OfRoutes, window: Window) -> Vec<Metric> {
    let mut points = Points::new(window);
    points.family(
        "http.server.request.duration",
        "histogram",
        "Duration of HTTP server requests.",
        Some("seconds"),
    );
    let mut methods = BTreeSet::new();
    let mut tell = |pattern: Option<&str>, ended: &mut dyn Iterator<Item = &Ended>| {
        let mut totals = BTreeMap::new();
        ended.for_each(|ended| ended.add_to(&mut totals));
        for (at, totals) in &totals {
            methods.insert(at / OF_METHOD);
            points.histogram_of(attributes(*at, pattern), totals);
        }
    };
    let cores = || (0..metrics.cores()).map(|core| &metrics.core(core).http);
    tell(None, &mut cores().map(|http| &http.without_route));
    let routes = routes.iter().flatten();
    let routes: BTreeMap<&str, _> = routes.map(|one| (&*one.pattern, one)).collect();
    for (pattern, route) in routes {
        tell(Some(pattern), &mut route.cores.iter());
    }
    points.up_down(
        "http.server.active_requests",
        "Number of active HTTP server requests.",
        "{request}",
    );
    for method in 0..METHODS.len() {
        let active = cores().map(|http| http.active[method].get());
        let active = active.fold(0, u64::wrapping_add);
        if active > 0 || methods.contains(&method) {
            points.value(of_method(method), active);
        }
    }
    points.into_metrics()
}

fn of_method(method: usize) -> Vec<KeyValue> {
    vec![
        key_value("http.request.method", METHODS[method].into()),
        key_value("url.scheme", "http".into()),
    ]
}

fn attributes(at: usize, pattern: Option<&str>) -> Vec<KeyValue> {
    let mut attributes = of_method(at / OF_METHOD);
    attributes.extend(pattern.map(|pattern| key_value("http.route", pattern.to_owned().into())));
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

    use weir_core::ids::ServiceName;
    use weir_core::route::{PathMatch, Route, Target};

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn ended(metrics: &NodeMetrics, core: usize, method: &Method, status: u16) {
        let http = &metrics.core(core).http;
        let method = KnownMethod::from(method);
        http.began(method);
        http.ended(method, StatusCode::from_u16(status).ok(), MS, None);
    }

    fn no_routes() -> OfRoutes {
        Arc::new([])
    }

    fn told(metrics: &NodeMetrics) -> Vec<(Vec<(String, Value)>, u64)> {
        told_of(metrics, &no_routes())
    }

    /// Each histogram's attributes and count.
    fn told_of(metrics: &NodeMetrics, routes: &OfRoutes) -> Vec<(Vec<(String, Value)>, u64)> {
        let all = points(metrics, routes, Window::default());
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
        let all = points(&metrics, &no_routes(), Window::default());
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

    fn table(patterns: impl Iterator<Item = String>) -> RouteTable {
        let target = Target::single(ServiceName::from("web"));
        let routes = patterns.map(|path| Route {
            path: PathMatch::Exact(path),
            ..Route::catch_all("web", target.clone())
        });
        RouteTable::new(routes.collect()).unwrap()
    }

    #[test]
    fn a_route_goes_on_under_its_pattern_and_those_beyond_the_bound_have_none() {
        let metrics = NodeMetrics::new(2);
        let names = |first: usize| (first..first + 100).map(|at| format!("/{at:03}"));
        let first = RouteMetrics::of(&table(names(0)), &no_routes(), 2);
        assert_eq!(first.iter().flatten().count(), ROUTES_MAX);
        for (core, route) in first.iter().enumerate().map(|(at, route)| (at % 2, route)) {
            let http = &metrics.core(core).http;
            let route = route.as_deref().map(|route| (route, core));
            http.began(KnownMethod(0));
            http.ended(KnownMethod(0), Some(StatusCode::OK), MS, route);
        }
        let of = |routes: &OfRoutes| {
            let told = told_of(&metrics, routes);
            let route = |(attributes, count): &(Vec<(String, Value)>, u64)| {
                let route = attributes.iter().find(|(key, _)| key == "http.route");
                (route.map(|(_, value)| value.clone()), *count)
            };
            told.iter().map(route).collect::<Vec<_>>()
        };
        let all = of(&first);
        assert_eq!(all[0], (None, 36));
        assert_eq!(all[1], (Some(Value::StringValue("/000".to_owned())), 1));
        assert_eq!(all.len(), 1 + ROUTES_MAX);
        let second = RouteMetrics::of(&table(names(50)), &first, 2);
        assert!(Arc::ptr_eq(
            first[63].as_ref().unwrap(),
            second[13].as_ref().unwrap()
        ));
        assert_eq!(of(&second).len(), 1 + 14, "what has left is told no more");
    }
}
