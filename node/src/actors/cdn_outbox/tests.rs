//! What the actor does with its messages. The CDN is a socket that the test speaks on.

use std::path::Path;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use weir_cache::{MemoryLimits, PurgeLimits, Purges, Store};
use weir_core::purge::{DEFAULT_DRIFT_MAX_MS, Hardness, HlcClock};
use weir_core::surrogate::CdnScope;

use super::*;
use crate::actors::cache_tier;
use crate::config::{Config, Environment, Given};
use crate::guardian::{Budget, guard};
use crate::peers::Peers;
use crate::ports::clock::WallClock;
use crate::ports::net::Tcp;

const CLOCK_START: Duration = Duration::from_secs(1_000);

struct Node {
    handle: CdnOutboxHandle,
    journal: Arc<Mutex<Journal>>,
    events: Events,
}

/// An actor with one CDN at `cdn`, of a node that is alone, and everything that it does until the test ends.
async fn run<T>(cdn: &TcpListener, folder: &Path, test: impl AsyncFnOnce(Node) -> T) -> T {
    let text = format!(
        "[node]\nname = \"here\"\n[cdns.front]\nkind = \"purge\"\nurl = \"http://{}\"\n",
        cdn.local_addr().unwrap()
    );
    let config = Config::parse(&text, &Environment::new(), &Given::default()).unwrap();
    let clock = WallClock::starting_at(CLOCK_START);
    let limits = MemoryLimits {
        bytes_max: 8 << 20,
        entry_bytes_max: 1 << 20,
    };
    let purges = Purges::new(
        7,
        HlcClock::new(1, DEFAULT_DRIFT_MAX_MS),
        PurgeLimits::default(),
    );
    let tier = CacheTierHandle::new(&cache_tier::Parts {
        store: Arc::new(Store::new(limits, 1, purges)),
        peers: Peers::new("here", Snapshot::new(Default::default()), Arc::new(Tcp)),
        clock,
        table: Snapshot::new(Vec::new()),
        seed: 1,
    });
    let journal = Arc::new(Mutex::new(Journal::open(folder).unwrap()));
    let table = Snapshot::new(Vec::new());
    let configured = Snapshot::new(Configured::first(config));
    let handle = CdnOutboxHandle::new(configured.clone(), table.clone());
    let parts = Parts {
        configured,
        tier,
        journal: Kept::In(Arc::clone(&journal)),
        sender: Sender::new(Arc::new(Tcp)),
        events: Events::new("here", "1".to_owned(), clock),
        table,
        links: handle.links.clone(),
        seed: 1,
    };
    let node = Node {
        handle,
        journal,
        events: parts.events.clone(),
    };
    let links = parts.links.clone();
    let local = LocalSet::new();
    local.spawn_local(guard(
        "cdn_outbox",
        MESSAGES_WAITING_MAX,
        Budget::default(),
        move || CdnOutbox::new(parts.clone()),
        move |life| links.point_at(life),
    ));
    local
        .run_until(async {
            // Until the guardian has run, nobody is there.
            tokio::task::yield_now().await;
            test(node).await
        })
        .await
}

fn url(path: &str) -> CdnPurge {
    CdnPurge {
        scope: CdnScope::Url(format!("http://a.example{path}")),
        hardness: Hardness::Hard,
    }
}

/// The next request, by its first line.
async fn asked(cdn: &TcpListener) -> (String, BufReader<TcpStream>) {
    let (stream, _) = cdn.accept().await.unwrap();
    let mut stream = BufReader::new(stream);
    let (mut first, mut line) = (String::new(), String::new());
    stream.read_line(&mut first).await.unwrap();
    while stream.read_line(&mut line).await.unwrap() > 2 {
        line.clear();
    }
    (first.trim_end().to_owned(), stream)
}

async fn answer(mut stream: BufReader<TcpStream>, status: &str) {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let _ = stream.read(&mut [0]).await;
}

async fn waits(node: &Node, expected: u64) -> CdnStanding {
    loop {
        let standing = node.handle.standing()[0].clone();
        if standing.waiting == expected {
            return standing;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

#[tokio::test]
async fn a_purge_is_written_down_before_it_is_promised_and_until_it_is_taken() {
    let (cdn, folder) = (listener().await, tempfile::tempdir().unwrap());
    run(&cdn, folder.path(), async |node| {
        let told = node.handle.enqueue(vec![url("/a")], "", 1).await.unwrap();
        assert_eq!(told, ["front"]);
        assert_eq!(node.journal.lock().await.waiting().count(), 1);
        let (first, stream) = asked(&cdn).await;
        assert_eq!(first, "PURGE /a HTTP/1.1");
        assert_eq!(node.journal.lock().await.waiting().count(), 1);
        answer(stream, "200 OK").await;
        assert_eq!(waits(&node, 0).await.told, 1);
        while node.journal.lock().await.waiting().count() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_was_not_taken_before_the_end_is_sent_after_the_next_start() {
    let (cdn, folder) = (listener().await, tempfile::tempdir().unwrap());
    run(&cdn, folder.path(), async |node| {
        node.handle.enqueue(vec![url("/a")], "", 1).await.unwrap();
    })
    .await;
    run(&cdn, folder.path(), async |node| {
        // The life before may have connected and asked nothing.
        loop {
            let (first, stream) = asked(&cdn).await;
            if first == "PURGE /a HTTP/1.1" {
                answer(stream, "404 Not Found").await;
                if waits(&node, 0).await.told == 1 {
                    break;
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_cdn_that_fails_is_asked_again_and_one_that_refuses_is_not() {
    let (cdn, folder) = (listener().await, tempfile::tempdir().unwrap());
    run(&cdn, folder.path(), async |node| {
        node.handle.enqueue(vec![url("/a")], "", 1).await.unwrap();
        let (_, stream) = asked(&cdn).await;
        answer(stream, "503 Service Unavailable\r\nretry-after: 0").await;
        let (again, stream) = asked(&cdn).await;
        assert_eq!(again, "PURGE /a HTTP/1.1");
        answer(stream, "400 Bad Request").await;
        let standing = waits(&node, 0).await;
        assert_eq!(
            (standing.failures, standing.refused, standing.told),
            (1, 1, 0)
        );
        assert!(standing.problem.starts_with("400"), "{}", standing.problem);
        let tag = CdnPurge {
            scope: CdnScope::Tag("t".to_owned()),
            hardness: Hardness::Hard,
        };
        node.handle.enqueue(vec![tag], "", 2).await.unwrap();
        loop {
            let standing = &node.handle.standing()[0];
            if standing.refused == 2 {
                assert_eq!(standing.problem, "PURGE purges by URL, not by tag (\"t\")");
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let told: BTreeMap<Kind, u64> = node.events.counts().collect();
        assert_eq!(told[&Kind::CdnAway], 1);
        assert_eq!(told[&Kind::CdnRefused], 2);
    })
    .await;
}
