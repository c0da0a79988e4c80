//! Which file answers.

use super::{Stage, config, write_aged};
use crate::common::{PATIENCE, Weir};
use crate::http2::{Http2, head};

#[tokio::test]
async fn a_file_comes_with_its_type_length_and_validators() {
    let stage = Stage::start("cache_control = \"max-age=60\"", |root| {
        write_aged(&root.join("a b.css"), b"body {}", 100);
        std::fs::write(root.join("empty.bin"), "").unwrap();
    })
    .await;
    let got = stage.get("/a%20b.css?v=1").await;
    assert_eq!((got.status, got.body.as_str()), (200, "body {}"));
    assert_eq!(got.header("content-type"), Some("text/css; charset=utf-8"));
    assert_eq!(got.header("content-length"), Some("7"));
    assert_eq!(got.header("accept-ranges"), Some("bytes"));
    assert_eq!(got.header("cache-control"), Some("max-age=60"));
    assert_eq!(got.header("vary"), None);
    assert!(got.header("etag").unwrap().starts_with('"'), "{}", got.head);
    assert!(got.header("last-modified").unwrap().ends_with(" GMT"));
    let empty = stage.get("/empty.bin").await;
    assert_eq!((empty.status, empty.body.as_str()), (200, ""));
    assert_eq!(empty.header("content-length"), Some("0"));
    assert_eq!(
        empty.header("content-type"),
        Some("application/octet-stream")
    );
    let head = stage.ask("HEAD", "/a%20b.css", "").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.header("content-length"), Some("7"));
    assert_eq!(head.header("etag"), got.header("etag"));
    assert_eq!(
        stage
            .weir
            .metric("weir_responses_total{service=\"web\",class=\"2xx\"")
            .await,
        3.0
    );
}

#[tokio::test]
async fn a_directory_is_its_index_once_it_has_its_slash() {
    let stage = Stage::start("index = [\"home.html\", \"index.html\"]", |root| {
        std::fs::create_dir_all(root.join("docs/empty")).unwrap();
        std::fs::write(root.join("index.html"), "top").unwrap();
        std::fs::write(root.join("docs/index.html"), "second").unwrap();
        std::fs::write(root.join("docs/home.html"), "first").unwrap();
    })
    .await;
    assert_eq!(stage.get("/").await.body, "top");
    assert_eq!(stage.get("/docs/").await.body, "first");
    let moved = stage.get("/docs?a=1").await;
    assert_eq!(moved.status, 301);
    assert_eq!(moved.header("location"), Some("./docs/?a=1"));
    let bare = stage.get("/docs/empty/").await;
    assert_eq!((bare.status, bare.reason()), (403, Some("file_forbidden")));
    for path in ["/docs/home.html/", "/nothing/", "/docs/home.html/x"] {
        let got = stage.get(path).await;
        assert_eq!(
            (got.status, got.reason()),
            (404, Some("file_not_found")),
            "{path}"
        );
    }
}

#[tokio::test]
async fn files_are_read_with_get_and_head_only() {
    let stage = Stage::start("", |root| std::fs::write(root.join("a"), "a").unwrap()).await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let got = stage.ask(method, "/a", "Content-Length: 0\r\n").await;
        assert_eq!(
            (got.status, got.reason()),
            (405, Some("method_not_allowed"))
        );
        assert_eq!(got.header("allow"), Some("GET, HEAD"), "{method}");
    }
    assert_eq!(
        stage
            .weir
            .metric("weir_own_answers_total{reason=\"method_not_allowed\"}")
            .await,
        4.0
    );
}

#[tokio::test]
async fn a_fallback_answers_for_what_is_missing_and_for_nothing_else() {
    let stage = Stage::start("fallback = \"app/index.html\"", |root| {
        std::fs::create_dir(root.join("app")).unwrap();
        std::fs::create_dir(root.join("bare")).unwrap();
        std::fs::write(root.join("app/index.html"), "app").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", root.join("out")).unwrap();
    })
    .await;
    for path in ["/", "/users/7", "/app/", "/bare/", "/app/index.html"] {
        let got = stage.get(path).await;
        assert_eq!((got.status, got.body.as_str()), (200, "app"), "{path}");
        assert_eq!(got.header("content-type"), Some("text/html; charset=utf-8"));
    }
    assert_eq!(stage.get("/out").await.status, 403);
    assert_eq!(stage.get("/.env").await.status, 404);
    assert_eq!(stage.ask("POST", "/users/7", "").await.status, 405);
    std::fs::remove_file(stage.path("app/index.html")).unwrap();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while stage.get("/users/7").await.status != 404 {
        assert!(tokio::time::Instant::now() < deadline, "still there");
    }
}

#[tokio::test]
async fn routes_rewrite_what_files_see() {
    let route = "path = \"/static\"\nrewrite = { prefix = \"/\" }";
    let stage = Stage::start_with("", route, |root| {
        std::fs::create_dir(root.join("sub")).unwrap();
        std::fs::write(root.join("a.txt"), "a").unwrap();
    })
    .await;
    assert_eq!(stage.get("/static/a.txt").await.body, "a");
    assert_eq!(stage.get("/a.txt").await.reason(), Some("no_route"));
    // From where the client is, whatever the path was rewritten to.
    let moved = stage.get("/static/sub").await;
    assert_eq!(moved.header("location"), Some("./sub/"));
}

