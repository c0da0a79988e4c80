//! Whose a name is.

use std::time::Duration;

use futures::future::join;
use tokio::time::timeout;
use weir_engines::docker::Docker;
use weir_engines::driver::{Driver, Error, State};

use crate::stage::{GRACE, Stage};

#[tokio::test]
async fn a_start_with_the_same_fence_takes_what_runs() {
    let stage = Stage::new("adopt");
    let started = stage.driver.start(stage.spec("a", 4)).await.unwrap();
    let again = stage.another().start(stage.spec("a", 4)).await.unwrap();
    assert_eq!(again, started);
}

#[tokio::test]
async fn two_starts_at_a_time_make_one_engine() {
    let stage = Stage::new("both");
    let other = stage.another();
    let both = join(
        stage.driver.start(stage.spec("a", 4)),
        other.start(stage.spec("a", 4)),
    );
    let (one, two) = both.await;
    assert_eq!(one.unwrap(), two.unwrap());
    assert_eq!(stage.leftovers().len(), 1);
}

#[tokio::test]
async fn a_higher_fence_replaces_and_a_lower_one_is_told_who_is_there() {
    let stage = Stage::new("fence");
    let old = stage.driver.start(stage.spec("a", 4)).await.unwrap();
    let new = stage.driver.start(stage.spec("a", 5)).await.unwrap();
    assert_ne!(new.container_id, old.container_id);
    assert_eq!(stage.only().await, new);

    let late = stage.driver.start(stage.spec("a", 4)).await.unwrap_err();
    assert!(
        matches!(
            late,
            Error::Fenced {
                ours: 4,
                theirs: 5,
                ..
            }
        ),
        "{late:?}"
    );
    let late = stage.driver.stop(&new.name, 4, GRACE).await.unwrap_err();
    assert!(
        matches!(
            late,
            Error::Fenced {
                ours: 4,
                theirs: 5,
                ..
            }
        ),
        "{late:?}"
    );
    assert_eq!(stage.only().await, new);
}

#[tokio::test]
async fn what_ended_is_made_anew_even_with_the_same_fence() {
    let stage = Stage::new("anew");
    let old = stage.driver.start(stage.spec("a", 4)).await.unwrap();
    stage.ask(
        "POST",
        &format!("/containers/{}/kill", old.name),
        &serde_json::Value::Null,
    );
    let new = stage.driver.start(stage.spec("a", 4)).await.unwrap();
    assert_ne!(new.container_id, old.container_id);
    assert_eq!(stage.only().await, new);
}

#[tokio::test]
async fn what_somebody_else_has_under_the_name_is_left_alone() {
    let stage = Stage::new("taken");
    let id = stage.foreign("a", &serde_json::json!({}));
    let taken = stage.driver.start(stage.spec("a", 9)).await.unwrap_err();
    assert!(
        matches!(&taken, Error::NameTaken(name) if *name == stage.name("a")),
        "{taken:?}"
    );
    stage.driver.stop(&stage.name("a"), 9, GRACE).await.unwrap();
    assert_eq!(stage.inspect(&id)["State"]["Running"], true);
    assert_eq!(stage.driver.list().await.unwrap(), []);

    // Another Weir on the same Docker is somebody else too.
    let other = Docker::new(Stage::settings(
        stage.docker.socket().into(),
        &stage.name("other"),
    ));
    let theirs = other.start(stage.spec("b", 1)).await.unwrap();
    let taken = stage.driver.start(stage.spec("b", 9)).await.unwrap_err();
    assert!(matches!(taken, Error::NameTaken(_)), "{taken:?}");
    assert_eq!(stage.driver.list().await.unwrap(), []);
    other.stop(&theirs.name, 1, Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn what_a_killed_node_left_is_found_and_taken_by_the_next_one() {
    let stage = Stage::new("killed");
    let whole = stage.driver.start(stage.spec("whole", 2)).await.unwrap();
    // Whatever it was about to do after so many milliseconds, it does no more; settling takes longer than all of them.
    let cuts = [2, 10, 30, 60, 120, 200];
    for ms in cuts {
        let started = stage.driver.start(stage.spec(&ms.to_string(), 3));
        assert!(timeout(Duration::from_millis(ms), started).await.is_err());
    }

    let next = stage.another();
    let found = next.list().await.unwrap();
    assert!(found.contains(&whole), "{found:?}");
    assert_eq!(next.start(stage.spec("whole", 2)).await.unwrap(), whole);
    for ms in cuts {
        let taken = next.start(stage.spec(&ms.to_string(), 3)).await.unwrap();
        assert_eq!(taken.state, State::Running);
    }
    let all = next.list().await.unwrap();
    assert!(
        all.iter().all(|engine| engine.state == State::Running),
        "{all:?}"
    );
    assert_eq!(
        (all.len(), stage.leftovers().len()),
        (cuts.len() + 1, cuts.len() + 1)
    );
}

#[tokio::test]
async fn one_that_was_made_and_never_started_is_found_and_started() {
    let stage = Stage::new("made");
    let labels =
        serde_json::json!({ "weir.engine": "1", "weir.owner": stage.owner, "weir.fence": "3" });
    let body = serde_json::json!({
        "Image": stage.image, "Cmd": ["--http-port=0"], "Labels": labels, "HostConfig": { "NetworkMode": "none" },
    });
    let created = stage.ask(
        "POST",
        &format!("/containers/create?name={}", stage.name("a")),
        &body,
    );
    assert_eq!(stage.only().await.state, State::Starting);
    let started = stage.driver.start(stage.spec("a", 3)).await.unwrap();
    assert_eq!(started.container_id.as_deref(), created["Id"].as_str());
    assert_eq!(started.state, State::Running);
}
