//! Purges as operators and applications order them.

use std::sync::Arc;
use std::time::Duration;

use weir_cache::Resource;
use weir_core::aside::{Scope as Purged, check_key};
use weir_core::cache::Key;
use weir_core::proxy::{Authority, Scheme};
use weir_core::purge::{Hardness, Scope, Wait, key_id, namespace_id, tag_id};
use weir_core::surrogate::{CdnPurge, CdnScope, TAG_BYTES_MAX};
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::purge_request::Scope as Asked;

use super::resolve::Url;
use super::{CacheApi, Error, VALUES};
use crate::events::Kind;

/// How long one waits for other nodes unless something else is asked for.
const WAIT_MS_DEFAULT: u64 = 500;
const WAIT_MS_MAX: u64 = 10_000;

impl CacheApi {
    /// Purges on every node: here at once, elsewhere within what is waited for, or later.
    ///
    /// # Errors
    /// [`Error::Invalid`]: nothing was purged.
    pub async fn purge(&self, request: pb::PurgeRequest) -> Result<pb::PurgeResponse, Error> {
        let wait = Wait::parse(&request.wait).ok_or_else(|| {
            let why = format!("`{}` is none of local, quorum, all", request.wait);
            Error::invalid("wait", why)
        })?;
        if request.wait_ms > WAIT_MS_MAX {
            let why = format!("{} is out of bounds (0 to {WAIT_MS_MAX})", request.wait_ms);
            return Err(Error::invalid("wait_ms", why));
        }
        let wait_ms = match request.wait_ms {
            0 => WAIT_MS_DEFAULT,
            wait_ms => wait_ms,
        };
        let hardness = match request.soft {
            true => Hardness::Soft,
            false => Hardness::Hard,
        };
        let (scopes, resources) = self.scopes(&request)?;
        let purges = scopes.len();
        let within = Duration::from_millis(wait_ms);
        let seq = self.tier.purge_here(scopes, hardness);
        self.record_purge(&request, hardness);
        self.tell_of_values(&request)?;
        for resource in resources {
            self.store().drop_gone(resource.key.as_str(), self.now());
        }
        // CDNs hear of it however this node ends from here on.
        let told = self
            .cdns
            .enqueue(cdn_purges(&request, hardness), &request.namespace, seq);
        let (told, standing) = tokio::join!(told, self.tier.standing(seq, wait, within));
        let cdn_problem = told.as_ref().err().map(ToString::to_string);
        Ok(pb::PurgeResponse {
            id: format!("{:016x}-{seq}", self.store().purges.origin()),
            acked: u32::try_from(standing.acked).unwrap_or(u32::MAX),
            total: u32::try_from(standing.total).unwrap_or(u32::MAX),
            purges: u32::try_from(purges).unwrap_or(u32::MAX),
            missing: match wait {
                Wait::Local => Vec::new(),
                Wait::Quorum | Wait::All => standing.missing,
            },
            cdns: told.unwrap_or_default(),
            cdn_problem: cdn_problem.unwrap_or_default(),
        })
    }

    fn record_purge(&self, request: &pb::PurgeRequest, hardness: Hardness) {
        let (scope, of) = match &request.scope {
            Some(Asked::Url(url)) => ("url", url.as_str()),
            Some(Asked::Tag(tag)) => ("tag", tag.as_str()),
            Some(Asked::Prefix(prefix)) => ("prefix", prefix.as_str()),
            Some(Asked::Host(host)) => ("host", host.as_str()),
            Some(Asked::Value(key)) => ("value", key.as_str()),
            Some(Asked::ValuePrefix(prefix)) => ("value_prefix", prefix.as_str()),
            Some(Asked::All(_)) | None => ("all", ""),
        };
        let hardness = match hardness {
            Hardness::Hard => "hard",
            Hardness::Soft => "soft",
        };
        let told = [
            ("scope", scope.to_owned()),
            ("of", of.to_owned()),
            ("namespace", request.namespace.clone()),
            ("hardness", hardness.to_owned()),
        ];
        self.events.record(Kind::CachePurged, "", told);
    }

    /// What is to be purged, and the resources that it is, if it is of one URL: clients may reach it over TLS, too.
    fn scopes(&self, request: &pb::PurgeRequest) -> Result<(Vec<Scope>, Vec<Resource>), Error> {
        let Some(asked) = &request.scope else {
            return Err(Error::invalid(
                "scope",
                "one of url, tag, prefix, host, value, value_prefix, all is wanted",
            ));
        };
        if let Asked::Url(url) = asked {
            let resource = self.resource_of(url, &request.namespace, Scheme::Http)?;
            let other = self.resource_of(url, &request.namespace, Scheme::Https)?;
            let keys = [&resource, &other].map(|resource| Scope::Key(resource.key_id()));
            return Ok((keys.into(), vec![resource, other]));
        }
        let scope_in = scope_in(asked)?;
        let namespaces = self.purged_namespaces(request)?;
        let scopes = namespaces.iter().map(|namespace| scope_in(namespace));
        Ok((scopes.collect(), Vec::new()))
    }

    /// In which namespaces something is purged: of a value in `values` alone unless told otherwise.
    fn purged_namespaces(&self, request: &pb::PurgeRequest) -> Result<Vec<Arc<str>>, Error> {
        match (&request.scope, &*request.namespace) {
            (Some(Asked::Value(_) | Asked::ValuePrefix(_)), "") => Ok(vec![VALUES.into()]),
            _ => self.namespaces_of(&request.namespace),
        }
    }

