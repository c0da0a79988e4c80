//! Many who want the same at once.

use tokio::task::JoinSet;

use super::cached;
use super::origin::Origin;
use crate::client::{Answer, Client};
use crate::common::{Weir, read_until};

const CROWD: usize = 40;
const IN_FLIGHT: &str = "weir_requests_in_flight";
/// So many that some client is between its look at memory and joining the fetch when that lands.
const KEYS: usize = 1_000;

/// An origin that answers like this, each request once that is released.
async fn held_back(status: &'static str, fields: &'static str, body: &'static str) -> Origin {
    Origin::start(move |mut asked| async move {
        asked.wait().await;
        asked.answer(status, fields, body).await;
        asked
    })
    .await
}

/// A crowd that has asked for the root with these fields, and waits with all who did before.
async fn waiting(weir: &Weir, fields: &str) -> JoinSet<Answer> {
    let before = weir.metric(IN_FLIGHT).await;
    let mut crowd = JoinSet::new();
    for _ in 0..CROWD {
        let mut client = Client::connect(weir.ingress).await;
        let request = format!("GET / HTTP/1.1\r\nHost: test\r\n{fields}\r\n");
        crowd.spawn(async move { client.ask(&request).await.unwrap() });
    }
    let all = before + CROWD as f64;
    weir.wait_for_metric(IN_FLIGHT, |now| now >= all).await;
    crowd
}

#[tokio::test]
async fn a_crowd_on_a_cold_key_is_one_fetch_that_all_read_while_it_comes() {
    let origin = Origin::start(|mut asked| async move {
        asked
            .say("HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 10\r\n\r\nfirst")
            .await;
        asked.wait().await;
        asked.say("later").await;
        asked
    })
    .await;
    let weir = cached(origin.address, "cache = true", "").await;
    let mut crowd = JoinSet::new();
    for _ in 0..CROWD {
        let mut stream = weir.connect().await;
        crowd.spawn(async move {
            let request = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";
            tokio::io::AsyncWriteExt::write_all(&mut stream, request)
                .await
                .unwrap();
            read_until(&mut stream, "first").await;
            stream
        });
    }
    // Everybody has the first half before the second one is sent.
    let streams = crowd.join_all().await;
    origin.release(1);
    for mut stream in streams {
        read_until(&mut stream, "later").await;
    }
    assert_eq!(origin.asked(), 1);
    assert_eq!(
        Client::connect(weir.ingress)
            .await
            .get("/")
            .await
            .unwrap()
            .text(),
        "firstlater"
    );
    assert_eq!(origin.asked(), 1);
}

#[tokio::test]
async fn a_short_answer_is_told_whole_to_all_who_wait_for_it() {
    let origin = Origin::start(|mut asked| async move {
        asked.wait().await;
        let chunked = "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\n\
                       transfer-encoding: chunked\r\n\r\n5\r\nshort\r\n0\r\n\r\n";
        asked.say(chunked).await;
        asked
    })
    .await;
    let weir = cached(origin.address, "cache = true", "").await;
    let crowd = waiting(&weir, "").await;
    origin.release(1);
    let answers = crowd.join_all().await;
    assert!(answers.iter().all(|answer| answer.text() == "short"));
    let of_unknown_length = |answer: &&Answer| answer.header("content-length").is_none();
    let streamed = answers.iter().filter(of_unknown_length).count();
    assert!(
        streamed <= 1,
        "{streamed} are told as if there was more to come"
    );
}

#[tokio::test]
async fn a_crowd_on_what_turns_out_too_long_at_once_reads_one_fetch() {
    const BYTES: usize = 3_000;
    let origin = Origin::start(|mut asked| async move {
        asked.wait().await;
        let body = "x".repeat(BYTES);
        let chunked =
            "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ntransfer-encoding: chunked\r\n";
        asked
            .say(&format!("{chunked}\r\n{BYTES:x}\r\n{body}\r\n0\r\n\r\n"))
            .await;
        asked
    })
    .await;
    let cache = "[routes.cache]\nbody_bytes_max = \"1KiB\"\n";
    let weir = cached(origin.address, cache, "").await;
    let crowd = waiting(&weir, "").await;
    origin.release(1);
    let answers = crowd.join_all().await;
    assert!(answers.iter().all(|answer| answer.body.len() == BYTES));
    assert_eq!(origin.asked(), 1);
}

#[tokio::test]
async fn who_takes_no_copy_does_not_wait_for_the_fetch_of_those_who_do() {
    let origin = held_back("200 OK", "cache-control: max-age=60\r\n", "here").await;
    let weir = cached(origin.address, "cache = true", "").await;
    let plain = waiting(&weir, "").await;
    let reloads = waiting(&weir, "Cache-Control: no-cache\r\n").await;
    origin.asked_at_least(2).await;
    origin.release(2);
    let answers = plain.join_all().await.into_iter();
    let answers = answers.chain(reloads.join_all().await);
    assert!(answers.into_iter().all(|answer| answer.text() == "here"));
    assert_eq!(origin.asked(), 2);
}

