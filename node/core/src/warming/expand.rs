//! Requests that URLs and paths stand for, counted before they are made.

use thiserror::Error;

use super::asked::Asked;
use super::schedule::{Schedule, Wanted};

/// Requests that one order, the list of the start, or all schedules together may stand for.
pub const REQUESTS_MAX: usize = 50_000;

/// More requests than are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "{urls} URLs, and {paths} paths on {hosts} hosts of routes with a cache, are {} requests, \
     at most {REQUESTS_MAX} are made",
    self.requests()
)]
pub struct TooManyRequests {
    /// With a host.
    pub urls: usize,
    /// Without one.
    pub paths: usize,
    /// On which each path is fetched.
    pub hosts: usize,
}

impl TooManyRequests {
    fn requests(&self) -> usize {
        let on_hosts = self.paths.saturating_mul(self.hosts);
        self.urls.saturating_add(on_hosts)
    }
}

/// How many requests these stand for, if routes with a cache name so many hosts.
///
/// # Errors
/// [`TooManyRequests`] beyond [`REQUESTS_MAX`].
pub fn count_requests<'a>(
    wanted: impl IntoIterator<Item = &'a Wanted>,
    hosts: usize,
) -> Result<usize, TooManyRequests> {
    let (mut urls, mut paths) = (0, 0);
    for one in wanted {
        match one {
            Wanted::Url(_) => urls += 1,
            Wanted::Path(_) => paths += 1,
        }
    }
    let all = TooManyRequests { urls, paths, hosts };
    let requests = all.requests();
    (requests <= REQUESTS_MAX).then_some(requests).ok_or(all)
}

/// The same for all schedules together, which may be due at once; `on_start` is what a schedule without a list fetches.
///
/// # Errors
/// [`TooManyRequests`] beyond [`REQUESTS_MAX`].
pub fn count_scheduled(
    schedules: &[Schedule],
    on_start: &[Wanted],
    hosts: usize,
) -> Result<usize, TooManyRequests> {
    let all = schedules
        .iter()
        .flat_map(|schedule| match &schedule.wanted[..] {
            [] => on_start,
            wanted => wanted,
        });
    count_requests(all, hosts)
}

/// The requests that these stand for, if routes with a cache name these hosts.
///
/// # Errors
/// [`TooManyRequests`] beyond [`REQUESTS_MAX`], before any is made.
pub fn requests(wanted: &[Wanted], hosts: &[String]) -> Result<Vec<Asked>, TooManyRequests> {
    count_requests(wanted, hosts.len())?;
    Ok(wanted.iter().flat_map(|one| one.on(hosts)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(text: &str, count: usize) -> Vec<Wanted> {
        vec![Wanted::parse(text).unwrap(); count]
    }

    fn hosts(count: usize) -> Vec<String> {
        (0..count).map(|at| format!("h{at}.example")).collect()
    }

    #[test]
    fn paths_count_once_for_each_host_and_urls_once() {
        let mut some = wanted("/x", 3);
        some.extend(wanted("a.example/y", 2));
        assert_eq!(count_requests(&some, 7), Ok(23));
        assert_eq!(requests(&some, &hosts(7)).unwrap().len(), 23);
        assert_eq!(count_requests(&some, 0), Ok(2));
    }

    #[test]
    fn what_paths_and_hosts_come_to_is_bounded_before_it_is_made() {
        let paths = wanted("/x", REQUESTS_MAX / 1_000);
        assert_eq!(count_requests(&paths, 1_000), Ok(REQUESTS_MAX));
        let told = requests(&paths, &hosts(1_001)).unwrap_err().to_string();
        assert_eq!(
            told,
            "0 URLs, and 50 paths on 1001 hosts of routes with a cache, are 50050 requests, at most 50000 are made"
        );
        assert!(count_requests(&paths, usize::MAX).is_err());
    }

    #[test]
    fn schedules_that_may_be_due_at_once_count_together() {
        let on_start = wanted("/x", 10);
        let schedule = |text: &str| Schedule::parse(text).unwrap();
        let schedules = [
            schedule("* * * * *"),
            schedule("0 6 * * * /y a.example/z"),
            schedule("0 6 * * *"),
        ];
        assert_eq!(count_scheduled(&schedules, &on_start, 2), Ok(43));
        assert!(count_scheduled(&schedules, &on_start, 2_500).is_err());
    }
}
