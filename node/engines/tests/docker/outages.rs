//! Docker does not answer, or is away.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout};
use weir_engines::containers::Containers;
use weir_engines::docker::{Docker, Settings};
use weir_engines::driver::{Driver, Ended, EngineSpec, Error};

use crate::events;
use crate::stage::{GRACE, Stage, eventually};

const LIMIT: Duration = Duration::from_millis(300);

fn impatient(socket: &Path, owner: &str) -> Docker {
    Docker::new(Settings {
        answer_limit: LIMIT,
        ..Stage::settings(socket.into(), owner)
    })
}

/// Every call that there is, and what it must end with.
async fn each_call(driver: &Docker, spec: EngineSpec, check: impl Fn(&'static str, Error)) {
    let name = spec.name.clone();
    check("start", driver.start(spec).await.unwrap_err());
    check(
        "stop",
        driver.stop(&name, 1, Duration::ZERO).await.unwrap_err(),
    );
    check("list", driver.list().await.unwrap_err());
    check("logs", driver.logs(&name, 1).await.unwrap_err());
    check("look", driver.look(&name).await.unwrap_err());
    check(
        "restart",
        driver.restart(&name, Duration::ZERO).await.unwrap_err(),
    );
    check(
        "image_digest",
        driver.image_digest("image").await.unwrap_err(),
    );
    check("drift", driver.drift(&name).await.unwrap_err());
}

#[tokio::test]
async fn a_docker_that_accepts_and_never_answers_holds_no_call() {
    let stage = Stage::new("hangs");
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let holding = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    let driver = impatient(&socket, "hangs");
    let begun = Instant::now();
    let calls = each_call(&driver, stage.spec("a", 1), |call, error| {
        assert!(
            matches!(error, Error::Late { limit: LIMIT, .. }),
            "{call}: {error:?}"
        );
    });
    calls.await;
    assert!(begun.elapsed() < 20 * LIMIT, "{:?}", begun.elapsed());

    // Shorter than the limit of one call: the start has its own.
    let spec = EngineSpec {
        start_timeout: LIMIT / 3,
        ..stage.spec("a", 1)
    };
    let error = driver.start(spec).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Late {
                operation: "starting a container",
                ..
            }
        ),
        "{error:?}"
    );
    holding.abort();
}

/// Passes everything on to a Docker, until it is dropped with all connections.
struct Passage {
    socket: PathBuf,
    passing: JoinHandle<()>,
}

impl Passage {
    fn open(socket: &Path, to: &Path) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let to = to.to_owned();
        let passing = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let to = to.clone();
                connections.spawn(async move {
                    let mut far = UnixStream::connect(to).await?;
                    tokio::io::copy_bidirectional(&mut near, &mut far).await
                });
            }
        });
        Self {
            socket: socket.to_owned(),
            passing,
        }
    }

    async fn close(self) {
        std::fs::remove_file(&self.socket).unwrap();
        self.passing.abort();
        let _ = self.passing.await;
    }
}

#[tokio::test]
async fn a_docker_that_is_away_is_unreachable_and_back_when_it_is_back() {
    let stage = Stage::new("away");
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    let driver = Docker::new(Stage::settings(socket.clone(), &stage.owner));
    let is_away = |call: &'static str, error: Error| {
        let Error::Unreachable { source, .. } = &error else {
            panic!("{call}: {error:?}");
        };
        let kind = source.kind();
        let away = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
        assert!(away.contains(&kind), "{call}: {error:?}");
    };
    each_call(&driver, stage.spec("a", 1), is_away).await;

    let passage = Passage::open(&socket, stage.docker.socket());
    let started = driver.start(stage.spec("a", 1)).await.unwrap();
    let mut ends = events::following(&stage, &driver).await;
    passage.close().await;
    each_call(&driver, stage.spec("b", 1), is_away).await;
    // What ends now is told by nobody, and found by who lists.
    stage.driver.stop(&started.name, 1, GRACE).await.unwrap();

    let passage = Passage::open(&socket, stage.docker.socket());
    assert_eq!(driver.list().await.unwrap(), []);
    let told = eventually("ends are told again", async || {
        driver.start(stage.broken("c", 1, 4)).await.unwrap_err();
        timeout(Duration::from_millis(500), ends.next()).await.ok()
    });
    let expected = Ended {
        name: stage.name("c"),
        fence: 1,
        code: Some(4),
    };
    assert_eq!(told.await, Some(expected));
    passage.close().await;
}
