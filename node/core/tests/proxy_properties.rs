//! What a proxy adds, removes and believes, against hostile clients.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use weir_core::proxy::{
    Authority, Forwarding, ForwardingHeaders, Hop, NOMINEES_MAX, Presence, Scheme, address_value,
    is_hop_by_hop, strip_hop_by_hop,
};

fn forwarding(forwarded: bool) -> Forwarding {
    Forwarding {
        trusted: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
        headers: ForwardingHeaders {
            forwarded,
            ..ForwardingHeaders::default()
        },
    }
}

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The headers as the backend sees them, and the client.
fn forward(peer: &str, headers: &mut HeaderMap, forwarded: bool) -> IpAddr {
    let host = HeaderValue::from_static("a.example:8080");
    let hop = Hop {
        peer: ip(peer),
        peer_value: &address_value(ip(peer)),
        scheme: Scheme::Https,
        host: &host,
    };
    if !Presence::of(headers).tells_of_client() {
        let mut introduced = headers.clone();
        let client = forwarding(forwarded).introduce(&hop, &mut introduced);
        let applied = forwarding(forwarded).apply(&hop, headers);
        assert_eq!((client, introduced), (applied, headers.clone()));
        return applied;
    }
    forwarding(forwarded).apply(&hop, headers)
}

