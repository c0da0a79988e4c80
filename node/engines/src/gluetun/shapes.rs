//! What a control server writes.

use std::net::IpAddr;

use serde::Deserialize;
use weir_core::port_cache::Port;

/// One port is told as `port`, several as `ports`, newer versions tell both, and either may be null, empty or zero.
#[derive(Debug, Deserialize)]
pub(super) struct Ports {
    port: Option<u16>,
    ports: Option<Vec<u16>>,
}

impl Ports {
    /// The port that counts, whatever the shape.
    pub(super) fn first(&self) -> Option<Port> {
        let listed = self.ports.as_ref().and_then(|ports| ports.first());
        [listed.copied(), self.port]
            .into_iter()
            .flatten()
            .find_map(Port::new)
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct PublicIp {
    public_ip: Option<String>,
}

impl PublicIp {
    /// The address, if it tells one.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.public_ip.as_ref()?.parse().ok()
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Status {
    pub(super) status: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Version {
    pub(super) version: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_of_ports_is_read() {
        for (body, port) in [
            (r#"{"port":5914}"#, 5914),
            (r#"{"port":0}"#, 0),
            (r#"{"ports":[5914,6021]}"#, 5914),
            (r#"{"port":5914,"ports":[5914,6021]}"#, 5914),
            (r#"{"port":5914,"ports":[]}"#, 5914),
            (r#"{"port":5914,"ports":null}"#, 5914),
            (r#"{"port":5914,"ports":[0]}"#, 5914),
            (r#"{"port":0,"ports":[]}"#, 0),
            (r#"{"port":0,"ports":null}"#, 0),
            (r#"{"port":null,"ports":[6021]}"#, 6021),
            (r#"{"port":0,"ports":[6021]}"#, 6021),
            ("{}", 0),
            (r#"{"port":65535,"new":{"key":[1]}}"#, 65_535),
        ] {
            let ports: Ports = serde_json::from_str(body).unwrap();
            assert_eq!(ports.first(), Port::new(port), "{body}");
        }
        for body in ["", "[]", "not json", r#"{"port":65536}"#, r#"{"port":-1}"#] {
            assert!(serde_json::from_str::<Ports>(body).is_err(), "{body}");
        }
    }
}
