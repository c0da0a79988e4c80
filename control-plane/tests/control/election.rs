//! One leader by fence, whoever dies, freezes or is cut off.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use weir_control_plane::election::{
    Election, Fence, LEADS_FOR, Options, Standing, TRY_WITHIN, TTL,
};
use weir_control_plane::instance::Announcement;
use weir_control_plane::keys::{DEFAULT_NAMESPACE, Keys};
use weir_control_plane::store::{EventKind, Watched};
use weir_proto::control::records::v1::Instance;

use crate::faulty::{Faulty, until};
use crate::support::{Shared, delete, embedded, etcd, get, keys, only_if, put_op, text, watch};

/// How late the store may let a lease go.
const LATE_MAX: Duration = Duration::from_secs(3);

/// An instance that takes part, and that can be killed, frozen and cut off.
pub(crate) struct Candidate {
    way: Arc<Faulty>,
    election: Option<Election>,
    standing: watch::Receiver<Standing>,
    frozen: watch::Sender<bool>,
    work: JoinHandle<()>,
}

impl Candidate {
    pub(crate) fn start(store: &Shared, name: &str) -> Self {
        let way = Faulty::over(store);
        let seed = name.bytes().map(u64::from).sum();
        let options = Options {
            instance: name.to_owned(),
            seed,
        };
        let (election, work) = Election::prepare(way.clone() as Shared, &layout(), options);
        let (frozen, mut freezes) = watch::channel(false);
        let work = async move {
            let mut work = std::pin::pin!(work);
            loop {
                tokio::select! {
                    biased;
                    _ = freezes.wait_for(|frozen| *frozen) => {}
                    () = &mut work => return,
                }
                let _ = freezes.wait_for(|frozen| !frozen).await;
            }
        };
        Self {
            way,
            standing: election.standing(),
            election: Some(election),
            frozen,
            work: tokio::spawn(work),
        }
    }

    fn fence(&self) -> Option<Fence> {
        self.standing.borrow().is_self.clone()
    }

    fn leads(&self) -> bool {
        self.fence().is_some()
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        self.work.abort();
    }
}

fn layout() -> Keys {
    Keys::new(DEFAULT_NAMESPACE).unwrap()
}

/// Writes as a leader does; false if the fence is down.
async fn write_as(store: &Shared, fence: &Fence, value: &str) -> bool {
    let write = only_if(fence.guard(), vec![put_op("written", value)]);
    store.txn(write).await.unwrap().succeeded
}

