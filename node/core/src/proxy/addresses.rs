//! Addresses as text in headers.

use std::fmt::{self, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::HeaderValue;

/// Reads a node as proxies write it: an address, in brackets if it is IPv6 with or without port.
pub(super) fn parse_address(text: &str) -> Option<IpAddr> {
    let address = text
        .parse::<IpAddr>()
        .or_else(|_| text.parse::<SocketAddr>().map(|socket| socket.ip()))
        .ok()
        .or_else(|| {
            let inner = text.strip_prefix('[')?.strip_suffix(']')?;
            inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        })?;
    Some(address.to_canonical())
}

/// A header value of addresses separated by commas. One allocation, of the exact size, if the text
/// is short.
pub(super) fn address_list(addresses: impl Iterator<Item = IpAddr>) -> HeaderValue {
    let mut text = Text::default();
    for (index, address) in addresses.enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        write!(text, "{separator}{address}").expect("writing to memory cannot fail");
    }
    HeaderValue::from_bytes(text.as_bytes())
        .expect("addresses, commas and spaces are legal in header values")
}

/// Text that stays on the stack while it is short.
struct Text {
    short: [u8; 96],
    length: usize,
    long: Vec<u8>,
}

impl Default for Text {
    fn default() -> Self {
        Self {
            short: [0; 96],
            length: 0,
            long: Vec::new(),
        }
    }
}

impl Text {
    fn as_bytes(&self) -> &[u8] {
        if self.long.is_empty() {
            &self.short[..self.length]
        } else {
            &self.long
        }
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        if self.long.is_empty() && end <= self.short.len() {
            self.short[self.length..end].copy_from_slice(text.as_bytes());
            self.length = end;
            return Ok(());
        }
        if self.long.is_empty() {
            self.long.extend_from_slice(&self.short[..self.length]);
        }
        self.long.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_and_without_port() {
        for (text, expected) in [
            ("192.0.2.1", Some("192.0.2.1")),
            ("192.0.2.1:80", Some("192.0.2.1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("[2001:db8::1]:80", Some("2001:db8::1")),
            ("::ffff:192.0.2.1", Some("192.0.2.1")),
            ("unknown", None),
            ("_hidden", None),
            ("192.0.2.256", None),
            ("", None),
        ] {
            let expected = expected.map(|text| text.parse().unwrap());
            assert_eq!(parse_address(text), expected, "{text}");
        }
    }

    #[test]
    fn long_lists_are_written_whole() {
        let addresses: Vec<IpAddr> = (0..40).map(|n| IpAddr::from([10, 0, 0, n])).collect();
        let expected: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let value = address_list(addresses.into_iter());
        assert_eq!(value, expected.join(", ").as_str());
    }
}
