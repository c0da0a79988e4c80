//! Purges as Fastly takes them: `POST /service/ID/purge` for keys, `/service/ID/purge_all`, `/purge/URL`.

use super::request::{Batch, batches, json_list};
use super::{CdnPurge, CdnRequest, CdnScope, NotForThisCdn};
use crate::purge::Hardness;

/// Surrogate keys of one request.
pub const FASTLY_KEYS_MAX: usize = 256;

/// A service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fastly {
    /// The service's id.
    pub service: String,
}

impl Fastly {
    /// The fewest requests that make the purges, and those that Fastly has no request for (prefixes, hosts, and keys
    /// with spaces). A purge of everything is hard, also where a soft one was asked for: Fastly has no other.
    pub fn requests(&self, purges: &[CdnPurge]) -> (Vec<CdnRequest>, Vec<NotForThisCdn>) {
        if purges.iter().any(|purge| purge.scope == CdnScope::All) {
            let path = format!("/service/{}/purge_all", self.service);
            let all = (0..purges.len()).collect();
            return (
                vec![request(path, Hardness::Hard, String::new(), all)],
                Vec::new(),
            );
        }
        let hard = self.of_hardness(purges, Hardness::Hard);
        let soft = self.of_hardness(purges, Hardness::Soft);
        let refused = purges.iter().enumerate();
        let refused = refused.filter_map(|(at, purge)| refusal(at, &purge.scope));
        (hard.into_iter().chain(soft).collect(), refused.collect())
    }

    fn of_hardness(&self, purges: &[CdnPurge], hardness: Hardness) -> Vec<CdnRequest> {
        let of_it = || {
            let all = purges.iter().enumerate();
            all.filter(move |(_, purge)| purge.hardness == hardness)
        };
        let keys = of_it().filter_map(|(at, purge)| Some((at, key_of(&purge.scope)?)));
        let by_key = |Batch { values, carries }| {
            let path = format!("/service/{}/purge", self.service);
            request(
                path,
                hardness,
                json_list("surrogate_keys", &values),
                carries,
            )
        };
        let urls = of_it().filter_map(|(at, purge)| Some((at, url_of(&purge.scope)?)));
        let by_url = |Batch { values, carries }| {
            let path = format!("/purge/{}", values.concat());
            request(path, hardness, String::new(), carries)
        };
        let by_key = batches(keys, FASTLY_KEYS_MAX).into_iter().map(by_key);
        by_key
            .chain(batches(urls, 1).into_iter().map(by_url))
            .collect()
    }
}

fn request(path: String, hardness: Hardness, body: String, carries: Vec<usize>) -> CdnRequest {
    let mut headers = Vec::new();
    if !body.is_empty() {
        headers.push(("content-type", "application/json".to_owned()));
    }
    if hardness == Hardness::Soft {
        headers.push(("fastly-soft-purge", "1".to_owned()));
    }
    CdnRequest {
        method: "POST",
        path,
        headers,
        body,
        carries,
    }
}

fn key_of(scope: &CdnScope) -> Option<&str> {
    match scope {
        CdnScope::Tag(tag) if !tag.contains(char::is_whitespace) => Some(tag),
        _ => None,
    }
}

/// Fastly names a URL without its scheme.
fn url_of(scope: &CdnScope) -> Option<&str> {
    match scope {
        // It becomes the target of a request.
        CdnScope::Url(url) if url.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Some(url.split_once("://").map_or(url, |(_, rest)| rest))
        }
        _ => None,
    }
}

fn refusal(at: usize, scope: &CdnScope) -> Option<NotForThisCdn> {
    let (what, value) = match scope {
        CdnScope::Prefix(prefix) => ("prefix", prefix),
        CdnScope::Host(host) => ("host", host),
        CdnScope::Tag(tag) if key_of(scope).is_none() => ("tag with spaces", tag),
        CdnScope::Url(url) if url_of(scope).is_none() => ("URL that is not visible ASCII", url),
        CdnScope::Tag(_) | CdnScope::Url(_) | CdnScope::All => return None,
    };
    Some(NotForThisCdn {
        at,
        cdn: "Fastly",
        what,
        value: value.clone(),
        bound: "URL, tag or everything",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(purges: Vec<(CdnScope, Hardness)>) -> (Vec<CdnRequest>, Vec<NotForThisCdn>) {
        let purges: Vec<_> = purges
            .into_iter()
            .map(|(scope, hardness)| CdnPurge { scope, hardness })
            .collect();
        let service = "s1".to_owned();
        Fastly { service }.requests(&purges)
    }

    fn tag(tag: &str) -> CdnScope {
        CdnScope::Tag(tag.to_owned())
    }

    #[test]
    fn hard_and_soft_purges_go_apart() {
        let (sent, refused) = requests(vec![
            (tag("a"), Hardness::Soft),
            (tag("b"), Hardness::Hard),
            (tag("c"), Hardness::Soft),
            (
                CdnScope::Url("https://x.example/1?q".into()),
                Hardness::Soft,
            ),
        ]);
        assert!(refused.is_empty());
        let told: Vec<_> = sent
            .iter()
            .map(|request| (&*request.path, &*request.body, &request.carries[..]))
            .collect();
        let expected: [(&str, &str, &[usize]); 3] = [
            ("/service/s1/purge", r#"{"surrogate_keys":["b"]}"#, &[1]),
            (
                "/service/s1/purge",
                r#"{"surrogate_keys":["a","c"]}"#,
                &[0, 2],
            ),
            ("/purge/x.example/1?q", "", &[3]),
        ];
        assert_eq!(told, expected);
        let soft = ("fastly-soft-purge", "1".to_owned());
        let is_soft: Vec<_> = sent
            .iter()
            .map(|request| request.headers.contains(&soft))
            .collect();
        assert_eq!(is_soft, [false, true, true]);
    }

    #[test]
    fn a_request_holds_256_keys() {
        let tags = (0..513)
            .map(|n| (tag(&format!("t{n}")), Hardness::Hard))
            .collect();
        let (sent, _) = requests(tags);
        let sizes: Vec<_> = sent.iter().map(|request| request.carries.len()).collect();
        assert_eq!(sizes, [256, 256, 1]);
    }

    #[test]
    fn what_fastly_cannot_do_is_told_by_name() {
        let (sent, refused) = requests(vec![
            (CdnScope::Host("x.example".into()), Hardness::Hard),
            (tag("a b"), Hardness::Hard),
            (CdnScope::Prefix("x.example/p".into()), Hardness::Soft),
            (
                CdnScope::Url("https://x.example/a b\r\n".into()),
                Hardness::Soft,
            ),
        ]);
        assert!(sent.is_empty());
        let at: Vec<_> = refused.iter().map(|refused| refused.at).collect();
        assert_eq!(at, [0, 1, 2, 3]);
        let told = refused[1].to_string();
        assert_eq!(
            told,
            "Fastly purges by URL, tag or everything, not by tag with spaces (\"a b\")"
        );
    }

    #[test]
    fn a_purge_of_everything_is_hard_and_carries_all_others() {
        let (sent, refused) = requests(vec![
            (CdnScope::All, Hardness::Soft),
            (tag("a b"), Hardness::Soft),
        ]);
        assert_eq!((sent.len(), refused.len()), (1, 0));
        assert_eq!(sent[0].path, "/service/s1/purge_all");
        assert!(sent[0].headers.is_empty());
        assert_eq!(sent[0].carries, [0, 1]);
    }
}
