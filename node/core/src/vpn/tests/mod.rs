//! One VPN through what happens to it; several VPNs and what is behind them.

mod failover;
mod health;
mod owner;
mod port_watch;

use crate::port_cache::Port;

fn port(number: u16) -> Port {
    Port::new(number).expect("not zero")
}
