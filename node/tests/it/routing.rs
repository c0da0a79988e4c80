//! Which service a request goes to and how a route changes it.

use std::collections::BTreeMap;

use crate::common::{Weir, web};
use crate::recorder::{Recorder, assert_reason, values};

/// Backends that answer with the name of their service, one service each.
async fn services(names: &[&'static str]) -> String {
    let mut config = String::new();
    for &name in names {
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}",
            name.len()
        );
        let backend = Recorder::answering(move |_| answer.clone()).await;
        config.push_str(&format!(
            "[services.{name}]\nbackends = [\"{}\"]\n",
            backend.address
        ));
    }
    config
}

/// The service that a request goes to; its reason when the node answers itself.
async fn target(weir: &Weir, request: &str) -> String {
    let (line, fields) = request.split_once('\n').unwrap_or((request, "Host: test"));
    let fields = fields.replace('\n', "\r\n");
    let script = format!("{line} HTTP/1.1\r\n{fields}\r\nConnection: close\r\n\r\n");
    let answer = weir.exchange(script.as_bytes()).await;
    match values(&answer, "x-weir-reason").first() {
        Some(reason) => (*reason).to_owned(),
        None => answer.rsplit("\r\n").next().unwrap().to_owned(),
    }
}

#[tokio::test]
async fn a_request_goes_where_host_path_method_and_headers_say() {
    let services = services(&["exact", "prefix", "regex", "host", "wild", "write", "beta"]).await;
    let routes = r#"
[[routes]]
service = "beta"
headers = { x-channel = "beta" }
[[routes]]
service = "write"
path = "/items"
methods = ["POST", "PUT"]
[[routes]]
service = "exact"
path_exact = "/one"
[[routes]]
service = "prefix"
path = "/api"
[[routes]]
service = "regex"
path_regex = "^/users/[0-9]+$"
[[routes]]
service = "host"
host = "shop.test"
[[routes]]
service = "wild"
host = "*.wild.test"
"#;
    let weir = Weir::start(&format!("{services}{routes}")).await;
    for (request, wanted) in [
        ("GET /one", "exact"),
        ("GET /one?q=/two", "exact"),
        ("GET /one/", "no_route"),
        ("GET /api", "prefix"),
        ("GET /api/v1", "prefix"),
        ("GET /apis", "no_route"),
        ("GET /users/42", "regex"),
        ("GET /users/x", "no_route"),
        ("POST /items", "write"),
        ("GET /items", "no_route"),
        ("GET /\nHost: SHOP.test.:8080", "host"),
        ("GET http://shop.test/\nHost: other", "host"),
        ("GET /\nHost: a.wild.test", "wild"),
        ("GET /\nHost: wild.test", "no_route"),
        ("GET /\nHost: test\nX-Channel: beta", "beta"),
        ("GET /\nHost: test\nX-Channel: Beta", "no_route"),
    ] {
        assert_eq!(target(&weir, request).await, wanted, "{request}");
    }
}

#[tokio::test]
async fn no_spelling_of_a_path_dodges_its_route() {
    let services = services(&["admin", "public"]).await;
    let routes = "[[routes]]\nservice = \"admin\"\npath = \"/admin\"\n[[routes]]\nservice = \"public\"\npath = \"/\"\n";
    let weir = Weir::start(&format!("{services}{routes}")).await;
    for path in [
        "/admin",
        "/x/../admin",
        "/./admin/",
        "//admin",
        "/%61dmin",
        "/x/%2e%2e/admin",
        "/%2E/admin",
        "/../admin",
        "/x/..//admin/../admin/y",
    ] {
        assert_eq!(
            target(&weir, &format!("GET {path}")).await,
            "admin",
            "{path}"
        );
    }
    for path in [
        "/admin/../x",
        "/admins",
        "/x?/../admin",
        "/x/..%2fadmin",
        "/x%2F..%2Fadmin",
    ] {
        assert_eq!(
            target(&weir, &format!("GET {path}")).await,
            "public",
            "{path}"
        );
    }
    for path in ["/admin\\x", "/%00admin", "/%zz", "/%0d%0aadmin"] {
        assert_eq!(
            target(&weir, &format!("GET {path}")).await,
            "bad_path",
            "{path}"
        );
    }
}

