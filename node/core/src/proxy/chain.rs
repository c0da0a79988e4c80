//! The chain of proxies that an incoming request claims to have come through.

use std::net::IpAddr;

use http::HeaderMap;
use http::header::FORWARDED;
use ipnet::IpNet;

use super::addresses::parse_address;

/// Hops of an incoming chain that are looked at. What lies further to the left is not believed.
pub const HOPS_MAX: usize = 32;

/// The believed end of a chain: addresses from the nearest hop back to the client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    /// Nearest first, that is from right to left.
    hops: [IpAddr; HOPS_MAX],
    count: usize,
}

impl Chain {
    const EMPTY: Self = Self {
        hops: [IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED); HOPS_MAX],
        count: 0,
    };

    /// The client's end; `None` if nothing was believed.
    pub(super) fn client(&self) -> Option<IpAddr> {
        self.count.checked_sub(1).map(|last| self.hops[last])
    }

    /// From the client to the nearest hop, as headers list them.
    pub(super) fn client_first(&self) -> impl Iterator<Item = IpAddr> {
        self.hops[..self.count].iter().rev().copied()
    }

    /// How many elements at the end of the incoming list are believed.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Walks from the nearest hop to the first one that is not trusted, which is the client: what
    /// it says about who came before it is not believed. Stops at what is no address.
    fn walk(trusted: &[IpNet], nearest_first: impl Iterator<Item = Option<IpAddr>>) -> Self {
        let mut chain = Self::EMPTY;
        for hop in nearest_first.take(HOPS_MAX) {
            let Some(hop) = hop else { break };
            chain.hops[chain.count] = hop;
            chain.count += 1;
            if !is_trusted(trusted, hop) {
                break;
            }
        }
        chain
    }

    /// The chain in all `X-Forwarded-For` lines; empty if there is none.
    pub(super) fn of_x_forwarded_for(trusted: &[IpNet], headers: &HeaderMap) -> Self {
        let lines = headers.get_all("x-forwarded-for").iter().rev();
        let hops = lines.flat_map(|line| {
            let text = line.to_str().unwrap_or("");
            text.rsplit(',').map(|hop| parse_address(hop.trim()))
        });
        Self::walk(trusted, hops)
    }

    /// The chain that the elements of `Forwarded` name.
    pub(super) fn of_forwarded(trusted: &[IpNet], elements: &[&str]) -> Self {
        Self::walk(trusted, elements.iter().rev().map(|text| node_of(text)))
    }

    /// The single address in `X-Real-IP`; empty if there is none or more than one.
    pub(super) fn of_x_real_ip(headers: &HeaderMap) -> Self {
        let mut lines = headers.get_all("x-real-ip").iter();
        let address = lines
            .next()
            .and_then(|line| parse_address(line.to_str().ok()?.trim()));
        match (address, lines.next()) {
            (Some(address), None) => Self::walk(&[], std::iter::once(Some(address))),
            _ => Self::EMPTY,
        }
    }
}

/// Whether the address belongs to one of the networks. IPv4-mapped IPv6 counts as IPv4.
pub(super) fn is_trusted(trusted: &[IpNet], address: IpAddr) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

/// The elements of all `Forwarded` lines in order (RFC 7239 section 4). Empty if a line is
/// malformed or there are more than [`HOPS_MAX`] elements: then no border between them is certain.
pub(super) fn forwarded_elements(headers: &HeaderMap) -> Vec<&str> {
    let mut elements = Vec::new();
    for line in headers.get_all(FORWARDED) {
        let Some(parts) = line
            .to_str()
            .ok()
            .and_then(|text| split_outside_quotes(text, b','))
        else {
            return Vec::new();
        };
        elements.extend(parts.into_iter().filter(|part| !part.is_empty()));
    }
    if elements.len() > HOPS_MAX {
        elements.clear();
    }
    elements
}

/// Splits where the separator is not within a quoted string, and trims; `None` if a quote is open.
fn split_outside_quotes(text: &str, separator: u8) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    let (mut start, mut is_quoted, mut is_escaped) = (0, false, false);
    for (at, byte) in text.bytes().enumerate() {
        if is_escaped {
            is_escaped = false;
        } else if is_quoted && byte == b'\\' {
            is_escaped = true;
        } else if byte == b'"' {
            is_quoted = !is_quoted;
        } else if !is_quoted && byte == separator {
            parts.push(text[start..at].trim());
            start = at + 1;
        }
    }
    parts.push(text[start..].trim());
    (!is_quoted).then_some(parts)
}

/// The address in the `for` parameter of an element.
fn node_of(element: &str) -> Option<IpAddr> {
    let mut nodes = split_outside_quotes(element, b';')?
        .into_iter()
        .filter_map(|pair| pair.split_once('='))
        .filter(|(name, _)| name.eq_ignore_ascii_case("for"));
    let (_, node) = nodes.next()?;
    if nodes.next().is_some() {
        return None;
    }
    let quoted = node
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    parse_address(quoted.unwrap_or(node))
}
