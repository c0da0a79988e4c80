//! Fields that are for this connection only (RFC 9110 section 7.6.1).

use http::Version;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use thiserror::Error;

/// Members of all `Connection` lines together, beyond which a message is refused.
pub const NOMINEES_MAX: usize = 10;

/// More than [`NOMINEES_MAX`] connection options; answer `400`, or `502` for a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("more than {NOMINEES_MAX} connection options")]
pub struct TooManyNominees;

/// Always removed. `Proxy-Authenticate` and `Proxy-Authorization` are among them though RFC 9110
/// section 11.7 lets a proxy relay them: Weir acts as the origin to its clients, so a credential
/// meant for some proxy is none of the backend's business. `Trailer` is not: it describes the
/// message, and gRPC over HTTP/1.1 needs it.
static HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("http2-settings"),
];

/// Never removed because a client asks for it: fields that are for all recipients, that other
/// proxies vouch for, or whose loss would turn one request into another.
const PROTECTED: [&str; 15] = [
    "authorization",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "forwarded",
    "host",
    "set-cookie",
    "traceparent",
    "tracestate",
    "trailer",
    "via",
    "x-real-ip",
];

/// Removes from a trailer section what may not stand there: hop-by-hop fields and those that frame or
/// route a message (RFC 9110 section 6.5.1).
pub fn strip_trailers(trailers: &mut HeaderMap) {
    let refused: Vec<HeaderName> = trailers
        .keys()
        .filter(|name| is_hop_by_hop(name) || is_protected(name.as_str()))
        .cloned()
        .collect();
    for name in &refused {
        trailers.remove(name);
    }
}

/// Whether the field is for one connection only and never forwarded.
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    bit_of(name) != 0
}

/// Which of [`HOP_BY_HOP`] this is, as a bit. The length tells nearly all other names apart.
fn bit_of(name: &HeaderName) -> u16 {
    if !matches!(name.as_str().len(), 2 | 7 | 10 | 14 | 16..=19) {
        return 0;
    }
    HOP_BY_HOP
        .iter()
        .position(|known| known == name)
        .map_or(0, |index| 1 << index)
}

/// Removes the fields that are for this connection only: every `Connection` line, what they
/// nominate, `Keep-Alive`, `Proxy-Connection`, `Proxy-Authenticate`, `Proxy-Authorization`,
/// `Transfer-Encoding`, `Upgrade`, `HTTP2-Settings`, and `TE` except for the member `trailers`
/// (RFC 9110 section 10.1.4), which gRPC cannot do without.
///
/// A nomination of a field that is for all recipients (`Host`, `X-Forwarded-*`, `Authorization`
/// and the like) is ignored and the field kept. A caller that tunnels adds `Connection: upgrade`
/// and `Upgrade` again.
///
/// # Errors
/// [`TooManyNominees`]; the headers are then partly stripped and must not be forwarded.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) -> Result<(), TooManyNominees> {
    let mut present = headers.keys().fold(0, |bits, name| bits | bit_of(name));
    if present == 0 {
        return Ok(());
    }
    let offers_trailers = headers
        .get_all(header::TE)
        .iter()
        .any(|line| members(line).any(|member| member.eq_ignore_ascii_case(b"trailers")));
    let nominees = nominees(headers)?;
    while present != 0 {
        headers.remove(&HOP_BY_HOP[present.trailing_zeros() as usize]);
        present &= present - 1;
    }
    for nominee in nominees {
        headers.remove(nominee);
    }
    if offers_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    Ok(())
}

/// Whether the client asks to leave HTTP: `Upgrade` with `Connection: upgrade`, HTTP/1.1 only
/// (RFC 9110 section 7.8). Agrees with what the request guard calls an upgrade.
pub fn expects_upgrade(version: Version, headers: &HeaderMap) -> bool {
    version == Version::HTTP_11
        && headers
            .get_all(header::UPGRADE)
            .iter()
            .any(|value| !value.is_empty())
        && headers
            .get_all(header::CONNECTION)
            .iter()
            .any(|line| members(line).any(|member| member.eq_ignore_ascii_case(b"upgrade")))
}

