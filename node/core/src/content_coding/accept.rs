//! What a client takes.

use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

use super::Coding;

/// Elements of the header that are read; whoever sends more is taken to mean these.
const ELEMENTS_MAX: usize = 32;
const ALL_OF_IT: u16 = 1_000;

/// What a client takes, of the codings that are known (RFC 9110 section 12.5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AcceptEncoding {
    /// Thousandths for each of [`Coding::ALL`].
    weights: [u16; 4],
}

impl AcceptEncoding {
    /// A client that takes what the origin sends and nothing else.
    pub const IDENTITY: Self = Self {
        weights: [ALL_OF_IT, 0, 0, 0],
    };

    /// As the headers of a request say. Without the header nothing is compressed: RFC 9110 would allow any coding, and
    /// clients that do not say what they take decode nothing. A malformed element counts as not there.
    pub fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(ACCEPT_ENCODING).into_iter();
        let elements = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .take(ELEMENTS_MAX)
            .filter_map(element);
        let (mut named, mut others) = ([None; 4], None);
        for (name, weight) in elements {
            let known = match name {
                "*" => &mut others,
                name => match Coding::from_name(name) {
                    Some(coding) => &mut named[coding as usize],
                    None => continue,
                },
            };
            // Said twice: the stricter one.
            *known = Some(known.map_or(weight, |before: u16| before.min(weight)));
        }
        let weight = |coding: Coding| {
            let unsaid = match (others, coding) {
                // Acceptable unless excluded, and less wanted than what is named.
                (None, Coding::Identity) => 1,
                _ => 0,
            };
            named[coding as usize].or(others).unwrap_or(unsaid)
        };
        Self {
            weights: Coding::ALL.map(weight),
        }
    }

    /// How much the client wants it, in thousandths; 0: not at all.
    pub fn weight(&self, coding: Coding) -> u16 {
        self.weights[coding as usize]
    }

    /// The coding that the client wants most, of those in `preference` and identity; of several the first in the
    /// preference, identity last. None: the client takes none of them (RFC 9110 lets the server answer 406 or send
    /// identity).
    pub fn choose(&self, preference: &[Coding]) -> Option<Coding> {
        let offered = preference.iter().copied().chain([Coding::Identity]);
        let mut best = None;
        for coding in offered {
            let weight = self.weight(coding);
            if weight > 0 && best.is_none_or(|(_, most)| weight > most) {
                best = Some((coding, weight));
            }
        }
        best.map(|(coding, _)| coding)
    }

    /// Every coding of `preference`, and identity, that the client takes, as [`AcceptEncoding::choose`] orders them.
    pub fn taken<'a>(&self, preference: &'a [Coding]) -> impl Iterator<Item = Coding> + use<'a> {
        let accept = *self;
        let best = accept.choose(preference);
        let others = preference.iter().copied().chain([Coding::Identity]);
        let others =
            others.filter(move |coding| Some(*coding) != best && accept.weight(*coding) > 0);
        best.into_iter().chain(others)
    }

    /// The header that says the same of the codings that are known: what the origin is asked with and variants are
    /// keyed by, so that the many ways of browsers to say it are few.
    pub fn normalized(&self, preference: &[Coding]) -> &'static str {
        self.choose(preference).unwrap_or(Coding::Identity).name()
    }
}

fn element(text: &str) -> Option<(&str, u16)> {
    let mut parts = text.split(';').map(|part| part.trim_matches([' ', '\t']));
    let name = parts.next().filter(|name| !name.is_empty())?;
    let Some(parameter) = parts.next() else {
        return Some((name, ALL_OF_IT));
    };
    let (q, value) = parameter.split_once('=')?;
    let is_whole = q.eq_ignore_ascii_case("q") && parts.next().is_none();
    is_whole
        .then(|| thousandths(value))
        .flatten()
        .map(|weight| (name, weight))
}

