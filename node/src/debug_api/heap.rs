//! What the heap has, as far as the kernel and the node's own bounds tell.

use std::fs;

use serde::Serialize;

use crate::http_api::Shown;

/// Memory of the process, in bytes, and what of it the node accounts for.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct HeapView {
    allocator: &'static str,
    resident_bytes: u64,
    resident_peak_bytes: u64,
    /// Resident and from no file: heap and stacks.
    anonymous_bytes: u64,
    /// Of that, what the allocator has given back and the kernel has not taken yet.
    lazily_freed_bytes: u64,
    /// In huge pages.
    huge_pages_bytes: u64,
    swapped_bytes: u64,
    accounted: Accounted,
}

/// What is bounded by bytes, and how much of it there is.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Accounted {
    cache_bytes: u64,
    cache_fill_bytes: u64,
    messages_bytes: u64,
    traces_bytes: u64,
}

impl HeapView {
    /// As it is now.
    pub fn of(shown: &Shown) -> Self {
        let read =
            |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        let cache = shown.cache.stats();
        Self {
            accounted: Accounted {
                cache_bytes: cache.bytes,
                cache_fill_bytes: cache.fill_bytes,
                messages_bytes: shown.broadcast.topics().account().bytes(),
                traces_bytes: shown
                    .tracer
                    .recent()
                    .map_or(0, |recent| recent.bytes() as u64),
            },
            ..Self::parse(&read("status"), &read("smaps_rollup"))
        }
    }

    fn parse(status: &str, maps: &str) -> Self {
        Self {
            allocator: "mimalloc",
            resident_bytes: kilobytes(status, "VmRSS:"),
            resident_peak_bytes: kilobytes(status, "VmHWM:"),
            anonymous_bytes: kilobytes(maps, "Anonymous:"),
            lazily_freed_bytes: kilobytes(maps, "LazyFree:"),
            huge_pages_bytes: kilobytes(maps, "AnonHugePages:"),
            swapped_bytes: kilobytes(maps, "Swap:"),
            accounted: Accounted::default(),
        }
    }
}

/// A line such as `VmRSS:    12 kB`, in bytes; 0 where there is none.
fn kilobytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_ascii_whitespace().next());
    number
        .and_then(|number| number.parse::<u64>().ok())
        .map_or(0, |number| number.saturating_mul(1_024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_of_the_heap_is_read() {
        let status = "Name:\tweir\nVmHWM:\t  40 kB\nVmRSS:\t  30 kB\n";
        let maps = "0-f ---p 0 00:00 0 [rollup]\nRss: 30 kB\nAnonymous:  20 kB\nLazyFree: 2 kB\n\
                    AnonHugePages: 8 kB\nSwap: 1 kB\nSwapPss: 9 kB\n";
        let view = HeapView::parse(status, maps);
        assert_eq!(
            (view.resident_bytes, view.resident_peak_bytes),
            (30 << 10, 40 << 10)
        );
        assert_eq!(
            (view.anonymous_bytes, view.lazily_freed_bytes),
            (20 << 10, 2 << 10)
        );
        assert_eq!(
            (view.huge_pages_bytes, view.swapped_bytes),
            (8 << 10, 1 << 10)
        );
        assert_eq!(HeapView::parse("", "").resident_bytes, 0);
    }
}
