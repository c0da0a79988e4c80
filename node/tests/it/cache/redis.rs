//! The tier that nodes share.

use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep};
use weir_fakes::redis::Redis;

use super::cached;
use super::origin::Origin;
use crate::client::{Answer, Client};
use crate::common::{PATIENCE, Weir};
use crate::operator::wait_until;

async fn origin() -> Origin {
    Origin::start(|mut asked| async move {
        let body = format!("answer {}", asked.number);
        asked
            .answer(
                "200 OK",
                "cache-control: max-age=600\r\netag: \"e\"\r\n",
                &body,
            )
            .await;
        asked
    })
    .await
}

pub fn section(redis: &Redis) -> String {
    format!("[redis]\nurl = \"{}\"\n", redis.url())
}

async fn get(weir: &Weir, path: &str) -> Answer {
    Client::connect(weir.ingress).await.get(path).await.unwrap()
}

async fn stats(weir: &Weir) -> Value {
    let (_, text) = weir.get_api("/api/cache").await.unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Waits for an event.
async fn told(weir: &Weir, kind: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let path = format!("/api/events?kind={kind}");
        let (_, text) = weir.get_api(&path).await.unwrap();
        if text.contains(&format!("\"{kind}\"")) {
            return;
        }
        assert!(Instant::now() < deadline, "{text}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// How many keys are like this.
fn keys(redis: &Redis, like: &str) -> usize {
    let count = redis.ask(&[
        b"EVAL",
        b"return #redis.call('KEYS', ARGV[1])",
        b"0",
        like.as_bytes(),
    ]);
    String::from_utf8(count.unwrap()).unwrap().parse().unwrap()
}

/// Asks for ever new paths until one was written to Redis.
pub async fn written(weir: &Weir, redis: &Redis) {
    let deadline = Instant::now() + PATIENCE;
    for number in 0.. {
        get(weir, &format!("/probe/{number}")).await;
        if keys(redis, "*/probe/*") > 0 {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "nothing is written to Redis: {}",
            weir.log()
        );
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_one_node_fetched_another_one_has_too() {
    let redis = Redis::start();
    let origin = origin().await;
    let first = cached(origin.address, "cache = true", &section(&redis)).await;
    let second = cached(origin.address, "cache = true", &section(&redis)).await;
    share(&first, &second, &origin).await;
}

/// Waits until both nodes are connected; before each fetches for itself.
async fn share(first: &Weir, second: &Weir, origin: &Origin) {
    let deadline = Instant::now() + PATIENCE;
    for number in 0.. {
        let path = format!("/shared/{number}");
        let body = get(first, &path).await.text();
        let asked = origin.asked();
        sleep(Duration::from_millis(50)).await;
        let found = get(second, &path).await;
        let status = found.header("cache-status").unwrap();
        if status.contains("; hit") && status.contains("detail=redis") {
            assert_eq!((found.text(), origin.asked()), (body, asked));
            return;
        }
        assert!(Instant::now() < deadline, "{status} {}", second.log());
    }
}

#[tokio::test]
async fn without_redis_nobody_waits_and_nothing_fails() {
    let redis = Redis::start();
    let origin = origin().await;
    let weir = cached(origin.address, "cache = true", &section(&redis)).await;
    written(&weir, &redis).await;
    redis.freeze();

    for number in 0..20 {
        let begun = Instant::now();
        assert_eq!(get(&weir, &format!("/frozen/{number}")).await.status, 200);
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "{:?}",
            begun.elapsed()
        );
    }
    weir.wait_for_metric("weir_cache_redis_up", |up| up == 0.0)
        .await;
    weir.wait_for_metric("weir_cache_redis_timeouts_total", |late| late > 0.0)
        .await;
    assert_eq!(stats(&weir).await["redis"]["state"], "away");
    told(&weir, "cache.redis_away").await;
    redis.thaw();
    weir.wait_for_metric("weir_cache_redis_up", |up| up == 1.0)
        .await;
    told(&weir, "cache.redis_back").await;
    assert_eq!(stats(&weir).await["redis"]["state"], "up");
    drop(redis);
    for number in 0..20 {
        assert_eq!(get(&weir, &format!("/gone/{number}")).await.status, 200);
    }
    assert!(get(&weir, "/gone/1").await.header("age").is_some());
}

#[tokio::test]
async fn a_redis_that_is_away_is_in_the_status_without_its_password_until_it_is_back() {
    let mut redis = Redis::start_with(&["--requirepass", "hunter2"]);
    let origin = origin().await;
    let address = redis.url();
    let url = address.replace("redis://", "redis://:hunter2@");
    let section = format!("[redis]\nurl = \"{url}\"\n[telemetry]\nstatus_cache_ttl = \"0s\"\n");
    let weir = cached(origin.address, "cache = true", &section).await;
    weir.wait_for_metric("weir_cache_redis_up", |up| up == 1.0)
        .await;
    let address = address.trim_end_matches('/');
    let ways = async || {
        let (_, text) = weir.command(&["status"]).await;
        let (_, status) = weir.get_api("/api/status").await.unwrap();
        let (_, overview) = weir.get_api("/api/overview").await.unwrap();
        [text, status, overview]
    };
    assert!(!ways().await.concat().contains(address));

    redis.kill();
    let away = format!("redis {address}: unreachable for ");
    let why = ": Connection refused (os error 111); the cache goes on without it";
    wait_until(&weir, "Redis is away in each", async || {
        let told = ways().await;
        told.iter()
            .all(|told| told.contains(&away) && told.contains(why))
    })
    .await;
    assert!(!ways().await.concat().contains("hunter2"));
    assert_eq!(get(&weir, "/").await.status, 200);

    redis.start_again();
    wait_until(&weir, "Redis is back", async || {
        // Among the events it stays.
        !ways().await.concat().contains(&away)
    })
    .await;
}

#[tokio::test]
async fn what_is_stale_in_redis_is_validated_by_a_node_that_never_had_it() {
    let redis = Redis::start();
    let origin = Origin::start(|mut asked| async move {
        let fields = "cache-control: max-age=1\r\netag: \"e\"\r\n";
        match asked.head.contains("if-none-match: \"e\"") {
            true => {
                let head = format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n");
                asked.say(&head).await;
            }
            false => asked.answer("200 OK", fields, "here").await,
        }
        asked
    })
    .await;
    let first = cached(origin.address, "cache = true", &section(&redis)).await;
    written(&first, &redis).await;
    let second = cached(origin.address, "cache = true", &section(&redis)).await;
    second
        .wait_for_metric("weir_cache_redis_up", |up| up == 1.0)
        .await;
    // What was fetched before this is validated as what may have been purged, later things for being stale alone.
    let trusted = Instant::now() + Duration::from_millis(2_100);
    let mut validated_early = 0;
    for number in 0.. {
        let path = format!("/stale/{number}");
        let is_early = Instant::now() < trusted;
        get(&first, &path).await;
        let deadline = Instant::now() + PATIENCE;
        while keys(&redis, &format!("*{path}*")) == 0 {
            assert!(Instant::now() < deadline, "{}", first.log());
            sleep(Duration::from_millis(10)).await;
        }
        // It ends in Redis later than it is fresh.
        sleep(Duration::from_millis(1_100)).await;
        let validated = get(&second, &path).await;
        let status = validated.header("cache-status").unwrap_or_default();
        assert_eq!(
            (validated.status, validated.text().as_str()),
            (200, "here"),
            "{}",
            validated.head
        );
        // One answer of Redis that takes too long is no answer.
        match status.contains("fwd-status=304") {
            true if is_early => validated_early += 1,
            true if validated_early > 0 => return,
            _ => assert!(number < 8, "{}", validated.head),
        }
    }
}

/// A client that asks and takes nothing of the answer.
async fn stalled(weir: &Weir, path: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    let mut client = socket.connect(weir.ingress).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    client
}

#[tokio::test]
async fn what_redis_has_is_not_kept_while_clients_hold_as_much_as_they_may() {
    const LONG_BYTES: usize = 8 << 20;
    let redis = Redis::start();
    let origin = Origin::start(|mut asked| async move {
        let bytes = if asked.head.contains("/long") {
            LONG_BYTES
        } else {
            10
        };
        let fields = "cache-control: max-age=600\r\n";
        asked.answer("200 OK", fields, &"x".repeat(bytes)).await;
        asked
    })
    .await;
    let cache = "[cache]\nl1_bytes_max = \"128 MiB\"\n";
    let node = format!("{cache}{}", section(&redis));
    let first = cached(origin.address, "cache = true", &node).await;
    let second = cached(origin.address, "cache = true", &node).await;
    share(&first, &second, &origin).await;
    for path in ["/held", "/taken"] {
        get(&first, path).await;
        let is_written = async || keys(&redis, &format!("*{path}*")) > 0;
        wait_until(&first, "it is in Redis", is_written).await;
    }
    // A quarter of the memory is for what clients hold, which are four of these and a part of the fifth.
    let decided = async || {
        let stats = stats(&second).await;
        let busy = &stats["not_stored"]["busy"];
        stats["stores"].as_u64().unwrap() + busy.as_u64().unwrap()
    };
    let before = decided().await;
    let mut clients = Vec::new();
    for number in 1..=5 {
        clients.push(stalled(&second, &format!("/long/{number}")).await);
        let is_decided = async || decided().await == before + number;
        wait_until(&second, "it is kept or not", is_decided).await;
    }
    let held = async || stats(&second).await["fill_bytes"].as_u64().unwrap();
    let is_much = async || held().await > 32 << 20;
    wait_until(&second, "clients hold much", is_much).await;
    let asked = origin.asked();
    let tier = async |path| {
        let answer = get(&second, path).await;
        answer.header("cache-status").unwrap().to_owned()
    };
    for _ in 0..2 {
        let status = tier("/held").await;
        assert!(status.contains("detail=redis"), "{status}");
    }
    drop(clients);
    wait_until(&second, "they hold nothing", async || held().await == 0).await;
    assert!(tier("/taken").await.contains("detail=redis"));
    assert!(!tier("/taken").await.contains("detail=redis"));
    assert_eq!(origin.asked(), asked);
}
