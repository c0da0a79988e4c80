//! Who may come in: how often one client begins anew.

use std::net::IpAddr;

use super::Refused;
use super::pace::{Named, Pace, network};
use crate::cache::UnixMs;

const NAMED: Named = Named {
    clients: "client addresses that begin within a second",
    rate: "subscribers that one client address begins within a second",
};

/// Clients that began of late.
#[derive(Debug, Default)]
pub struct Door(Pace<IpAddr>);

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
        self.0.step(network(client), now, per_second_max, NAMED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENTS_MAX: usize = 16_384;

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
