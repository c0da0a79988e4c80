//! Wrong credentials are told once, and never what they are.

use std::io;
use std::sync::mpsc::{Sender, channel};

use weir_cache::redis::{FailureKind, Fetched, L2Settings};
use weir_fakes::redis::Redis;

use crate::stage::{Tier, eventually};

const RIGHT: &str = "correct-horse";
const WRONG: &str = "battery-staple";

struct Log(Sender<String>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.send(String::from_utf8_lossy(bytes).into_owned());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn with_password(redis: &Redis, password: &str) -> L2Settings {
    let url = redis
        .url()
        .replace("redis://", &format!("redis://:{password}@"));
    L2Settings::new(url.parse().unwrap())
}

// One thread, so that the subscriber of this test hears the tasks.
#[tokio::test]
async fn a_wrong_password_is_told_once_and_not_shown() {
    let (lines, log) = channel();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || Log(lines.clone()))
        .finish();
    let _guard = tracing_subscriber::util::SubscriberInitExt::set_default(subscriber);
    let redis = Redis::start_with(&["--requirepass", RIGHT]);

    let tier = Tier::start(with_password(&redis, WRONG));
    let why = tier.is_away().await;
    assert!(why.contains("refuses the user or the password"), "{why}");
    assert!(why.contains(&redis.port().to_string()), "{why}");
    eventually(async || tier.l2.counters().failed_denied.get() >= 3).await;
    assert_eq!(tier.pages.get(b"a").await, Fetched::Away);

    tier.l2
        .configure(L2Settings::new(redis.url().parse().unwrap()));
    eventually(async || tier.is_away().await.contains("it wants a password")).await;
    tier.l2.configure(with_password(&redis, RIGHT));
    tier.is_ready().await;
    tier.keep("a", "one").await;

    let told: Vec<String> = log.try_iter().collect();
    let count = |text: &str| told.iter().filter(|line| line.contains(text)).count();
    assert_eq!(count("refuses the user"), 1, "{told:?}");
    assert_eq!(count("wants a password"), 1, "{told:?}");
    assert_eq!(count("is back"), 1, "{told:?}");
    let shown = [format!("{:?}", tier.l2), why].concat() + &told.concat();
    assert!(!shown.contains(RIGHT) && !shown.contains(WRONG), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_may_only_use_the_cache_is_enough() {
    let redis = Redis::start();
    let acl = "ACL SETUSER weir on >pass ~weir:* -@all +ping +get +mget +set +getrange +unlink";
    let words: Vec<&[u8]> = acl.split(' ').map(str::as_bytes).collect();
    redis.ask(&words).unwrap();
    let url = redis.url().replace("redis://", "redis://weir:pass@");
    let tier = Tier::start(L2Settings::new(url.parse().unwrap()));
    tier.is_ready().await;
    tier.keep("a", "one").await;
    tier.pages.delete(&[b"a"], 1);
    tier.misses("a").await;

    redis
        .ask(&[b"ACL", b"SETUSER", b"weir", b"-getrange"])
        .unwrap();
    let mut reads = 0;
    while tier.pages.get(b"a").await == Fetched::Away && reads < 5 {
        reads += 1;
    }
    let denied = tier.l2.counters().failed_denied.get();
    assert!(denied >= 5, "{denied} of kind {:?}", FailureKind::Denied);
}
