use super::super::*;

const NOW: u64 = 1_800_000_000;

fn certificate(validity: Result<Vec<Validity>, String>) -> Finding {
    let certificate = Certificate {
        key: "control_plane.cert".to_owned(),
        path: "/etc/weir/node.pem".to_owned(),
        is_bundle: false,
        validity,
    };
    certificates::judge(&certificate, NOW)
}

#[test]
fn of_a_bundle_of_authorities_the_last_end_counts() {
    let from_to = |from_unix_s, to_unix_s| Validity {
        from_unix_s,
        to_unix_s,
    };
    let bundle = |all: Vec<Validity>| {
        let certificate = Certificate {
            key: "control_plane.ca".to_owned(),
            path: "/etc/weir/ca.pem".to_owned(),
            is_bundle: true,
            validity: Ok(all),
        };
        certificates::judge(&certificate, NOW).severity
    };
    let (old, new) = (from_to(0, NOW - 1), from_to(NOW - 1, u64::MAX));
    assert_eq!(bundle(vec![old, new]), Severity::Ok);
    assert_eq!(bundle(vec![old, old]), Severity::Error);
    // The next one may be there before it holds.
    assert_eq!(bundle(vec![new, from_to(NOW + 9, u64::MAX)]), Severity::Ok);
}

#[test]
fn a_certificate_is_told_before_it_ends() {
    const DAY: u64 = 86_400;
    let from_to = |from_unix_s, to_unix_s| Validity {
        from_unix_s,
        to_unix_s,
    };
    let severity = |all: Vec<Validity>| certificate(Ok(all)).severity;
    assert_eq!(severity(vec![from_to(0, NOW + 31 * DAY)]), Severity::Ok);
    assert_eq!(
        severity(vec![from_to(0, NOW + 29 * DAY)]),
        Severity::Warning
    );
    assert_eq!(severity(vec![from_to(0, NOW - 1)]), Severity::Error);
    assert_eq!(
        severity(vec![from_to(NOW + 1, NOW + 90 * DAY)]),
        Severity::Error
    );
    // Of a chain the first that ends counts.
    assert_eq!(
        severity(vec![from_to(0, u64::MAX), from_to(0, NOW - 1)]),
        Severity::Error
    );
    assert_eq!(severity(vec![]), Severity::Error);
    assert_eq!(
        certificate(Err("no such file".to_owned())).severity,
        Severity::Error
    );
    let ended = certificate(Ok(vec![from_to(0, 0)]));
    assert_eq!(ended.found, "ended 1970-01-01T00:00:00Z");
}

/// The bytes of an element.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut all = vec![tag, 0x82];
    all.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
    all.extend(content);
    all
}

fn signed(version: bool, from: (u8, &str), to: (u8, &str)) -> Vec<u8> {
    let validity = [der(from.0, from.1.as_bytes()), der(to.0, to.1.as_bytes())].concat();
    let mut parts = vec![
        der(0x02, &[1]),
        der(0x30, &[]),
        der(0x30, &[]),
        der(0x30, &validity),
    ];
    if version {
        parts.insert(0, der(0xa0, &[2, 1, 2]));
    }
    der(0x30, &der(0x30, &parts.concat()))
}

#[test]
fn the_validity_of_a_certificate_is_read_in_both_forms_of_time() {
    let utc = signed(true, (0x17, "700101000000Z"), (0x17, "491231235959Z"));
    let expected = Validity {
        from_unix_s: 0,
        to_unix_s: 2_524_607_999,
    };
    assert_eq!(x509::validity(&utc), Some(expected));
    let general = signed(false, (0x17, "500101000000Z"), (0x18, "20500101000000Z"));
    let expected = Validity {
        from_unix_s: 0,
        to_unix_s: 2_524_608_000,
    };
    assert_eq!(x509::validity(&general), Some(expected));
}

#[test]
fn what_is_no_certificate_is_refused_wherever_it_is_cut() {
    let whole = signed(true, (0x17, "700101000000Z"), (0x18, "99991231235959Z"));
    assert!(x509::validity(&whole).is_some());
    for length in 0..whole.len() {
        assert_eq!(x509::validity(&whole[..length]), None, "{length}");
    }
    for (tag, text) in [
        (0x17, "7001010000Z"),
        (0x17, "701301000000Z"),
        (0x17, "700101240000Z"),
        (0x17, "7001010000+0"),
        (0x18, "700101000000Z"),
        (0x05, "700101000000Z"),
    ] {
        assert_eq!(
            x509::validity(&signed(true, (tag, text), (tag, text))),
            None,
            "{text}"
        );
    }
    let endless = [0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 0x30];
    assert_eq!(x509::validity(&endless), None);
    assert_eq!(x509::validity(&[0x30, 0x80, 0, 0]), None);
}
