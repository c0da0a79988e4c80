//! Purges as Cloudflare takes them: `POST /zones/ID/purge_cache`.

use super::{CdnPurge, CdnRequest};

/// Operations of one request.
pub const CLOUDFLARE_OPS_MAX: usize = 100;

/// A zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cloudflare {
    /// The zone's id.
    pub zone: String,
}

impl Cloudflare {
    /// The fewest requests that make all purges. Cloudflare knows hard purges only, which are stricter than soft ones.
    pub fn requests(&self, purges: &[CdnPurge]) -> Vec<CdnRequest> {
        panic!("not written yet: {purges:?}")
    }
}
