//! Which requests of one key a response is for (RFC 9111 section 4.1).

use http::header::{ACCEPT_ENCODING, ACCEPT_LANGUAGE, HeaderMap, HeaderName, VARY};

use super::directives::split;
use super::negotiation;

/// Names in `Vary` beyond which a response is not stored.
pub const NAMES_MAX: usize = 8;
/// Bytes of the normalised values of all fields of a variant beyond which a response is not stored.
pub const VARIANT_BYTES_MAX: usize = 512;

/// Why no variant can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// `*` or what is no name.
    Star,
    /// More than [`NAMES_MAX`] names.
    Limit,
}

/// Fields of requests that responses of one key depend on, sorted, without repeats.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct VaryBy(Vec<HeaderName>);

/// The text of a field, if it is there.
type Line = Option<Box<[u8]>>;

/// For which requests a response is: the fields it depends on and what they held in the request that fetched it,
/// normalised. Variants are the same if their keys are.
#[derive(Clone, Debug)]
pub struct Variant {
    by: VaryBy,
    key: Box<[u8]>,
    /// The lines in the order of the names; `None` if a field had more than one.
    as_written: Option<Box<[Line]>>,
}

impl PartialEq for Variant {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Variant {}

impl VaryBy {
    /// What `Vary` names; empty if there is none.
    pub(super) fn of(response: &HeaderMap) -> Result<Self, Refused> {
        let mut names = Vec::new();
        for line in response.get_all(VARY) {
            for name in split(line.as_bytes()) {
                // A star is a valid name of a field, but stands for everything here.
                let name = HeaderName::from_bytes(name).map_err(|_| Refused::Star)?;
                if name == "*" {
                    return Err(Refused::Star);
                }
                if !names.contains(&name) {
                    names.push(name);
                }
                if names.len() > NAMES_MAX {
                    return Err(Refused::Limit);
                }
            }
        }
        names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        Ok(Self(names))
    }

    /// These fields; `None` beyond [`NAMES_MAX`].
    pub fn from_names(mut names: Vec<HeaderName>) -> Option<Self> {
        names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        (names.len() <= NAMES_MAX).then_some(Self(names))
    }

    /// The fields by name.
    pub fn names(&self) -> &[HeaderName] {
        &self.0
    }

    /// The secondary key of requests with these fields: equal if, and only if, they take the same variant. `None` if
    /// the values have more than [`VARIANT_BYTES_MAX`] bytes.
    pub fn secondary_key(&self, request: &HeaderMap) -> Option<Box<[u8]>> {
        let mut key = Vec::new();
        self.write_key(request, &mut key).then(|| key.into())
    }

    /// Appends the [`secondary_key`](Self::secondary_key) to a buffer; whether it is within bounds.
    pub fn write_key(&self, request: &HeaderMap, key: &mut Vec<u8>) -> bool {
        let mut bytes = 0;
        for name in &self.0 {
            key.extend_from_slice(name.as_str().as_bytes());
            let before = key.len();
            if request.contains_key(name) {
                key.push(b':');
                normalise(name, request, key);
            }
            bytes += key.len() - before;
            if bytes > VARIANT_BYTES_MAX {
                return false;
            }
            // No value holds a line feed, so nothing runs into the next field.
            key.push(b'\n');
        }
        true
    }

    /// The variant of requests with these fields.
    pub(super) fn variant(self, request: &HeaderMap) -> Option<Variant> {
        let key = self.secondary_key(request)?;
        let has_one_line = |name| request.get_all(name).iter().nth(1).is_none();
        let line = |name| request.get(name).map(|value| value.as_bytes().into());
        let as_written = self
            .0
            .iter()
            .all(has_one_line)
            .then(|| self.0.iter().map(line).collect());
        Some(Variant {
            key,
            as_written,
            by: self,
        })
    }
}

/// Whether a response that depends on `older` may still answer beside a newer one of its key that depends on `newer`.
/// Not if the newer one depends on a field that the older one does not heed: the older one would answer whatever that
/// field says. No variant depends on nothing.
pub fn goes_beside(older: Option<&Variant>, newer: Option<&Variant>) -> bool {
    let heeds = |name| older.is_some_and(|older| older.by.0.contains(name));
    newer.is_none_or(|newer| newer.by.0.iter().all(heeds))
}

impl Variant {
    /// The fields that responses of this key depend on.
    pub fn by(&self) -> &VaryBy {
        &self.by
    }

    /// The secondary key: names of the fields and what they held.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// Whether a request with these fields takes this variant.
    pub fn matches(&self, request: &HeaderMap) -> bool {
        self.is_as_written(request) || self.by.secondary_key(request).as_deref() == Some(&*self.key)
    }

    /// Whether a request has these fields just as the one that fetched the response, one line each. It then takes this
    /// variant; others may too. Much cheaper than a key, and true for most.
    pub fn is_as_written(&self, request: &HeaderMap) -> bool {
        let Some(as_written) = &self.as_written else {
            return false;
        };
        self.by.0.iter().zip(as_written).all(|(name, written)| {
            let mut lines = request.get_all(name).iter();
            let line = lines.next().map(|line| line.as_bytes());
            line == written.as_deref() && lines.next().is_none()
        })
    }
}

/// Appends what a field holds, all its lines as one list without white space that means nothing
/// (RFC 9111 section 4.1).
fn normalise(name: &HeaderName, request: &HeaderMap, key: &mut Vec<u8>) {
    let is_known = *name == ACCEPT_ENCODING || *name == ACCEPT_LANGUAGE;
    if is_known && negotiation::write_normal(&request.get_all(name), key) {
        return;
    }
    let mut is_first = true;
    for line in request.get_all(name) {
        for part in split(line.as_bytes()) {
            if !is_first {
                key.push(b',');
            }
            is_first = false;
            key.extend_from_slice(part);
        }
    }
}
