//! What is decided about jobs: pure, time and chance come in.

use std::collections::BTreeSet;
use std::time::Duration;

use weir_core::tuning::{Code, NAME_BOUND, Problem, is_name};

use super::types::{
    Job, Limits, NewJob, PAYLOAD_BYTES_MAX, PRIORITY_MAX, State, TEXT_BYTES_MAX, TRACE_BYTES_MAX,
    Want,
};
use crate::keys::{check_job_id, check_name};
use crate::problem::{Problems, refused};

/// Most attempts of a job.
pub const ATTEMPTS_MAX: u32 = 1_000;
/// Longest wait between two attempts, and longest spacing of a fleet's starts.
pub const DELAY_MAX: Duration = Duration::from_secs(86_400);
/// Most jobs of a queue that a fleet can be told to run at a time.
pub const FLEET_CONCURRENT_MAX: u32 = 1_000;
/// Most services that a claim can name.
pub const SERVICES_MAX: usize = 1_000;
/// Longest [`super::Spec::reason`].
pub const REASON_BYTES_MAX: usize = 1_024;
/// Clocks of one store that are as far apart are right.
const CLOCKS_APART_MAX_MS: u64 = 60_000;
/// What a wait differs by from what it is called, at most.
const JITTER: f64 = 0.1;

/// How long until the next attempt after `attempt` failed: doubled each time, bounded, within a tenth.
///
/// `draw` is from 0 to 1. The bound holds for what is doubled; the tenth comes on top.
pub fn retry_delay(limits: &Limits, attempt: u32, draw: f64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(31);
    let delay = limits.retry_delay.saturating_mul(1 << doublings);
    let delay = delay.min(limits.retry_delay_max);
    delay.mul_f64(1.0 - JITTER + 2.0 * JITTER * draw.clamp(0.0, 1.0))
}

/// Whether a fleet that last started a job then may start one now. A last start far in the future is of a clock that
/// was wrong, and holds nobody up.
pub fn may_start(now_unix_ms: u64, last_start_unix_ms: u64, interval_min: Duration) -> bool {
    let interval_ms = u64::try_from(interval_min.as_millis()).unwrap_or(u64::MAX);
    let next = last_start_unix_ms.saturating_add(interval_ms);
    now_unix_ms >= next || last_start_unix_ms > now_unix_ms.saturating_add(interval_ms)
}

/// Whether a job that waits until then, and was to wait for so long when it was told to, was told by a clock that was
/// wrong: it has to wait much longer than that. It holds no job up.
pub fn was_told_wrong(now_unix_ms: u64, not_before_unix_ms: u64, wait_ms: u64) -> bool {
    let left = not_before_unix_ms.saturating_sub(now_unix_ms);
    left > wait_ms
        .saturating_mul(2)
        .saturating_add(CLOCKS_APART_MAX_MS)
}

/// A free place in the fleet's bound, if less than `concurrent_max` are taken: one of the free by `draw`, so that
/// claimers at the same time choose different ones.
pub fn free_slot(taken: &BTreeSet<u32>, concurrent_max: u32, draw: u64) -> Option<u32> {
    let most = usize::try_from(concurrent_max).unwrap_or(usize::MAX);
    if taken.len() >= most {
        return None;
    }
    let free: Vec<u32> = (0..concurrent_max).filter(|k| !taken.contains(k)).collect();
    pick(&free, draw).copied()
}

/// One of them.
pub fn pick<T>(among: &[T], draw: u64) -> Option<&T> {
    let count = u64::try_from(among.len()).ok().filter(|count| *count > 0)?;
    among.get(usize::try_from(draw % count).ok()?)
}

/// How a job is now: what is kept tells only that it is open.
pub fn state_at(job: &Job, now_unix_ms: u64) -> State {
    match job.state() {
        State::Ready | State::Waiting if job.not_before_unix_ms > now_unix_ms => State::Waiting,
        State::Waiting => State::Ready,
        state => state,
    }
}

/// The name of a job made now.
pub fn job_id(now_unix_ms: u64, random: u64) -> String {
    format!("{:012x}{random:016x}", now_unix_ms & 0xffff_ffff_ffff)
}