/// Fields to remove besides the ones that always are. Does not allocate for the connection options
/// that occur in practice.
fn nominees(headers: &HeaderMap) -> Result<Vec<HeaderName>, TooManyNominees> {
    let mut nominees = Vec::new();
    let mut count = 0;
    for member in headers.get_all(header::CONNECTION).iter().flat_map(members) {
        count += 1;
        if count > NOMINEES_MAX {
            return Err(TooManyNominees);
        }
        let is_option = [&b"close"[..], b"keep-alive", b"upgrade"]
            .iter()
            .any(|option| member.eq_ignore_ascii_case(option));
        if is_option {
            continue;
        }
        // What is no field name, such as a pseudo-header, nominates nothing.
        if let Ok(name) = HeaderName::from_bytes(member)
            && !is_protected(name.as_str())
        {
            nominees.push(name);
        }
    }
    Ok(nominees)
}

fn is_protected(name: &str) -> bool {
    name.starts_with("x-forwarded-") || PROTECTED.binary_search(&name).is_ok()
}

fn members(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    line.as_bytes()
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                let name = HeaderName::from_static(name);
                (name, HeaderValue::from_static(value))
            })
            .collect()
    }

    fn stripped(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = headers(lines);
        strip_hop_by_hop(&mut headers).unwrap();
        headers
    }

    #[test]
    fn every_connection_line_and_what_it_names_is_removed() {
        let left = stripped(&[
            ("connection", "X-One, close"),
            ("connection", "x-two"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("proxy-authorization", "Basic eA=="),
            ("accept", "*/*"),
        ]);
        assert_eq!(left, headers(&[("accept", "*/*")]));
    }

    #[test]
    fn a_client_cannot_nominate_away_what_others_rely_on() {
        let kept = [
            ("host", "a"),
            ("x-forwarded-for", "192.0.2.1"),
            ("forwarded", "for=192.0.2.1"),
            ("authorization", "Bearer x"),
            ("content-length", "0"),
        ];
        let mut lines = kept.to_vec();
        lines.push((
            "connection",
            "Host, X-Forwarded-For, Forwarded, authorization, content-length, :authority",
        ));
        assert_eq!(stripped(&lines), headers(&kept));
    }

    #[test]
    fn te_keeps_trailers_only() {
        let left = stripped(&[("te", "gzip, Trailers"), ("te", "deflate")]);
        assert_eq!(left, headers(&[("te", "trailers")]));
        assert!(stripped(&[("te", "gzip")]).is_empty());
        assert!(stripped(&[("te", "trailers;q=0.5")]).is_empty());
        let named = stripped(&[("te", "trailers"), ("connection", "te")]);
        assert_eq!(named, headers(&[("te", "trailers")]));
    }

    #[test]
    fn the_eleventh_nominee_is_refused() {
        let mut ten = headers(&[("connection", "a,b,c,d,e"), ("connection", "f,g,h,i,j,,")]);
        let mut eleven = ten.clone();
        eleven.append("connection", HeaderValue::from_static("k"));
        assert_eq!(strip_hop_by_hop(&mut ten), Ok(()));
        assert_eq!(strip_hop_by_hop(&mut eleven), Err(TooManyNominees));
    }

    #[test]
    fn an_upgrade_needs_both_headers_and_http_1_1() {
        let both = headers(&[("connection", "keep-alive, Upgrade"), ("upgrade", "h2c")]);
        assert!(expects_upgrade(Version::HTTP_11, &both));
        assert!(!expects_upgrade(Version::HTTP_10, &both));
        let alone = headers(&[("upgrade", "h2c")]);
        assert!(!expects_upgrade(Version::HTTP_11, &alone));
    }

    #[test]
    fn the_protected_names_are_sorted_for_the_search() {
        assert!(PROTECTED.is_sorted());
    }

    #[test]
    fn each_hop_by_hop_name_passes_the_length_filter() {
        assert!(HOP_BY_HOP.iter().all(is_hop_by_hop));
    }
}
