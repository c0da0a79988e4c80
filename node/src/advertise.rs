//! Where other nodes reach this one.
//!
//! A node that listens on every address has to name one of them: nobody can ask `0.0.0.0` for anything.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{UdpSocket, lookup_host};
use tokio::time::timeout;
use weir_proto::control::v1 as pb;

use crate::ports::net::Endpoint;

/// For so long the names of the control plane are looked up.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// Puts the address by which this host reaches the control plane in the place of every one that stands for all.
pub(crate) async fn advertise(hello: &mut pb::Hello, endpoints: &[Endpoint]) {
    if !addresses(hello).any(|text| is_for_all(text)) {
        return;
    }
    let own = timeout(LOOKUP_TIMEOUT, towards(endpoints)).await;
    name(hello, own.unwrap_or_default());
    let nameless: Vec<String> = addresses(hello)
        .filter(|text| is_for_all(text))
        .map(|text| text.clone())
        .collect();
    if !nameless.is_empty() {
        let listens = nameless.join(", ");
        tracing::warn!(
            listens,
            "no address of this host is known by which other nodes could reach it: they do not ask it for what the \
             cache has. `ingress.advertise` and `grpc.advertise` name some"
        );
    }
}

fn name(hello: &mut pb::Hello, own: Option<IpAddr>) {
    for address in addresses(hello) {
        if let Some(named) = named(address, own) {
            *address = named;
        }
    }
}

fn addresses(hello: &mut pb::Hello) -> impl Iterator<Item = &mut String> {
    let own = [&mut hello.grpc_address, &mut hello.http_api_address];
    own.into_iter().chain(&mut hello.ingress_addresses)
}

fn is_for_all(text: &str) -> bool {
    let address = text.parse::<SocketAddr>();
    address.is_ok_and(|address| address.ip().is_unspecified())
}

/// One that stands for all, as others shall know it. `0.0.0.0` takes no connections over IPv6.
fn named(text: &str, own: Option<IpAddr>) -> Option<String> {
    let listen: SocketAddr = text.parse().ok()?;
    let own = own.filter(|own| listen.is_ipv6() || own.is_ipv4())?;
    let is_for_all = listen.ip().is_unspecified();
    is_for_all.then(|| SocketAddr::new(own, listen.port()).to_string())
}

/// The address of this host by which it reaches the control plane. Not a loopback one, which on other hosts is theirs.
async fn towards(endpoints: &[Endpoint]) -> Option<IpAddr> {
    for endpoint in endpoints {
        let Ok(found) = lookup_host(endpoint.as_str()).await else {
            continue;
        };
        for to in found {
            let own = source(to).await;
            if own.is_some_and(|own| !own.is_loopback() && !own.is_unspecified()) {
                return own;
            }
        }
    }
    None
}

/// The address from which packets to somebody go. None is sent.
async fn source(to: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await.ok()?;
    socket.connect(to).await.ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> pb::Hello {
        pb::Hello {
            grpc_address: "127.0.0.1:7000".to_owned(),
            http_api_address: "0.0.0.0:7001".to_owned(),
            ingress_addresses: vec!["0.0.0.0:80".to_owned(), "[::]:81".to_owned()],
            ..pb::Hello::default()
        }
    }

    fn told(mut hello: pb::Hello) -> Vec<String> {
        addresses(&mut hello).map(|text| text.clone()).collect()
    }

    #[test]
    fn a_node_that_listens_on_every_address_names_one_of_its_host() {
        let mut told_of = hello();
        name(&mut told_of, Some("10.0.0.7".parse().unwrap()));
        let expected = [
            "127.0.0.1:7000",
            "10.0.0.7:7001",
            "10.0.0.7:80",
            "10.0.0.7:81",
        ];
        assert_eq!(told(told_of), expected);
    }

    #[test]
    fn an_address_of_the_other_family_is_named_only_where_it_is_listened_on() {
        let mut told_of = hello();
        name(&mut told_of, Some("fd00::7".parse().unwrap()));
        let expected = [
            "127.0.0.1:7000",
            "0.0.0.0:7001",
            "0.0.0.0:80",
            "[fd00::7]:81",
        ];
        assert_eq!(told(told_of), expected);
    }

    #[tokio::test]
    async fn a_control_plane_on_this_host_tells_no_address_that_others_could_reach() {
        let mut told_of = hello();
        let endpoints: [Endpoint; 1] = ["127.0.0.1:9".parse().unwrap()];
        advertise(&mut told_of, &endpoints).await;
        assert_eq!(told(told_of), told(hello()));
    }

    #[tokio::test]
    async fn packets_to_a_host_go_from_one_address() {
        let to = "127.0.0.1:9".parse().unwrap();
        assert_eq!(source(to).await, Some(Ipv4Addr::LOCALHOST.into()));
    }
}
