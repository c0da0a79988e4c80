//! What keeps wishes and jobs of a service waiting, told when it begins and not at each look.

use tokio::time::Instant;
use weir_control_plane::jobs::{Error, Job, State};
use weir_core::ids::ServiceName;

use super::{EnginePlan, told};
use crate::config::ProvisionSettings;
use crate::events::{Events, Limit};
use crate::telemetry::spans::{SpanKind, Tracer};
use crate::telemetry::steps::{LIMIT, StepTrace};

/// Whether wishes of a service are refused because too many jobs are open.
#[derive(Default)]
pub(super) struct QueueWait {
    is_full: bool,
}

impl QueueWait {
    /// Takes what became of wishes.
    pub(super) fn look(
        &mut self,
        wished: &Result<(), Error>,
        engines: &EnginePlan,
        limits: &ProvisionSettings,
        events: &Events,
    ) {
        let is_full = matches!(wished, Err(Error::Full { .. }));
        let was_full = std::mem::replace(&mut self.is_full, is_full);
        if let (Err(error), true, false) = (wished, is_full, was_full) {
            told::queue_is_full(events, &engines.service, (error, limits));
        }
    }
}

/// Jobs of a service that are ready and wait for others of the mesh: a span from its beginning to its end.
#[derive(Default)]
pub(super) struct FleetWait {
    span: Option<StepTrace>,
}

impl FleetWait {
    /// Takes why they wait, if they do.
    pub(super) fn look(
        &mut self,
        why: Option<&str>,
        service: &ServiceName,
        (events, tracer): (&Events, &Tracer),
    ) {
        match (why, self.span.take()) {
            (Some(_), Some(span)) => self.span = Some(span),
            (Some(why), None) => {
                events.limited(Limit::Fleet, service.as_str(), "", why.to_owned());
                let whole = ("fleet.wait", SpanKind::Internal);
                let mut span = StepTrace::begin(tracer, None, whole, Instant::now());
                span.note((LIMIT, Limit::Fleet.as_str().into()));
                span.note(("weir.service", service.to_string().into()));
                self.span = Some(span);
            }
            (None, span) => {
                if let Some(span) = span {
                    span.finish(None);
                }
            }
        }
    }
}

/// Why no job that is ready may begin now because of those that began, if so.
pub(super) fn fleet_limit(
    jobs: &[Job],
    limits: &ProvisionSettings,
    now_unix_ms: u64,
) -> Option<String> {
    let claimed = || jobs.iter().filter(|job| job.state() == State::Claimed);
    let most = limits.fleet_concurrent_max;
    if most > 0 && claimed().count() >= most as usize {
        let message = format!("{most} starts are under way in the mesh, and {most} may be");
        return Some(message);
    }
    let last = claimed().map(|job| job.claimed_at_unix_ms).max()?;
    let interval = limits.fleet_interval_min;
    let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
    let is_spaced = now_unix_ms < last.saturating_add(interval_ms);
    is_spaced.then(|| format!("{interval:?} between two starts in the mesh"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn jobs_wait_for_those_that_are_under_way_or_began_a_moment_ago() {
        let claimed = |at| {
            let mut job = Job {
                claimed_at_unix_ms: at,
                ..Job::default()
            };
            job.set_state(State::Claimed);
            job
        };
        let jobs = [claimed(10_000), claimed(12_000)];
        let limits = |most, interval_ms| ProvisionSettings {
            fleet_concurrent_max: most,
            fleet_interval_min: Duration::from_millis(interval_ms),
            ..ProvisionSettings::default()
        };
        let limited = |limits: &ProvisionSettings| fleet_limit(&jobs, limits, 12_400);
        assert_eq!(limited(&limits(0, 0)), None);
        assert_eq!(limited(&limits(3, 400)), None);
        let told = limited(&limits(2, 0)).unwrap();
        assert_eq!(told, "2 starts are under way in the mesh, and 2 may be");
        let told = limited(&limits(3, 500)).unwrap();
        assert_eq!(told, "500ms between two starts in the mesh");
        assert_eq!(fleet_limit(&[], &limits(1, 500), 12_400), None);
    }
}
