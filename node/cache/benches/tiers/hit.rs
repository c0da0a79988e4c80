//! What a hit costs beside reading the request and writing the answer: key, look-up, rules and fields.

use std::hint::black_box;

use tokio::time::Instant;

use super::one_hit::Stage;
use super::report::Report;

const HITS: u32 = 100_000;
const ROUNDS: u32 = 20;
const HIT_MAX_NS: f64 = 500.0;
const HIT_ALLOCATIONS_MAX: u64 = 2;

pub(super) fn run(report: &mut Report) {
    let mut stage = Stage::new();
    let mut hit = || stage.hit().expect("it is kept and fresh");
    for _ in 0..HITS {
        black_box(hit());
    }
    let allocated = allocation_counter::measure(|| drop(black_box(hit())));
    // Whoever else uses the machine makes rounds longer, never shorter.
    let rounds = (0..ROUNDS).map(|_| {
        let begun = Instant::now();
        for _ in 0..HITS {
            black_box(hit());
        }
        begun.elapsed()
    });
    let best = rounds.min().unwrap_or_default();
    let ns = best.as_secs_f64() * 1e9 / f64::from(HITS);
    report.section(&format!(
        "{HITS} hits of 1 KiB in process, the best of {ROUNDS} rounds"
    ));
    report.bar(
        "one hit",
        format!("{ns:.0} ns"),
        "at most 500 ns",
        ns <= HIT_MAX_NS,
    );
    let allocations = allocated.count_total;
    report.bar(
        "allocations of a hit",
        allocations,
        "at most 2",
        allocations <= HIT_ALLOCATIONS_MAX,
    );
}
