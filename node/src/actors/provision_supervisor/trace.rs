//! What a job's attempt is told as: its spans, and events of its beginning and its end.

use tokio::time::Instant;
use weir_control_plane::jobs::Claim;
use weir_core::error::chain;

use super::Parts;
use super::handle::trace_of;
use super::runner::{Failed, Taken};
use super::spec::Lot;
use crate::events::{Kind, Limit};
use crate::telemetry::spans::SpanKind;
use crate::telemetry::steps::{LIMIT, StepTrace};

/// Digits of the time in a job's id.
const ID_TIME_DIGITS: usize = 12;

/// The trace of an attempt, under the span that wanted the job.
pub(super) fn begin(parts: &Parts, claim: &Claim, asked_at: Instant) -> StepTrace {
    let whole = ("engine.provision", SpanKind::Consumer);
    let wanted_by = trace_of(&claim.spec);
    let mut trace = StepTrace::begin(&parts.tracer, wanted_by, whole, asked_at);
    trace.note(("weir.job", claim.ticket.job_id.clone().into()));
    trace.note(("weir.service", claim.spec.service.clone().into()));
    trace.note(("weir.attempt", i64::from(claim.attempt).into()));
    if let Some(made) = made_unix_ms(&claim.ticket.job_id) {
        let age = parts.clock.unix_ms_now().saturating_sub(made);
        let age = i64::try_from(age).unwrap_or(i64::MAX);
        trace.note(("weir.job.age_ms", age.into()));
    }
    trace.step_since("job.claim", SpanKind::Client, asked_at);
    trace
}

/// When a job was made: its id begins with that.
fn made_unix_ms(job: &str) -> Option<u64> {
    u64::from_str_radix(job.get(..ID_TIME_DIGITS)?, 16).ok()
}

/// This node has the job.
pub(super) fn claimed(parts: &Parts, claim: &Claim) {
    let attributes = [
        ("service", claim.spec.service.clone()),
        ("attempt", claim.attempt.to_string()),
    ];
    let job = &claim.ticket.job_id;
    parts.events.record(Kind::JobClaimed, job, attributes);
}

/// What the engine is to have is known.
pub(super) fn reserved(taken: &mut Taken, lot: &Lot) {
    let trace = &mut taken.trace;
    trace.note(("weir.engine", lot.engine_id().into()));
    trace.note_step(("weir.port", i64::from(lot.port).into()));
    if let Some(vpn) = &lot.vpn {
        trace.note_step(("weir.vpn", vpn.clone().into()));
    }
    if let Some(port) = lot.p2p_port {
        trace.note_step(("weir.p2p_port", i64::from(port).into()));
        let forwarded = if lot.is_forwarded { "yes" } else { "no" };
        trace.note_step(("weir.forwarded", forwarded.into()));
    }
}

/// Its start has to wait for that.
pub(super) fn waits(parts: &Parts, taken: &mut Taken, lot: &Lot, limit: Option<Limit>) {
    let Some(limit) = limit else { return };
    taken.trace.note_step((LIMIT, limit.as_str().into()));
    let limits = &parts.in_force.load().config.provision;
    let message = match limit {
        Limit::Concurrency => format!("{} starts are under way", limits.concurrent_max),
        _ => format!("{:?} between two starts", limits.interval_min),
    };
    parts.events.limited(limit, &lot.service, &lot.job, message);
}

/// The attempt is over.
pub(super) fn end(
    parts: &Parts,
    claim: &Claim,
    mut trace: StepTrace,
    outcome: &Result<(), Failed>,
) {
    let (job, service) = (&claim.ticket.job_id, &claim.spec.service);
    let failed = match outcome {
        Ok(()) => None,
        Err(Failed::NotNeeded) => {
            trace.note(("weir.outcome", "not_needed".into()));
            None
        }
        Err(failed) => Some(failed),
    };
    if let Some(Failed::Refused(refusal)) = failed
        && let Some(limit) = Limit::of(refusal.code)
    {
        trace.note_step((LIMIT, limit.as_str().into()));
        let message = refusal.message.clone();
        parts.events.limited(limit, service, job, message);
    }
    // What was given back is tried again as if nothing had been.
    if failed.is_some_and(Failed::is_failure) {
        trace.tell_anyway();
    }
    trace.finish(failed.map(|failed| chain(failed).to_string()));
}
