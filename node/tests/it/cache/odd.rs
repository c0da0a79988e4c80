//! What is odd about a request, an answer, or what another tier has.

use weir_fakes::redis::Redis;

use super::cached;
use super::origin::Origin;
use super::redis::{section, written};
use crate::client::Client;

async fn origin(fields: &'static str) -> Origin {
    Origin::start(move |mut asked| async move {
        asked.answer("200 OK", fields, "here").await;
        asked
    })
    .await
}

#[tokio::test]
async fn keys_and_tags_of_absurd_size_are_answered_and_kept_for_nobody() {
    let tags = (0..65).map(|number| format!("t{number}"));
    let fields = format!(
        "cache-control: max-age=60\r\ncache-tag: {}\r\n",
        tags.collect::<Vec<_>>().join(",")
    );
    let origin = origin(fields.leak()).await;
    let weir = cached(origin.address, "cache = true", "").await;
    let mut client = Client::connect(weir.ingress).await;
    let long = format!("/{}", "k".repeat(8 << 10));
    for (path, why) in [(&*long, "key-too-long"), ("/", "tags")] {
        for _ in 0..2 {
            let answer = client.get(path).await.unwrap();
            assert_eq!(answer.text(), "here");
            let status = answer.header("cache-status").unwrap();
            assert!(!status.contains("hit"), "{status}");
            assert!(status.contains(why) || why == "tags", "{status}");
            // Nor can a CDN keep what it could not purge by all of its tags, whatever the key.
            assert_eq!(
                answer.header("cdn-cache-control"),
                Some("no-store"),
                "{}",
                answer.head
            );
        }
    }
    assert_eq!(origin.asked(), 4);
}

#[tokio::test]
async fn an_answer_whose_head_is_a_bomb_is_refused_and_harms_nobody() {
    let origin = Origin::start(|mut asked| async move {
        let fields = match asked.number {
            1 => format!(
                "cache-control: max-age=60\r\nx-bomb: {}\r\n",
                "b".repeat(2 << 20)
            ),
            _ => "cache-control: max-age=60\r\n".to_owned(),
        };
        asked.answer("200 OK", &fields, "here").await;
        asked
    })
    .await;
    let weir = cached(origin.address, "cache = true", "").await;
    let mut client = Client::connect(weir.ingress).await;
    let refused = client.get("/").await.unwrap();
    assert_eq!(refused.status, 502, "{}", refused.head);
    assert_eq!(client.get("/").await.unwrap().text(), "here");
}

#[tokio::test]
async fn answers_to_credentials_are_kept_only_with_leave() {
    let of_one = origin("cache-control: max-age=60\r\n").await;
    let of_all = origin("cache-control: max-age=60, public\r\n").await;
    for (origin, asked) in [(&of_one, 2), (&of_all, 1)] {
        let weir = cached(origin.address, "cache = true", "").await;
        let mut client = Client::connect(weir.ingress).await;
        let request = "GET / HTTP/1.1\r\nHost: test\r\nAuthorization: Basic YTpi\r\n\r\n";
        assert_eq!(client.ask(request).await.unwrap().text(), "here");
        assert_eq!(client.get("/").await.unwrap().text(), "here");
        assert_eq!(origin.asked(), asked);
    }
}

#[tokio::test]
async fn a_value_in_redis_that_was_damaged_is_fetched_anew_and_counted() {
    let redis = Redis::start();
    let origin = origin("cache-control: max-age=600\r\n").await;
    let first = cached(origin.address, "cache = true", &section(&redis)).await;
    written(&first, &redis).await;
    let damage = b"for _, k in ipairs(redis.call('KEYS', '*/probe/*')) do redis.call('SETRANGE', k, 40, 'damaged') end";
    redis.ask(&[b"EVAL", damage, b"0"]).unwrap();
    let second = cached(origin.address, "cache = true", &section(&redis)).await;
    second
        .wait_for_metric("weir_cache_redis_up", |up| up == 1.0)
        .await;
    let mut client = Client::connect(second.ingress).await;
    for number in 0..3 {
        let answer = client.get(&format!("/probe/{number}")).await.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "here"));
    }
    second
        .wait_for_metric("weir_cache_redis_unusable_total", |count| count > 0.0)
        .await;
}
