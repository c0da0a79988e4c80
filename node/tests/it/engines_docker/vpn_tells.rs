//! A VPN's container that tells of its new port itself.

use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::port_cache_client::PortCacheClient;

use super::stage::eventually;
use super::vpn::Vpn;
use crate::common::Weir;
use crate::grpc::channel;

/// Of the node's HTTP API.
pub(super) const TOKEN: &str = "s3cret";

/// What the VPN's container itself tells of a new port is known at once, where the port is asked for once in an hour;
/// with a wrong token nothing is.
pub(super) async fn told_by_its_command(vpn: &Vpn, weir: &Weir) {
    let config = vpn
        .config("tells_port = true")
        .replace("ttl = \"2s\"", "ttl = \"1h\"\nstale_max = \"2h\"");
    weir.edit(&config);
    let at = way_to_api(vpn, weir).await;
    let command = |token: &str| {
        let push = format!("/fake-gluetun push http://{at}/api/ports/v1 {token}");
        push.replace(' ', "+") + "+{{PORTS}}"
    };
    // Once what was under way by the old time to live is over.
    eventually(weir, "the new one is in force", async || {
        let before = vpn.calls("GET /v1/portforward");
        sleep(Duration::from_secs(2)).await;
        (vpn.calls("GET /v1/portforward") == before).then_some(())
    })
    .await;
    vpn.tell(&format!("set?up_command={}&ports=5003", command("wrong")))
        .await;
    eventually(weir, "its command is refused", async || {
        (vpn.calls("up_command 2") == 1).then_some(())
    })
    .await;
    assert_eq!(port_of(weir).await, 5002, "{}", weir.log());
    vpn.tell(&format!("set?up_command={}&ports=5004", command(TOKEN)))
        .await;
    let told = Instant::now();
    eventually(weir, "it is known", async || {
        (port_of(weir).await == 5004).then_some(())
    })
    .await;
    assert!(
        told.elapsed() < Duration::from_secs(3),
        "{:?}",
        told.elapsed()
    );
    vpn.until_served(weir, 5004).await;
}

/// The port that the node knows.
async fn port_of(weir: &Weir) -> u32 {
    let mut client = PortCacheClient::new(channel(weir.grpc).await);
    let listed = client.list_ports(pb::ListPortsRequest {}).await.unwrap();
    listed.into_inner().ports[0].port
}

/// `host:port` at which containers reach the node's HTTP API, which listens on loopback.
async fn way_to_api(vpn: &Vpn, weir: &Weir) -> String {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let (port, api) = (listener.local_addr().unwrap().port(), weir.api);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut node = TcpStream::connect(api).await?;
                tokio::io::copy_bidirectional(&mut client, &mut node).await
            });
        }
    });
    let (net, _) = vpn.address.rsplit_once('.').unwrap();
    format!("{net}.1:{port}")
}
