mod bounds;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};
use weir_cache::{Entry, MemoryLimits, PurgeLimits, Purges, Resource};
use weir_core::cache::{self, Exchange, Key, Policy, Target, UnixMs};
use weir_core::proxy::Scheme;
use weir_core::purge::{DEFAULT_DRIFT_MAX_MS, HlcClock};
use weir_proto::control::v1::Peer;

use super::*;
use crate::config::{Environment, Given};
use crate::data_plane::warming::{HotKey, Told, WarmJob, Warmed};
use crate::events::Kind;
use crate::guardian::{Budget, guard};
use crate::ports::net::Tcp;
use crate::telemetry::cache::WarmOutcome;

const SECOND: Duration = Duration::from_secs(1);
const NOON: Duration = Duration::from_secs(1_772_366_400);
const MEMORY: MemoryLimits = MemoryLimits {
    bytes_max: 8 << 20,
    entry_bytes_max: 1 << 20,
};

fn settings(keys: &str) -> WarmSettings {
    let text = format!("[cache]\n{keys}\n");
    let config = Config::parse(&text, &Environment::new(), &Given::default()).unwrap();
    config.cache.warm
}

/// An actor, with a core that does what the test says.
struct Node {
    handle: CacheWarmerHandle,
    parts: Parts,
    /// When each job came, and which.
    jobs: Rc<RefCell<Vec<(Instant, WarmJob)>>>,
    /// Jobs under way, and the most there were at a time.
    under_way: Rc<Cell<(usize, usize)>>,
}

impl Node {
    fn start(name: &str, mesh: &[&str], settings: &WarmSettings, folder: Option<PathBuf>) -> Self {
        let clock = WallClock::starting_at(NOON);
        let peer = |id: &&str| Peer {
            node_id: (*id).to_owned(),
            ..Peer::default()
        };
        let link = Snapshot::new(LinkStatus {
            peers: mesh.iter().map(peer).collect(),
            ..LinkStatus::default()
        });
        let purges = HlcClock::new(1, DEFAULT_DRIFT_MAX_MS);
        let purges = Purges::new(7, purges, PurgeLimits::default());
        let parts = Parts {
            warming: Warming::new(1),
            store: Arc::new(Store::new(MEMORY, 1, purges)),
            routing: Snapshot::new(Routing {
                revision: 1,
                ..Routing::empty()
            }),
            peers: Peers::new(name, link.clone(), Arc::new(Tcp)),
            is_alone: mesh.is_empty(),
            control_plane: link,
            clock,
            events: Events::new(name, "1".to_owned(), clock),
            folder,
            settings: Snapshot::new(settings.clone()),
            warm: Arc::new(watch::Sender::new(settings.on_start.is_empty())),
            has_begun: Arc::default(),
        };
        let handle = CacheWarmerHandle::new(&parts);
        let (links, own) = (handle.links.clone(), parts.clone());
        let configure = Configure {
            settings: settings.clone(),
        };
        tokio::task::spawn_local(guard(
            "cache_warmer",
            MESSAGES_WAITING_MAX,
            Budget::default(),
            move || CacheWarmer::new(own.clone(), configure.clone()),
            move |life| links.point_at(life),
        ));
        Self {
            handle,
            parts,
            jobs: Rc::default(),
            under_way: Rc::default(),
        }
    }

    /// Its core takes so long for each job, and this comes of it.
    fn core(&self, takes: Duration, outcome: WarmOutcome) {
        let mut jobs = self.parts.warming.desk.take(0).unwrap();
        let (seen, under_way) = (Rc::clone(&self.jobs), Rc::clone(&self.under_way));
        tokio::task::spawn_local(async move {
            while let Some((job, answer)) = jobs.recv().await {
                seen.borrow_mut().push((Instant::now(), job));
                let (now, most) = under_way.get();
                under_way.set((now + 1, most.max(now + 1)));
                let under_way = Rc::clone(&under_way);
                tokio::task::spawn_local(async move {
                    sleep(takes).await;
                    let (now, most) = under_way.get();
                    under_way.set((now - 1, most));
                    let _ = answer.send(Warmed {
                        outcome,
                        status: 200,
                        bytes: 1,
                        why: String::new(),
                    });
                });
            }
        });
    }

    fn urls(&self) -> Vec<String> {
        let jobs = self.jobs.borrow();
        jobs.iter().map(|(_, job)| job.asked.url()).collect()
    }

    fn happened(&self, kind: Kind) -> u64 {
        let mut counts = self.parts.events.counts();
        counts.find(|(other, _)| *other == kind).unwrap().1
    }

    /// A core was asked for it so often.
    fn asked_for(&self, url: &str, times: u32) {
        let asked = Asked::of_url(url).unwrap();
        self.parts.warming.board.tell(vec![Told {
            id: crc(url),
            times,
            hot: Some(Arc::new(HotKey {
                key: key(&asked).as_str().into(),
                asked,
            })),
        }]);
    }

