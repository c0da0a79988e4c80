//! One VPN through what happens to it.

mod grant;
mod health;
mod owner;
mod port_watch;

use crate::port_cache::Port;

fn port(number: u16) -> Port {
    Port::new(number).expect("not zero")
}