#[tokio::test]
async fn http2_gets_the_same() {
    let stage = Stage::start("", |root| {
        write_aged(&root.join("a.txt"), b"0123456789", 100);
    })
    .await;
    let mut client = Http2::connect(&stage.weir).await;
    let got = client.get(head("GET", "/a.txt", &[])).await.unwrap();
    assert_eq!(
        (got.head.status().as_u16(), &got.body[..]),
        (200, &b"0123456789"[..])
    );
    let ranged = head("GET", "/a.txt", &[("range", "bytes=2-4")]);
    let part = client.get(ranged).await.unwrap();
    assert_eq!(
        (part.head.status().as_u16(), &part.body[..]),
        (206, &b"234"[..])
    );
    let etag = got.header("etag").to_owned();
    let known = head("GET", "/a.txt", &[("if-none-match", &etag)]);
    assert_eq!(client.get(known).await.unwrap().head.status(), 304);
    let bare = client.get(head("HEAD", "/a.txt", &[])).await.unwrap();
    assert_eq!((bare.header("content-length"), bare.body.len()), ("10", 0));
    let missing = client.get(head("GET", "/b", &[])).await.unwrap();
    assert_eq!(missing.header("x-weir-reason"), "file_not_found");
    assert_eq!(missing.header("x-request-id").len(), 32);
}

#[tokio::test]
async fn another_root_holds_for_the_next_request() {
    let stage = Stage::start("", |root| {
        write_aged(&root.join("a"), b"old", 100);
    })
    .await;
    let other = stage.folder.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("a"), "new").unwrap();
    assert_eq!(stage.get("/a").await.body, "old");
    stage.weir.edit(&config(&other, "", ""));
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while stage.get("/a").await.body != "new" {
        assert!(
            tokio::time::Instant::now() < deadline,
            "{}",
            stage.weir.log()
        );
    }
    // A root that is not there is refused, and the one in force stays.
    stage.weir.edit(&config(&stage.path("missing"), "", ""));
    let refusals = "weir_config_refusals_total";
    stage
        .weir
        .wait_for_metric(refusals, |count| count == 1.0)
        .await;
    let log = stage.weir.log();
    assert!(log.contains("services.web.files.root: `"), "{log}");
    assert_eq!(stage.get("/a").await.body, "new");
}

#[tokio::test]
async fn a_service_of_files_is_shown_and_healthy() {
    let stage = Stage::start("", |_| {}).await;
    let root = stage.path("").display().to_string();
    let (code, health) = stage.weir.get_api("/api/health").await.unwrap();
    assert_eq!(code, 200, "{health}");
    let (_, services) = stage.weir.get_api("/api/services").await.unwrap();
    assert!(services.contains("\"policy\":\"files\""), "{services}");
    assert!(services.contains(root.trim_end_matches('/')), "{services}");
}

#[tokio::test]
async fn what_was_just_read_needs_no_disk() {
    let stage = Stage::start("", |_| {}).await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    // A slow machine may take longer than what is known of a file is believed.
    loop {
        write_aged(&stage.path("a"), b"kept", 100);
        let mut client = crate::client::Client::connect(stage.weir.ingress).await;
        assert_eq!(client.get("/a").await.unwrap().status, 200);
        std::fs::remove_file(stage.path("a")).unwrap();
        let again = client.get("/a").await.unwrap();
        if again.text() == "kept" {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{}", again.head);
    }
    while stage.get("/a").await.status != 404 {
        assert!(tokio::time::Instant::now() < deadline, "it stays for ever");
    }
}

#[tokio::test]
async fn a_node_does_not_start_on_a_root_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node.toml");
    std::fs::write(folder.path().join("plain"), "").unwrap();
    for (root, what) in [("missing", "No such file"), ("plain", "is no directory")] {
        let root = folder.path().join(root);
        std::fs::write(&file, config(&root, "", "")).unwrap();
        let checked = std::process::Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(["node", "--check", "--config"])
            .arg(&file)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&checked.stderr);
        let named = format!("services.web.files.root: `{}`", root.display());
        assert_eq!(checked.status.code(), Some(64), "{said}");
        assert!(said.contains(&named) && said.contains(what), "{said}");
    }
}

#[tokio::test]
async fn a_cached_route_keeps_files_and_lets_go_of_them() {
    let folder = tempfile::tempdir().unwrap();
    write_aged(&folder.path().join("a"), b"first", 100);
    let keys = "cache_control = \"max-age=0\"";
    let weir = Weir::start(&config(folder.path(), keys, "cache = true")).await;
    let mut client = crate::client::Client::connect(weir.ingress).await;
    let first = client.get("/a").await.unwrap();
    assert_eq!(first.text(), "first");
    assert!(first.header("cache-status").unwrap().contains("stored"));
    let second = client.get("/a").await.unwrap();
    let status = second.header("cache-status").unwrap();
    assert!(status.contains("fwd-status=304"), "{status}");
    assert_eq!(second.text(), "first");
    std::fs::remove_file(folder.path().join("a")).unwrap();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let gone = client.get("/a").await.unwrap();
        if gone.status == 404 {
            assert_eq!(gone.header("x-weir-reason"), Some("file_not_found"));
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{}", gone.head);
    }
}
