//! Checks what a backend says of itself, all of it at once.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use weir_core::tuning::Problem;
use weir_proto::control::v1::Endpoint;

use crate::keys::check_name;
use crate::problem::Problems;

/// Highest weight.
pub const WEIGHT_MAX: u32 = 65_535;
/// Highest priority.
pub const PRIORITY_MAX: u32 = 15;
/// Most labels of a backend.
pub const LABELS_MAX: usize = 32;
/// How long silence may last before a backend is removed.
pub const TTL: RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(600);
/// And how long for those who do not say.
pub const TTL_DEFAULT: Duration = Duration::from_secs(15);

const LABEL_NAME_BYTES_MAX: usize = 63;
const TEXT_BYTES_MAX: usize = 255;
const HOST_BYTES_MAX: usize = 253;

/// The time to live, if all is in order.
pub(super) fn registration(endpoint: &Endpoint, ttl_ms: u64) -> Result<Duration, Vec<Problem>> {
    let mut problems = Problems::default();
    names(
        &mut problems,
        "endpoint.",
        &endpoint.service,
        &endpoint.backend_id,
    );
    problems.form(
        is_address(&endpoint.address),
        "endpoint.address",
        &endpoint.address,
        "host:port, for example 10.0.0.7:8080, [::1]:8080 or engine-1:6878",
    );
    problems.range(
        endpoint.weight <= WEIGHT_MAX,
        "endpoint.weight",
        endpoint.weight,
        "0 to 65535",
    );
    problems.form(
        is_text(&endpoint.zone, 0, TEXT_BYTES_MAX),
        "endpoint.zone",
        &endpoint.zone,
        "at most 255 bytes without control characters",
    );
    problems.range(
        endpoint.priority <= PRIORITY_MAX,
        "endpoint.priority",
        endpoint.priority,
        "0 to 15",
    );
    labels(&mut problems, endpoint);
    let ttl = match ttl_ms {
        0 => TTL_DEFAULT,
        ms => Duration::from_millis(ms),
    };
    problems.range(
        TTL.contains(&ttl),
        "ttl_ms",
        ttl_ms,
        "2000 to 600000, or 0 for 15000",
    );
    problems.into_result().map(|()| ttl)
}

/// Checks the names that a heartbeat comes with.
pub(super) fn heartbeat(service: &str, backend_id: &str) -> Result<(), Vec<Problem>> {
    let mut problems = Problems::default();
    names(&mut problems, "", service, backend_id);
    problems.into_result()
}

fn names(problems: &mut Problems, place: &str, service: &str, backend_id: &str) {
    for (field, name) in [("service", service), ("backend_id", backend_id)] {
        if let Err(invalid) = check_name("name", name) {
            problems.form(false, &format!("{place}{field}"), name, invalid.bound);
        }
    }
}

fn labels(problems: &mut Problems, endpoint: &Endpoint) {
    let count = endpoint.labels.len();
    problems.range(
        count <= LABELS_MAX,
        "endpoint.labels",
        format_args!("{count} labels"),
        "at most 32 labels",
    );
    for (name, value) in endpoint.labels.iter().take(LABELS_MAX) {
        problems.form(
            is_text(name, 1, LABEL_NAME_BYTES_MAX),
            "endpoint.labels",
            name,
            "named with 1 to 63 bytes without control characters",
        );
        problems.form(
            is_text(value, 0, TEXT_BYTES_MAX),
            &format!("endpoint.labels.{}", name.escape_debug()),
            value,
            "at most 255 bytes without control characters",
        );
    }
}

fn is_text(text: &str, bytes_min: usize, bytes_max: usize) -> bool {
    (bytes_min..=bytes_max).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// An address with a port, or a name with one: what nodes can connect to.
fn is_address(text: &str) -> bool {
    if let Ok(literal) = text.parse::<SocketAddr>() {
        return literal.port() != 0;
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let is_name = (1..=HOST_BYTES_MAX).contains(&host.len())
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    is_name && port.parse::<u16>().is_ok_and(|port| port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Endpoint {
        Endpoint {
            service: "vod".to_owned(),
            backend_id: "10.0.0.7:8080".to_owned(),
            address: "10.0.0.7:8080".to_owned(),
            weight: 1,
            ..Endpoint::default()
        }
    }

    #[test]
    fn what_is_within_all_bounds_passes() {
        let mut most = good();
        (most.weight, most.priority) = (WEIGHT_MAX, PRIORITY_MAX);
        most.zone = "z".repeat(TEXT_BYTES_MAX);
        let labels = (0..LABELS_MAX).map(|n| (n.to_string(), "v".repeat(TEXT_BYTES_MAX)));
        most.labels = labels.collect();
        for address in ["engine-1:6878", "[::1]:80", "a.b_c:1"] {
            most.address = address.to_owned();
            assert_eq!(registration(&most, 600_000), Ok(*TTL.end()));
        }
        assert_eq!(registration(&good(), 0), Ok(TTL_DEFAULT));
        assert_eq!(registration(&good(), 2_000), Ok(*TTL.start()));
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let labels = [("", "v"), ("a", "x\ny")].map(|(name, v)| (name.to_owned(), v.to_owned()));
        let wrong = Endpoint {
            service: "a/b".to_owned(),
            backend_id: String::new(),
            address: "nowhere".to_owned(),
            weight: WEIGHT_MAX + 1,
            zone: "z".repeat(TEXT_BYTES_MAX + 1),
            priority: PRIORITY_MAX + 1,
            labels: labels.into_iter().collect(),
        };
        let problems = registration(&wrong, 1_999).unwrap_err();
        let paths: Vec<&str> = problems.iter().map(|one| one.path.as_str()).collect();
        let expected = [
            "endpoint.service",
            "endpoint.backend_id",
            "endpoint.address",
            "endpoint.weight",
            "endpoint.zone",
            "endpoint.priority",
            "endpoint.labels",
            "endpoint.labels.a",
            "ttl_ms",
        ];
        assert_eq!(paths, expected);
        assert!(registration(&good(), 600_001).is_err());
        let mut many = good();
        many.labels = (0..=LABELS_MAX)
            .map(|n| (n.to_string(), String::new()))
            .collect();
        assert_eq!(registration(&many, 0).unwrap_err().len(), 1);
        assert_eq!(heartbeat("a/b", "").unwrap_err().len(), 2);
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for bad in [
            "",
            "host",
            ":80",
            "host:0",
            "host:70000",
            "a b:80",
            "::1:80",
            "1.2.3.4:0",
        ] {
            assert!(!is_address(bad), "{bad}");
        }
    }
}