#[tokio::test]
async fn the_backend_gets_the_path_that_was_routed() {
    let mut backend = Recorder::start().await;
    let weir = Weir::start(&web(&[backend.address], "")).await;
    for (sent, wanted) in [
        ("/a/../b/%7euser?x=/../y", "/b/~user?x=/../y"),
        ("//a//b", "/a/b"),
        ("/a%2fb", "/a%2Fb"),
        ("/?", "/?"),
    ] {
        weir.get(sent).await;
        assert_eq!(
            backend.next().await.line(),
            format!("GET {wanted} HTTP/1.1")
        );
    }
    let answer = weir
        .exchange(b"OPTIONS * HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(backend.next().await.line(), "OPTIONS * HTTP/1.1");
}

#[tokio::test]
async fn a_route_rewrites_path_and_host() {
    let mut backend = Recorder::start().await;
    let config = format!(
        r#"
[services.web]
backends = ["{}"]
[[routes]]
service = "web"
path = "/api"
rewrite = {{ prefix = "/v1", host = "inner.test:99" }}
[[routes]]
service = "web"
path_exact = "/old"
rewrite = {{ path = "/new" }}
[[routes]]
service = "web"
path_regex = "/users/.*"
rewrite = {{ regex = "^/users/(\\d+)", to = "/u/$1" }}
"#,
        backend.address
    );
    let weir = Weir::start(&config).await;
    for (sent, wanted, host) in [
        ("/api/x?q=1", "/v1/x?q=1", "inner.test:99"),
        ("/old?q", "/new?q", "test"),
        ("/users/42/y", "/u/42/y", "test"),
        ("/users/x", "/users/x", "test"),
    ] {
        weir.get(sent).await;
        let seen = backend.next().await;
        assert_eq!(seen.line(), format!("GET {wanted} HTTP/1.1"));
        assert_eq!(
            (seen.value("host"), seen.value("x-forwarded-host")),
            (host, "test")
        );
    }
    // Absolute form: the rewritten host counts as well.
    weir.exchange(b"GET http://test/api HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!(backend.next().await.value("host"), "inner.test:99");
}

#[tokio::test]
async fn a_route_edits_headers_both_ways() {
    let answer = "HTTP/1.1 200 OK\r\nserver: secret\r\nx-a: backend\r\ncontent-length: 0\r\n\r\n";
    let mut backend = Recorder::answering(|_| answer.to_owned()).await;
    let edits = "request_headers = { set = { x-a = \"route\" }, add = { x-b = \"route\" }, remove = [\"x-c\"] }\n\
                 response_headers = { set = { x-a = \"route\" }, remove = [\"server\"] }\n";
    let weir = Weir::start(&format!("{}{edits}", web(&[backend.address], ""))).await;
    let request = "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\nX-A: 1\r\nX-A: 2\r\nX-B: 1\r\nX-C: 1\r\n\r\n";
    let answer = weir.exchange(request.as_bytes()).await;
    assert_eq!(values(&answer, "x-a"), ["route"], "{answer}");
    assert!(values(&answer, "server").is_empty(), "{answer}");
    let seen = backend.next().await;
    assert_eq!(seen.values("x-a"), ["route"]);
    assert_eq!(seen.values("x-b"), ["1", "route"]);
    assert!(seen.values("x-c").is_empty());
}

#[tokio::test]
async fn a_split_follows_its_weights() {
    let services = services(&["most", "few", "none"]).await;
    let routes = "[[routes]]\nsplit = [{ service = \"most\", weight = 9 }, { service = \"few\", weight = 1 }, \
                  { service = \"none\", weight = 0 }]\n";
    let weir = Weir::start(&format!("{services}{routes}")).await;
    let mut counts = BTreeMap::new();
    for _ in 0..400 {
        *counts.entry(target(&weir, "GET /").await).or_insert(0) += 1;
    }
    // 40 are expected to go to the few; 10 and 80 are five standard deviations away and more.
    assert!((10..80).contains(&counts["few"]), "{counts:?}");
    assert_eq!(counts["few"] + counts["most"], 400, "{counts:?}");
}

#[tokio::test]
async fn a_request_without_a_route_is_answered_with_404_and_the_connection_goes_on() {
    let config = "[services.web]\nbackends = [\"127.0.0.1:9\"]\n[[routes]]\nservice = \"web\"\nhost = \"x.test\"\n";
    let weir = Weir::start(config).await;
    let script = "GET / HTTP/1.1\r\nHost: test\r\n\r\nGET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    let answers = weir.exchange(script.as_bytes()).await;
    assert_reason(&answers, 404, "no_route");
    assert_eq!(answers.matches("HTTP/1.1 404").count(), 2, "{answers}");
}
