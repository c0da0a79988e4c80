//! Who may come in: how often one client begins anew.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use super::Refused;
use crate::cache::UnixMs;

/// Clients that are remembered; whoever has been quiet for long enough is not.
const CLIENTS_MAX: usize = 16_384;
/// In this time a client may begin as often as it may, at any moment of it.
const WINDOW_MICROS: u64 = 1_000_000;
/// A network of IPv6 is one client.
const IPV6_PREFIX: u32 = 64;

/// Clients that began of late.
#[derive(Debug, Default)]
pub struct Door {
    /// When a client that keeps exactly to its rate would begin next, in microseconds.
    next: BTreeMap<IpAddr, u64>,
}

impl Door {
    /// Takes note of a client that begins.
    ///
    /// # Errors
    ///
    /// When it has begun `per_second_max` times within a second, or there are too many clients to remember.
    pub fn knock(
        &mut self,
        client: IpAddr,
        now: UnixMs,
        per_second_max: u32,
    ) -> Result<(), Refused> {
        let now = now.0.saturating_mul(1_000);
        let client = network(client);
        if self.next.len() >= CLIENTS_MAX && !self.next.contains_key(&client) {
            self.next.retain(|_, next| *next > now);
            if self.next.len() >= CLIENTS_MAX {
                return Err(Refused::TooMany {
                    field: "client addresses that begin within a second",
                    value: CLIENTS_MAX + 1,
                    max: CLIENTS_MAX,
                });
            }
        }
        let step = WINDOW_MICROS / u64::from(per_second_max.max(1));
        let next = self.next.entry(client).or_insert(now);
        let after = (*next).max(now) + step;
        if after > now + WINDOW_MICROS {
            return Err(Refused::TooMany {
                field: "subscribers that one client address begins within a second",
                value: per_second_max as usize + 1,
                max: per_second_max as usize,
            });
        }
        *next = after;
        Ok(())
    }
}

fn network(client: IpAddr) -> IpAddr {
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

    fn client(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_client_begins_so_often_in_a_second_and_others_are_not_held_up() {
        let mut door = Door::default();
        let mut knock = |address, at| door.knock(client(address), UnixMs(at), 4).is_ok();
        for _ in 0..4 {
            assert!(knock("10.0.0.1", 1_000));
        }
        assert!(!knock("10.0.0.1", 1_000));
        assert!(!knock("::ffff:10.0.0.1", 1_000), "the same one");
        assert!(knock("10.0.0.2", 1_000));
        assert!(!knock("10.0.0.1", 1_249));
        assert!(knock("10.0.0.1", 1_250));
        assert!(!knock("10.0.0.1", 1_250));
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let mut door = Door::default();
        assert!(door.knock(client("2001:db8::1"), UnixMs(0), 1).is_ok());
        assert!(door.knock(client("2001:db8::2"), UnixMs(0), 1).is_err());
        assert!(door.knock(client("2001:db8:0:1::1"), UnixMs(0), 1).is_ok());
    }

    #[test]
    fn clients_that_are_remembered_are_bounded_and_quiet_ones_make_room() {
        let mut door = Door::default();
        for n in 0..CLIENTS_MAX {
            let address = IpAddr::from(u32::try_from(n).unwrap().to_be_bytes());
            assert!(door.knock(address, UnixMs(0), 2).is_ok());
        }
        assert!(door.knock(client("250.0.0.1"), UnixMs(0), 2).is_err());
        assert!(door.knock(client("250.0.0.1"), UnixMs(500), 2).is_ok());
    }
}
