//! Changes to headers that a route asks for.

use http::header::{CONTENT_LENGTH, HOST, TRAILER};
use http::{HeaderMap, HeaderName, HeaderValue};
use thiserror::Error;

use crate::proxy::is_hop_by_hop;

/// The header frames, routes or belongs to one connection only, and may not be edited. Hosts are
/// changed by a rewrite.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0} may not be edited")]
pub struct RefusedName(pub HeaderName);

/// Changes to headers, applied in the order remove, set, add. The default changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    set: Vec<(HeaderName, HeaderValue)>,
    add: Vec<(HeaderName, HeaderValue)>,
    remove: Vec<HeaderName>,
}

impl HeaderEdits {
    /// `set` replaces all lines of a name, `add` leaves them, `remove` drops them.
    ///
    /// # Errors
    /// [`RefusedName`] with the first name that may not be edited: hop-by-hop fields,
    /// `Content-Length`, `Trailer` and `Host`.
    pub fn new(
        set: Vec<(HeaderName, HeaderValue)>,
        add: Vec<(HeaderName, HeaderValue)>,
        remove: Vec<HeaderName>,
    ) -> Result<Self, RefusedName> {
        let written = set.iter().chain(&add).map(|(name, _)| name);
        match written.chain(&remove).find(|name| is_refused(name)) {
            Some(name) => Err(RefusedName(name.clone())),
            None => Ok(Self { set, add, remove }),
        }
    }

    /// Changes the headers.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name.clone(), value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name.clone(), value.clone());
        }
    }

    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }
}

fn is_refused(name: &HeaderName) -> bool {
    is_hop_by_hop(name) || [CONTENT_LENGTH, HOST, TRAILER].contains(name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn line(name: &'static str, value: &'static str) -> (HeaderName, HeaderValue) {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    }

    #[test]
    fn set_replaces_add_keeps_and_remove_drops() {
        let edits = HeaderEdits::new(
            vec![line("a", "new")],
            vec![line("b", "2")],
            vec![HeaderName::from_static("c")],
        )
        .unwrap();
        let lines = [
            line("a", "x"),
            line("a", "y"),
            line("b", "1"),
            line("c", "z"),
        ];
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, value);
        }
        edits.apply(&mut headers);
        assert_eq!(headers.get_all("a").iter().collect::<Vec<_>>(), ["new"]);
        assert_eq!(headers.get_all("b").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert!(!headers.contains_key("c"));
    }

    #[test]
    fn framing_and_connection_headers_may_not_be_edited() {
        for name in [
            "content-length",
            "transfer-encoding",
            "connection",
            "host",
            "te",
            "upgrade",
            "keep-alive",
        ] {
            let header = HeaderName::from_static(name);
            let removed = HeaderEdits::new(vec![], vec![], vec![header.clone()]);
            assert_eq!(removed, Err(RefusedName(header)));
            assert!(HeaderEdits::new(vec![line(name, "1")], vec![], vec![]).is_err());
            assert!(HeaderEdits::new(vec![], vec![line(name, "1")], vec![]).is_err());
        }
    }
}
