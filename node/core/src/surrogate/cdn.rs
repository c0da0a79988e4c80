//! One CDN: how it is asked, and what its answers mean.

use super::{CdnPurge, CdnRequest, CdnScope, Cloudflare, Fastly, NotForThisCdn};

/// The longest wait that a CDN can ask for, in milliseconds.
pub const RETRY_AFTER_MAX_MS: u64 = 3_600_000;

/// A CDN, by what it understands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cdn {
    /// A zone of Cloudflare.
    Cloudflare(Cloudflare),
    /// A service of Fastly.
    Fastly(Fastly),
    /// Whatever takes `PURGE` of a URL, as Varnish and nginx do.
    Purge,
}

/// What becomes of the purges of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The CDN has them.
    Done,
    /// Nothing is taken now: they are to be sent again, after so many milliseconds if the CDN says so.
    Again(Option<u64>),
    /// These are not taken now, perhaps because of one of them.
    Apart,
    /// They will never be taken, or one of them.
    Never,
}

impl Cdn {
    /// The fewest requests that make the purges, and those that this CDN has none for.
    pub fn requests(&self, purges: &[CdnPurge]) -> (Vec<CdnRequest>, Vec<NotForThisCdn>) {
        match self {
            Self::Cloudflare(zone) => (zone.requests(purges), Vec::new()),
            Self::Fastly(service) => service.requests(purges),
            Self::Purge => by_method(purges),
        }
    }

    /// Where its API is, unless another place is told.
    pub const fn endpoint(&self) -> Option<&'static str> {
        match self {
            Self::Cloudflare(_) => Some("https://api.cloudflare.com/client/v4"),
            Self::Fastly(_) => Some("https://api.fastly.com"),
            Self::Purge => None,
        }
    }

    /// The field that says who asks, with the token in it.
    pub fn authentication(&self, token: &str) -> (&'static str, String) {
        match self {
            Self::Fastly(_) => ("fastly-key", token.to_owned()),
            Self::Cloudflare(_) | Self::Purge => ("authorization", format!("Bearer {token}")),
        }
    }

    /// What an answer means; `retry_after_s` is its `Retry-After`.
    pub fn told(&self, status: u16, retry_after_s: Option<u64>) -> Told {
        let wait_ms = retry_after_s.map(|s| s.saturating_mul(1_000).min(RETRY_AFTER_MAX_MS));
        match status {
            200..=299 => Told::Done,
            // What is not there need not be purged.
            404 if *self == Self::Purge => Told::Done,
            401 | 408 | 425 | 429 | 503 => Told::Again(wait_ms),
            // A wrong place or right is mended by the operator, and nothing is lost until then.
            300..=399 | 403 | 404 | 405 | 500..=599 => Told::Apart,
            _ => Told::Never,
        }
    }
}

fn by_method(purges: &[CdnPurge]) -> (Vec<CdnRequest>, Vec<NotForThisCdn>) {
    let (mut requests, mut refused) = (Vec::new(), Vec::new());
    for (at, purge) in purges.iter().enumerate() {
        match url(&purge.scope) {
            Ok((host, path)) => requests.push(CdnRequest {
                method: "PURGE",
                path: path.to_owned(),
                headers: vec![("host", host.to_owned())],
                body: String::new(),
                carries: vec![at],
            }),
            Err((what, value)) => refused.push(NotForThisCdn {
                at,
                cdn: "PURGE",
                what,
                value: value.to_owned(),
                bound: "URL",
            }),
        }
    }
    (requests, refused)
}

/// Host and path of a URL, else what it is instead.
fn url(scope: &CdnScope) -> Result<(&str, &str), (&'static str, &str)> {
    match scope {
        CdnScope::Url(url) if url.bytes().all(|byte| byte.is_ascii_graphic()) => {
            let rest = url.split_once("://").map_or(&**url, |(_, rest)| rest);
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            Ok((host, if path.is_empty() { "/" } else { path }))
        }
        CdnScope::Url(url) => Err(("URL that is not visible ASCII", url)),
        CdnScope::Tag(tag) => Err(("tag", tag)),
        CdnScope::Prefix(prefix) => Err(("prefix", prefix)),
        CdnScope::Host(host) => Err(("host", host)),
        CdnScope::All => Err(("everything", "all")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::purge::Hardness;

    #[test]
    fn what_takes_purge_is_asked_url_by_url() {
        let scopes = [
            CdnScope::Url("https://a.example/x?y".into()),
            CdnScope::Tag("t".into()),
            CdnScope::Url("a.example".into()),
            CdnScope::Url("a.example/\r\nx".into()),
        ];
        let purge = |scope| CdnPurge {
            scope,
            hardness: Hardness::Hard,
        };
        let (requests, refused) = Cdn::Purge.requests(&scopes.map(purge));
        let told: Vec<_> = requests
            .iter()
            .map(|request| (&*request.path, &*request.headers[0].1, request.carries[0]))
            .collect();
        assert_eq!(told, [("/x?y", "a.example", 0), ("/", "a.example", 2)]);
        let refused: Vec<_> = refused.iter().map(|refused| refused.at).collect();
        assert_eq!(refused, [1, 3]);
    }

    #[test]
    fn only_what_can_never_work_is_given_up() {
        let fastly = Cdn::Fastly(Fastly {
            service: "s".to_owned(),
        });
        for status in [401, 429, 503] {
            assert_eq!(fastly.told(status, None), Told::Again(None), "{status}");
        }
        for status in [301, 403, 404, 405, 500, 502] {
            assert_eq!(fastly.told(status, None), Told::Apart, "{status}");
        }
        for status in [400, 413, 422] {
            assert_eq!(fastly.told(status, None), Told::Never, "{status}");
        }
        assert_eq!(fastly.told(200, None), Told::Done);
        assert_eq!(Cdn::Purge.told(404, None), Told::Done);
        assert_eq!(fastly.told(429, Some(7)), Told::Again(Some(7_000)));
        let longest = Told::Again(Some(RETRY_AFTER_MAX_MS));
        assert_eq!(fastly.told(503, Some(u64::MAX)), longest);
    }
}
