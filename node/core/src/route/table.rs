//! All routes of a listener, compiled for lookup.

use http::Method;

use super::edits::HeaderEdits;
use super::header_match::HeaderMatch;
use super::host::HostPattern;
use super::matching::{Condition, PathMatch, RouteRequest};
use super::problem::RouteProblem;
use super::rewrite::Rewrite;
use super::target::Target;

/// Which requests go where.
#[derive(Clone, Debug)]
pub struct Route {
    /// For logs and metrics; need not be unique.
    pub name: String,
    /// Hosts it answers for; none means any.
    pub hosts: Vec<HostPattern>,
    /// Paths it answers for.
    pub path: PathMatch,
    /// Methods it answers for; none means any.
    pub methods: Vec<Method>,
    /// Conditions on headers, all of which must hold.
    pub headers: Vec<HeaderMatch>,
    /// Where requests go.
    pub target: Target,
    /// What becomes of path and host.
    pub rewrite: Rewrite,
    /// What is changed on the request's headers.
    pub request_edits: HeaderEdits,
    /// What is changed on the response's headers.
    pub response_edits: HeaderEdits,
}

impl Route {
    /// A route for every request.
    pub fn catch_all(name: &str, target: Target) -> Self {
        Self {
            name: name.to_owned(),
            hosts: Vec::new(),
            path: PathMatch::any(),
            methods: Vec::new(),
            headers: Vec::new(),
            target,
            rewrite: Rewrite::default(),
            request_edits: HeaderEdits::default(),
            response_edits: HeaderEdits::default(),
        }
    }
}

/// Routes with their precedence worked out.
///
/// Of the routes that match, the one with the most specific host wins: exact, then the longest
/// wildcard, then any. Among those, by path: exact, then the longest prefix, then expressions, then
/// `/`, which says nothing about the path. Expressions come before `/` because a catch-all would
/// make them unreachable otherwise. Then a route that names methods before one that does not, then
/// the one with more header conditions, then the earlier one. As in the Kubernetes Gateway API,
/// which leaves the place of expressions open.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    routes: Vec<Route>,
    /// Sorted by host.
    exact_hosts: Vec<(String, Candidates)>,
    /// Longest suffix first.
    suffixes: Vec<(String, Candidates)>,
    any_host: Candidates,
}

impl RouteTable {
    /// Compiles the routes. Their order is the last resort of precedence, and their indices stay.
    ///
    /// # Errors
    /// Every problem of every route.
    pub fn new(routes: Vec<Route>) -> Result<Self, Vec<RouteProblem>> {
        let mut problems = Vec::new();
        let mut table = Self::default();
        for (index, route) in routes.iter().enumerate() {
            match Condition::compile(&route.path, &route.methods, &route.headers, index) {
                Ok(condition) => table.add(&route.hosts, &condition),
                Err(pattern) => problems.push(RouteProblem {
                    index,
                    name: route.name.clone(),
                    pattern,
                }),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        table.routes = routes;
        table.sort();
        Ok(table)
    }

    /// Index of the route for a request, if any matches. Does not allocate.
    pub fn find(&self, request: &RouteRequest<'_>) -> Option<usize> {
        self.find_by_host(request)
            .or_else(|| self.any_host.find(request))
    }

    /// The route at an index that [`find`](Self::find) returned.
    pub fn get(&self, index: usize) -> Option<&Route> {
        self.routes.get(index)
    }

    /// All routes in the order they were given.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    fn find_by_host(&self, request: &RouteRequest<'_>) -> Option<usize> {
        let exact = self
            .exact_hosts
            .binary_search_by(|(host, _)| host.as_str().cmp(request.host))
            .ok()
            .and_then(|at| self.exact_hosts[at].1.find(request));
        exact.or_else(|| {
            self.suffixes
                .iter()
                .filter(|(suffix, _)| is_below(request.host, suffix))
                .find_map(|(_, candidates)| candidates.find(request))
        })
    }

    fn add(&mut self, hosts: &[HostPattern], condition: &Condition) {
        if hosts.is_empty() {
            self.any_host.conditions.push(condition.clone());
        }
        for host in hosts {
            let candidates = match host {
                HostPattern::Any => &mut self.any_host,
                HostPattern::Exact(host) => entry(&mut self.exact_hosts, host),
                HostPattern::Suffix(suffix) => entry(&mut self.suffixes, suffix),
            };
            candidates.conditions.push(condition.clone());
        }
    }

    fn sort(&mut self) {
        self.suffixes
            .sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
        self.any_host.sort();
        for (_, candidates) in self.exact_hosts.iter_mut().chain(&mut self.suffixes) {
            candidates.sort();
        }
    }
}

fn is_below(host: &str, suffix: &str) -> bool {
    host.len() > suffix.len() && host.ends_with(suffix)
}

/// The candidates of a host, made if there are none. Keeps the hosts sorted.
fn entry<'a>(hosts: &'a mut Vec<(String, Candidates)>, host: &str) -> &'a mut Candidates {
    let at = match hosts.binary_search_by(|(known, _)| known.as_str().cmp(host)) {
        Ok(at) => at,
        Err(at) => {
            hosts.insert(at, (host.to_owned(), Candidates::default()));
            at
        }
    };
    &mut hosts[at].1
}

/// The routes for one host pattern, best first.
#[derive(Clone, Debug, Default)]
struct Candidates {
    conditions: Vec<Condition>,
    /// How many at the start are for one exact path; these are sorted by path.
    exact_paths: usize,
}

impl Candidates {
    fn sort(&mut self) {
        self.conditions
            .sort_by(|left, right| left.rank().cmp(&right.rank()));
        self.exact_paths = self
            .conditions
            .partition_point(|condition| condition.exact_path().is_some());
    }

    fn find(&self, request: &RouteRequest<'_>) -> Option<usize> {
        let (exact, rest) = self.conditions.split_at(self.exact_paths);
        let first = exact.partition_point(|it| it.exact_path() < Some(request.path));
        exact[first..]
            .iter()
            .take_while(|it| it.exact_path() == Some(request.path))
            .chain(rest)
            .find(|condition| condition.matches(request))
            .map(|condition| condition.index)
    }
}
