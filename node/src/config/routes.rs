//! Routes: which requests go to which service, and what changes on the way.

use std::collections::BTreeSet;

use http::{HeaderName, HeaderValue, Method};
use weir_core::ids::ServiceName;
use weir_core::route::{
    BadRewrite, HeaderEdits, HeaderMatch, HeaderTest, HostPattern, PathMatch, PathRewrite, Rewrite,
    Route, RouteTable, Target,
};

use super::cache::RouteCache;
use super::compression::RouteCompression;
use super::reader::{Problem, Section};
use super::services::Timeouts;

/// What a route does beyond what [`Route`] says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteSettings {
    /// Waits, when they differ from the service's.
    pub timeouts: Option<Timeouts>,
    /// How its answers are cached, if they are.
    pub cache: Option<RouteCache>,
    /// What of its answers is compressed, if anything.
    pub compression: Option<RouteCompression>,
    /// Subscribers and publishers come in here; it has no service.
    pub broadcast: bool,
}

pub(super) fn read(
    root: &mut Section,
    problems: &mut Vec<Problem>,
    services: &BTreeSet<ServiceName>,
) -> (RouteTable, Vec<RouteSettings>) {
    let mut routes = Vec::new();
    let mut settings = Vec::new();
    for (at, mut section) in root
        .list(problems, "routes", "service")
        .into_iter()
        .enumerate()
    {
        let broadcast = section.flag(problems, "broadcast", false);
        if broadcast {
            refuse_with_broadcast(&mut section, problems);
        }
        let timeouts = section
            .has("timeouts")
            .then(|| Timeouts::read(&mut section, problems));
        if let Some(route) = read_route(&mut section, problems, services, (at, broadcast)) {
            let cache = RouteCache::read(&mut section, problems, &route.name);
            routes.push(route);
            settings.push(RouteSettings {
                timeouts,
                cache,
                compression: RouteCompression::read(&mut section, problems),
                broadcast,
            });
        }
        section.finish(problems);
    }
    match RouteTable::new(routes) {
        Ok(table) => (table, settings),
        Err(refused) => {
            for problem in refused {
                problems.push(Problem {
                    path: format!("routes[{}]", problem.index),
                    what: problem.pattern.to_string(),
                });
            }
            (RouteTable::default(), Vec::new())
        }
    }
}

fn read_route(
    s: &mut Section,
    problems: &mut Vec<Problem>,
    services: &BTreeSet<ServiceName>,
    (at, is_broadcast): (usize, bool),
) -> Option<Route> {
    let name = s
        .text(problems, "name")
        .unwrap_or_else(|| format!("route-{at}"));
    let target = match is_broadcast {
        // No service has an empty name: nothing is forwarded.
        true => Some(Target::single(ServiceName::from(""))),
        false => read_target(s, problems, services),
    };
    let hosts = read_hosts(s, problems);
    let (path, prefix) = read_path(s, problems);
    let methods = s.parsed_list::<Method>(problems, "methods");
    let headers = read_header_matches(s, problems);
    let rewrite = read_rewrite(s, problems, prefix.as_deref());
    let request_edits = read_edits(s, problems, "request_headers");
    let response_edits = read_edits(s, problems, "response_headers");
    Some(Route {
        hosts,
        path,
        methods,
        headers,
        rewrite,
        request_edits,
        response_edits,
        ..Route::catch_all(&name, target?)
    })
}

/// What a route without a service cannot have.
fn refuse_with_broadcast(s: &mut Section, problems: &mut Vec<Problem>) {
    for key in [
        "service", "split", "rewrite", "cache", "compress", "timeouts",
    ] {
        if s.has(key) {
            let what = "does not go with `broadcast`: the node itself answers there";
            s.problem(problems, key, what);
        }
    }
    // They are known all the same.
    s.text(problems, "service");
    if s.has("split") {
        s.list(problems, "split", "service");
    }
}

fn read_target(
    s: &mut Section,
    problems: &mut Vec<Problem>,
    services: &BTreeSet<ServiceName>,
) -> Option<Target> {
    let known = |s: &Section, problems: &mut Vec<Problem>, name: &str| {
        let found = services.contains(name);
        if !found {
            s.problem(
                problems,
                "service",
                format!("`{name}` is no configured service"),
            );
        }
        found.then(|| ServiceName::from(name))
    };
    match (s.text(problems, "service"), s.has("split")) {
        (Some(_), true) => {
            s.problem(problems, "split", "a route has either `service` or `split`");
            s.list(problems, "split", "service");
            None
        }
        (Some(name), false) => known(s, problems, &name).map(Target::single),
        (None, true) => {
            let mut shares = Vec::new();
            for mut share in s.list(problems, "split", "service") {
                let weight = share.number(problems, "weight", 1, 0..=65_535);
                if let Some(name) = share.text(problems, "service")
                    && let Some(service) = known(&share, problems, &name)
                {
                    shares.push((service, u32::try_from(weight).unwrap_or(u32::MAX)));
                }
                share.finish(problems);
            }
            Target::weighted(shares)
                .map_err(|error| s.problem(problems, "split", error.to_string()))
                .ok()
        }
        (None, false) => {
            s.problem(problems, "service", "is required");
            None
        }
    }
}