#[tokio::test]
async fn who_lets_nothing_be_kept_leaves_the_crowd_its_one_fetch() {
    let origin = held_back("200 OK", "cache-control: max-age=60\r\n", "here").await;
    let weir = cached(origin.address, "cache = true", "").await;
    let mut secretive = Client::connect(weir.ingress).await;
    let secretive = tokio::spawn(async move {
        let request = "GET / HTTP/1.1\r\nHost: test\r\nCache-Control: no-store\r\n\r\n";
        secretive.ask(request).await.unwrap().text()
    });
    origin.asked_at_least(1).await;
    let crowd = waiting(&weir, "").await;
    origin.release(CROWD + 1);
    assert_eq!(secretive.await.unwrap(), "here");
    let answers = crowd.join_all().await;
    assert!(answers.iter().all(|answer| answer.text() == "here"));
    assert_eq!(origin.asked(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_while_a_fetch_lands_does_not_fetch_again() {
    let origin = Origin::start(|mut asked| async move {
        asked
            .answer("200 OK", "cache-control: max-age=60\r\n", "here")
            .await;
        asked
    })
    .await;
    let weir = cached(origin.address, "cache = true", "").await;
    let mut clients = Vec::new();
    for _ in 0..CROWD {
        clients.push(Client::connect(weir.ingress).await);
    }
    for key in 0..KEYS {
        let mut crowd = JoinSet::new();
        for mut client in clients.drain(..) {
            crowd.spawn(async move {
                client.get(&format!("/{key}")).await.unwrap();
                client
            });
        }
        clients = crowd.join_all().await;
    }
    assert_eq!(origin.asked(), KEYS);
}

#[tokio::test]
async fn answers_for_one_client_alone_are_fetched_side_by_side() {
    // Nobody is answered before everybody has asked.
    let origin = held_back("200 OK", "cache-control: private\r\n", "yours").await;
    let weir = cached(origin.address, "cache = true", "").await;
    let crowd = waiting(&weir, "").await;
    origin.release(1);
    origin.asked_at_least(CROWD).await;
    origin.release(CROWD);
    let answers = crowd.join_all().await;
    assert!(answers.iter().all(|answer| answer.text() == "yours"));
}

#[tokio::test]
async fn a_client_that_leaves_does_not_end_the_fetch_that_others_wait_for() {
    let origin = held_back("200 OK", "cache-control: max-age=60\r\n", "whole").await;
    let weir = cached(origin.address, "cache = true", "").await;
    let mut first = weir.connect().await;
    let request = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut first, request)
        .await
        .unwrap();
    origin.asked_at_least(1).await;
    let mut second = Client::connect(weir.ingress).await;
    let second = tokio::spawn(async move { second.get("/").await.unwrap().text() });
    drop(first);
    weir.wait_for_metric("weir_connections_open", |open| open <= 1.0)
        .await;
    origin.release(1);
    assert_eq!(second.await.unwrap(), "whole");
    assert_eq!(origin.asked(), 1);
}

#[tokio::test]
async fn what_is_not_stored_of_an_answer_is_for_the_client_whose_request_fetched_it() {
    let origin = Origin::start(|mut asked| async move {
        let fields =
            "cache-control: max-age=60, private=\"x-user\"\r\nx-user: one\r\nset-cookie: a=1\r\n";
        asked.answer("200 OK", fields, "here").await;
        asked
    })
    .await;
    let cache = "[routes.cache]\nset_cookie = \"strip\"\n";
    let weir = cached(origin.address, cache, "").await;
    let mut client = Client::connect(weir.ingress).await;
    let first = client.get("/").await.unwrap();
    assert_eq!(first.header("x-user"), Some("one"), "{}", first.head);
    assert_eq!(first.header("set-cookie"), Some("a=1"), "{}", first.head);
    let second = client.get("/").await.unwrap();
    assert_eq!(
        (second.header("x-user"), second.header("set-cookie")),
        (None, None)
    );
    assert_eq!(origin.asked(), 1);
}

#[tokio::test]
async fn a_crowd_does_not_fall_on_an_origin_that_fails() {
    let origin = held_back("500 Internal Server Error", "", "broken").await;
    let weir = cached(origin.address, "cache = true", "").await;
    let crowd = waiting(&weir, "").await;
    origin.release(CROWD);
    let answers = crowd.join_all().await;
    let told = |answer: &Answer| answer.header("x-weir-reason") == Some("shared_fetch_failed");
    assert!(
        answers
            .iter()
            .all(|answer| answer.status == 500 || told(answer))
    );
    assert!(origin.asked() <= 4, "asked {} times", origin.asked());
}
