use super::super::*;
use Standing::{Away, Recovering, Steady};

fn load(vpn: &str, standing: Standing, engines: u32, pending: u32) -> Load {
    Load {
        vpn: vpn.into(),
        standing,
        engines,
        pending,
        engines_max: 10,
    }
}

fn step(from: &str, to: &str, engines: u32) -> Move {
    Move {
        from: from.into(),
        to: to.into(),
        engines,
    }
}

#[test]
fn the_engines_of_a_lost_vpn_are_hidden_and_start_anew_behind_the_other() {
    assert!(is_hidden(State::Unhealthy.into()));
    for state in [State::Unknown, State::Healthy, State::Stable] {
        assert!(!is_hidden(state.into()), "{state:?}");
    }
    let found = replacements(&[load("a", Away, 3, 1), load("b", Steady, 4, 0)]);
    assert_eq!(found.moves, [step("a", "b", 4)]);
    assert_eq!(found.unplaced, 0);
}

#[test]
fn replacements_fill_the_emptiest_first_and_count_what_is_on_its_way() {
    let loads = [
        load("a", Away, 4, 0),
        load("b", Steady, 2, 2),
        load("c", Steady, 2, 0),
        load("d", Recovering, 0, 0),
    ];
    let found = replacements(&loads);
    assert_eq!(found.moves, [step("a", "c", 3), step("a", "b", 1)]);
}

#[test]
fn what_has_no_room_is_told() {
    let found = replacements(&[load("a", Away, 8, 0), load("b", Steady, 7, 0)]);
    assert_eq!((found.moves, found.unplaced), (vec![step("a", "b", 3)], 5));
    let found = replacements(&[load("a", Away, u32::MAX, 9), load("b", Away, 1, 0)]);
    assert_eq!((found.moves, found.unplaced), (vec![], u32::MAX));
}

#[test]
fn a_vpn_that_is_stable_again_gets_its_share_back() {
    assert_eq!(
        rebalance(&[load("a", Steady, 0, 0), load("b", Steady, 8, 0)]),
        [step("b", "a", 4)]
    );
    for loads in [
        [load("a", Steady, 3, 0), load("b", Steady, 4, 0)],
        [load("a", Steady, 0, 4), load("b", Steady, 4, 0)],
        [load("a", Steady, 0, 0), load("b", Steady, 0, 8)],
        [load("a", Recovering, 0, 0), load("b", Steady, 8, 0)],
        [load("a", Away, 0, 0), load("b", Steady, 8, 0)],
    ] {
        assert_eq!(rebalance(&loads), [], "{loads:?}");
    }
}
