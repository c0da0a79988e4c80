//! Who reads, who is held up, and who wants what is fetched.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokio::task::JoinSet;
use tokio::time::timeout;
use weir_cache::{
    Budget, Fill, FillReader, FillWriter, Flights, Joined, LAZY_AFTER, Landed, REFRESHES_MAX,
    Refused, TURNS_MAX, UNWANTED_MAX,
};
use weir_core::cache::{self, Exchange, Policy, Stored, UnixMs};
use weir_core::purge::Hlc;

const PIECE: usize = 32 << 10;

fn stored() -> Stored {
    let mut response = HeaderMap::new();
    response.insert("cache-control", HeaderValue::from_static("max-age=60"));
    let exchange = Exchange {
        method: &Method::GET,
        path_and_query: "/",
        request: &HeaderMap::new(),
        status: StatusCode::OK,
        response: &response,
        requested_at: UnixMs(1_000),
        responded_at: UnixMs(1_000),
    };
    cache::store(&exchange, &Policy::default()).unwrap()
}

fn fill() -> FillWriter {
    Fill::begin(
        stored(),
        Hlc::default(),
        None,
        1 << 10,
        Budget::new(1 << 30),
    )
}

fn cx() -> Context<'static> {
    Context::from_waker(std::task::Waker::noop())
}

fn read_all(reader: &mut FillReader) {
    while let Poll::Ready(Some(Ok(_))) = reader.poll_piece(&cx()) {}
}

/// Writes until there is no room.
fn write_all(writer: &mut FillWriter) -> usize {
    let mut pieces = 0;
    while writer.poll_room(&cx()).is_ready() && pieces < 1_000 {
        let _ = writer.push(&[7; PIECE]);
        pieces += 1;
    }
    pieces
}

#[test]
fn who_holds_up_others_is_cut_and_who_only_reads_slowly_alone_is_not() {
    let mut writer = fill();
    let mut slow = writer.fill().read().unwrap();
    let mut fast = writer.fill().read().unwrap();
    writer.let_go();
    assert_eq!(write_all(&mut writer), 32);
    assert!(!writer.is_held_up(), "nobody waits yet");
    assert_eq!(writer.cut_laggards(), 0);
    read_all(&mut fast);
    assert!(writer.is_held_up());
    assert_eq!(writer.cut_laggards(), 1);
    assert!(write_all(&mut writer) > 0, "and there is room");
    assert!(matches!(slow.poll_piece(&cx()), Poll::Ready(Some(Err(_)))));
    drop(slow);
    assert!(!writer.is_held_up());
    assert_eq!(writer.cut_laggards(), 0, "who is alone takes their time");
    read_all(&mut fast);
    assert!(write_all(&mut writer) > 0);
    assert!(writer.finish().is_none());
    read_all(&mut fast);
    assert!(matches!(fast.poll_piece(&cx()), Poll::Ready(None)));
}

fn begin(bytes_max: u64, budget: &Budget) -> FillWriter {
    Fill::begin(stored(), Hlc::default(), None, bytes_max, budget.clone())
}

