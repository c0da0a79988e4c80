//! Purges as Cloudflare takes them: `POST /zones/ID/purge_cache`.

use super::request::{Batch, batches, json_list};
use super::{CdnPurge, CdnRequest, CdnScope};

/// Operations of one request.
pub const CLOUDFLARE_OPS_MAX: usize = 100;

/// A zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cloudflare {
    /// The zone's id.
    pub zone: String,
}

impl Cloudflare {
    /// The fewest requests that make all purges: a request has values of one kind, each once. Cloudflare knows hard
    /// purges only, which are stricter than soft ones.
    pub fn requests(&self, purges: &[CdnPurge]) -> Vec<CdnRequest> {
        if purges.iter().any(|purge| purge.scope == CdnScope::All) {
            let all = (0..purges.len()).collect();
            return vec![self.request(r#"{"purge_everything":true}"#.to_owned(), all)];
        }
        let kinds = ["files", "tags", "prefixes", "hosts"];
        let of_kind = |kind: &'static str| {
            let wanted = purges.iter().enumerate().filter_map(move |(at, purge)| {
                let (its_kind, value) = kind_of(&purge.scope)?;
                (its_kind == kind).then_some((at, value))
            });
            batches(wanted, CLOUDFLARE_OPS_MAX)
                .into_iter()
                .map(move |Batch { values, carries }| {
                    self.request(json_list(kind, &values), carries)
                })
        };
        kinds.into_iter().flat_map(of_kind).collect()
    }

    fn request(&self, body: String, carries: Vec<usize>) -> CdnRequest {
        CdnRequest {
            method: "POST",
            path: format!("/zones/{}/purge_cache", self.zone),
            headers: vec![("content-type", "application/json".to_owned())],
            body,
            carries,
        }
    }
}

fn kind_of(scope: &CdnScope) -> Option<(&'static str, &str)> {
    match scope {
        CdnScope::Url(url) => Some(("files", url)),
        CdnScope::Tag(tag) => Some(("tags", tag)),
        CdnScope::Prefix(prefix) => Some(("prefixes", prefix)),
        CdnScope::Host(host) => Some(("hosts", host)),
        CdnScope::All => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::purge::Hardness;

    fn requests(scopes: Vec<CdnScope>) -> Vec<CdnRequest> {
        let purges: Vec<_> = scopes
            .into_iter()
            .map(|scope| CdnPurge {
                scope,
                hardness: Hardness::Soft,
            })
            .collect();
        let zone = "z1".to_owned();
        Cloudflare { zone }.requests(&purges)
    }

    #[test]
    fn each_kind_is_a_request_of_its_own() {
        let sent = requests(vec![
            CdnScope::Tag("a".into()),
            CdnScope::Url("https://x.example/1".into()),
            CdnScope::Host("x.example".into()),
            CdnScope::Tag("b".into()),
            CdnScope::Prefix("x.example/p".into()),
            CdnScope::Tag("a".into()),
        ]);
        let told: Vec<_> = sent
            .iter()
            .map(|request| (&*request.body, &request.carries[..]))
            .collect();
        let expected: [(&str, &[usize]); 4] = [
            (r#"{"files":["https://x.example/1"]}"#, &[1]),
            (r#"{"tags":["a","b"]}"#, &[0, 5, 3]),
            (r#"{"prefixes":["x.example/p"]}"#, &[4]),
            (r#"{"hosts":["x.example"]}"#, &[2]),
        ];
        assert_eq!(told, expected);
        assert!(
            sent.iter()
                .all(|request| request.path == "/zones/z1/purge_cache")
        );
        assert!(requests(vec![]).is_empty());
    }

    #[test]
    fn a_request_holds_a_hundred_operations() {
        let tags = (0..201).map(|n| CdnScope::Tag(format!("t{n}"))).collect();
        let sizes: Vec<_> = requests(tags)
            .iter()
            .map(|request| request.carries.len())
            .collect();
        assert_eq!(sizes, [100, 100, 1]);
    }

    #[test]
    fn a_purge_of_everything_carries_all_others() {
        let sent = requests(vec![CdnScope::Tag("a".into()), CdnScope::All]);
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].body, r#"{"purge_everything":true}"#);
        assert_eq!(sent[0].carries, [0, 1]);
    }
}
