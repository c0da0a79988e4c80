//! Engines that the configuration makes otherwise by now are replaced, and nobody notices.

use weir_proto::node::v1 as pb;

use super::{ask, client, engines, is_ready, json, ready, seen};
use crate::client::Load;
use crate::common::Weir;

const CONNECTIONS: usize = 8;

/// Three engines and a place for one more, whose environment is of this version.
fn version(version: u32) -> String {
    let keys = format!(
        "[services.web.engines]\nenv = {{ VERSION = \"{version}\" }}\nreplacement_cooldown = \"0s\"\n"
    );
    engines(3, 4).replace("[services.web.engines]\n", &keys)
}

/// The same with another version.
fn edited(config: &str, from: u32, to: u32) -> String {
    config.replace(
        &format!("VERSION = \"{from}\""),
        &format!("VERSION = \"{to}\""),
    )
}

/// Whether an engine's process has this version in its environment.
fn is_of(engine: &pb::Engine, version: u32) -> bool {
    let environment = std::fs::read(format!("/proc/{}/environ", engine.pid)).unwrap_or_default();
    let wanted = format!("VERSION={version}");
    environment
        .split(|byte| *byte == 0)
        .any(|one| one == wanted.as_bytes())
}

fn serving(list: &pb::ListEnginesResponse) -> usize {
    list.engines.iter().filter(is_ready).count()
}

/// Waits until three engines serve and all there are are as they should be.
async fn renewed(weir: &Weir) -> Vec<pb::Engine> {
    let list = seen(weir, false, "all are renewed", |list| {
        serving(list) == 3
            && list
                .engines
                .iter()
                .all(|one| is_ready(&one) && !one.outdated)
    });
    list.await.engines
}

#[tokio::test]
async fn an_edit_of_their_environment_turns_all_engines_over_under_load_and_no_request_fails() {
    let before = version(1);
    let weir = Weir::start(&before).await;
    let first = ready(&weir, 3).await;
    assert!(
        first
            .iter()
            .all(|engine| is_of(engine, 1) && !engine.outdated)
    );
    let load = Load::start(weir.ingress, CONNECTIONS);
    load.passes(500).await;

    let request = pb::ListEnginesRequest { mesh: false };
    let lists = client(&weir).await.watch_engines(request).await;
    let mut lists = lists.unwrap().into_inner();
    weir.edit(&edited(&before, 1, 2));
    let mut was_outdated = false;
    loop {
        let list = lists.message().await.unwrap().expect("the node lives");
        assert!(serving(&list) >= 3, "{list:#?}");
        assert!(list.engines.len() <= 4, "one at a time: {list:#?}");
        was_outdated |= list.engines.iter().filter(|engine| engine.outdated).count() == 3;
        let is_over = list.engines.iter().all(|engine| !engine.outdated);
        if was_outdated && is_over && serving(&list) == 3 {
            break;
        }
    }
    let after = renewed(&weir).await;
    load.passes(500).await;
    let tally = load.stop().await;
    assert!(tally.bad.is_empty(), "{:?}\n{}", tally.bad, weir.log());
    assert!(after.iter().all(|engine| is_of(engine, 2)), "{after:#?}");
    let is_new = |engine: &pb::Engine| first.iter().all(|old| old.pid != engine.pid);
    assert!(after.iter().all(is_new));
    assert!(weir.metric("weir_engines_outdated{service=\"web\"}").await < 0.1);
}

#[tokio::test]
async fn a_configuration_whose_engines_do_not_start_replaces_none_and_going_back_is_the_end_of_it()
{
    let before = version(1);
    let weir = Weir::start(&before).await;
    let first = ready(&weir, 3).await;
    let broken = edited(&before, 1, 2).replace("demo-backend", "no-such-command");
    weir.edit(&broken.replace("interval_min", "attempts_max = 1\ninterval_min"));
    let told = seen(&weir, false, "it is told why they stay", |list| {
        list.engines
            .iter()
            .any(|engine| engine.reason.contains("no other one got ready"))
    });
    let told = told.await;
    assert_eq!((serving(&told), told.engines.len()), (3, 3), "{told:#?}");
    let api = json(&ask(&weir, "GET", "/api/engines", "", "").await);
    assert_eq!(api["engines"][0]["outdated"], true, "{api}");
    assert!((weir.metric("weir_engines_outdated{service=\"web\"}").await - 3.0).abs() < 0.1);
    weir.edit(&before);
    let after = renewed(&weir).await;
    let pids = |engines: &[pb::Engine]| engines.iter().map(|one| one.pid).collect::<Vec<_>>();
    assert_eq!(pids(&after), pids(&first));
    assert!(
        after.iter().all(|engine| engine.reason.is_empty()),
        "{after:#?}"
    );
}

#[tokio::test]
async fn engines_that_wait_to_be_replaced_are_asked_as_they_were() {
    let before = version(1);
    let weir = Weir::start(&before).await;
    ready(&weir, 3).await;
    let request = pb::ListEnginesRequest { mesh: false };
    let lists = client(&weir).await.watch_engines(request).await;
    let mut lists = lists.unwrap().into_inner();
    // Only the new ones answer this question.
    let program = weir_fakes::containers::static_program("fake-engine").unwrap();
    let (weir_command, rest) = before.split_once("command = [").unwrap();
    let (_, rest) = rest.split_once('\n').unwrap();
    let fakes = format!(
        "{weir_command}command = [\"{}\"]\n{rest}",
        program.display()
    );
    let path = "check = \"http\"\npath = \"/server/api?method=get_status\"";
    weir.edit(&edited(&fakes, 1, 2).replace("check = \"http\"", path));
    let mut was_outdated = false;
    loop {
        let list = lists.message().await.unwrap().expect("the node lives");
        assert!(serving(&list) >= 3, "{list:#?}\n{}", weir.log());
        was_outdated |= list.engines.iter().any(|engine| engine.outdated);
        if was_outdated && list.engines.iter().all(|engine| !engine.outdated) {
            break;
        }
    }
    let after = renewed(&weir).await;
    assert!(after.iter().all(|engine| is_of(engine, 2)), "{after:#?}");
}

#[tokio::test]
async fn a_node_that_is_killed_in_the_middle_has_only_renewed_engines_when_it_is_back() {
    let data = tempfile::tempdir().unwrap();
    let node = format!("[node]\ndata_dir = \"{}\"\n", data.path().display());
    let before = node + &version(1);
    let mut weir = Weir::start(&before).await;
    ready(&weir, 3).await;
    let after = edited(&before, 1, 2);
    weir.edit(&after);
    seen(&weir, false, "one is renewed", |list| {
        list.engines
            .iter()
            .any(|one| is_ready(&one) && !one.outdated)
            && list.engines.iter().any(|one| one.outdated)
    })
    .await;
    weir.crash().await;
    weir.start_again().await;
    let list = seen(&weir, false, "all are renewed", |list| {
        serving(list) >= 3 && list.engines.iter().all(|one| !one.outdated)
    });
    let engines = list.await.engines;
    assert!(
        engines
            .iter()
            .filter(is_ready)
            .all(|engine| is_of(engine, 2)),
        "{engines:#?}"
    );
}
