//! What a profile was merged from is shown as commands name it: of the one that is offered, and of the one in force.

use super::*;

fn named(settings: &[(&str, &str)], layers: &[&str]) -> pb::Push {
    pb::Push {
        layers: layers.iter().map(|layer| (*layer).to_owned()).collect(),
        ..profile_push(settings)
    }
}

#[tokio::test(start_paused = true)]
async fn layers_are_told_of_what_is_offered_and_of_what_is_in_force_and_outlive_the_node_on_disk() {
    run(async {
        let wired = node().await;
        let ends = ends(&wired);
        let status = ends.status.clone();
        let mut taker = Taker::new(Start::default(), ends);
        let good = named(&[(TIMEOUT, "7s")], &["fleet@3"]);
        taker.take(&good).await;
        let worse = named(&[(WINDOW, "1MiB")], &["fleet@3", "node/node-a@1"]);
        taker.take(&worse).await;
        taker.show(|_| {});
        let shown = status.load();
        assert_eq!(*shown.effective_layers, ["fleet@3"]);
        assert_eq!(*shown.offered_layers, ["fleet@3", "node/node-a@1"]);

        let held = HeldSet::default().after(&good).unwrap();
        let again = HeldSet::default().after(&held.as_push(pb::ResourceType::Profile));
        assert_eq!(again.unwrap().layers(), ["fleet@3"]);
    })
    .await;
}

#[test]
fn layers_of_a_push_are_bounded_in_number_and_length_and_the_strongest_stay() {
    let many: Vec<String> = (0..100).map(|at| format!("group/{at}@1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let held = HeldSet::default().after(&named(&[], &many)).unwrap();
    assert_eq!(held.layers().len(), 64);
    assert_eq!(held.layers().last().unwrap(), "group/99@1");
    let long = "a".repeat(161);
    let held = HeldSet::default().after(&named(&[], &[&long, "fleet@1\n"]));
    assert_eq!(held.unwrap().layers(), ["fleet@1\\u{a}"]);
}
