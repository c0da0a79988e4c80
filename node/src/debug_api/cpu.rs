//! Where processors' time goes: a sample of every thread that runs, 99 times for each second of processor time.

use std::time::Duration;

use pprof::ProfilerGuardBuilder;
use tokio::time::{sleep, timeout};
use weir_core::flame::Stacks;

use super::ReadBinaries;

/// Samples in each second of processor time; not 100, which would keep step with timers.
pub const FREQUENCY_HZ: i32 = 99;
/// Where a thread is not sampled: unwinding from there may wait for a lock that it holds.
const NOT_SAMPLED: [&str; 4] = ["libc", "libgcc", "pthread", "vdso"];

/// What was sampled.
#[derive(Debug)]
pub struct CpuProfile {
    /// By thread, then from the outermost call to the innermost.
    pub stacks: Stacks,
    /// How long it was looked.
    pub duration: Duration,
}

/// Samples for a while. Who gives up early ends it. Names of calls are waited for no longer than `wait`.
///
/// # Errors
/// What kept the timer from starting, or the samples from being read.
pub async fn profile(duration: Duration, wait: Duration) -> Result<CpuProfile, String> {
    let blocking = |error: tokio::task::JoinError| error.to_string();
    let told = |error: pprof::Error| error.to_string();
    // Both look symbols up, which takes its time.
    let binaries = ReadBinaries;
    let begun = tokio::task::spawn_blocking(|| {
        ProfilerGuardBuilder::default()
            .frequency(FREQUENCY_HZ)
            .blocklist(&NOT_SAMPLED)
            .build()
    });
    let guard = begun.await.map_err(blocking)?.map_err(told)?;
    sleep(duration).await;
    let read = tokio::task::spawn_blocking(move || {
        let stacks = guard.report().build().map(|report| stacks(&report));
        // With what it has sampled.
        drop(guard);
        binaries.give_back();
        stacks
    });
    let late = |_| format!("names of calls were not found within {wait:?}");
    let read = timeout(wait, read).await.map_err(late)?;
    let stacks = read.map_err(blocking)?.map_err(told)?;
    Ok(CpuProfile { stacks, duration })
}

fn stacks(report: &pprof::Report) -> Stacks {
    let mut stacks = Stacks::default();
    for (sample, times) in &report.data {
        let calls = sample
            .frames
            .iter()
            .rev()
            .flat_map(|inlined| inlined.iter().rev());
        let calls = calls.map(|symbol| symbol.name());
        let stack = std::iter::once(sample.thread_name_or_id()).chain(calls);
        stacks.add(stack.collect(), u64::try_from(*times).unwrap_or(0));
    }
    stacks
}
