//! Owners of keys that die, are cut off, or say what is not so.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use http::{Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use weir_core::cache::{Key, Target};
use weir_core::proxy::Scheme;
use weir_core::purge::key_id;

use super::origin::Origin;
use super::peers::know_each_other;
use crate::client::{Answer, Broken, Client};
use crate::common::{PATIENCE, scripted_backend};
use crate::control_plane::Node;
use crate::control_plane::plane::ControlPlane;

const NAMES: [&str; 2] = ["node-a", "node-b"];
const NAMESPACE: &str = "shop";
const WHOLE: &str = "from the owner";
const FROM_ORIGIN: &str = "from the origin";

fn key(path: &str) -> Key {
    let target = Target {
        namespace: NAMESPACE,
        scheme: Scheme::Http,
        authority: "test",
        path_and_query: path,
    };
    Key::of(&target).unwrap()
}

/// A path below this one whose key the second node owns.
fn path_of_the_other(below: &str) -> String {
    let mut paths = (0..).map(|number| format!("/{below}/{number}"));
    let is_other = |path: &String| {
        weir_core::vpn::owner(key(path).as_str(), &NAMES).is_some_and(|owner| *owner == NAMES[1])
    };
    paths.find(is_other).unwrap()
}

/// How often a path was asked for.
type Asked = Arc<Mutex<HashMap<String, usize>>>;

/// Stands where the second node says that its ingress is. What it does the first time is the path's first part; from
/// the second time on it answers as an honest owner.
async fn bad_owner() -> (SocketAddr, Asked) {
    let asked = Asked::default();
    let seen = Arc::clone(&asked);
    let address = scripted_backend(move |stream| {
        let seen = Arc::clone(&seen);
        async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((request, respond))) = connection.accept().await {
                let path = request.uri().path().to_owned();
                let times = {
                    let mut seen = seen.lock().await;
                    let times = seen.entry(path).or_default();
                    *times += 1;
                    *times
                };
                if !act(&request, times, respond) {
                    // What was said is on its way before the connection goes.
                    let _ = timeout(SAID_BY, connection.accept()).await;
                    return;
                }
            }
        }
    })
    .await;
    (address, asked)
}

const SAID_BY: std::time::Duration = std::time::Duration::from_millis(50);
/// Of what never ends, and between two of them.
const PIECE_BYTES: usize = 2_048;
const PIECE_INTERVAL: std::time::Duration = std::time::Duration::from_millis(5);
/// Of what is kept, at most.
const KEPT_BYTES_MAX: usize = 4_096;

fn head(does: &str, path: &str) -> Response<()> {
    let key = match does {
        "other" => key("/another"),
        _ => key(path),
    };
    let head = Response::builder()
        .header("cache-control", "max-age=600")
        .header("cache-status", "node-b; hit");
    let head = match does {
        "endless" => head,
        _ => head.header("content-length", WHOLE.len()),
    };
    let head = match does {
        "nameless" => head,
        _ => head.header(
            "x-weir-cache-key",
            format!("{:016x}", key_id(NAMESPACE, key.as_str())),
        ),
    };
    head.body(()).unwrap()
}

/// Whether the connection lives on.
fn act<B>(
    request: &Request<B>,
    times: usize,
    mut respond: h2::server::SendResponse<Bytes>,
) -> bool {
    let path = request.uri().path();
    let does = match (path.split('/').nth(1).unwrap(), times) {
        ("ever-cut", _) => "cut",
        ("ever-endless", _) => "endless",
        (does, 1) => does,
        _ => "honest",
    };
    if does == "reset" {
        respond.send_reset(h2::Reason::INTERNAL_ERROR);
        return true;
    }
    if does == "gone" {
        return false;
    }
    let mut body = respond.send_response(head(does, path), false).unwrap();
    let half = Bytes::from_static(&WHOLE.as_bytes()[..5]);
    match does {
        "short" => body.send_data(half, true).unwrap(),
        "short-in-two" => {
            body.send_data(half.clone(), false).unwrap();
            body.send_data(half, true).unwrap();
        }
        "long" => {
            let long = [WHOLE.as_bytes(), &half].concat();
            body.send_data(Bytes::from(long), true).unwrap();
        }
        "cut" | "headless" => {
            if does == "cut" {
                body.send_data(half, false).unwrap();
            }
            tokio::spawn(async move {
                tokio::time::sleep(SAID_BY).await;
                body.send_reset(h2::Reason::INTERNAL_ERROR);
            });
        }
        "endless" => {
            tokio::spawn(async move {
                while let Ok(()) = body.send_data(Bytes::from(vec![b'x'; PIECE_BYTES]), false) {
                    tokio::time::sleep(PIECE_INTERVAL).await;
                }
            });
        }
        "hangs-up" => {
            body.send_data(half, false).unwrap();
            std::mem::forget(body);
            return false;
        }
        _ => body
            .send_data(Bytes::from_static(WHOLE.as_bytes()), true)
            .unwrap(),
    }
    true
}