/// Waits until exactly one of them leads, and all that are not cut off know it.
async fn one_leads(among: &[&Candidate]) -> usize {
    until("one leads", async || {
        let leaders = among.iter().filter(|one| one.leads()).count();
        let first = among[0].standing.borrow().clone();
        let agree = among.iter().all(|one| {
            let standing = one.standing.borrow();
            (&standing.leader, standing.term) == (&first.leader, first.term)
        });
        leaders == 1 && agree
    })
    .await;
    among.iter().position(|one| one.leads()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn one_of_many_leads_and_all_know_it() {
    let home = embedded().await;
    let names = ["a", "b", "c", "d", "e"];
    let many = names.map(|name| Candidate::start(&home.store, name));
    let begun = Instant::now();
    let leader = one_leads(&many.each_ref()).await;
    assert!(begun.elapsed() < Duration::from_secs(2));
    let standing = many[leader].standing.borrow().clone();
    assert_eq!(standing.leader.as_deref(), Some(names[leader]));
    tokio::time::sleep(TTL * 10).await;
    assert_eq!(
        *many[leader].standing.borrow(),
        standing,
        "it keeps its seat"
    );
    assert!(write_as(&home.store, &standing.is_self.unwrap(), "x").await);
}

#[tokio::test(start_paused = true)]
async fn a_dead_leader_is_replaced() {
    let home = embedded().await;
    let first = Candidate::start(&home.store, "first");
    one_leads(&[&first]).await;
    let second = Candidate::start(&home.store, "second");
    one_leads(&[&first, &second]).await;
    let dead = first.fence().unwrap();
    drop(first);
    let begun = Instant::now();
    until("the second leads", async || second.leads()).await;
    let after = begun.elapsed();
    assert!(after < TTL + LATE_MAX + TRY_WITHIN, "after {after:?}");
    assert!(second.fence().unwrap().term() > dead.term());
    assert!(!write_as(&home.store, &dead, "zombie").await);
}

#[tokio::test(start_paused = true)]
async fn a_frozen_leader_is_fenced_and_steps_down_when_it_wakes() {
    let home = embedded().await;
    let frozen = Candidate::start(&home.store, "frozen");
    one_leads(&[&frozen]).await;
    let second = Candidate::start(&home.store, "second");
    one_leads(&[&frozen, &second]).await;
    frozen.frozen.send_replace(true);
    until("the second leads", async || second.leads()).await;
    let zombie = frozen.fence().expect("it does not know yet");
    let leader = second.fence().unwrap();
    assert!(!write_as(&home.store, &zombie, "zombie").await);
    assert!(write_as(&home.store, &leader, "leader").await);
    frozen.frozen.send_replace(false);
    assert_eq!(one_leads(&[&frozen, &second]).await, 1);
    assert_eq!(second.fence().as_ref(), Some(&leader));
    assert!(write_as(&home.store, &leader, "leader").await);
}

#[tokio::test(start_paused = true)]
async fn a_leader_cut_off_steps_down_before_another_leads() {
    let home = embedded().await;
    let cut = Candidate::start(&home.store, "cut");
    one_leads(&[&cut]).await;
    let second = Candidate::start(&home.store, "second");
    one_leads(&[&cut, &second]).await;
    cut.way.set_away(true);
    let begun = Instant::now();
    let mut stepped_down = None;
    while !second.leads() {
        if !cut.leads() && stepped_down.is_none() {
            stepped_down = Some(begun.elapsed());
        }
        assert!(begun.elapsed() < TTL * 3);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let after = stepped_down.expect("before the second leads");
    assert!(after <= LEADS_FOR + Duration::from_millis(100), "{after:?}");
    assert_eq!(*cut.standing.borrow(), Standing::default());
    cut.way.set_away(false);
    assert_eq!(one_leads(&[&cut, &second]).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_resigns_is_followed_at_once() {
    let home = embedded().await;
    let mut first = Candidate::start(&home.store, "first");
    one_leads(&[&first]).await;
    let second = Candidate::start(&home.store, "second");
    one_leads(&[&first, &second]).await;
    let begun = Instant::now();
    first.election.take().unwrap().resign().await;
    assert_eq!(*first.standing.borrow(), Standing::default());
    until("the second leads", async || second.leads()).await;
    assert!(begun.elapsed() < TRY_WITHIN + Duration::from_millis(500));
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_key_was_deleted_steps_down() {
    let home = embedded().await;
    let one = Candidate::start(&home.store, "one");
    one_leads(&[&one]).await;
    let before = one.fence().unwrap();
    delete(&home.store, &text(&layout().leader())).await;
    until("it leads again", async || {
        one.fence()
            .is_some_and(|fence| fence.term() > before.term())
    })
    .await;
    assert!(!write_as(&home.store, &before, "zombie").await);
}

#[tokio::test(start_paused = true)]
async fn a_campaign_whose_answer_was_lost_is_won_all_the_same() {
    let home = embedded().await;
    let one = Candidate::start(&home.store, "one");
    one.way.lose_answers(true);
    one_leads(&[&one]).await;
    assert!(write_as(&home.store, &one.fence().unwrap(), "x").await);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_could_not_renew_makes_room_when_the_store_is_back() {
    let home = embedded().await;
    let one = Candidate::start(&home.store, "one");
    one_leads(&[&one]).await;
    let before = one.fence().unwrap();
    // The lease outlives the leadership, as after a restart of the store.
    let lease = get(&home.store, &text(&layout().leader())).await;
    let lease = lease.unwrap().lease.unwrap();
    one.way.set_away(true);
    until("it steps down", async || {
        home.store.keep_alive(lease).await.unwrap();
        !one.leads()
    })
    .await;
    one.way.set_away(false);
    let begun = Instant::now();
    until("it leads again", async || {
        home.store.keep_alive(lease).await.ok();
        one.leads()
    })
    .await;
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert!(one.fence().unwrap().term() > before.term());
}

#[tokio::test(start_paused = true)]
async fn terms_of_writes_never_go_back_whatever_happens() {
    let home = embedded().await;
    let mut random = fastrand::Rng::with_seed(11);
    let names = ["a", "b", "c"];
    let mut all = names.map(|name| Candidate::start(&home.store, name));
    let at = crate::support::put(&home.store, "written", "0").await;
    let mut written = watch(&home.store, "written", at.next()).await;
    for _ in 0..600 {
        for one in &all {
            // Even a zombie tries.
            if let Some(fence) = one.fence() {
                write_as(&home.store, &fence, &fence.term().to_string()).await;
            }
        }
        let victim = random.usize(..all.len());
        match random.u8(..100) {
            0..6 => all[victim].way.set_away(true),
            6..12 => drop(all[victim].frozen.send_replace(true)),
            12..14 => all[victim] = Candidate::start(&home.store, names[victim]),
            14..20 => {
                all[victim].way.set_away(false);
                all[victim].frozen.send_replace(false);
            }
            _ => {}
        }
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    crate::support::put(&home.store, "written", "end").await;
    let mut terms = Vec::new();
    'all: while let Some(item) = written.next().await {
        let Watched::Changed { events, .. } = item.unwrap() else {
            continue;
        };
        for event in events {
            let EventKind::Put(entry) = event.kind else {
                continue;
            };
            match text(&entry.value).parse::<u64>() {
                Ok(term) => terms.push(term),
                Err(_) => break 'all,
            }
        }
    }
    assert!(terms.is_sorted(), "a zombie wrote");
    terms.dedup();
    assert!(terms.len() > 3, "few leaders: {terms:?}");
}

#[tokio::test]
async fn one_leads_again_after_etcd_was_killed() {
    let (mut etcd, store) = etcd().await;
    let (a, b) = (Candidate::start(&store, "a"), Candidate::start(&store, "b"));
    let leader = one_leads(&[&a, &b]).await;
    let before = [&a, &b][leader].fence().unwrap();
    etcd.kill();
    until("nobody leads", async || !a.leads() && !b.leads()).await;
    etcd.start_again().await;
    let begun = Instant::now();
    let leader = one_leads(&[&a, &b]).await;
    assert!(begun.elapsed() < TTL, "the old key was given back");
    let fence = [&a, &b][leader].fence().unwrap();
    assert!(fence.term() > before.term());
    assert!(!write_as(&store, &before, "zombie").await);
    assert!(write_as(&store, &fence, "leader").await);
}

#[tokio::test(start_paused = true)]
async fn an_instance_is_there_while_it_runs() {
    let home = embedded().await;
    let announce = async |name: &str, seed| {
        let instance = Instance {
            instance: name.to_owned(),
            ..Instance::default()
        };
        let announced =
            Announcement::start(Arc::clone(&home.store), &layout(), &instance, seed).await;
        announced.unwrap()
    };
    let (one, two) = (announce("one", 1).await, announce("two", 2).await);
    let there = async || keys(&home.store, &text(&layout().instances())).await.len();
    until("both are there", async || there().await == 2).await;
    one.withdraw().await;
    assert_eq!(there().await, 1);
    tokio::time::sleep(TTL * 3).await;
    assert_eq!(there().await, 1);
    drop(two);
    tokio::time::sleep(TTL + LATE_MAX).await;
    assert_eq!(there().await, 0);
    let store = Arc::clone(&home.store);
    let refused = Announcement::start(store, &layout(), &Instance::default(), 3).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.starts_with("instance is ``; allowed"), "{refused}");
}
