//! Ends as they are told.

use std::time::Duration;

use futures::StreamExt;
use tokio::time::timeout;
use weir_engines::docker::Docker;
use weir_engines::driver::{Driver, Ended, EngineSpec};

use crate::stage::{GRACE, Stage, eventually};

/// Follows before anything ends, which only an end can show.
pub(crate) async fn following(
    stage: &Stage,
    driver: &Docker,
) -> futures::stream::BoxStream<'static, Ended> {
    let mut ends = driver.ends();
    let name = stage.name("first");
    eventually("ends are told", async || {
        let _ = stage.driver.start(stage.broken("first", 1, 0)).await;
        timeout(Duration::from_millis(500), ends.next()).await.ok()
    })
    .await;
    // More than one may have ended before it was told.
    while let Ok(Some(ended)) = timeout(Duration::from_millis(300), ends.next()).await {
        assert_eq!(ended.name, name);
    }
    ends
}

pub(crate) async fn next(ends: &mut futures::stream::BoxStream<'static, Ended>) -> Ended {
    timeout(Duration::from_secs(20), ends.next())
        .await
        .unwrap()
        .unwrap()
}

#[tokio::test]
async fn ends_are_told_with_fence_and_code_and_only_ones_own() {
    let stage = Stage::new("ends");
    let mut ends = following(&stage, &stage.driver).await;
    let other = Docker::new(Stage::settings(
        stage.docker.socket().into(),
        &stage.name("other"),
    ));
    other.start(stage.broken("other", 1, 9)).await.unwrap_err();

    let later = EngineSpec {
        command: ["--fake-exit-at-once=5", "--fake-exit-after-ms=600"]
            .map(str::to_owned)
            .into(),
        ..stage.spec("a", 8)
    };
    stage.driver.start(later.clone()).await.unwrap();
    let expected = Ended {
        name: later.name,
        fence: 8,
        code: Some(5),
    };
    assert_eq!(next(&mut ends).await, expected);

    let stopped = stage.driver.start(stage.spec("b", 2)).await.unwrap();
    stage.driver.stop(&stopped.name, 2, GRACE).await.unwrap();
    // The signal is passed on and told as the process died of it.
    let expected = Ended {
        name: stopped.name,
        fence: 2,
        code: Some(143),
    };
    assert_eq!(next(&mut ends).await, expected);
}
