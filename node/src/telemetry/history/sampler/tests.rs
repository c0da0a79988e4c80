use tokio::time::{Instant, sleep_until};
use weir_core::series::Ring;

use super::*;
use crate::actors::config_agent::tests::{run, started};
use crate::config::HistorySettings;
use crate::telemetry::history::layout;
use crate::telemetry::spans::Tracer;

const FILE: &str = "[services.web]\nbackends = [\"127.0.0.1:1\"]\n[[routes]]\nservice = \"web\"\n";
const SECOND: Duration = Duration::from_secs(1);
/// The clock of a started node begins 1,000 s after 1970.
const FIRST_SLOT: u64 = 1_000;

/// The sample of a slot, once it is over and the process was read.
async fn sample(history: &History, start: Instant, end: Duration, slot: u64) -> [u64; WIDTH] {
    // Paused time goes on only when no thread is reading.
    sleep_until(start + end + Duration::from_millis(1)).await;
    let numbers = history.look(|ring, _| ring.slot(slot).map(<[u64]>::to_vec));
    numbers.unwrap().try_into().unwrap()
}

fn slots(history: &History) -> (u64, u64, usize) {
    history.look(|ring: &Ring, _| (ring.first_slot(), ring.next_slot(), ring.slots_max()))
}

#[tokio::test(start_paused = true)]
async fn a_sample_holds_what_was_counted_within_its_slot() {
    run(async {
        let wired = started(FILE, Tracer::off()).await;
        let history = wired.history.clone();
        let start = Instant::now();
        tokio::task::spawn_local(Sampler::new(&wired).run());
        let service = Arc::clone(&wired.core_parts.routing.load().services[0]);
        let core = service.metrics.core(0);
        core.classes[2].add(3);
        core.latency.observe(Duration::from_millis(2));
        let node = wired.core_parts.metrics.core(0);
        node.reasons[Reason::NoRoute as usize].add(5);
        node.requests_in_flight.add(2);
        let first = sample(&history, start, SECOND, FIRST_SLOT).await;
        core.classes[2].add(4);
        let second = sample(&history, start, 2 * SECOND, FIRST_SLOT + 1).await;
        assert_eq!((first[CLASSES + 1], second[CLASSES + 1]), (3, 4));
        let no_route = REASONS + Reason::NoRoute as usize;
        assert_eq!((first[no_route], second[no_route]), (5, 0));
        assert_eq!((first[IN_FLIGHT], second[IN_FLIGHT]), (2, 2));
        let told = layout::percentiles(&first[BUCKETS..]);
        assert_eq!(told[0], Some(1_750));
        assert_eq!(layout::percentiles(&second[BUCKETS..]), [None; 3]);
        assert!(first[RSS_BYTES] > 0 && first[FDS_OPEN] > 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_service_that_leaves_is_counted_a_last_time() {
    run(async {
        let wired = started(FILE, Tracer::off()).await;
        let history = wired.history.clone();
        let mut sampler = Sampler::new(&wired);
        let service = Arc::clone(&wired.core_parts.routing.load().services[0]);
        service.metrics.core(0).classes[2].add(3);
        assert_eq!(sampler.count()[CLASSES + 1], 3);
        service.metrics.core(0).classes[2].add(2);
        sampler.routing = Snapshot::new(Routing::empty());
        assert_eq!(sampler.count()[CLASSES + 1], 2);
        assert!(sampler.services.is_empty());
        assert_eq!(slots(&history).1, 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn length_and_interval_are_tuned_while_the_node_runs() {
    run(async {
        let wired = started(FILE, Tracer::off()).await;
        let history = wired.history.clone();
        let start = Instant::now();
        tokio::task::spawn_local(Sampler::new(&wired).run());
        for slot in 0..12 {
            sample(
                &history,
                start,
                (slot + 1) * SECOND,
                FIRST_SLOT + u64::from(slot),
            )
            .await;
        }
        assert_eq!(slots(&history), (FIRST_SLOT, FIRST_SLOT + 12, 1_000));
        let tuned = |samples_max, interval| {
            let settings = HistorySettings {
                samples_max,
                interval,
            };
            history.configure(settings);
        };
        tuned(10, SECOND);
        sample(&history, start, 13 * SECOND, FIRST_SLOT + 12).await;
        assert_eq!(slots(&history), (FIRST_SLOT + 3, FIRST_SLOT + 13, 10));
        tuned(10, SECOND / 2);
        let only = 2 * (FIRST_SLOT + 13);
        sample(&history, start, 13 * SECOND + SECOND / 2, only).await;
        assert_eq!(history.look(|_, interval_ms| interval_ms), 500);
        assert_eq!(slots(&history), (only, only + 1, 10));
    })
    .await;
}
