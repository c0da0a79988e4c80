use std::pin::pin;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::time::{sleep, timeout};

use super::*;

fn events() -> Events {
    let clock = WallClock::starting_at(Duration::from_secs(1_000));
    Events::new("node-1", "ab12".to_owned(), clock)
}

async fn all(events: &Events) -> Vec<(u64, Kind, u64)> {
    let page = events.read(None, &Wanted::default(), usize::MAX).await;
    page.events
        .iter()
        .map(|event| (event.seq, event.kind, event.count))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_a_second_are_a_few_events_and_every_one_counts() {
    let events = events();
    for _ in 0..10 {
        for _ in 0..10_000 {
            events.record(Kind::PortMiss, "nl", []);
        }
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    let told = all(&events).await;
    assert!(told.len() <= 11, "{told:?}");
    assert_eq!(told.iter().map(|(.., count)| count).sum::<u64>(), 100_000);
    let counted = events.counts().find(|(kind, _)| *kind == Kind::PortMiss);
    assert_eq!(counted, Some((Kind::PortMiss, 100_000)));
}

#[tokio::test(start_paused = true)]
async fn nobody_who_records_waits_for_a_reader_and_what_does_not_fit_is_told_as_missed() {
    let events = events();
    events.record(Kind::BreakerOpen, "", []);
    let reader = events.0.kept.lock().await;
    for n in 0..WAITING_MAX + 7 {
        events.record(Kind::JobDone, &n.to_string(), []);
    }
    drop(reader);
    let since = events.cursor(1);
    let page = events
        .read(Some(&since), &Wanted::default(), usize::MAX)
        .await;
    assert_eq!(page.events.len(), KEPT_MAX);
    assert_eq!(page.missed, (WAITING_MAX + 7 - KEPT_MAX) as u64);
}

#[tokio::test(start_paused = true)]
async fn who_follows_hears_what_was_and_then_what_is_wanted_as_it_happens() {
    let events = events();
    events.record(Kind::VpnLost, "nl", []);
    events.record(Kind::JobDone, "1", []);
    let wanted = Wanted::parse(["vpn.*"]).unwrap();
    let mut pages = pin!(events.follow(None, wanted));
    let first = pages.next().await.unwrap();
    assert_eq!((first.events.len(), first.last_seq), (1, 2));
    let later = async {
        tokio::task::yield_now().await;
        events.record(Kind::JobDone, "2", []);
        sleep(Duration::from_secs(5)).await;
        events.record(Kind::VpnStable, "nl", []);
        events.record(Kind::VpnStable, "nl", []);
    };
    let (page, ()) = futures::join!(pages.next(), later);
    let page = page.unwrap();
    assert_eq!(
        (page.events[0].kind, page.events[0].seq),
        (Kind::VpnStable, 4)
    );
    // The second one is told though nothing happens afterwards.
    let page = timeout(Duration::from_secs(2), pages.next())
        .await
        .unwrap()
        .unwrap();
    assert_eq!((page.events[0].seq, page.missed), (5, 0));
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_another_process_begins_anew() {
    let events = events();
    events.record(Kind::VpnLost, "nl", []);
    let read = |cursor: &'static str| {
        let events = events.clone();
        async move {
            let since = Cursor::parse(cursor).unwrap();
            events
                .read(since.as_ref(), &Wanted::default(), 10)
                .await
                .events
                .len()
        }
    };
    assert_eq!((read("ab12-1").await, read("ab13-1").await), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn limits_are_counted_by_name_and_long_texts_are_cut() {
    let events = events();
    events.limited(Limit::Queue, "tv", "", "ü".repeat(400));
    events.limited(Limit::Queue, "tv", "j", "again".to_owned());
    events.limited(Limit::Vpn, "tv", "", String::new());
    let limits: Vec<_> = events.limits().filter(|(_, count)| *count > 0).collect();
    assert_eq!(limits, [(Limit::Queue, 2), (Limit::Vpn, 1)]);
    let page = events.read(None, &Wanted::default(), 10).await;
    assert_eq!(page.events[0].attributes[1].1.len(), VALUE_BYTES_MAX);
    assert_eq!(page.events[1].attributes, [("limit", "vpn".to_owned())]);
}
