//! What the sampling allocator costs beside mimalloc: pairs of `alloc` and `dealloc`, in paired rounds.
//!
//! `cargo bench --profile load -p weir-heap --bench cost`, or with `-- --only MODE` (mimalloc, off, 2MiB, 16MiB) under
//! a tool that counts instructions.

#![allow(
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    reason = "a bench prints, and measures real time"
)]

use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;
use std::time::Instant;

use mimalloc::MiMalloc;
use weir_heap::{Sampled, sample_always};

const ROUNDS: usize = 21;
const PAIRS: usize = 400_000;
/// As of a request: many small ones, a buffer now and then.
const SIZES: [usize; 10] = [16, 24, 48, 64, 96, 128, 200, 512, 1_024, 8_192];
const MODES: [(&str, u64); 4] = [
    ("mimalloc", 0),
    ("off", 0),
    ("2MiB", 2 << 20),
    ("16MiB", 16 << 20),
];

fn pairs(allocator: &impl GlobalAlloc, pairs: usize) {
    let mut held = [std::ptr::null_mut::<u8>(); SIZES.len()];
    let layouts = SIZES.map(|size| Layout::from_size_align(size, 8).expect("a size"));
    for _ in 0..pairs / SIZES.len() {
        for (at, layout) in layouts.iter().enumerate() {
            #[expect(
                unsafe_code,
                reason = "an allocator is called as the compiler calls it"
            )]
            // SAFETY: the layout has a size, and the block is given back once, with the layout it was asked for with.
            unsafe {
                held[at] = black_box(allocator.alloc(*layout));
            }
        }
        for (at, layout) in layouts.iter().enumerate() {
            #[expect(
                unsafe_code,
                reason = "an allocator is called as the compiler calls it"
            )]
            // SAFETY: as above.
            unsafe {
                allocator.dealloc(black_box(held[at]), *layout);
            }
        }
    }
}

fn run(mode: usize, count: usize) {
    sample_always(MODES[mode].1);
    match mode {
        0 => pairs(&MiMalloc, count),
        _ => pairs(&Sampled, count),
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let only = arguments.iter().position(|one| one == "--only");
    if let Some(name) = only.and_then(|at| arguments.get(at + 1)) {
        let mode = MODES.iter().position(|(known, _)| known == name);
        return run(mode.expect("a mode"), PAIRS);
    }
    let mut took = vec![Vec::new(); MODES.len()];
    for round in 0..ROUNDS {
        for step in 0..MODES.len() {
            let mode = (round + step) % MODES.len();
            let begun = Instant::now();
            run(mode, PAIRS);
            let ns = begun.elapsed().as_nanos() as f64 / PAIRS as f64;
            took[mode].push(ns);
        }
    }
    for ((name, _), times) in MODES.iter().zip(&mut took) {
        times.sort_by(f64::total_cmp);
        println!(
            "{name:>9}: {:.2} ns for alloc and dealloc",
            times[ROUNDS / 2]
        );
    }
}