#[test]
fn an_untrusted_peer_is_the_client_whatever_it_claims() {
    let mut seen = headers(&[
        ("x-forwarded-for", "1.1.1.1"),
        ("x-forwarded-for", "2.2.2.2"),
        ("x-real-ip", "1.1.1.1"),
        ("forwarded", "for=1.1.1.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "evil"),
        ("x-forwarded-port", "1"),
        ("x-forwarded-prefix", "/admin"),
    ]);
    assert_eq!(
        forward("::ffff:192.0.2.9", &mut seen, false),
        ip("192.0.2.9")
    );
    let expected = headers(&[
        ("x-forwarded-for", "192.0.2.9"),
        ("x-real-ip", "192.0.2.9"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "a.example:8080"),
    ]);
    assert_eq!(seen, expected);
}

#[test]
fn a_trusted_chain_is_walked_from_right_to_left() {
    for (chain, client, told) in [
        (
            "1.1.1.1, 192.0.2.1, 10.0.0.2",
            "192.0.2.1",
            "192.0.2.1, 10.0.0.2, 10.0.0.1",
        ),
        ("192.0.2.1:4711", "192.0.2.1", "192.0.2.1, 10.0.0.1"),
        (
            "10.0.0.3,10.0.0.2",
            "10.0.0.3",
            "10.0.0.3, 10.0.0.2, 10.0.0.1",
        ),
        (
            "192.0.2.1, junk, 10.0.0.2",
            "10.0.0.2",
            "10.0.0.2, 10.0.0.1",
        ),
        ("192.0.2.1,", "10.0.0.1", "10.0.0.1"),
    ] {
        let mut seen = headers(&[("x-forwarded-for", chain), ("x-forwarded-proto", "http")]);
        assert_eq!(forward("10.0.0.1", &mut seen, false), ip(client), "{chain}");
        assert_eq!(seen["x-forwarded-for"], told);
        assert_eq!(seen["x-real-ip"], client);
        assert_eq!(seen["x-forwarded-proto"], "http");
    }
}

#[test]
fn lines_of_a_chain_are_one_list() {
    let mut seen = headers(&[
        ("x-forwarded-for", "192.0.2.1, 10.0.0.3"),
        ("x-forwarded-for", "10.0.0.2"),
    ]);
    assert_eq!(forward("10.0.0.1", &mut seen, false), ip("192.0.2.1"));
    let told: Vec<_> = seen.get_all("x-forwarded-for").iter().collect();
    assert_eq!(told, ["192.0.2.1, 10.0.0.3, 10.0.0.2, 10.0.0.1"]);
}

#[test]
fn forwarded_is_continued_and_quoted() {
    let mut seen = headers(&[(
        "forwarded",
        "for=1.1.1.1, For=\"[2001:db8::1]:80\";by=\"a,b\", for=10.0.0.2",
    )]);
    assert_eq!(forward("fd00::1", &mut seen, false), ip("2001:db8::1"));
    assert_eq!(
        seen["forwarded"],
        "For=\"[2001:db8::1]:80\";by=\"a,b\", for=10.0.0.2, \
         for=\"[fd00::1]\";proto=https;host=\"a.example:8080\""
    );
    assert_eq!(seen["x-forwarded-for"], "2001:db8::1, 10.0.0.2, fd00::1");
}

#[test]
fn chains_that_disagree_are_not_believed() {
    let mut seen = headers(&[
        ("x-forwarded-for", "192.0.2.1"),
        ("forwarded", "for=192.0.2.2"),
    ]);
    assert_eq!(forward("10.0.0.1", &mut seen, false), ip("10.0.0.1"));
    assert_eq!(seen["x-forwarded-for"], "10.0.0.1");
    assert_eq!(
        seen["forwarded"],
        "for=10.0.0.1;proto=https;host=\"a.example:8080\""
    );
}

#[test]
fn x_real_ip_counts_only_where_nothing_better_is() {
    let mut alone = headers(&[("x-real-ip", "192.0.2.1")]);
    assert_eq!(forward("10.0.0.1", &mut alone, false), ip("192.0.2.1"));
    let mut both = headers(&[("x-real-ip", "192.0.2.1"), ("x-forwarded-for", "192.0.2.2")]);
    assert_eq!(forward("10.0.0.1", &mut both, false), ip("192.0.2.2"));
}

#[test]
fn a_header_that_is_off_is_not_set_but_lies_are_removed() {
    let off = Forwarding {
        trusted: Vec::new(),
        headers: ForwardingHeaders {
            x_forwarded_for: false,
            x_forwarded_proto: false,
            x_forwarded_host: false,
            x_real_ip: false,
            forwarded: false,
        },
    };
    let mut seen = headers(&[("x-forwarded-for", "1.1.1.1"), ("x-real-ip", "1.1.1.1")]);
    let hop = Hop {
        peer: ip("192.0.2.9"),
        peer_value: &address_value(ip("192.0.2.9")),
        scheme: Scheme::Http,
        host: &HeaderValue::from_static("a"),
    };
    off.apply(&hop, &mut seen);
    assert!(seen.is_empty());
}

fn connection_lines() -> impl Strategy<Value = Vec<String>> {
    let member = prop_oneof![
        Just("close".to_owned()),
        Just("Host".to_owned()),
        Just(" ".to_owned()),
        "[ -~]{0,6}",
        "x-[a-c]",
    ];
    let line = prop::collection::vec(member, 0..5).prop_map(|members| members.join(","));
    prop::collection::vec(line, 0..4)
}

proptest! {
    #[test]
    fn nothing_that_is_hop_by_hop_survives(lines in connection_lines(), te in "[ -~]{0,12}") {
        let mut seen = headers(&[("host", "a"), ("x-a", "1"), ("x-z", "1"), ("upgrade", "x")]);
        seen.append("te", HeaderValue::from_str(&te).unwrap());
        for line in &lines {
            seen.append("connection", HeaderValue::from_str(line).unwrap());
        }
        let joined = lines.join(",");
        let members = || joined.split(',').map(str::trim).filter(|member| !member.is_empty());
        let result = strip_hop_by_hop(&mut seen);
        prop_assert_eq!(result.is_err(), members().count() > NOMINEES_MAX);
        if result.is_ok() {
            let is_left = |name: &HeaderName| is_hop_by_hop(name) && name != http::header::TE;
            prop_assert!(!seen.keys().any(is_left));
            prop_assert!(seen.get("te").is_none_or(|te| te == "trailers"));
            prop_assert!(seen.contains_key("host") && seen.contains_key("x-z"));
            let names_a = members().any(|member| member.eq_ignore_ascii_case("x-a"));
            prop_assert_eq!(seen.contains_key("x-a"), !names_a);
        }
    }

    #[test]
    fn a_spoofed_chain_never_moves_the_client(
        spoofed in "[ -~]{0,60}",
        client: [u8; 4],
        hops in 0..20u8,
    ) {
        let client = IpAddr::from(client);
        prop_assume!(!client.to_string().starts_with("10."));
        let mut chain = format!("{spoofed}, {client}");
        for hop in 0..hops {
            chain.push_str(&format!(", 10.0.0.{hop}"));
        }
        let mut seen = headers(&[("x-forwarded-for", &chain)]);
        prop_assert_eq!(forwarding(false).client(ip("10.9.9.9"), &seen), client);
        prop_assert_eq!(forward("10.9.9.9", &mut seen, true), client);
        prop_assert!(seen["x-real-ip"] == client.to_string());
        let told = seen["x-forwarded-for"].to_str().unwrap();
        prop_assert_eq!(told.split(", ").count(), usize::from(hops) + 2);
    }

    #[test]
    fn arbitrary_chains_do_not_panic(
        listed in "[ -~]{0,80}",
        standard in "(for=|\"|,|;|\\\\|[0-9.:\\[\\]a-f]){0,30}",
    ) {
        let mut seen = headers(&[("x-forwarded-for", &listed), ("forwarded", &standard)]);
        let client = forwarding(true).client(ip("10.0.0.1"), &seen);
        prop_assert_eq!(forward("10.0.0.1", &mut seen, true), client);
        prop_assert_eq!(seen.get_all("x-forwarded-for").iter().count(), 1);
        prop_assert_eq!(seen.get_all("forwarded").iter().count(), 1);
    }

    #[test]
    fn a_valid_authority_is_its_host_and_port(text in "\\PC{0,12}") {
        if let Ok(authority) = Authority::parse(&text) {
            prop_assert!(text.starts_with(authority.host()));
            prop_assert!(!text.contains(['@', '/', ' ', ',', '%', '\\']));
            prop_assert!(HeaderValue::from_str(&text).is_ok());
        }
    }
}
