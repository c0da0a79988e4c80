//! Which of the fields that a proxy looks at a message has.

use http::{HeaderMap, HeaderName, header};

use super::hop_by_hop::is_hop_by_hop;

/// The outcome of one pass over the names of a header section. A look-up costs a hash whether the
/// field is there or not, and most of the fields that a proxy must look at never are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Presence(u16);

const HOP_BY_HOP: u16 = 1;
const UPGRADE: u16 = 1 << 1;
const VIA: u16 = 1 << 2;
const EXPECT: u16 = 1 << 3;
const CONTENT_LENGTH: u16 = 1 << 4;
const CONTENT_TYPE: u16 = 1 << 5;
const COOKIE: u16 = 1 << 6;
const SPLIT_COOKIE: u16 = 1 << 7;
const CLIENT: u16 = 1 << 8;

impl Presence {
    /// Looks at every name once.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut seen = 0;
        for (name, _) in headers {
            let bit = bit_of(name);
            if bit & seen & COOKIE != 0 {
                seen |= SPLIT_COOKIE;
            }
            seen |= bit;
        }
        Self(seen)
    }

    const fn has(self, bit: u16) -> bool {
        self.0 & bit != 0
    }

    /// A field for this connection only, `Upgrade` among them.
    pub const fn has_hop_by_hop(self) -> bool {
        self.has(HOP_BY_HOP)
    }

    /// `Upgrade`.
    pub const fn has_upgrade(self) -> bool {
        self.has(UPGRADE)
    }

    /// `Via`.
    pub const fn has_via(self) -> bool {
        self.has(VIA)
    }

    /// `Expect`.
    pub const fn has_expect(self) -> bool {
        self.has(EXPECT)
    }

    /// `Content-Length`.
    pub const fn has_content_length(self) -> bool {
        self.has(CONTENT_LENGTH)
    }

    /// `Content-Type`.
    pub const fn has_content_type(self) -> bool {
        self.has(CONTENT_TYPE)
    }

    /// `Cookie` on more than one line.
    pub const fn has_split_cookie(self) -> bool {
        self.has(SPLIT_COOKIE)
    }

    /// Something that tells of the client: `Forwarded`, `X-Real-IP` or any `X-Forwarded-*`.
    pub const fn tells_of_client(self) -> bool {
        self.has(CLIENT)
    }
}

/// Whether the field tells of the way of a message, its client included: `Via` and what
/// [`Presence::tells_of_client`] counts.
pub fn is_of_the_way(name: &HeaderName) -> bool {
    bit_of(name) & (VIA | CLIENT) != 0
}

fn bit_of(name: &HeaderName) -> u16 {
    let text = name.as_str();
    match text.len() {
        3 if name == header::VIA => VIA,
        6 if name == header::COOKIE => COOKIE,
        6 if name == header::EXPECT => EXPECT,
        7 if name == header::UPGRADE => UPGRADE | HOP_BY_HOP,
        9 if name == header::FORWARDED || text == "x-real-ip" => CLIENT,
        12 if name == header::CONTENT_TYPE => CONTENT_TYPE,
        14 if name == header::CONTENT_LENGTH => CONTENT_LENGTH,
        _ if is_hop_by_hop(name) => HOP_BY_HOP,
        13.. if text.starts_with("x-forwarded-") => CLIENT,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::strip_hop_by_hop;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn presence(names: &[&str]) -> Presence {
        let mut headers = HeaderMap::new();
        for name in names {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_static("x"),
            );
        }
        Presence::of(&headers)
    }

    #[test]
    fn nothing_notable_is_nothing() {
        assert_eq!(
            presence(&["host", "accept", "user-agent", "x-y"]),
            Presence::default()
        );
    }

    #[test]
    fn each_notable_field_is_noticed() {
        assert!(presence(&["via"]).has_via());
        assert!(presence(&["expect"]).has_expect());
        assert!(presence(&["content-length"]).has_content_length());
        assert!(presence(&["content-type"]).has_content_type());
        let upgrade = presence(&["upgrade"]);
        assert!(upgrade.has_upgrade() && upgrade.has_hop_by_hop());
        for name in [
            "forwarded",
            "x-real-ip",
            "x-forwarded-for",
            "x-forwarded-anything",
        ] {
            assert!(presence(&[name]).tells_of_client(), "{name}");
        }
        assert!(!presence(&["cookie"]).has_split_cookie());
        assert!(presence(&["cookie", "accept", "cookie"]).has_split_cookie());
    }

    proptest! {
        #[test]
        fn what_has_no_hop_by_hop_field_loses_nothing(
            names in proptest::collection::vec("connection|te|upgrade|keep-alive|x-[a-z]{1,16}|host", 0..8)
        ) {
            let mut headers = HeaderMap::new();
            for name in &names {
                headers.append(
                    HeaderName::from_bytes(name.as_bytes()).unwrap(),
                    HeaderValue::from_static("close"),
                );
            }
            let before = headers.clone();
            let _ = strip_hop_by_hop(&mut headers);
            prop_assert_eq!(before == headers, !Presence::of(&before).has_hop_by_hop());
        }
    }
}