    /// It is kept from now on, after a fetch of 50 ms, for so many seconds.
    fn keep(&self, url: &str, max_age_s: u64) {
        let asked = Asked::of_url(url).unwrap();
        let now = UnixMs(self.parts.now_ms());
        let mut response = HeaderMap::new();
        let control = HeaderValue::try_from(format!("max-age={max_age_s}")).unwrap();
        response.insert("cache-control", control);
        let exchange = Exchange {
            method: &Method::GET,
            path_and_query: asked.target().as_str(),
            request: &HeaderMap::new(),
            status: StatusCode::OK,
            response: &response,
            requested_at: now.before(Duration::from_millis(50)),
            responded_at: now,
        };
        let stored = cache::store(&exchange, &Policy::default()).unwrap();
        let resource = Resource::new(
            key(&asked),
            "web",
            asked.authority(),
            asked.target().as_str(),
        );
        let at = self.parts.store.fetch_time(now);
        let entry = Entry::new(resource, stored, at, Box::default(), Box::default());
        assert!(self.parts.store.insert(&Arc::new(entry), now));
    }
}

fn crc(text: &str) -> u64 {
    weir_core::balance::hash_key(text.as_bytes())
}

fn key(asked: &Asked) -> Key {
    let target = Target {
        namespace: "web",
        scheme: Scheme::Http,
        authority: asked.authority(),
        path_and_query: asked.target().as_str(),
    };
    Key::of(&target).unwrap()
}

async fn run<T>(test: impl Future<Output = T>) -> T {
    LocalSet::new().run_until(test).await
}

