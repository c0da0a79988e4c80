//! What is kept, and how it answers.

use super::cached;
use super::origin::Origin;
use crate::client::{Answer, Client};

/// An origin whose answers tell their number.
async fn numbered(fields: &'static str) -> Origin {
    Origin::start(move |mut asked| async move {
        let body = format!("answer {}", asked.number);
        asked.answer("200 OK", fields, &body).await;
        asked
    })
    .await
}

fn status_of_cache(answer: &Answer) -> &str {
    answer.header("cache-status").expect(&answer.head)
}

#[tokio::test]
async fn a_fresh_answer_comes_from_the_cache_and_says_so() {
    let origin = numbered("cache-control: max-age=60\r\n").await;
    let weir = cached(origin.address, "cache = true", "").await;
    let mut client = Client::connect(weir.ingress).await;
    let first = client.get("/a?b=1").await.unwrap();
    assert_eq!(first.text(), "answer 1");
    assert_eq!(status_of_cache(&first), "node-1; fwd=uri-miss; stored");
    let second = client.get("/a?b=1").await.unwrap();
    assert_eq!(second.text(), "answer 1");
    assert!(
        status_of_cache(&second).starts_with("node-1; hit; ttl="),
        "{}",
        second.head
    );
    assert!(second.header("age").is_some(), "{}", second.head);
    let other = client.get("/a?b=2").await.unwrap();
    assert_eq!(other.text(), "answer 2");
    assert_eq!(origin.asked(), 2);
}

#[tokio::test]
async fn a_route_that_does_not_ask_for_it_keeps_nothing() {
    let origin = numbered("cache-control: max-age=60\r\n").await;
    let weir = cached(origin.address, "", "").await;
    let mut client = Client::connect(weir.ingress).await;
    for number in 1..=2 {
        let answer = client.get("/").await.unwrap();
        assert_eq!(answer.text(), format!("answer {number}"));
        assert_eq!(answer.header("cache-status"), None);
    }
}

#[tokio::test]
async fn a_stale_answer_is_validated_and_a_304_renews_it() {
    let origin = Origin::start(|mut asked| async move {
        if asked.head.contains("if-none-match: \"v1\"") {
            asked.say("HTTP/1.1 304 Not Modified\r\ncache-control: max-age=60\r\netag: \"v1\"\r\n\r\n").await;
        } else {
            asked.answer("200 OK", "cache-control: max-age=0\r\netag: \"v1\"\r\n", "first").await;
        }
        asked
    })
    .await;
    let weir = cached(origin.address, "cache = true", "").await;
    let mut client = Client::connect(weir.ingress).await;
    assert_eq!(client.get("/").await.unwrap().text(), "first");
    let validated = client.get("/").await.unwrap();
    assert_eq!(
        (validated.status, validated.text().as_str()),
        (200, "first")
    );
    assert!(
        status_of_cache(&validated).contains("fwd=stale; fwd-status=304"),
        "{}",
        validated.head
    );
    let hit = client.get("/").await.unwrap();
    assert!(status_of_cache(&hit).contains("; hit"), "{}", hit.head);
    assert_eq!(origin.asked(), 2);
}

#[tokio::test]
async fn heads_conditions_and_ranges_are_answered_from_a_stored_whole() {
    let origin = Origin::start(|mut asked| async move {
        asked
            .answer(
                "200 OK",
                "cache-control: max-age=60\r\netag: \"e\"\r\n",
                "0123456789",
            )
            .await;
        asked
    })
    .await;
    let weir = cached(origin.address, "cache = true", "").await;
    let mut client = Client::connect(weir.ingress).await;
    client.get("/").await.unwrap();
    let get = |fields: &str| format!("GET / HTTP/1.1\r\nHost: test\r\n{fields}\r\n\r\n");
    let part = client.ask(&get("Range: bytes=2-4")).await.unwrap();
    assert_eq!((part.status, part.text().as_str()), (206, "234"));
    assert_eq!(part.header("content-range"), Some("bytes 2-4/10"));
    let parts = client.ask(&get("Range: bytes=0-1, -2")).await.unwrap();
    assert_eq!(parts.status, 206);
    assert!(
        parts
            .header("content-type")
            .unwrap()
            .starts_with("multipart/byteranges"),
        "{}",
        parts.head
    );
    let text = parts.text();
    assert!(
        text.contains("Content-Range: bytes 0-1/10\r\n\r\n01\r\n--"),
        "{text}"
    );
    assert!(
        text.contains("Content-Range: bytes 8-9/10\r\n\r\n89\r\n--"),
        "{text}"
    );
    let beyond = client.ask(&get("Range: bytes=20-")).await.unwrap();
    assert_eq!(
        (beyond.status, beyond.header("content-range")),
        (416, Some("bytes */10"))
    );
    for (request, wanted) in [
        (
            "GET / HTTP/1.1\r\nIf-None-Match: \"x\", \"e\"\r\n",
            "HTTP/1.1 304 ",
        ),
        ("HEAD / HTTP/1.1\r\n", "HTTP/1.1 200 "),
    ] {
        let request = format!("{request}Host: test\r\nConnection: close\r\n\r\n");
        let answer = weir.exchange(request.as_bytes()).await;
        assert!(
            answer.starts_with(wanted) && answer.ends_with("\r\n\r\n"),
            "{answer}"
        );
        assert!(answer.contains("etag: \"e\"\r\n"), "{answer}");
    }
    assert_eq!(origin.asked(), 1);
}

