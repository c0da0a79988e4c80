use weir_core::series::Ring;

use super::fold::{Bounds, Fold};
use super::merged::Merged;
use super::*;
use crate::telemetry::history::layout::{self, BUCKETS, CLASSES, WIDTH};

const BOUNDS: Bounds = Bounds {
    nodes: 3,
    backends: 4,
    standings: 5,
    events: 3,
    engines: 2,
    ports: 2,
    statuses: 100,
};

fn standing(node: &str, standing: pb::Standing, requests: u64) -> pb::BackendOnNode {
    pb::BackendOnNode {
        node: node.to_owned(),
        standing: standing.into(),
        requests,
        ..pb::BackendOnNode::default()
    }
}

/// What a node tells of one service with backends that stand so.
fn told(node: &str, backends: &[(&str, pb::Standing)]) -> pb::OverviewAnswer {
    let backends = backends.iter().map(|(id, stands)| pb::BackendOverview {
        id: (*id).to_owned(),
        requests: 10,
        nodes: vec![standing(node, *stands, 10)],
        ..pb::BackendOverview::default()
    });
    pb::OverviewAnswer {
        node: node.to_owned(),
        nodes: vec![pb::NodeOverview {
            node: node.to_owned(),
            ..pb::NodeOverview::default()
        }],
        services: vec![pb::ServiceOverview {
            name: "web".to_owned(),
            requests: 100,
            success_rate: if node == "a" { 0.5 } else { 1.0 },
            asleep: node == "a",
            waiting: 1,
            backends: backends.collect(),
            ..pb::ServiceOverview::default()
        }],
        ..pb::OverviewAnswer::default()
    }
}

fn folded(all: impl IntoIterator<Item = pb::OverviewAnswer>) -> pb::OverviewAnswer {
    let mut fold = Fold::new(BOUNDS);
    all.into_iter().for_each(|told| fold.add(told));
    fold.finish("a", 7)
}

#[test]
fn a_backend_is_told_once_with_how_it_stands_on_each_node() {
    use pb::Standing::{Ejected, In, SlowStart};
    let all = folded([
        told("b", &[("one", Ejected), ("two", In)]),
        told("a", &[("one", SlowStart), ("three", Ejected)]),
    ]);
    let service = &all.services[0];
    let ids: Vec<&str> = service.backends.iter().map(|one| &*one.id).collect();
    assert_eq!(ids, ["one", "three", "two"]);
    assert_eq!((service.healthy, service.total), (2, 3));
    assert_eq!((service.requests, service.waiting), (200, 2));
    assert!((service.success_rate - 0.75).abs() < 1e-9 && !service.asleep);
    let one = &service.backends[0];
    let nodes: Vec<_> = one
        .nodes
        .iter()
        .map(|on| (&*on.node, on.standing()))
        .collect();
    assert_eq!(nodes, [("a", SlowStart), ("b", Ejected)]);
    assert_eq!(one.requests, 20);
    assert_eq!(all.cut, Some(pb::Cut::default()));
}

#[test]
fn of_too_many_backends_those_that_are_out_are_told() {
    use pb::Standing::{In, Unhealthy};
    let ids = ["0", "1", "2", "3", "4", "5"];
    let all = ids.map(|id| (id, if id == "5" { Unhealthy } else { In }));
    let all = folded([told("a", &all), told("b", &all)]);
    let service = &all.services[0];
    let ids: Vec<&str> = service.backends.iter().map(|one| &*one.id).collect();
    assert_eq!(ids, ["0", "1", "2", "5"]);
    assert_eq!((service.healthy, service.total), (5, 6), "all are counted");
    let cut = all.cut.unwrap();
    assert_eq!((cut.backends, cut.standings), (2, 5));
    assert_eq!(
        service.backends[3].nodes.len(),
        2,
        "what is out is told of each node"
    );
}

#[test]
fn the_newest_events_of_all_nodes_are_told() {
    let with_events = |node: &str, times: &[u64]| {
        let mut told = told(node, &[]);
        let event = |at: &u64| pb::Event {
            at_unix_ms: *at,
            ..pb::Event::default()
        };
        told.nodes[0].events = times.iter().rev().map(event).collect();
        told
    };
    let all = folded([with_events("a", &[1, 5, 9]), with_events("b", &[5, 8])]);
    let times = |at: usize| -> Vec<u64> {
        let events = all.nodes[at].events.iter();
        events.map(|event| event.at_unix_ms).collect()
    };
    assert_eq!((times(0), times(1)), (vec![9], vec![8, 5]));
    assert_eq!(all.cut.unwrap().events, 2);
}