#[tokio::test(start_paused = true)]
async fn what_stalled_readers_hold_is_charged_until_they_let_it_go() {
    const READERS: usize = 20;
    const PIECES: usize = 4;
    let budget = Budget::new(1 << 30);
    let mut stalled = Vec::new();
    for number in 0..READERS {
        let mut writer = begin(1 << 20, &budget);
        stalled.push(writer.fill().read().unwrap());
        for _ in 0..PIECES {
            writer.push(&[7; PIECE]).unwrap();
        }
        match number % 2 {
            // Too long, busy, or whatever: it is passed on alone.
            0 => writer.let_go(),
            _ => _ = writer.finish().unwrap(),
        }
    }
    let held = (READERS * PIECES * PIECE) as u64;
    assert_eq!(budget.used_bytes(), held);
    let _ = stalled[0].poll_piece(&cx());
    assert_eq!(budget.used_bytes(), held - PIECE as u64);
    drop(stalled);
    assert_eq!(budget.used_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn readers_that_take_nothing_make_room_for_what_is_to_be_kept() {
    const READERS: usize = 8;
    let budget = Budget::new((READERS * PIECE) as u64);
    let mut stalled = Vec::new();
    for _ in 0..READERS {
        let mut writer = begin(1 << 20, &budget);
        stalled.push(writer.fill().read().unwrap());
        writer.push(&[7; PIECE]).unwrap();
        assert!(writer.finish().is_some());
    }
    let mut writer = begin(1 << 20, &budget);
    let mut reader = writer.fill().read().unwrap();
    assert!(matches!(
        writer.push(&[7; PIECE]),
        Err(Refused::Busy { .. })
    ));
    assert!(matches!(
        stalled[0].poll_piece(&cx()),
        Poll::Ready(Some(Ok(_)))
    ));
    tokio::time::advance(LAZY_AFTER).await;
    // One more waits for what has not come, which is not lazy.
    read_all(&mut reader);
    let mut writer = begin(1 << 20, &budget);
    writer.push(&[7; PIECE]).unwrap();
    assert!(writer.finish().is_some());
    assert!(matches!(stalled[0].poll_piece(&cx()), Poll::Ready(None)));
    assert!(matches!(
        stalled[1].poll_piece(&cx()),
        Poll::Ready(Some(Err(_)))
    ));
    assert!(budget.used_bytes() < (READERS * PIECE) as u64);
}

#[tokio::test]
async fn a_fetch_is_wanted_as_long_as_anybody_waits_or_reads() {
    let flights: Arc<Flights<()>> = Flights::new(10);
    let Joined::Leader(leader) = flights.join(b"a") else {
        panic!("nobody leads");
    };
    let (want, first) = (leader.want(), leader.interested());
    let Joined::Follower(follower) = flights.join(b"a") else {
        panic!("somebody leads");
    };
    drop(first);
    let soon = Duration::from_millis(20);
    assert!(timeout(soon, want.lost()).await.is_err(), "one waits");
    let writer = fill();
    leader.filling(writer.fill()).await;
    let Landed::Filling(coming) = follower.landed(false).await else {
        panic!("it comes");
    };
    let reader = coming.read().unwrap().with(follower.into_interested());
    assert!(timeout(soon, want.lost()).await.is_err(), "and reads");
    drop(reader);
    let place = timeout(soon, want.lost()).await.unwrap();
    assert!(place.is_some());
    assert_eq!(flights.unwanted(), 1);
    drop(place);
    assert_eq!(flights.unwanted(), 0);
}

#[tokio::test]
async fn those_who_wait_are_told_in_the_order_in_which_they_came() {
    const CROWD: usize = 100;
    let flights: Arc<Flights<()>> = Flights::new(CROWD);
    let Joined::Leader(leader) = flights.join(b"a") else {
        panic!("nobody leads");
    };
    let (come, mut told) = tokio::sync::mpsc::unbounded_channel();
    for number in 0..CROWD {
        let Joined::Follower(follower) = flights.join(b"a") else {
            panic!("somebody leads");
        };
        let come = come.clone();
        tokio::spawn(async move {
            follower.landed(false).await;
            come.send(number).unwrap();
        });
        // It waits by then.
        tokio::task::yield_now().await;
    }
    leader.land(Landed::Unshared).await;
    for number in 0..CROWD {
        assert_eq!(told.recv().await, Some(number));
    }
}

#[tokio::test]
async fn other_nodes_are_told_before_clients_and_go_on_meanwhile() {
    let flights: Arc<Flights<()>> = Flights::new(10);
    let Joined::Leader(leader) = flights.join(b"a") else {
        panic!("nobody leads");
    };
    let (come, mut told) = tokio::sync::mpsc::unbounded_channel();
    for who in ["client", "node", "client"] {
        let Joined::Follower(follower) = flights.join(b"a") else {
            panic!("somebody leads");
        };
        let come = come.clone();
        tokio::spawn(async move {
            follower.landed(who == "node").await;
            // As one task answers and another one writes.
            let answered = tokio::spawn(async move { come.send(who).unwrap() });
            answered.await.unwrap();
        });
    }
    tokio::task::yield_now().await;
    leader.land(Landed::Unshared).await;
    assert_eq!(told.recv().await, Some("node"));
    assert_eq!(told.recv().await, Some("client"));
    assert_eq!(told.recv().await, Some("client"));
}

#[tokio::test]
async fn a_crowd_that_waited_in_vain_fetches_a_few_at_a_time() {
    const CROWD: usize = 3 * TURNS_MAX;
    let flights: Arc<Flights<()>> = Flights::new(CROWD - 10);
    let Joined::Leader(leader) = flights.join(b"a") else {
        panic!("nobody leads");
    };
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut crowd = JoinSet::new();
    for _ in 0..CROWD {
        let joined = flights.join(b"a");
        let (now, most) = (Arc::clone(&now), Arc::clone(&most));
        crowd.spawn(async move {
            let turns = match joined {
                Joined::Follower(follower) => {
                    assert!(matches!(follower.landed(false).await, Landed::Unshared));
                    follower.turns()
                }
                Joined::Full(turns) => turns,
                Joined::Leader(_) => panic!("somebody leads"),
            };
            let turn = turns.mine().await;
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            now.fetch_sub(1, Ordering::SeqCst);
            drop(turn);
        });
    }
    leader.land(Landed::Unshared).await;
    crowd.join_all().await;
    assert_eq!(most.load(Ordering::SeqCst), TURNS_MAX);
}

#[tokio::test]
async fn only_so_many_fetches_go_on_for_nobody() {
    let flights: Arc<Flights<()>> = Flights::new(10);
    let mut places = Vec::new();
    for number in 0..UNWANTED_MAX + 5 {
        let Joined::Leader(leader) = flights.join(&number.to_be_bytes()) else {
            panic!("nobody leads");
        };
        places.push((leader.want().lost().await, leader));
    }
    let kept = places.iter().filter(|(place, _)| place.is_some()).count();
    assert_eq!((kept, flights.unwanted()), (UNWANTED_MAX, UNWANTED_MAX));
    places.clear();
    assert_eq!(flights.unwanted(), 0);
}

#[tokio::test]
async fn fetches_that_go_on_for_nobody_take_no_place_of_a_refresh() {
    let flights: Arc<Flights<()>> = Flights::new(10);
    let mut leaders = 0_usize..;
    let mut lead = || match flights.join(&leaders.next().unwrap().to_be_bytes()) {
        Joined::Leader(leader) => leader,
        _ => panic!("nobody leads"),
    };
    let mut unwanted = Vec::new();
    for _ in 0..UNWANTED_MAX {
        unwanted.push(lead().want().lost().await);
    }
    assert!(unwanted.iter().all(Option::is_some));
    let mut refreshes: Vec<_> = (0..REFRESHES_MAX).map(|_| lead().refreshing()).collect();
    assert!(refreshes.iter().all(Option::is_some));
    assert!(lead().refreshing().is_none());
    refreshes.pop();
    assert!(lead().refreshing().is_some());
    assert_eq!(flights.unwanted(), UNWANTED_MAX);
}
