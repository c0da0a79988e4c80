//! From start to removal.

use std::process::Command;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::Instant;
use weir_engines::containers::Containers;
use weir_engines::docker::Drift;
use weir_engines::driver::{Driver, EngineSpec, Error, Protocol, PublishedPort, State};

use crate::stage::{GRACE, Stage, eventually};

#[tokio::test]
async fn an_engine_is_told_as_it_was_started_until_it_is_stopped() {
    let stage = Stage::new("life");
    let spec = stage.spec("a", 7);
    let started = stage.driver.start(spec.clone()).await.unwrap();
    assert_eq!(
        (&started.name, started.fence, started.state),
        (&spec.name, 7, State::Running)
    );
    assert_eq!(started.labels, spec.labels);
    assert!(started.pid.is_some() && started.started_unix_ms > 1_700_000_000_000);
    assert_eq!(
        started.image_digest,
        stage.driver.image_digest(&stage.image).await.unwrap()
    );
    assert_eq!(stage.only().await, started);

    stage.driver.stop(&spec.name, 7, GRACE).await.unwrap();
    assert_eq!(stage.driver.list().await.unwrap(), []);
    assert_eq!(stage.leftovers(), [""; 0]);
    stage.driver.stop(&spec.name, 7, GRACE).await.unwrap();
}

#[tokio::test]
async fn an_engine_that_ends_at_once_is_told_with_its_code_and_last_words_and_leaves_nothing() {
    let stage = Stage::new("atonce");
    let error = stage
        .driver
        .start(stage.broken("a", 1, 3))
        .await
        .unwrap_err();
    let Error::EndedAtOnce { code, last_line } = error else {
        panic!("{error}");
    };
    assert_eq!((code, last_line.as_str()), (3, "ending with 3 as told"));
    assert_eq!(stage.leftovers(), [""; 0]);
}

#[tokio::test]
async fn an_image_or_a_program_that_is_missing_is_told_by_name() {
    let stage = Stage::new("missing");
    let image = "weir-test/nobody-has-this:1".to_owned();
    let spec = EngineSpec {
        image: image.clone(),
        ..stage.spec("a", 1)
    };
    let error = stage.driver.start(spec).await.unwrap_err();
    assert!(
        matches!(&error, Error::NoImage(told) if *told == image),
        "{error}"
    );

    stage
        .docker
        .import(
            &stage.name("empty:1"),
            "not-a-program",
            b"",
            &["ENTRYPOINT []"],
        )
        .unwrap();
    let spec = EngineSpec {
        image: stage.name("empty:1"),
        command: vec!["/no/such/program".to_owned()],
        ..stage.spec("b", 1)
    };
    let error = stage.driver.start(spec).await.unwrap_err();
    assert!(
        matches!(&error, Error::Missing { what: "program", name } if name == "/no/such/program"),
        "{error:?}"
    );
    assert_eq!(stage.leftovers(), [""; 0]);
}

#[tokio::test]
async fn what_would_be_misread_is_refused_by_field_and_value() {
    let stage = Stage::new("names");
    let is = |error: &Error, wanted: &str, given: &str| match error {
        Error::Invalid { field, value, .. } => *field == wanted && value == given,
        _ => false,
    };
    for name in ["", "a", "../images/x", "a b", "-ab", "ab?x=1", "ü-ü"] {
        let spec = EngineSpec {
            name: name.to_owned(),
            ..stage.spec("a", 1)
        };
        let error = stage.driver.start(spec).await.unwrap_err();
        assert!(is(&error, "name", name), "{name}: {error}");
        assert!(stage.driver.stop(name, 1, GRACE).await.is_err(), "{name}");
        assert!(stage.driver.logs(name, 1).await.is_err(), "{name}");
        assert!(stage.driver.look(name).await.is_err(), "{name}");
    }
    let port = PublishedPort {
        container: 80,
        host: 80,
        address: None,
        protocol: Protocol::Tcp,
    };
    let wrong = [
        (
            "image",
            "../x?a",
            EngineSpec {
                image: "../x?a".to_owned(),
                ..stage.spec("a", 1)
            },
        ),
        (
            "env",
            "A=B",
            EngineSpec {
                env: [("A=B".to_owned(), String::new())].into(),
                ..stage.spec("a", 1)
            },
        ),
        (
            "published",
            "80",
            EngineSpec {
                published: vec![port],
                ..stage.spec("a", 1)
            },
        ),
    ];
    for (field, value, spec) in wrong {
        let error = stage.driver.start(spec).await.unwrap_err();
        assert!(is(&error, field, value), "{field}: {error}");
    }
}

