//! What a client takes.

use http::HeaderMap;

use super::Coding;

/// What a client takes, of the codings that are known (RFC 9110 section 12.5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AcceptEncoding {
    /// Thousandths for each of [`Coding::ALL`].
    weights: [u16; 4],
}

impl AcceptEncoding {
    /// As the headers of a request say.
    pub fn of(headers: &HeaderMap) -> Self {
        panic!("not written yet: {headers:?}")
    }

    /// How much the client wants it, in thousandths; 0: not at all.
    pub fn weight(&self, coding: Coding) -> u16 {
        self.weights[coding as usize]
    }

    /// The coding that the client wants most, of those in `preference` and identity; of several the first in `preference`,
    /// identity last. None: the client takes none of them (RFC 9110 lets the server answer 406 or send identity).
    pub fn choose(&self, preference: &[Coding]) -> Option<Coding> {
        panic!("not written yet: {preference:?}")
    }
}
