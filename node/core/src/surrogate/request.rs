//! A purge that is to be sent to a CDN.

use thiserror::Error;

use crate::purge::Hardness;

/// What of, as CDNs name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CdnScope {
    /// A whole URL.
    Url(String),
    /// A tag.
    Tag(String),
    /// Host and beginning of the path, without scheme: `www.example.com/blog`.
    Prefix(String),
    /// A host.
    Host(String),
    /// Everything of the zone or service.
    All,
}

/// A purge for a CDN.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CdnPurge {
    /// What of.
    pub scope: CdnScope,
    /// How.
    pub hardness: Hardness,
}

/// A request that an adapter sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CdnRequest {
    /// The method.
    pub method: &'static str,
    /// The path below the CDN's API.
    pub path: String,
    /// Headers without authentication and length.
    pub headers: Vec<(&'static str, String)>,
    /// The body; empty: none.
    pub body: String,
    /// Which of the offered purges it carries, by position.
    pub carries: Vec<usize>,
}

/// A purge that a CDN has no request for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{cdn} purges by {bound}, not by {what}")]
pub struct NotForThisCdn {
    /// Position among what was offered.
    pub at: usize,
    /// Which CDN.
    pub cdn: &'static str,
    /// What cannot be done.
    pub what: &'static str,
    /// What can.
    pub bound: &'static str,
}