#[tokio::test]
async fn an_unsafe_request_ends_what_is_kept() {
    let origin = numbered("cache-control: max-age=60\r\n").await;
    let weir = cached(origin.address, "cache = true", "").await;
    let mut client = Client::connect(weir.ingress).await;
    assert_eq!(client.get("/item").await.unwrap().text(), "answer 1");
    let posted = client.post("/item", "new").await.unwrap();
    assert!(
        status_of_cache(&posted).contains("fwd=method"),
        "{}",
        posted.head
    );
    assert_eq!(client.get("/item").await.unwrap().text(), "answer 3");
}

#[tokio::test]
async fn rules_by_path_override_the_lifetime_and_pass_by() {
    let origin = numbered("").await;
    let rules = "[routes.cache]\nttl = \"1m\"\n\
                 [[routes.cache.rules]]\npath = \"/never\"\nbypass = true\n\
                 [[routes.cache.rules]]\npath_regex = \".*\\\\.css\"\nttl = \"1d\"\n";
    let weir = cached(origin.address, rules, "").await;
    let mut client = Client::connect(weir.ingress).await;
    for _ in 0..2 {
        assert_eq!(client.get("/page").await.unwrap().text(), "answer 1");
    }
    client.get("/a.css").await.unwrap();
    let styled = client.get("/a.css").await.unwrap();
    assert!(
        status_of_cache(&styled).contains("ttl=86"),
        "{}",
        styled.head
    );
    client.get("/never").await.unwrap();
    let never = client.get("/never").await.unwrap();
    assert!(
        status_of_cache(&never).contains("fwd=bypass; detail=rule"),
        "{}",
        never.head
    );
    assert_eq!(origin.asked(), 4);
}

#[tokio::test]
async fn variants_are_kept_apart_and_shared_by_those_who_ask_alike() {
    let origin = numbered("cache-control: max-age=60\r\nvary: accept-language\r\n").await;
    let weir = cached(origin.address, "cache = true", "").await;
    let mut client = Client::connect(weir.ingress).await;
    let get = |language: &str| {
        format!("GET / HTTP/1.1\r\nHost: test\r\nAccept-Language: {language}\r\n\r\n")
    };
    for (language, wanted) in [
        ("de", "answer 1"),
        ("fr", "answer 2"),
        ("de", "answer 1"),
        ("fr", "answer 2"),
    ] {
        assert_eq!(client.ask(&get(language)).await.unwrap().text(), wanted);
    }
}

#[tokio::test]
async fn what_a_target_and_a_host_name_differently_poisons_nobody() {
    let origin = Origin::start(|mut asked| async move {
        let host = asked.head.lines().find(|line| line.starts_with("host: "));
        let body = host.unwrap_or("none").to_owned();
        asked
            .answer("200 OK", "cache-control: max-age=60\r\n", &body)
            .await;
        asked
    })
    .await;
    let weir = cached(origin.address, "cache = true", "").await;
    let mut client = Client::connect(weir.ingress).await;
    let absolute = "GET http://victim.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n";
    let _ = client.ask(absolute).await;
    let victim = "GET / HTTP/1.1\r\nHost: victim.test\r\n\r\n";
    let mut client = Client::connect(weir.ingress).await;
    assert_eq!(
        client.ask(victim).await.unwrap().text(),
        "host: victim.test"
    );
}

#[tokio::test]
async fn a_date_of_other_letters_is_no_date_and_harms_nobody() {
    let origin =
        numbered("cache-control: max-age=60\r\nlast-modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n")
            .await;
    let weir = cached(origin.address, "cache = true", "").await;
    let mut client = Client::connect(weir.ingress).await;
    client.get("/").await.unwrap();
    let odd = "GET / HTTP/1.1\r\nHost: test\r\nIf-Modified-Since: Sun, 0\u{e9} Nov 1994 08:49:37 GMT\r\n\r\n";
    assert_eq!(client.ask(odd).await.unwrap().status, 200);
}

#[tokio::test]
async fn one_failure_does_not_keep_later_answers_from_being_kept() {
    let origin = Origin::start(|mut asked| async move {
        match asked.number {
            1 => {
                asked
                    .answer("500 Internal Server Error", "", "broken")
                    .await
            }
            _ => {
                asked
                    .answer("200 OK", "cache-control: max-age=60\r\n", "well")
                    .await
            }
        }
        asked
    })
    .await;
    let weir = cached(origin.address, "cache = true", "").await;
    let mut client = Client::connect(weir.ingress).await;
    for (status, asked) in [(500, 1), (200, 2), (200, 2)] {
        assert_eq!(client.get("/").await.unwrap().status, status);
        assert_eq!(origin.asked(), asked);
    }
}