fn read_hosts(s: &mut Section, problems: &mut Vec<Problem>) -> Vec<HostPattern> {
    let mut hosts = Vec::new();
    for text in s.texts(problems, "host") {
        match HostPattern::parse(&text) {
            Ok(host) => hosts.push(host),
            Err(error) => s.problem(problems, "host", error.to_string()),
        }
    }
    hosts
}

/// The path match, and the prefix when it is one.
pub(super) fn read_path(
    s: &mut Section,
    problems: &mut Vec<Problem>,
) -> (PathMatch, Option<String>) {
    let forms = [
        ("path", s.text(problems, "path")),
        ("path_exact", s.text(problems, "path_exact")),
        ("path_regex", s.text(problems, "path_regex")),
    ];
    let mut given = forms
        .into_iter()
        .filter_map(|(key, text)| text.map(|text| (key, text)));
    let first = given.next();
    if let Some((key, _)) = given.next() {
        s.problem(
            problems,
            key,
            "a route has one of path, path_exact, path_regex",
        );
    }
    match first {
        None => (PathMatch::any(), Some("/".to_owned())),
        Some(("path", prefix)) => (PathMatch::Prefix(prefix.clone()), Some(prefix)),
        Some(("path_exact", path)) => (PathMatch::Exact(path), None),
        Some((_, pattern)) => (PathMatch::Regex(pattern), None),
    }
}

/// `"*"`: there at all; `"~..."`: a regular expression; anything else: that very value.
fn read_header_matches(s: &mut Section, problems: &mut Vec<Problem>) -> Vec<HeaderMatch> {
    let mut matches = Vec::new();
    let headers = s.section(problems, "headers");
    for (name, text) in headers.into_texts(problems) {
        let path = format!("headers.{name}");
        let Ok(name) = name.parse::<HeaderName>() else {
            s.problem(problems, &path, "is no header name");
            continue;
        };
        let found = match text.strip_prefix('~') {
            Some(pattern) => HeaderMatch::regex(name, pattern).map_err(|error| error.to_string()),
            None if text == "*" => Ok(HeaderMatch {
                name,
                test: HeaderTest::Present,
            }),
            None => HeaderValue::from_str(&text)
                .map(|value| HeaderMatch {
                    name,
                    test: HeaderTest::Exact(value),
                })
                .map_err(|error| error.to_string()),
        };
        match found {
            Ok(found) => matches.push(found),
            Err(what) => s.problem(problems, &path, what),
        }
    }
    matches
}

fn read_rewrite(s: &mut Section, problems: &mut Vec<Problem>, prefix: Option<&str>) -> Rewrite {
    let mut r = s.section(problems, "rewrite");
    let mut paths = Vec::new();
    if let Some(to) = r.text(problems, "prefix") {
        match prefix {
            Some(from) => paths.push(("prefix", PathRewrite::prefix(from, &to))),
            None => r.problem(problems, "prefix", "needs a route with a path prefix"),
        }
    }
    if let Some(to) = r.text(problems, "path") {
        paths.push(("path", PathRewrite::full(&to)));
    }
    if let Some(pattern) = r.text(problems, "regex") {
        let to = r.text(problems, "to").unwrap_or_default();
        let path = PathRewrite::regex(&pattern, &to);
        let wrong = if matches!(path, Err(BadRewrite::Path(_))) {
            "to"
        } else {
            "regex"
        };
        paths.push((wrong, path));
    }
    if paths.len() > 1 {
        r.problem(
            problems,
            paths[1].0,
            "a rewrite has one of prefix, path, regex",
        );
    }
    let path = paths.into_iter().next().and_then(|(key, path)| {
        path.map_err(|error| r.problem(problems, key, error.to_string()))
            .ok()
    });
    let host = r.text(problems, "host");
    let rewrite = Rewrite::new(path, host.as_deref()).unwrap_or_else(|error| {
        r.problem(problems, "host", error.to_string());
        Rewrite::default()
    });
    r.finish(problems);
    rewrite
}

fn read_edits(s: &mut Section, problems: &mut Vec<Problem>, key: &str) -> HeaderEdits {
    let mut e = s.section(problems, key);
    let set = read_pairs(&mut e, problems, "set");
    let add = read_pairs(&mut e, problems, "add");
    let remove = e.parsed_list::<HeaderName>(problems, "remove");
    e.finish(problems);
    HeaderEdits::new(set, add, remove).unwrap_or_else(|error| {
        s.problem(problems, key, error.to_string());
        HeaderEdits::default()
    })
}

fn read_pairs(
    s: &mut Section,
    problems: &mut Vec<Problem>,
    key: &str,
) -> Vec<(HeaderName, HeaderValue)> {
    let mut pairs = Vec::new();
    let section = s.section(problems, key);
    for (name, text) in section.into_texts(problems) {
        match (name.parse::<HeaderName>(), HeaderValue::from_str(&text)) {
            (Ok(name), Ok(value)) => pairs.push((name, value)),
            _ => s.problem(problems, &format!("{key}.{name}"), "is no header"),
        }
    }
    pairs
}