/// A node that takes another one for the owner of keys, which is somebody else.
struct Stage {
    _plane: ControlPlane,
    nodes: Vec<Node>,
    origin: Origin,
    asked: Asked,
}

impl Stage {
    async fn start() -> Self {
        let origin = Origin::start(|mut asked| async move {
            asked
                .answer("200 OK", "cache-control: max-age=600\r\n", FROM_ORIGIN)
                .await;
            asked
        })
        .await;
        let (owner, asked) = bad_owner().await;
        let plane = ControlPlane::start().await;
        let keys = format!("endpoints = [\"{}\"]\n", plane.address);
        let config = config(&origin);
        let elsewhere = format!("advertise = [\"{owner}\"]\n");
        let nodes = NAMES.into_iter().zip(["", &elsewhere]);
        let nodes = nodes.map(|(id, ingress)| Node::start_with(id, ingress, &keys, &config));
        let nodes = join_all(nodes).await;
        let stage = Self {
            _plane: plane,
            nodes,
            origin,
            asked,
        };
        let deadline = Instant::now() + PATIENCE;
        for number in 0.. {
            stage.get(&format!("/honest/{number}")).await.unwrap();
            if !stage.asked.lock().await.is_empty() {
                return stage;
            }
            assert!(Instant::now() < deadline, "nobody asks the owner");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        unreachable!()
    }

    async fn get(&self, path: &str) -> Result<Answer, Broken> {
        Client::connect(self.nodes[0].ingress).await.get(path).await
    }

    async fn times(&self, path: &str) -> usize {
        self.asked
            .lock()
            .await
            .get(path)
            .copied()
            .unwrap_or_default()
    }
}

fn config(origin: &Origin) -> String {
    format!(
        "[services.web]\nbackends = [\"{}\"]\n[[routes]]\nname = \"{NAMESPACE}\"\nservice = \"web\"\n\
         cache = {{ body_bytes_max = \"{KEPT_BYTES_MAX}B\" }}\n",
        origin.address
    )
}

#[tokio::test]
async fn an_owner_that_dies_before_its_body_begins_or_says_what_is_not_so_costs_nobody_an_answer() {
    let stage = Stage::start().await;
    for does in [
        "reset",
        "gone",
        "other",
        "headless",
        "short",
        "short-in-two",
        "nameless",
        "long",
    ] {
        let path = path_of_the_other(does);
        let before = stage.origin.asked();
        let answer = stage.get(&path).await.unwrap();
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, FROM_ORIGIN),
            "{does}"
        );
        assert_eq!(
            (stage.times(&path).await, stage.origin.asked()),
            (1, before + 1),
            "{does}"
        );
        // What the origin said is kept, and what the owner said is not.
        assert_eq!(
            stage.get(&path).await.unwrap().text(),
            FROM_ORIGIN,
            "{does}"
        );
        assert_eq!(
            (stage.times(&path).await, stage.origin.asked()),
            (1, before + 1),
            "{does}"
        );
    }
}

#[tokio::test]
async fn what_breaks_off_at_its_owner_is_cut_for_its_readers_and_kept_for_nobody() {
    let stage = Stage::start().await;
    let before = stage.origin.asked();
    for does in ["cut", "hangs-up"] {
        let path = path_of_the_other(does);
        let cut = stage.get(&path).await;
        assert!(matches!(&cut, Err(Broken::Cut(_))), "{does}: {cut:?}");
        let whole = stage.get(&path).await.unwrap();
        assert_eq!(
            (whole.status, whole.text().as_str()),
            (200, WHOLE),
            "{does}"
        );
        assert_eq!(stage.times(&path).await, 2, "{does}");
        let kept = stage.get(&path).await.unwrap();
        assert_eq!(kept.text(), WHOLE, "{does}");
        assert_eq!(stage.times(&path).await, 2, "{does}");
    }
    assert_eq!(stage.origin.asked(), before);
}