/// As much of a text as is kept.
pub fn bounded(text: &str) -> String {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// Everything that is wrong with a job to add.
pub(super) fn check_new(job: &NewJob) -> Result<(), Vec<Problem>> {
    let mut problems = Problems::default();
    let (spec, limits) = (&job.spec, &job.limits);
    problems.form(is_name(&job.queue), "queue", &job.queue, NAME_BOUND);
    problems.form(
        is_name(&spec.service),
        "spec.service",
        &spec.service,
        NAME_BOUND,
    );
    let has_slot = spec.slot.is_empty() || is_name(&spec.slot);
    let slot_bound = format!("{NAME_BOUND}, or none");
    problems.form(has_slot, "spec.slot", &spec.slot, &slot_bound);
    let (reason, bound) = (spec.reason.len(), format!("0 to {REASON_BYTES_MAX} bytes"));
    problems.range(reason <= REASON_BYTES_MAX, "spec.reason", reason, &bound);
    let (payload, bound) = (
        spec.payload.len(),
        format!("0 to {PAYLOAD_BYTES_MAX} bytes"),
    );
    problems.range(
        payload <= PAYLOAD_BYTES_MAX,
        "spec.payload",
        payload,
        &bound,
    );
    let (trace, bound) = (
        spec.trace_context.len(),
        format!("0 to {TRACE_BYTES_MAX} bytes"),
    );
    problems.range(
        trace <= TRACE_BYTES_MAX,
        "spec.trace_context",
        trace,
        &bound,
    );
    let bound = format!("0 to {PRIORITY_MAX}");
    problems.range(
        job.priority <= PRIORITY_MAX,
        "priority",
        job.priority,
        &bound,
    );
    let fits = (1..=ATTEMPTS_MAX).contains(&limits.attempts_max);
    let bound = format!("1 to {ATTEMPTS_MAX}");
    problems.range(fits, "limits.attempts_max", limits.attempts_max, &bound);
    let bound = format!("0 to {DELAY_MAX:?}");
    for (path, delay) in [
        ("limits.retry_delay", limits.retry_delay),
        ("limits.retry_delay_max", limits.retry_delay_max),
    ] {
        problems.range(delay <= DELAY_MAX, path, format!("{delay:?}"), &bound);
    }
    let mut problems = problems.into_result().err().unwrap_or_default();
    let key = check_name("idempotency_key", &job.idempotency_key).err();
    let id = job.job_id.as_deref().and_then(|id| check_job_id(id).err());
    problems.extend(key.into_iter().chain(id).map(Problem::from));
    none(problems)
}

/// Everything that is wrong with what a claimer wants.
pub(super) fn check_want(want: &Want) -> Result<(), Vec<Problem>> {
    let mut problems = check_holder(&want.holder.node_id, &want.holder.boot_id);
    let mut range = Problems::default();
    let (count, bound) = (want.services.len(), format!("0 to {SERVICES_MAX}"));
    range.range(count <= SERVICES_MAX, "services", count, &bound);
    let (count, bound) = (
        want.fleet_concurrent_max,
        format!("0 to {FLEET_CONCURRENT_MAX}"),
    );
    range.range(
        count <= FLEET_CONCURRENT_MAX,
        "fleet_concurrent_max",
        count,
        &bound,
    );
    let (interval, bound) = (want.fleet_interval_min, format!("0 to {DELAY_MAX:?}"));
    let told = format!("{interval:?}");
    range.range(interval <= DELAY_MAX, "fleet_interval_min", told, &bound);
    problems.extend(range.into_result().err().unwrap_or_default());
    none(problems)
}

/// Everything that is wrong with the name of a process.
pub(super) fn check_holder(node_id: &str, boot_id: &str) -> Vec<Problem> {
    let names = [("node_id", node_id), ("boot_id", boot_id)];
    let wrong = names
        .into_iter()
        .filter_map(|(path, name)| check_name(path, name).err());
    wrong.map(Problem::from).collect()
}

/// What is wrong with a result.
pub(super) fn check_result(result: &str) -> Result<(), Vec<Problem>> {
    if result.len() <= TEXT_BYTES_MAX {
        return Ok(());
    }
    let bound = format!("0 to {TEXT_BYTES_MAX} bytes");
    let message = "is out of bounds";
    Err(vec![refused(
        "result",
        Code::Range,
        message,
        result.len(),
        bound,
    )])
}

fn none(problems: Vec<Problem>) -> Result<(), Vec<Problem>> {
    match problems.is_empty() {
        true => Ok(()),
        false => Err(problems),
    }
}

#[cfg(test)]
mod tests;
