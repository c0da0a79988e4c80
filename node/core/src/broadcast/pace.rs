//! How often somebody does something, of all who do.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use super::Refused;
use crate::cache::UnixMs;

/// Clients that are remembered; whoever has been quiet for long enough is not.
const CLIENTS_MAX: usize = 16_384;
/// In this time a client may do it as often as it may, at any moment of it.
const WINDOW_NANOS: u64 = 1_000_000_000;
/// A network of IPv6 is one client.
const IPV6_PREFIX: u32 = 64;

/// Who publishes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Publisher {
    /// Whoever shows a token, from wherever.
    Token(Arc<str>),
    /// Whoever shows none, by address; of IPv6 its network.
    Address(IpAddr),
}

impl Publisher {
    /// Whoever shows no token and comes from here.
    pub fn at(address: IpAddr) -> Self {
        Self::Address(network(address))
    }
}

/// Clients that did something of late.
#[derive(Debug)]
pub struct Pace<K> {
    /// When a client that keeps exactly to its rate would do it next, in nanoseconds.
    next: BTreeMap<K, u64>,
}

impl<K> Default for Pace<K> {
    fn default() -> Self {
        Self {
            next: BTreeMap::new(),
        }
    }
}

/// What refusals call it.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// All clients that did it within a second.
    pub clients: &'static str,
    /// How often one of them did.
    pub rate: &'static str,
}

impl Named {
    /// Messages of publishers.
    pub const PUBLISHED: Self = Self {
        clients: "publishers within a second",
        rate: "broadcaster.publish_per_second_max: messages of one client within a second",
    };
}

impl<K: Ord> Pace<K> {
    /// Takes note of somebody who does it.
    ///
    /// # Errors
    ///
    /// When they have done it `per_second_max` times within a second, or there are too many to remember.
    pub fn step(
        &mut self,
        who: K,
        now: UnixMs,
        per_second_max: u32,
        named: Named,
    ) -> Result<(), Refused> {
        let now = now.0.saturating_mul(1_000_000);
        if self.next.len() >= CLIENTS_MAX && !self.next.contains_key(&who) {
            self.next.retain(|_, next| *next > now);
            if self.next.len() >= CLIENTS_MAX {
                return Err(Refused::TooMany {
                    field: named.clients,
                    value: CLIENTS_MAX + 1,
                    max: CLIENTS_MAX,
                });
            }
        }
        let step = WINDOW_NANOS / u64::from(per_second_max.max(1));
        let next = self.next.entry(who).or_insert(now);
        let after = (*next).max(now).saturating_add(step);
        if after > now.saturating_add(WINDOW_NANOS) {
            return Err(Refused::TooMany {
                field: named.rate,
                value: per_second_max as usize + 1,
                max: per_second_max as usize,
            });
        }
        *next = after;
        Ok(())
    }
}

/// The network of a client that counts as one.
pub(super) fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            let bits = u128::from(address) >> (128 - IPV6_PREFIX) << (128 - IPV6_PREFIX);
            Ipv6Addr::from(bits).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publisher_is_held_to_its_rate_by_its_token_or_its_address() {
        let mut pace = Pace::default();
        let mut publish =
            |who: &Publisher, at| pace.step(who.clone(), UnixMs(at), 2, Named::PUBLISHED);
        let token = Publisher::Token("app".into());
        let here = Publisher::at("10.0.0.1".parse().unwrap());
        for who in [&token, &here] {
            assert!(publish(who, 0).is_ok() && publish(who, 0).is_ok());
            let refused = publish(who, 499).unwrap_err().to_string();
            let expected = "broadcaster.publish_per_second_max: messages of one client within a second would be 3, \
                            more than 2";
            assert_eq!(refused, expected);
            assert!(publish(who, 500).is_ok());
        }
    }
}
