//! Each check finds what it is for, on histories written by hand.

use std::time::Duration;

use weir_proto::node::v1 as pb;
use weir_proto::node::v1::Standing;

use super::{Promises, run};
use crate::history::{Call, Change, Cut, Expected, Eye, History, Sight};

const PROMISES: Promises = Promises {
    interval: Duration::from_millis(500),
    timeout: Duration::from_millis(200),
    fall: 3,
    rise: 2,
    reachable_after: Duration::from_secs(2),
};

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn sight(at: Duration, eye: Eye, revision: u64, standing: Standing) -> Sight {
    let backend = pb::Backend {
        id: "b".to_owned(),
        weight: 1,
        standing: standing.into(),
        ..pb::Backend::default()
    };
    let service = pb::Service {
        name: "web".to_owned(),
        backends: vec![backend],
        ..pb::Service::default()
    };
    Sight {
        at,
        node: "n".to_owned(),
        eye,
        revision,
        services: vec![service],
    }
}

fn inside(at: Duration, revision: u64, standing: Standing) -> Sight {
    sight(at, Eye::Inside, revision, standing)
}

fn cut(peer: &str, from: Duration, until: Duration) -> Cut {
    Cut {
        node: "n".to_owned(),
        peer: peer.to_owned(),
        from,
        until: Some(until),
    }
}

fn call(began: Duration, ended: Duration) -> Call {
    Call {
        node: "n".to_owned(),
        what: "list".to_owned(),
        began,
        ended,
        deadline: s(1),
        acknowledged: None,
        ok: true,
    }
}

/// Out at 12 through a cut from 10 to 20, back at 21, and listed so.
fn good() -> History {
    History {
        sights: vec![
            inside(s(0), 1, Standing::In),
            inside(s(12), 2, Standing::Unhealthy),
            inside(s(21), 3, Standing::In),
            sight(s(30), Eye::List, 3, Standing::In),
        ],
        cuts: vec![cut("b", s(10), s(20)), cut("operator", s(22), s(23))],
        calls: vec![call(s(24), s(25))],
    }
}

fn broken(history: &History) -> Vec<&'static str> {
    let mut names: Vec<_> = run(history, &PROMISES).iter().map(|v| v.check).collect();
    names.dedup();
    names
}

#[test]
fn a_good_history_breaks_nothing() {
    assert_eq!(run(&good(), &PROMISES), []);
}

#[test]
fn a_backend_that_goes_out_late_is_found() {
    let mut history = good();
    history.sights[1].at = s(13);
    assert_eq!(broken(&history), ["cut_backend_is_out_in_time"]);
}

#[test]
fn a_backend_that_comes_back_during_the_cut_is_found() {
    let mut history = good();
    history.sights[2].at = s(15);
    assert_eq!(broken(&history), ["cut_backend_is_out_in_time"]);
}

#[test]
fn a_backend_that_comes_back_late_is_found() {
    let mut history = good();
    history.sights[2].at = s(24);
    assert_eq!(broken(&history), ["repaired_backend_is_back_in_time"]);
}

#[test]
fn a_backend_that_goes_out_without_a_cut_is_found() {
    let mut history = good();
    history.cuts.remove(0);
    assert_eq!(broken(&history), ["only_cut_backends_go_out"]);
}

#[test]
fn a_backend_that_goes_out_through_a_blink_is_found() {
    let mut history = good();
    history.cuts[0] = cut("b", s(12), s(12) + Duration::from_millis(400));
    history.sights[2].at = s(13);
    assert_eq!(broken(&history), ["only_cut_backends_go_out"]);
}

#[test]
fn a_revision_that_goes_back_is_found() {
    let mut history = good();
    history
        .sights
        .insert(3, sight(s(29), Eye::List, 4, Standing::In));
    assert_eq!(broken(&history), ["revisions_never_go_back"]);
}

#[test]
fn nodes_that_differ_at_the_end_are_found() {
    let mut history = good();
    for eye in [Eye::Inside, Eye::List] {
        let mut other = sight(s(30), eye, 1, Standing::Drained);
        other.node = "m".to_owned();
        history.sights.push(other);
    }
    assert_eq!(broken(&history), ["nodes_converge"]);
}

#[test]
fn a_list_that_is_not_what_the_node_has_is_found() {
    let mut history = good();
    history.sights[3].revision = 2;
    assert_eq!(broken(&history), ["operator_sees_what_is"]);
}

#[test]
fn a_call_that_outlives_its_deadline_is_found() {
    let mut history = good();
    history.calls.push(call(s(26), s(28)));
    assert_eq!(broken(&history), ["calls_end_by_their_deadline"]);
}

#[test]
fn an_acknowledged_change_that_is_not_in_force_is_found() {
    let mut history = good();
    history.calls[0].acknowledged = Some(Change {
        backend: "b".to_owned(),
        to: Expected::Weight(5),
    });
    assert_eq!(broken(&history), ["acknowledged_changes_are_in_force"]);
}

#[test]
fn a_node_that_stays_out_of_reach_is_found() {
    let mut history = good();
    history.calls[0] = call(s(26), s(27));
    assert_eq!(broken(&history), ["node_is_reachable_after_repair"]);
}
