//! Local ports against what is needed of them.

use super::*;

#[test]
fn fewer_local_ports_than_a_profile_asks_for_are_a_warning_only_where_more_are_needed() {
    let narrow = with(
        "net.ipv4.ip_local_port_range",
        Read::Said("50000\t60999".to_owned()),
    );
    for (clients, severity, why) in [
        (0, Severity::Info, "64512 are asked for"),
        (
            1_000,
            Severity::Info,
            "64512 are asked for, of which the pools may open 1000",
        ),
        (20_000, Severity::Warning, "the pools may open 20000"),
    ] {
        let finding = only(kernel_of(narrow.clone(), &needs(clients, true)));
        let effect = format!("at most 11000 connections to one address of a backend; {why}");
        assert_eq!((finding.severity, finding.effect), (severity, effect));
    }
}
