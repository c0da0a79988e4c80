//! Nothing outside of the root is served, and nothing that is no plain file.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::Stage;

/// A root with a secret beside it and everything that might lead there.
async fn stage(keys: &str) -> Stage {
    Stage::start(keys, |root| {
        std::fs::write(root.parent().unwrap().join("secret"), "secret").unwrap();
        std::fs::create_dir_all(root.join("sub/.git")).unwrap();
        std::fs::create_dir(root.join(".well-known")).unwrap();
        for name in ["plain", ".env", "sub/.git/config", ".well-known/acme"] {
            std::fs::write(root.join(name), "shown").unwrap();
        }
        symlink("../secret", root.join("relative")).unwrap();
        symlink(root.parent().unwrap().join("secret"), root.join("absolute")).unwrap();
        symlink("..", root.join("up")).unwrap();
        symlink("/", root.join("slash")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        symlink("../sub/../plain", root.join("sub/within")).unwrap();
    })
    .await
}

#[tokio::test]
async fn links_are_followed_only_within_the_root() {
    let stage = stage("").await;
    for path in [
        "/relative",
        "/absolute",
        "/up/secret",
        "/up",
        "/up/",
        "/loop",
    ] {
        let got = stage.get(path).await;
        assert_eq!(
            (got.status, got.reason()),
            (403, Some("file_forbidden")),
            "{path}"
        );
    }
    let passwd = stage.get("/slash/etc/passwd").await;
    assert_eq!(passwd.reason(), Some("file_forbidden"));
    assert_eq!(stage.get("/sub/within").await.body, "shown");
}

#[tokio::test]
async fn no_spelling_climbs_out_of_the_root() {
    let stage = stage("dot_files = true").await;
    for path in [
        "/../secret",
        "/sub/../../secret",
        "/%2e%2e/secret",
        "/.%2e/secret",
        "/sub/%2e%2e/%2e%2e/secret",
        "/..%2fsecret",
        "/%2e%2e%2fsecret",
        "/sub%2f..%2f..%2fsecret",
        "/..%5csecret",
        "/..\\secret",
        "/%252e%252e%252fsecret",
        "/%c0%ae%c0%ae/secret",
        "/plain%00.png",
        "/sub/..;/secret",
        "//../secret",
    ] {
        let got = stage.get(path).await;
        assert!(matches!(got.status, 400 | 404), "{path}: {}", got.head);
        assert!(got.reason().is_some(), "{path}: {}", got.head);
    }
}

#[tokio::test]
async fn hidden_files_are_served_only_if_asked_for() {
    let stage = stage("").await;
    for path in ["/.env", "/sub/.git/config", "/sub/.git/", "/%2eenv"] {
        let got = stage.get(path).await;
        assert_eq!(
            (got.status, got.reason()),
            (404, Some("file_not_found")),
            "{path}"
        );
    }
    assert_eq!(stage.get("/.well-known/acme").await.body, "shown");
    let open = self::stage("dot_files = true").await;
    assert_eq!(open.get("/.env").await.body, "shown");
    assert_eq!(open.get("/sub/.git/config").await.body, "shown");
}

#[tokio::test]
async fn what_is_no_plain_file_is_refused_and_waits_for_nobody() {
    let stage = Stage::start("", |root| {
        mknodat(CWD, root.join("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        std::fs::write(root.join("page.html"), "page").unwrap();
        mknodat(
            CWD,
            root.join("page.html.br"),
            FileType::Fifo,
            Mode::RWXU,
            0,
        )
        .unwrap();
    })
    .await;
    let _socket = UnixListener::bind(stage.path("socket")).unwrap();
    for path in ["/fifo", "/socket"] {
        let got = stage.get(path).await;
        assert_eq!((got.status, got.reason()), (403, Some("file_forbidden")));
    }
    let got = stage
        .ask("GET", "/page.html", "Accept-Encoding: br\r\n")
        .await;
    assert_eq!(got.body, "page");
}

#[tokio::test]
async fn a_file_that_the_node_may_not_read_is_forbidden() {
    // The superuser reads everything.
    if rustix::process::geteuid().is_root() {
        return;
    }
    let stage = stage("").await;
    let closed = std::fs::Permissions::from_mode(0o000);
    std::fs::set_permissions(stage.path("plain"), closed).unwrap();
    assert_eq!(stage.get("/plain").await.reason(), Some("file_forbidden"));
}
