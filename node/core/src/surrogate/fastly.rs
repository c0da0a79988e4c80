//! Purges as Fastly takes them: `POST /service/ID/purge`.

use super::{CdnPurge, CdnRequest, NotForThisCdn};

/// Surrogate keys of one request.
pub const FASTLY_KEYS_MAX: usize = 256;

/// A service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fastly {
    /// The service's id.
    pub service: String,
}

impl Fastly {
    /// The fewest requests that make the purges, and those that Fastly has no request for (prefixes and hosts).
    pub fn requests(&self, purges: &[CdnPurge]) -> (Vec<CdnRequest>, Vec<NotForThisCdn>) {
        panic!("not written yet: {purges:?}")
    }
}