#[tokio::test]
async fn the_last_lines_are_told_while_it_runs_and_after_it_ended() {
    let stage = Stage::new("logs");
    let spec = EngineSpec {
        command: ["--http-port=0", "--fake-visit=127.0.0.1:1/x"]
            .map(str::to_owned)
            .into(),
        ..stage.spec("a", 1)
    };
    stage.driver.start(spec.clone()).await.unwrap();
    let lines = eventually("it visited nobody", async || {
        let lines = stage.driver.logs(&spec.name, 10).await.unwrap();
        (lines.len() == 2).then_some(lines)
    });
    let lines = lines.await;
    assert!(lines[0].starts_with("listening on 127.0.0.1:"), "{lines:?}");
    assert_eq!(lines[1], "visited 127.0.0.1:1/x: nobody there");
    assert_eq!(stage.driver.logs(&spec.name, 1).await.unwrap(), lines[1..]);

    stage.ask(
        "POST",
        &format!("/containers/{}/kill", spec.name),
        &serde_json::Value::Null,
    );
    eventually("it has ended", async || {
        (stage.only().await.state == State::Ended(137)).then_some(())
    })
    .await;
    assert_eq!(stage.driver.logs(&spec.name, 1).await.unwrap(), lines[1..]);
    let nobody = stage.driver.logs(&stage.name("b"), 1).await;
    assert!(matches!(nobody, Err(Error::Unknown(_))), "{nobody:?}");
}

/// The process of an engine as this machine sees it, by what only it was started with.
fn process_of(mark: &str) -> Option<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().into_string().ok());
    pids.find(|pid| {
        let read = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&read);
        command.starts_with("/fake-engine\0") && command.contains(mark)
    })
}

#[tokio::test]
async fn an_engine_that_ends_when_asked_does_not_use_up_its_grace_and_another_is_ended_after_it() {
    let stage = Stage::new("grace");
    let marked = |of: &str| EngineSpec {
        command: vec![
            "--http-port=0".to_owned(),
            format!("--mark={}", stage.name(of)),
        ],
        ..stage.spec(of, 1)
    };
    let (polite, stuck) = (marked("polite"), marked("stuck"));
    for spec in [&polite, &stuck] {
        stage.driver.start(spec.clone()).await.unwrap();
    }
    let begun = Instant::now();
    stage
        .driver
        .stop(&polite.name, 1, Duration::from_secs(60))
        .await
        .unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );

    let pid = eventually("its process is there", async || process_of(&stuck.name)).await;
    assert!(
        Command::new("kill")
            .args(["-STOP", &pid])
            .status()
            .unwrap()
            .success()
    );
    // Until then the signal to end comes before the one to stop.
    eventually("it stands still", async || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        status.contains("State:\tT").then_some(())
    })
    .await;
    let begun = Instant::now();
    stage
        .driver
        .stop(&stuck.name, 1, Duration::from_millis(1200))
        .await
        .unwrap();
    assert!(
        begun.elapsed() >= Duration::from_millis(1200),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(stage.leftovers(), [""; 0]);
}

#[tokio::test]
async fn an_engine_whose_image_got_a_new_meaning_is_told() {
    let stage = Stage::new("drift");
    let program =
        std::fs::read(weir_fakes::containers::static_program("fake-engine").unwrap()).unwrap();
    let image = format!("weir-test/{}:latest", stage.owner);
    stage
        .docker
        .import(&image, "fake-engine", &program, &[])
        .unwrap();
    let spec = EngineSpec {
        image: image.clone(),
        ..stage.spec("a", 1)
    };
    let runs = stage
        .driver
        .start(spec.clone())
        .await
        .unwrap()
        .image_digest
        .unwrap();
    assert_eq!(stage.driver.drift(&spec.name).await.unwrap(), Drift::None);

    stage
        .docker
        .import(&image, "fake-engine", &program, &["LABEL generation=2"])
        .unwrap();
    let now = stage.driver.image_digest(&image).await.unwrap().unwrap();
    assert_ne!(now, runs);
    let expected = Drift::Moved {
        runs: runs.clone(),
        now,
    };
    assert_eq!(stage.driver.drift(&spec.name).await.unwrap(), expected);
    assert_eq!(stage.only().await.image_digest, Some(runs.clone()));

    stage.ask(
        "DELETE",
        &format!("/images/{image}"),
        &serde_json::Value::Null,
    );
    assert_eq!(
        stage.driver.drift(&spec.name).await.unwrap(),
        Drift::Gone { runs }
    );
}

#[tokio::test]
async fn fifty_starts_and_stops_leave_no_container() {
    let stage = Stage::new("fifty");
    let stage = &stage;
    for round in 1..=10 {
        let each = (0..5).map(|engine| async move {
            let spec = stage.spec(&engine.to_string(), round);
            let name = spec.name.clone();
            stage.driver.start(spec).await.unwrap();
            // Every other one is killed, as supervisors do with what hangs.
            let grace = if engine % 2 == 0 {
                GRACE
            } else {
                Duration::ZERO
            };
            stage.driver.stop(&name, round, grace).await.unwrap();
        });
        join_all(each).await;
    }
    assert_eq!(stage.driver.list().await.unwrap(), []);
    assert_eq!(stage.leftovers(), [""; 0]);
}