#[tokio::test]
async fn what_is_refreshed_is_kept_though_the_client_beside_whose_answer_it_is_says_no_store() {
    let origin = numbered("cache-control: max-age=0, stale-while-revalidate=60\r\n").await;
    let weir = cached(origin.address, "cache = true", "").await;
    let mut client = Client::connect(weir.ingress).await;
    assert_eq!(client.get("/").await.unwrap().text(), "answer 1");
    let secretive = "GET / HTTP/1.1\r\nHost: test\r\nCache-Control: no-store\r\n\r\n";
    assert_eq!(client.ask(secretive).await.unwrap().text(), "answer 1");
    weir.wait_for_metric("weir_cache_stores_total", |stores| stores >= 2.0)
        .await;
    assert_eq!(client.get("/").await.unwrap().text(), "answer 2");
}

#[tokio::test]
async fn what_depends_on_a_cookie_is_never_made_everybodys_by_a_refresh() {
    let origin = Origin::start(|mut asked| async move {
        let fields = "cache-control: public, max-age=0, stale-while-revalidate=60\r\nvary: cookie\r\n\
                      last-modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
        if asked.head.contains("if-modified-since") {
            asked.say(&format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n")).await;
        } else {
            let whose = if asked.head.contains("alice") { "alice's" } else { "anybody's" };
            asked.answer("200 OK", fields, whose).await;
        }
        asked
    })
    .await;
    let weir = cached(origin.address, "cache = true", "").await;
    let mut client = Client::connect(weir.ingress).await;
    let alice = "GET / HTTP/1.1\r\nHost: test\r\nCookie: sid=alice\r\n\r\n";
    for _ in 0..3 {
        assert_eq!(client.ask(alice).await.unwrap().text(), "alice's");
    }
    for _ in 0..3 {
        assert_eq!(client.get("/").await.unwrap().text(), "anybody's");
    }
}

#[tokio::test]
async fn whoever_asks_after_a_purge_is_not_given_a_fetch_from_before_it() {
    let origin = Origin::start(|mut asked| async move {
        let body = format!("answer {}", asked.number);
        if asked.number == 1 {
            asked.wait().await;
        }
        asked
            .answer("200 OK", "cache-control: max-age=60\r\n", &body)
            .await;
        asked
    })
    .await;
    let weir = cached(origin.address, "cache = true", "").await;
    let mut first = Client::connect(weir.ingress).await;
    let first = tokio::spawn(async move { first.get("/").await.unwrap().text() });
    origin.asked_at_least(1).await;
    let purged = weir.post_api("/api/cache/purge", "{\"all\": true}").await;
    assert_eq!(purged, 200);
    let mut second = Client::connect(weir.ingress).await;
    assert_eq!(second.get("/").await.unwrap().text(), "answer 2");
    origin.release(1);
    assert_eq!(first.await.unwrap(), "answer 1");
    assert_eq!(second.get("/").await.unwrap().text(), "answer 2");
}

#[tokio::test]
async fn answers_that_were_for_one_alone_are_kept_once_they_are_for_all() {
    let origin = Origin::start(|mut asked| async move {
        let fields = match asked.number {
            1..=2 => "cache-control: private\r\n",
            _ => "cache-control: max-age=60\r\n",
        };
        let body = format!("answer {}", asked.number);
        asked.answer("200 OK", fields, &body).await;
        asked
    })
    .await;
    let weir = cached(origin.address, "cache = true", "").await;
    let mut client = Client::connect(weir.ingress).await;
    // The third is the first that is for all, and the fourth is kept.
    for number in [1, 2, 3, 4, 4] {
        let wanted = format!("answer {number}");
        assert_eq!(client.get("/").await.unwrap().text(), wanted);
    }
}

#[tokio::test]
async fn memory_asks_beneath_once_it_has_had_a_copy_for_its_time() {
    let origin = Origin::start(|mut asked| async move {
        let fields = "cache-control: max-age=600\r\netag: \"v1\"\r\n";
        if asked.head.contains("if-none-match: \"v1\"") {
            asked
                .say(&format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n"))
                .await;
        } else {
            asked.answer("200 OK", fields, "kept").await;
        }
        asked
    })
    .await;
    let weir = cached(
        origin.address,
        "cache = true",
        "[cache]\nl1_ttl = \"50ms\"\n",
    )
    .await;
    let mut client = Client::connect(weir.ingress).await;
    let deadline = tokio::time::Instant::now() + crate::common::PATIENCE;
    loop {
        let answer = client.get("/").await.unwrap();
        assert_eq!(answer.text(), "kept");
        if status_of_cache(&answer).contains("fwd-status=304") {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{}", answer.head);
    }
}