#[tokio::test(start_paused = true)]
async fn a_node_is_warm_when_its_list_was_fetched() {
    run(async {
        let settings = settings("warm_on_start = [\"http://a.example/1\", \"http://a.example/2\"]");
        let node = Node::start("a", &[], &settings, None);
        node.core(SECOND, WarmOutcome::Kept);
        assert!(!node.handle.is_warm());
        let began = Instant::now();
        node.handle.until_warm().await;
        assert!(node.handle.is_warm());
        assert!(began.elapsed() < 2 * SECOND, "{:?}", began.elapsed());
        assert_eq!(node.urls(), ["http://a.example/1", "http://a.example/2"]);
        assert_eq!(node.happened(Kind::CacheWarmed), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_hangs_or_fails_keeps_a_node_from_nothing_for_longer_than_its_bound() {
    run(async {
        let settings =
            settings("warm_on_start = [\"http://a.example/1\"]\nwarm_start_timeout = \"3s\"");
        for (takes, outcome, failures) in [
            (600 * SECOND, WarmOutcome::Kept, 0),
            (Duration::ZERO, WarmOutcome::Failed, 1),
        ] {
            let node = Node::start("a", &[], &settings, None);
            node.core(takes, outcome);
            let began = Instant::now();
            node.handle.until_warm().await;
            assert!(node.handle.is_warm());
            assert!(began.elapsed() <= 3 * SECOND, "{:?}", began.elapsed());
            assert_eq!(node.happened(Kind::CacheWarmed), 1);
            assert_eq!(node.happened(Kind::CacheWarmFailed), failures);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn no_more_fetches_begin_than_may() {
    run(async {
        let settings = settings("warm_concurrent_max = 3\nwarm_rate_max = 20");
        let node = Node::start("a", &[], &settings, None);
        node.core(Duration::from_millis(500), WarmOutcome::Kept);
        tokio::task::yield_now().await;
        let urls = (0..60).map(|number| format!("a.example/{number}"));
        let wanted = urls.map(|url| Wanted::parse(&url).unwrap()).collect();
        let (count, mut done) = node.handle.order(wanted, false).await.unwrap();
        let began = Instant::now();
        for _ in 0..count {
            done.recv().await.unwrap();
        }
        assert_eq!((count, node.under_way.get().1), (60, 3));
        assert!(began.elapsed() >= 10 * SECOND, "{:?}", began.elapsed());
        let jobs = node.jobs.borrow();
        let gaps = jobs.windows(2).map(|two| two[1].0 - two[0].0);
        assert!(gaps.min().unwrap() >= Duration::from_millis(49));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn more_orders_than_may_be_are_refused() {
    run(async {
        let node = Node::start("a", &[], &settings(""), None);
        node.core(SECOND, WarmOutcome::Kept);
        tokio::task::yield_now().await;
        let order = || {
            let wanted = vec![Wanted::parse("a.example/").unwrap()];
            node.handle.order(wanted, false)
        };
        let mut under_way = Vec::new();
        for _ in 0..ORDERS_MAX {
            under_way.push(order().await.unwrap());
        }
        assert_eq!(order().await.unwrap_err(), NotWarmed::Busy(Busy));
        sleep(2 * SECOND).await;
        assert!(order().await.is_ok());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn of_three_nodes_one_runs_a_schedule_and_runs_it_once() {
    run(async {
        let settings = settings(
            "warm_schedule = [\"* * * * * http://a.example/1\", \"*/5 * * * * http://a.example/5\"]",
        );
        let mesh = ["a", "b", "c"];
        let nodes = mesh.map(|name| Node::start(name, &mesh, &settings, None));
        for node in &nodes {
            node.core(Duration::from_millis(20), WarmOutcome::Kept);
        }
        // Jitter is at most half a minute, so this is between two turns, and noon was the first one.
        sleep(60 * 60 * SECOND + 45 * SECOND).await;
        let urls: Vec<String> = nodes.iter().flat_map(Node::urls).collect();
        let count = |url: &str| urls.iter().filter(|other| *other == url).count();
        assert_eq!(count("http://a.example/1"), 61);
        assert_eq!(count("http://a.example/5"), 13);
        let jobs = nodes.iter().flat_map(|node| node.jobs.borrow().clone());
        assert!(jobs.into_iter().all(|(_, job)| job.min_fresh_s == ANEW_S));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_often_is_refreshed_before_it_ends() {
    run(async {
        let node = Node::start("a", &[], &settings("warm_schedule = []"), None);
        node.core(Duration::from_millis(20), WarmOutcome::Kept);
        for (url, times) in [("http://a.example/often", 10), ("http://a.example/rare", 9)] {
            node.keep(url, 100);
            node.asked_for(url, times);
        }
        sleep(89 * SECOND).await;
        assert_eq!(node.urls(), [""; 0]);
        sleep(11 * SECOND).await;
        assert_eq!(node.urls(), ["http://a.example/often"]);
        let jobs = node.jobs.borrow();
        let (_, job) = &jobs[0];
        assert_eq!(job.source, WarmSource::Predictive);
        assert!((9..=11).contains(&job.min_fresh_s), "{}", job.min_fresh_s);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn settings_apply_live() {
    run(async {
        let node = Node::start("a", &[], &settings("warm_schedule = []"), None);
        node.core(Duration::from_millis(20), WarmOutcome::Kept);
        node.keep("http://a.example/rare", 100);
        node.asked_for("http://a.example/rare", 2);
        tokio::task::yield_now().await;
        let changed = settings(
            "warm_predictive_requests_min = 2\nwarm_schedule = [\"* * * * * a.example/now\"]",
        );
        let configure = Configure { settings: changed };
        node.handle.configure(configure, SECOND).await.unwrap();
        sleep(95 * SECOND).await;
        let mut urls = node.urls();
        urls.sort();
        urls.dedup();
        assert_eq!(urls, ["http://a.example/now", "http://a.example/rare"]);
        let off = settings("warm_predictive = false\nwarm_hot_keys = 0\nwarm_schedule = []");
        let configure = Configure { settings: off };
        node.handle.configure(configure, SECOND).await.unwrap();
        let before = node.urls().len();
        sleep(600 * SECOND).await;
        assert_eq!(node.urls().len(), before);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_for_most_is_fetched_by_the_next_process_in_this_order() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let place = Some(folder.path().to_owned());
        let own = settings("warm_schedule = []\nwarm_concurrent_max = 1");
        let node = Node::start("a", &[], &own, place.clone());
        tokio::task::yield_now().await;
        node.asked_for("http://a.example/warm", 5);
        node.asked_for("http://a.example/?token=secret", 50);
        node.asked_for("http://a.example/hot", 7);
        node.handle.save().await;
        let next = Node::start("a", &[], &own, place.clone());
        next.core(Duration::ZERO, WarmOutcome::Kept);
        sleep(SECOND).await;
        assert_eq!(
            next.urls(),
            ["http://a.example/hot", "http://a.example/warm"]
        );
        // One request more takes nothing from the list.
        next.asked_for("http://a.example/new", 1);
        next.handle.save().await;
        let last = Node::start("a", &[], &own, place);
        last.core(Duration::ZERO, WarmOutcome::Kept);
        sleep(SECOND).await;
        assert_eq!(last.urls().len(), 3);
        assert_eq!(last.urls()[0], "http://a.example/new");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_damaged_is_told_and_nothing_of_it_is_used() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache-hot-list");
        std::fs::write(&path, "weir-hot-list 1 1 00000000\nhttp\ta.example\t/\n").unwrap();
        let place = Some(folder.path().to_owned());
        let node = Node::start("a", &[], &settings(""), place.clone());
        node.core(Duration::ZERO, WarmOutcome::Kept);
        sleep(SECOND).await;
        assert_eq!(node.happened(Kind::CacheHotListDamaged), 1);
        assert_eq!(node.urls(), [""; 0]);
        // Neither is something else in its place waited for or written through.
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        let node = Node::start("a", &[], &settings(""), place);
        node.core(Duration::ZERO, WarmOutcome::Kept);
        sleep(SECOND).await;
        assert_eq!(node.happened(Kind::CacheHotListDamaged), 1);
    })
    .await;
}