    /// Tells those who watch values what is purged.
    fn tell_of_values(&self, request: &pb::PurgeRequest) -> Result<(), Error> {
        let scope = match &request.scope {
            Some(Asked::Value(key)) => Purged::Key(key.clone()),
            Some(Asked::ValuePrefix(prefix)) => Purged::Prefix(prefix.clone()),
            Some(Asked::Tag(tag)) => Purged::Tag(tag.clone()),
            Some(Asked::All(_)) => Purged::All,
            _ => return Ok(()),
        };
        for namespace in self.purged_namespaces(request)? {
            let changes = &self.store().values.changes;
            changes.purged(&namespace, scope.clone());
        }
        Ok(())
    }

    fn resource_of(&self, url: &str, namespace: &str, scheme: Scheme) -> Result<Resource, Error> {
        let resolved = self.resolve(url, "", &[])?;
        let (name, cache) = (&resolved.route, &resolved.cache);
        let cache = cache.as_ref().ok_or_else(|| {
            Error::invalid(
                "url",
                format!("`{url}` is of route `{name}`, which has no cache"),
            )
        })?;
        if !namespace.is_empty() && *namespace != *cache.namespace {
            let is = &cache.namespace;
            let why = format!("`{namespace}`, but `{url}` is of `{is}`");
            return Err(Error::invalid("namespace", why));
        }
        resolved.resource(cache, scheme)
    }

    fn namespaces_of(&self, asked: &str) -> Result<Vec<Arc<str>>, Error> {
        let all = self.namespaces();
        if asked.is_empty() {
            return Ok(all.into_iter().collect());
        }
        let found = all.into_iter().find(|namespace| **namespace == *asked);
        found.map(|namespace| vec![namespace]).ok_or_else(|| {
            let why = format!(
                "`{asked}` is of no route with a cache on this node, and not in cache.namespaces"
            );
            Error::invalid("namespace", why)
        })
    }
}

/// The purge in the words of CDNs.
fn cdn_purges(request: &pb::PurgeRequest, hardness: Hardness) -> Vec<CdnPurge> {
    let scope = match &request.scope {
        // Values are no CDN's business.
        None | Some(Asked::Value(_) | Asked::ValuePrefix(_)) => return Vec::new(),
        Some(Asked::Url(url)) => match Url::parse("url", url) {
            Ok(url) => CdnScope::Url(url.absolute()),
            Err(_) => return Vec::new(),
        },
        Some(Asked::Tag(tag)) => CdnScope::Tag(tag.clone()),
        Some(Asked::Prefix(prefix)) => match Url::parse("prefix", prefix) {
            Ok(url) => CdnScope::Prefix(format!("{}{}", url.authority, url.target)),
            Err(_) => return Vec::new(),
        },
        Some(Asked::Host(host)) => CdnScope::Host(host.clone()),
        Some(Asked::All(_)) => CdnScope::All,
    };
    vec![CdnPurge { scope, hardness }]
}

/// What is asked for, in a namespace.
type ScopeIn<'a> = Box<dyn Fn(&str) -> Scope + 'a>;

/// The scope that is asked for, in each namespace.
fn scope_in(asked: &Asked) -> Result<ScopeIn<'_>, Error> {
    match asked {
        Asked::Tag(tag) if tag.is_empty() || tag.len() > TAG_BYTES_MAX => {
            let why = format!("{} bytes, 1 to {TAG_BYTES_MAX} are a tag", tag.len());
            Err(Error::invalid("tag", why))
        }
        Asked::Tag(tag) => Ok(Box::new(|namespace| Scope::Tag(tag_id(namespace, tag)))),
        Asked::Prefix(prefix) => {
            let url = Url::parse("prefix", prefix)?;
            if !url.target.starts_with('/') {
                let why = format!("`{prefix}` has no path; a host is purged by `host`");
                return Err(Error::invalid("prefix", why));
            }
            let path: Arc<str> = url.target.into();
            Ok(Box::new(move |namespace| Scope::Prefix {
                host: Resource::host_id(namespace, &url.authority),
                path: Arc::clone(&path),
            }))
        }
        Asked::Host(host) => {
            let bad = |bad| Error::invalid("host", format!("`{host}`: {bad}"));
            Authority::parse(host).map_err(bad)?;
            Ok(Box::new(|namespace| {
                Scope::Host(Resource::host_id(namespace, host))
            }))
        }
        Asked::Value(key) => {
            check_key("value", key)?;
            Ok(Box::new(|namespace| {
                let key = Key::of_value(namespace, key);
                Scope::Key(key.map_or(0, |key| key_id(namespace, key.as_str())))
            }))
        }
        Asked::ValuePrefix(prefix) => {
            check_key("value_prefix", prefix)?;
            Ok(Box::new(|namespace| Scope::Prefix {
                host: Resource::host_of_values(namespace),
                path: prefix.as_str().into(),
            }))
        }
        Asked::All(true) => Ok(Box::new(|namespace| Scope::All(namespace_id(namespace)))),
        Asked::All(false) => Err(Error::invalid("all", "false purges nothing")),
        Asked::Url(_) => Err(Error::invalid("url", "is of one namespace")),
    }
}
