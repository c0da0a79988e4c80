//! What the allocator tells of a process that has it.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests may panic"
)]

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, MutexGuard};
use weir_heap::{Amount, HeapProfile, Names, Window, sample_always, since_start};

#[global_allocator]
static ALLOCATOR: weir_heap::Sampled = weir_heap::Sampled;

/// There is one sampler in a process.
static TURN: Mutex<()> = Mutex::new(());

const INTERVAL: u64 = 64 << 10;
const MIB: u64 = 1 << 20;

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock()
}

/// What stacks with a call of this name allocated: still in use, and in all.
fn of(profile: &HeapProfile, name: &str) -> (Amount, Amount) {
    let mut names = Names::default();
    let mut sums = (Amount::default(), Amount::default());
    for one in &profile.stacks {
        let stack = names.stack(&one.calls);
        if stack.iter().any(|call| call.contains(name)) {
            let innermost = stack.last().unwrap();
            let is_sampling = ["trace", "weir_heap"]
                .iter()
                .any(|own| innermost.contains(own));
            assert!(!is_sampling, "{innermost}");
            for (sum, more) in [(&mut sums.0, one.in_use), (&mut sums.1, one.in_all)] {
                sum.objects += more.objects;
                sum.bytes += more.bytes;
            }
        }
    }
    sums
}

fn is_near(told: u64, real: u64) -> bool {
    told.abs_diff(real) < real / 2
}

#[inline(never)]
fn holds_much(blocks: u64) -> Vec<Vec<u8>> {
    (0..blocks).map(|_| vec![1; 4_000]).collect()
}

#[inline(never)]
fn frees_all(blocks: u64) {
    for _ in 0..blocks {
        std::hint::black_box(Vec::<u8>::with_capacity(4_000));
    }
}

#[inline(never)]
fn doubles(to: usize) -> Vec<u8> {
    let mut grown = Vec::with_capacity(64);
    while grown.len() < to {
        grown.extend_from_slice(&[7; 1_024]);
    }
    grown
}

#[test]
fn what_is_held_is_in_use_and_what_was_freed_is_not() {
    let _turn = turn();
    let window = Window::begin(INTERVAL).unwrap();
    let held = holds_much(4_000);
    frees_all(4_000);
    let profile = window.end();
    let (in_use, in_all) = of(&profile, "holds_much");
    assert!(is_near(in_use.bytes, 16 * MIB), "{in_use:?}");
    assert!(is_near(in_use.objects, 4_000), "{in_use:?}");
    assert!(is_near(in_all.bytes, 16 * MIB), "{in_all:?}");
    let (in_use, in_all) = of(&profile, "frees_all");
    assert_eq!(in_use, Amount::default());
    assert!(
        is_near(in_all.bytes, 16 * MIB) && is_near(in_all.objects, 4_000),
        "{in_all:?}"
    );
    assert_eq!(profile.dropped, 0);
    drop(held);
}

#[test]
fn what_grows_is_in_use_with_its_last_size_and_its_bytes_are_what_was_written() {
    let _turn = turn();
    let window = Window::begin(INTERVAL).unwrap();
    let grown = doubles(8 << 20);
    let profile = window.end();
    let (in_use, in_all) = of(&profile, "doubles");
    assert_eq!(
        in_use,
        Amount {
            objects: 1,
            bytes: grown.capacity() as u64
        }
    );
    assert!(in_all.bytes > in_use.bytes, "{in_all:?}");
    assert!(grown.iter().all(|byte| *byte == 7));
    let mut shrunk = grown;
    shrunk.truncate(100);
    shrunk.shrink_to_fit();
    assert_eq!(shrunk, [7; 100]);
}

#[test]
fn zeroed_blocks_are_zero_and_alignments_are_kept_while_sampled() {
    #[repr(align(16384))]
    struct Page([u8; 16_384]);
    let _turn = turn();
    let window = Window::begin(0).unwrap();
    for size in [1_usize, 100, 5_000, 70_000] {
        for _ in 0..200 {
            assert!(vec![0_u8; size].iter().all(|byte| *byte == 0));
        }
    }
    let pages: Vec<_> = (0..20).map(|at| Box::new(Page([at; 16_384]))).collect();
    for (at, page) in pages.iter().enumerate() {
        assert_eq!(std::ptr::from_ref(&**page).addr() % 16_384, 0);
        assert!(page.0.iter().all(|byte| usize::from(*byte) == at));
    }
    drop(window);
}