#[test]
fn what_is_too_much_is_left_out_and_told() {
    let with_more = |node: &str| {
        let mut told = told(node, &[]);
        let engine = |at: u32| pb::Engine {
            id: format!("{node}-{at}"),
            ..pb::Engine::default()
        };
        told.engines = (0..2).map(engine).collect();
        told.ports = vec![pb::VpnPort {
            vpn: "nl".to_owned(),
            owner: "b".to_owned(),
            port: u32::from(node == "b"),
            ..pb::VpnPort::default()
        }];
        told
    };
    let all = folded(["a", "b", "c", "d"].map(with_more));
    let cut = all.cut.unwrap();
    assert_eq!((all.nodes.len(), cut.nodes), (3, 1));
    assert_eq!((all.engines.len(), cut.engines), (2, 4));
    assert_eq!(
        (all.ports.len(), all.ports[0].port),
        (1, 1),
        "the owner knows it best"
    );
}

#[test]
fn slots_are_told_from_where_somebody_is_and_else_the_newest() {
    let among = |since, samples_max, kept| {
        let wanted = Wanted {
            since,
            samples_max,
            buckets: false,
        };
        wanted.among(&kept)
    };
    assert_eq!(among(0, 10, 100..105), 100..105);
    assert_eq!(among(0, 2, 100..105), 103..105);
    assert_eq!(among(102, 2, 100..105), 102..104, "none is passed over");
    assert_eq!(among(50, 10, 100..105), 100..105);
    assert_eq!(among(105, 10, 100..105), 105..105);
    assert_eq!(among(999, 10, 100..105), 105..105);
    assert_eq!(among(5, 10, 0..0), 0..0);
}

/// What a node tells of slots with so many answers each.
fn history(slots: &[(u64, u64)], next: u64) -> pb::History {
    let mut ring = Ring::new(WIDTH, 100);
    for (slot, count) in slots {
        let mut numbers = [0; WIDTH];
        numbers[CLASSES + 1] = *count;
        numbers[BUCKETS] = *count;
        ring.add(*slot, &numbers);
    }
    layout::told(&ring, 1_000, slots[0].0..next, true)
}

#[test]
fn what_a_node_tells_again_is_merged_once() {
    let merged = Merged::new();
    merged.go_on(1_000, 100);
    let now_ms = 60_000;
    merged
        .add("a", &history(&[(57, 1), (58, 2)], 59), now_ms)
        .unwrap();
    merged.add("b", &history(&[(57, 10)], 58), now_ms).unwrap();
    merged
        .add("a", &history(&[(57, 1), (58, 2), (59, 3)], 60), now_ms)
        .unwrap();
    assert_eq!(
        (merged.since("a"), merged.since("b"), merged.since("c")),
        (60, 58, 0)
    );
    let both = ["a".to_owned(), "b".to_owned()];
    assert_eq!(merged.slots(both.iter()), 57..58, "what all have told");
    let counts = merged.look(|ring, _| [57, 58, 59].map(|at| ring.slot(at).unwrap()[CLASSES + 1]));
    assert_eq!(counts, [11, 2, 3]);
    assert_eq!(merged.sums(58).window_ms, 1_000);
    merged.go_on(500, 100);
    assert_eq!(
        merged.since("a"),
        0,
        "slots of another interval do not compare"
    );
}

#[test]
fn samples_of_another_time_are_not_merged_and_it_is_told_why() {
    let merged = Merged::new();
    merged.go_on(1_000, 100);
    let why = |history: &pb::History| merged.add("a", history, 1_000_000).unwrap_err();
    let ahead = why(&history(&[(1_010, 1)], 1_011));
    assert!(ahead.contains("11000 ms ahead"), "{ahead}");
    let behind = why(&history(&[(900, 1)], 901));
    assert!(behind.contains("end 99000 ms ago"), "{behind}");
    let mut other = history(&[(999, 1)], 1_000);
    other.interval_ms = 5_000;
    let other = why(&other);
    assert!(other.contains("5000") && other.contains("1000"), "{other}");
    assert!(
        why(&pb::History {
            interval_ms: 1_000,
            ..pb::History::default()
        })
        .contains("no sample")
    );
    merged
        .add("a", &history(&[(999, 1)], 1_000), 1_000_000)
        .unwrap();
}

#[test]
fn a_request_that_makes_no_sense_names_the_field_and_the_bound() {
    let request = pb::OverviewRequest {
        samples_max: 3_601,
        ..pb::OverviewRequest::default()
    };
    let refused = Wanted::of(&request).unwrap_err().to_string();
    assert_eq!(refused, "samples_max: 3601 is out of bounds (0 to 3600)");
}
