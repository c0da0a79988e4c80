use std::time::Duration;

use super::super::*;
use super::port;

/// Port 7 is in use and was told just now.
fn sound() -> PortFacts {
    PortFacts {
        health: State::Healthy,
        told: Some(port(7)),
        settled: Some(port(7)),
        calm_in: None,
        is_out: false,
    }
}

#[test]
fn the_port_that_engines_have_is_given_while_nothing_speaks_against_it() {
    assert_eq!(grant(&sound()), Ok(port(7)));
    // Past its time, because nobody answers: what was told last is still the newest word.
    let stale = PortFacts {
        is_out: true,
        ..sound()
    };
    assert_eq!(grant(&stale), Ok(port(7)));
    let too_old = PortFacts {
        told: None,
        ..stale
    };
    assert_eq!(grant(&too_old), Err(Doubt::NoPort));
}

#[test]
fn a_port_that_the_newest_answer_contradicts_is_not_given_and_neither_is_the_new_one() {
    let told_once = PortFacts {
        told: Some(port(8)),
        ..sound()
    };
    let doubt = grant(&told_once).unwrap_err();
    assert_eq!(
        (doubt.eta(), doubt.ends_soon()),
        (Some(CONFIRM_AFTER), true)
    );
    // That the control server is out now confirms neither.
    let out = PortFacts {
        is_out: true,
        ..told_once
    };
    let doubt = grant(&out).unwrap_err();
    assert_eq!((doubt.eta(), doubt.ends_soon()), (None, false));
    let confirmed = PortFacts {
        settled: Some(port(8)),
        ..told_once
    };
    assert_eq!(grant(&confirmed), Ok(port(8)));
}

#[test]
fn while_ports_take_turns_none_of_them_is_given() {
    let calm_in = Duration::from_secs(42);
    let flapping = PortFacts {
        calm_in: Some(calm_in),
        ..sound()
    };
    let doubt = grant(&flapping).unwrap_err();
    assert_eq!(doubt, Doubt::Flapping { calm_in });
    assert_eq!((doubt.eta(), doubt.ends_soon()), (Some(calm_in), false));
}

#[test]
fn a_vpn_that_is_not_up_for_long_enough_gives_no_port() {
    let needed = 3;
    for health in [
        State::Unknown,
        State::Unhealthy,
        State::Recovering { good: 2, needed },
    ] {
        let facts = PortFacts { health, ..sound() };
        assert_eq!(grant(&facts), Err(Doubt::Down), "{health:?}");
    }
}