#[tokio::test]
async fn an_owner_that_always_breaks_off_is_not_asked_again_and_again() {
    let stage = Stage::start().await;
    let path = path_of_the_other("ever-cut");
    for _ in 0..2 {
        let cut = stage.get(&path).await;
        assert!(matches!(&cut, Err(Broken::Cut(_))), "{cut:?}");
    }
    let before = stage.origin.asked();
    for _ in 0..3 {
        let answer = stage.get(&path).await.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, FROM_ORIGIN));
    }
    assert_eq!(stage.times(&path).await, 2);
    assert_eq!(stage.origin.asked(), before + 1, "then it is kept");
    // Its other keys are as good as before.
    let other = path_of_the_other("honest-still");
    assert_eq!(stage.get(&other).await.unwrap().text(), WHOLE);
    for (reason, times) in [("broke_off", 2.0), ("let_alone", 1.0)] {
        let name = format!("weir_cache_peers_failed_total{{reason=\"{reason}\"}}");
        assert_eq!(stage.nodes[0].weir.metric(&name).await, times, "{name}");
    }
}

#[tokio::test]
async fn an_owner_is_not_blamed_for_what_nobody_reads_to_its_end() {
    let stage = Stage::start().await;
    let node = &stage.nodes[0].weir;
    let path = path_of_the_other("ever-endless");
    let mut client = node.connect().await;
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    // By then it is too long to be kept, and only passed on.
    let mut begun = vec![0; 2 * KEPT_BYTES_MAX];
    let read = client.read_exact(&mut begun);
    timeout(PATIENCE, read)
        .await
        .expect("it is passed on")
        .unwrap();
    drop(client);
    node.wait_for_metric("weir_cache_fills_broken_total", |broken| broken >= 1.0)
        .await;
    assert_eq!(stage.times(&path).await, 1);
    let blamed = "weir_cache_peers_failed_total{reason=\"broke_off\"}";
    assert_eq!(node.metric(blamed).await, 0.0, "it is blamed");
}

#[tokio::test]
async fn an_owner_that_is_killed_in_mid_body_cuts_its_readers_and_the_next_request_is_answered_whole()
 {
    let origin = Origin::start(|mut asked| async move {
        if !asked.head.contains("/half/") || asked.head.contains("/half/probe") {
            asked
                .answer("200 OK", "cache-control: max-age=600\r\n", "here")
                .await;
            return asked;
        }
        let (begin, rest) = WHOLE.split_at(5);
        let head = "HTTP/1.1 200 OK\r\ncache-control: max-age=600\r\n";
        asked
            .say(&format!(
                "{head}content-length: {}\r\n\r\n{begin}",
                WHOLE.len()
            ))
            .await;
        asked.wait().await;
        asked.say(rest).await;
        asked
    })
    .await;
    let plane = ControlPlane::start().await;
    let keys = format!("endpoints = [\"{}\"]\n", plane.address);
    let config = config(&origin);
    let nodes = NAMES.map(|id| Node::start_as(id, &keys, &config));
    let mut nodes = join_all(nodes).await;
    know_each_other(&nodes).await;
    let (path, before) = (path_of_the_other("half"), origin.asked());
    let ingress = nodes[0].ingress;
    let reading = tokio::spawn({
        let path = path.clone();
        async move {
            let mut client = Client::connect(ingress).await;
            client.get(&path).await
        }
    });
    origin.asked_at_least(before + 1).await;
    // The first half comes all the way, or nothing does: a reader is cut or gets everything from elsewhere.
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    nodes[1].crash().await;
    let read = reading.await.unwrap();
    assert!(matches!(&read, Err(Broken::Cut(_))), "{read:?}");
    origin.release(2);
    let mut client = Client::connect(ingress).await;
    for _ in 0..2 {
        let answer = client.get(&path).await.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, WHOLE));
    }
    assert_eq!(origin.asked(), before + 2);
}
