//! What is fetched before anybody asks for it.

use std::collections::BTreeSet;
use std::time::Duration;

use weir_core::route::{HostPattern, RouteTable};
use weir_core::tuning::Knob;
use weir_core::tuning::knobs::cache;
use weir_core::warming::{PredictiveRules, Schedule, Wanted, count_requests, count_scheduled};

use super::reader::{Problem, Section};
use super::routes::RouteSettings;

/// The `warm_*` keys of `[cache]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WarmSettings {
    /// At the start.
    pub on_start: Vec<Wanted>,
    /// How long the node waits for that before it is ready.
    pub start_timeout: Duration,
    /// Fetches at a time.
    pub concurrent_max: usize,
    /// Fetches that begin within a second.
    pub rate_max: u32,
    /// Keys that are kept on disk for the next start.
    pub hot_keys: usize,
    /// What is asked for often is refreshed before it ends.
    pub is_predictive: bool,
    /// What makes it worth that.
    pub rules: PredictiveRules,
    /// Within which time requests count.
    pub window: Duration,
    /// When what is fetched again.
    pub schedules: Vec<Schedule>,
}

impl WarmSettings {
    pub(super) fn read(s: &mut Section, problems: &mut Vec<Problem>) -> Self {
        let on_start = texts(
            s,
            problems,
            ("warm_on_start", &cache::WARM_ON_START),
            |text| Wanted::parse(text).map_err(|why| why.to_string()),
        );
        let schedules = texts(
            s,
            problems,
            ("warm_schedule", &cache::WARM_SCHEDULE),
            |text| Schedule::parse(text).map_err(|why| why.to_string()),
        );
        let mut time = |key, knob| -> Duration { s.tuned(problems, key, knob) };
        let start_timeout = time("warm_start_timeout", &cache::WARM_START_TIMEOUT);
        let cost_min = time("warm_predictive_cost_min", &cache::WARM_PREDICTIVE_COST_MIN);
        let window = time("warm_predictive_window", &cache::WARM_PREDICTIVE_WINDOW);
        let concurrent_max = s.tuned(problems, "warm_concurrent_max", &cache::WARM_CONCURRENT_MAX);
        let rate_max = s.tuned(problems, "warm_rate_max", &cache::WARM_RATE_MAX);
        let hot_keys = s.tuned(problems, "warm_hot_keys", &cache::WARM_HOT_KEYS);
        let is_predictive = s.tuned(problems, "warm_predictive", &cache::WARM_PREDICTIVE);
        let requests_min = s.tuned(
            problems,
            "warm_predictive_requests_min",
            &cache::WARM_PREDICTIVE_REQUESTS_MIN,
        );
        Self {
            on_start,
            start_timeout,
            concurrent_max,
            rate_max,
            hot_keys,
            is_predictive,
            rules: PredictiveRules {
                requests_min,
                cost_min_ms: u64::try_from(cost_min.as_millis()).unwrap_or(u64::MAX),
                ..PredictiveRules::default()
            },
            window,
            schedules,
        }
    }
}

/// The hosts that routes with a cache name, on which paths are fetched.
pub(crate) fn cached_hosts(table: &RouteTable, settings: &[RouteSettings]) -> Vec<String> {
    let routes = table.routes().iter().zip(settings);
    let cached = routes.filter(|(_, settings)| settings.cache.is_some());
    let hosts: BTreeSet<&String> = cached
        .flat_map(|(route, _)| &route.hosts)
        .filter_map(|host| match host {
            HostPattern::Exact(host) => Some(host),
            HostPattern::Any | HostPattern::Suffix(_) => None,
        })
        .collect();
    hosts.into_iter().cloned().collect()
}

/// Tells of lists that come to more than is fetched, on the hosts that the routes name.
pub(super) fn check(
    root: &Section,
    problems: &mut Vec<Problem>,
    warm: &WarmSettings,
    hosts: usize,
) {
    let (listed, scheduled) = (&cache::WARM_ON_START, &cache::WARM_SCHEDULE);
    if let Err(why) = count_requests(&warm.on_start, hosts) {
        let (key, why) = ("cache.warm_on_start", why.to_string());
        root.contradiction(problems, key, why, [listed, listed]);
    }
    if let Err(why) = count_scheduled(&warm.schedules, &warm.on_start, hosts) {
        let (key, why) = ("cache.warm_schedule", why.to_string());
        root.contradiction(problems, key, why, [scheduled, listed]);
    }
}

fn texts<T>(
    s: &mut Section,
    problems: &mut Vec<Problem>,
    (key, knob): (&str, &'static Knob),
    read: impl Fn(&str) -> Result<T, String>,
) -> Vec<T> {
    let texts: Vec<String> = s.tuned(problems, key, knob);
    let mut all = Vec::new();
    for text in texts {
        match read(&text) {
            Ok(one) => all.push(one),
            Err(why) => s.contradiction(problems, key, why, [knob, knob]),
        }
    }
    all
}
