//! The content codings that are known.

/// A content coding (RFC 9110 section 8.4.1, RFC 7932, RFC 8878).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Coding {
    /// As it is.
    Identity,
    /// gzip.
    Gzip,
    /// Brotli.
    Brotli,
    /// Zstandard.
    Zstd,
}

/// What is made, the most wanted first, where the client wants all of them equally.
pub const DEFAULT_PREFERENCE: [Coding; 3] = [Coding::Brotli, Coding::Zstd, Coding::Gzip];

impl Coding {
    /// Every coding.
    pub const ALL: [Self; 4] = [Self::Identity, Self::Gzip, Self::Brotli, Self::Zstd];

    /// Those that are made: all but identity.
    pub const MADE: [Self; 3] = [Self::Brotli, Self::Gzip, Self::Zstd];

    /// As in `Content-Encoding`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// The coding of a name in any case; `x-gzip` is gzip (RFC 9110 section 8.4.1.3).
    pub fn from_name(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("x-gzip") {
            return Some(Self::Gzip);
        }
        Self::ALL
            .into_iter()
            .find(|coding| name.eq_ignore_ascii_case(coding.name()))
    }

    /// The same, of those that are made.
    pub fn made_from_name(name: &str) -> Option<Self> {
        Self::from_name(name).filter(|coding| *coding != Self::Identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_in_any_case() {
        for coding in Coding::ALL {
            assert_eq!(Coding::from_name(coding.name()), Some(coding));
            assert_eq!(
                Coding::from_name(&coding.name().to_uppercase()),
                Some(coding)
            );
        }
        assert_eq!(Coding::from_name("X-GZip"), Some(Coding::Gzip));
        assert_eq!(Coding::from_name("deflate"), None);
    }
}
