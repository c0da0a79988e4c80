//! Who allocates: samples of the allocator of the binary, with the names of the calls.

use std::ops::RangeInclusive;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use weir_core::flame::{Stacks, Unit};
use weir_core::heap::{INTERVAL_MAX, INTERVAL_MIN};
use weir_core::units::format_bytes;
use weir_heap::{Allocated, HeapProfile, Names, Window};

use super::ReadBinaries;

/// Bytes between two samples of a window, on average, unless somebody says it.
pub const INTERVAL: u64 = 512 << 10;
/// What may be said.
pub const INTERVALS: RangeInclusive<u64> = INTERVAL_MIN..=INTERVAL_MAX;

/// Values of a stack: allocations in use, their bytes, allocations in all, their bytes.
pub type Values = [u64; 4];

/// What was sampled.
#[derive(Debug)]
pub struct HeapSamples {
    /// From the outermost call to the innermost, with what each stands for; a stack may be there twice.
    pub stacks: Vec<(Vec<String>, Values)>,
    /// Bytes between two samples, on average.
    pub interval: u64,
    /// Samples that are missing from what is in use, for want of a place.
    pub dropped: u64,
    /// How long it was looked; `None` if since sampling began.
    pub duration: Option<Duration>,
}

/// Tells what was allocated in a window for so long. Who gives up early ends it. Names of calls are waited for no
/// longer than `wait`.
///
/// # Errors
/// When the names could not be looked up.
pub async fn of_window(
    window: Window,
    duration: Duration,
    wait: Duration,
) -> Result<HeapSamples, String> {
    sleep(duration).await;
    named(move || Some(window.end()), Some(duration), wait).await
}

/// Tells what was allocated, and is in use, since sampling began.
///
/// # Errors
/// When nothing is sampled all the time, or the names could not be looked up.
pub async fn since_start(wait: Duration) -> Result<HeapSamples, String> {
    named(weir_heap::since_start, None, wait).await
}

/// With names, which takes its time.
async fn named(
    read: impl FnOnce() -> Option<HeapProfile> + Send + 'static,
    duration: Option<Duration>,
    wait: Duration,
) -> Result<HeapSamples, String> {
    let named = tokio::task::spawn_blocking(move || {
        let profile = read().ok_or("nothing is sampled all the time")?;
        let binaries = ReadBinaries;
        let mut names = Names::default();
        let stacks = profile.stacks.iter();
        let stacks = stacks.map(|one| (names.stack(&one.calls), values(one)));
        let stacks = stacks.collect();
        drop(names);
        binaries.give_back();
        Ok(HeapSamples {
            stacks,
            interval: profile.interval,
            dropped: profile.dropped,
            duration,
        })
    });
    let late = |_| format!("names of calls were not found within {wait:?}");
    let named = timeout(wait, named).await.map_err(late)?;
    named.map_err(|error| error.to_string())?
}

fn values(one: &Allocated) -> Values {
    let (in_use, in_all) = (one.in_use, one.in_all);
    [in_use.objects, in_use.bytes, in_all.objects, in_all.bytes]
}

impl HeapSamples {
    /// The flame graph of the bytes in use, or of all that were allocated.
    pub fn svg(&self, node: &str, is_in_use: bool) -> String {
        let stacks = self.of(if is_in_use { 1 } else { 3 });
        let what = if is_in_use {
            "in use, allocated"
        } else {
            "allocated"
        };
        let since = self.duration.map_or_else(
            || "since the start".to_owned(),
            |duration| format!("in {} s", duration.as_secs()),
        );
        let (bytes, every) = (stacks.total(), format_bytes(self.interval));
        let missing = match self.dropped {
            0 => String::new(),
            dropped => format!(", {dropped} samples in use are missing"),
        };
        let title = format!("{node}: {bytes} bytes {what} {since}, one sample in {every}{missing}");
        stacks.svg(&title, Unit::Bytes)
    }

    fn of(&self, value: usize) -> Stacks {
        let mut stacks = Stacks::default();
        for (stack, values) in &self.stacks {
            stacks.add(stack.clone(), values[value]);
        }
        stacks
    }
}
