use tokio::time::sleep;
use weir_core::alerts::State;

use super::*;
use crate::actors::config_agent::tests::{run, started};
use crate::events::Kind;
use crate::telemetry::history::layout::{self, WIDTH};
use crate::telemetry::history::sampler::Sampler;
use crate::telemetry::spans::Tracer;

const FILE: &str = "[services.web]\nbackends = [\"127.0.0.1:1\"]\n[[routes]]\nservice = \"web\"\n";

fn state(wired: &Wired, name: Name) -> State {
    let now = wired.alerts.now();
    let alert = now.iter().find(|alert| alert.name == name).unwrap();
    alert.watch.state()
}

fn count(events: &Events, kind: Kind) -> u64 {
    let mut counts = events.counts();
    counts.find(|(of, _)| *of == kind).unwrap().1
}

#[tokio::test(start_paused = true)]
async fn an_alert_fires_by_the_limit_that_is_tuned_and_is_over_when_that_is_raised() {
    run(async {
        let wired = started(FILE, Tracer::off()).await;
        tokio::task::spawn_local(Sampler::new(&wired).run());
        tokio::task::spawn_local(Watcher::new(&wired).run());
        let open = &wired.core_parts.metrics.core(0).connections_open;
        let most = wired.core_parts.ingress.load().connections_max;
        open.add((most.min(connections_ceiling()) / 2) as u64);
        sleep(Duration::from_secs(150)).await;
        assert_eq!(state(&wired, Name::Connections), State::Ok);

        let before = wired.alerts.limits();
        wired.alerts.configure(AlertLimits {
            connections_percent: 40,
            ..before
        });
        sleep(Duration::from_secs(60)).await;
        assert_eq!(state(&wired, Name::Connections), State::Pending);
        assert_eq!(count(&wired.events, Kind::AlertFiring), 0);
        sleep(Duration::from_secs(90)).await;
        assert_eq!(state(&wired, Name::Connections), State::Firing);
        let now = wired.alerts.now();
        let told: Vec<String> = now
            .iter()
            .filter_map(|alert| alert.problem(wired.events.unix_ms_now()))
            .collect();
        assert_eq!(told.len(), 1);
        assert!(told[0].ends_with(" %, limit 40 %"), "{told:?}");
        assert_eq!(count(&wired.events, Kind::AlertFiring), 1);

        wired.alerts.configure(before);
        sleep(Duration::from_secs(2)).await;
        assert_eq!(state(&wired, Name::Connections), State::Ok);
        assert_eq!(count(&wired.events, Kind::AlertOver), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_fullest_pool_is_named() {
    run(async {
        let wired = started(FILE, Tracer::off()).await;
        let watcher = Watcher::new(&wired);
        let measured = watcher.measure(Name::Pool);
        assert_eq!(measured.value, Some(0.0));
        assert!(measured.of.ends_with(" of web"), "{measured:?}");
        let queue = watcher.measure(Name::Queue);
        assert_eq!(queue.value, Some(0.0));
        assert_eq!(watcher.measure(Name::RedisMemory), Measured::default());
        assert_eq!(watcher.measure(Name::LatencyP95), Measured::default());
    })
    .await;
}

#[test]
fn the_95th_percentile_is_that_of_the_last_minute() {
    let mut ring = Ring::new(WIDTH, 1_000);
    let mut slow = [0; WIDTH];
    slow[WIDTH - 2] = 1;
    ring.add(1, &slow);
    let mut fast = [0; WIDTH];
    fast[layout::BUCKETS] = 100;
    for slot in 2..62 {
        ring.add(slot, &fast);
    }
    assert!(p95_seconds(&ring, 1_000).unwrap() < 0.01);
    slow[WIDTH - 2] = 10_000;
    ring.add(62, &slow);
    assert!(p95_seconds(&ring, 1_000).unwrap() > 1.0);
    assert_eq!(p95_seconds(&Ring::new(WIDTH, 10), 1_000), None);
}