#[test]
fn many_threads_at_once_that_free_what_others_allocated_leave_nothing_in_use() {
    let _turn = turn();
    let is_over = AtomicBool::new(false);
    let window = Window::begin(INTERVAL).unwrap();
    std::thread::scope(|scope| {
        let (sender, receiver) = std::sync::mpsc::sync_channel::<Vec<Vec<u8>>>(64);
        for _ in 0..4 {
            let sender = sender.clone();
            scope.spawn(move || {
                for _ in 0..100 {
                    sender.send(holds_much(100)).unwrap();
                }
            });
        }
        drop(sender);
        // Whoever reads meanwhile sees something that was so.
        scope.spawn(|| {
            sample_always(INTERVAL);
            while !is_over.load(Ordering::Relaxed) {
                let told = since_start().unwrap();
                assert!(told.stacks.iter().all(|one| one.in_use.bytes < 1 << 40));
            }
        });
        for blocks in receiver {
            assert!(blocks.iter().flatten().all(|byte| *byte == 1));
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let profile = window.end();
    sample_always(0);
    let (in_use, in_all) = of(&profile, "holds_much");
    assert_eq!(in_use, Amount::default());
    assert!(is_near(in_all.bytes, 160 * MIB), "{in_all:?}");
}

#[test]
fn what_threads_allocate_as_they_end_is_sampled_like_everything_else() {
    struct AtTheEnd;
    impl Drop for AtTheEnd {
        fn drop(&mut self) {
            frees_all(100);
        }
    }
    thread_local!(static LAST: AtTheEnd = const { AtTheEnd });
    let _turn = turn();
    let window = Window::begin(0).unwrap();
    for _ in 0..100 {
        let ending = std::thread::scope(|scope| scope.spawn(|| LAST.with(|_| ())).join());
        ending.unwrap();
    }
    let (_, in_all) = of(&window.end(), "frees_all");
    assert!(is_near(in_all.bytes, 40 * MIB), "{in_all:?}");
}

#[test]
fn one_window_is_open_at_a_time_and_one_that_is_given_up_ends_sampling() {
    let _turn = turn();
    let window = Window::begin(INTERVAL).unwrap();
    assert!(Window::begin(INTERVAL).is_none());
    drop(window);
    let held = holds_much(4_000);
    sample_always(INTERVAL);
    let (in_use, _) = of(&since_start().unwrap(), "holds_much");
    sample_always(0);
    assert_eq!((in_use, held.len()), (Amount::default(), 4_000));
    drop(Window::begin(INTERVAL).unwrap());
}

#[test]
fn what_lives_since_before_is_known_while_samples_are_always_taken() {
    let _turn = turn();
    assert_eq!(since_start(), None);
    sample_always(INTERVAL);
    let held = holds_much(4_000);
    let window = Window::begin(INTERVAL).unwrap();
    let of_window = of(&window.end(), "holds_much");
    let (in_use, _) = of(&since_start().unwrap(), "holds_much");
    sample_always(0);
    assert!(is_near(in_use.bytes, 16 * MIB), "{in_use:?}");
    assert_eq!(of_window.0, Amount::default());
    // What was sampled is known to be freed also when nothing is sampled any more.
    drop(held);
    sample_always(INTERVAL);
    let (in_use, _) = of(&since_start().unwrap(), "holds_much");
    sample_always(0);
    assert_eq!(in_use, Amount::default());
}

#[test]
fn child_processes_start_while_everything_is_sampled() {
    let _turn = turn();
    let window = Window::begin(0).unwrap();
    for _ in 0..20 {
        assert!(
            std::process::Command::new("true")
                .status()
                .unwrap()
                .success()
        );
    }
    drop(window);
}

#[test]
fn a_panic_unwinds_through_what_is_sampled() {
    let _turn = turn();
    let window = Window::begin(0).unwrap();
    let held = std::panic::catch_unwind(|| {
        let held = holds_much(4_000);
        assert!(held.is_empty(), "{} blocks", held.len());
    });
    assert!(held.is_err());
    let (in_use, in_all) = of(&window.end(), "holds_much");
    assert_eq!(in_use, Amount::default());
    assert!(is_near(in_all.bytes, 16 * MIB), "{in_all:?}");
}