/// A `qvalue` (RFC 9110 section 12.4.2): 0 to 1 with up to three decimals.
fn thousandths(value: &str) -> Option<u16> {
    let (whole, decimals) = value.split_once('.').unwrap_or((value, ""));
    let is_decimal = decimals.len() <= 3 && decimals.bytes().all(|byte| byte.is_ascii_digit());
    if !is_decimal || !matches!(whole, "0" | "1") {
        return None;
    }
    let digits = whole.bytes().chain(decimals.bytes()).chain(*b"000");
    let weight = digits
        .take(4)
        .fold(0, |weight, digit| weight * 10 + u16::from(digit - b'0'));
    (weight <= ALL_OF_IT).then_some(weight)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::content_coding::DEFAULT_PREFERENCE;

    fn chosen(accept: &str) -> Option<Coding> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_str(accept).unwrap());
        AcceptEncoding::of(&headers).choose(&DEFAULT_PREFERENCE)
    }

    #[test]
    fn the_client_decides_and_among_equals_the_server() {
        for (accept, coding) in [
            ("gzip, deflate, br, zstd", Coding::Brotli),
            ("gzip, deflate", Coding::Gzip),
            ("zstd;q=1.0, br;q=0.9", Coding::Zstd),
            ("GZIP;Q=0.5 , BR ; q=0.2", Coding::Gzip),
            ("x-gzip", Coding::Gzip),
            ("*", Coding::Brotli),
            ("br;q=0, *", Coding::Zstd),
            ("gzip;q=0.001", Coding::Gzip),
            ("gzip;q=0.5, identity", Coding::Identity),
            ("gzip;q=0.5, *;q=0.9", Coding::Brotli),
            ("deflate", Coding::Identity),
            ("", Coding::Identity),
            ("gzip;q=0", Coding::Identity),
            ("identity;q=0, gzip", Coding::Gzip),
        ] {
            assert_eq!(chosen(accept), Some(coding), "{accept}");
        }
    }

    #[test]
    fn a_client_may_take_nothing_that_there_is() {
        for accept in [
            "identity;q=0",
            "*;q=0",
            "deflate, *;q=0",
            "identity;q=0, gzip;q=0",
        ] {
            assert_eq!(chosen(accept), None, "{accept}");
        }
        assert_eq!(chosen("*;q=0, identity"), Some(Coding::Identity));
    }

    #[test]
    fn what_is_taken_begins_with_what_is_wanted_most() {
        let mut headers = HeaderMap::new();
        let accept = HeaderValue::from_static("gzip, br;q=0.5, zstd;q=0");
        headers.insert(ACCEPT_ENCODING, accept);
        let taken = AcceptEncoding::of(&headers).taken(&DEFAULT_PREFERENCE);
        let taken: Vec<_> = taken.collect();
        assert_eq!(taken, [Coding::Gzip, Coding::Brotli, Coding::Identity]);
    }

    #[test]
    fn malformed_elements_say_nothing() {
        for accept in [
            "br;q=2",
            "br;q=1.001",
            "br;q=0.0001",
            "br;q=",
            "br;q",
            "br;q=-1",
            "br;x=1",
            "br;q=1;q=1",
            "br;q=.5",
            ";q=1",
            "b r",
            ",,,",
        ] {
            assert_eq!(chosen(accept), Some(Coding::Identity), "{accept}");
        }
        assert_eq!(chosen("br;q=0, br"), Some(Coding::Identity));
    }

    #[test]
    fn a_client_that_says_nothing_gets_what_the_origin_sent() {
        let says = AcceptEncoding::of(&HeaderMap::new());
        assert_eq!(says.choose(&DEFAULT_PREFERENCE), Some(Coding::Identity));
    }

    #[test]
    fn lines_count_together_and_the_order_of_the_server_is_configurable() {
        let mut headers = HeaderMap::new();
        headers.append(ACCEPT_ENCODING, HeaderValue::from_static("br;q=0.4"));
        headers.append(ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd"));
        let says = AcceptEncoding::of(&headers);
        assert_eq!(
            says.choose(&[Coding::Gzip, Coding::Zstd]),
            Some(Coding::Gzip)
        );
        assert_eq!(says.choose(&[Coding::Brotli]), Some(Coding::Brotli));
        assert_eq!(says.normalized(&[Coding::Zstd]), "zstd");
        assert_eq!(says.weight(Coding::Brotli), 400);
    }
}
