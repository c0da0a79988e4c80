//! Every version of Gluetun and whatever its control server does, with engines in the network of its container: only a
//! port that is another one replaces an engine, and only the one that has it.

use std::collections::BTreeSet;

use weir_proto::node::v1 as pb;
use weir_proto::node::v1::port_cache_client::PortCacheClient;

use super::stage::{eventually, ids};
use super::vpn::{Vpn, forwarded};
use crate::common::Weir;
use crate::grpc::channel;

/// What the fake is told, the state and port that the node tells then, and the port that an engine has.
struct Row {
    order: &'static str,
    told: (&'static str, u32),
    of_engine: u16,
}

const fn row(order: &'static str, told: (&'static str, u32), of_engine: u16) -> Row {
    Row {
        order,
        told,
        of_engine,
    }
}

const ROWS: [Row; 14] = [
    // 400 at the newer route, then 401.
    row("set?version=v3.38", ("ready", 5001), 5001),
    row("set?version=v3.40", ("ready", 5001), 5001),
    row("restart?down_ms=0&ports=5002", ("ready", 5002), 5002),
    // 301 at the older one, and both keys; a list without `port`.
    row("set?version=v3.41.1", ("ready", 5002), 5002),
    row("set?ports=5002,6002", ("ready", 5002), 5002),
    row("set?version=v3.41.3&ports=5002", ("ready", 5002), 5002),
    row("restart?down_ms=0&ports=5003", ("ready", 5003), 5003),
    // 401 is no missing port, and neither of them replaces anything.
    row("set?auth=apikey&key=other", ("auth_required", 0), 5003),
    row("set?auth=none&ports=", ("not_ready", 0), 5003),
    row("set?ports_null=true", ("not_ready", 0), 5003),
    row("set?ports=5003&ports_null=false", ("ready", 5003), 5003),
    row("set?fault=hang", ("unreachable", 5003), 5003),
    row("set?fault=none&version=head", ("ready", 5003), 5003),
    row("restart?down_ms=0&ports=5004", ("ready", 5004), 5004),
];

/// Waits until the node tells this of the port.
async fn until_told(weir: &Weir, row: &Row) {
    eventually(weir, row.order, async || {
        let mut client = PortCacheClient::new(channel(weir.grpc).await);
        let listed = client.list_ports(pb::ListPortsRequest {}).await.ok()?;
        let port = listed.into_inner().ports.pop()?;
        ((port.state.as_str(), port.port) == row.told).then_some(())
    })
    .await;
}

#[tokio::test]
async fn whatever_version_answers_and_however_only_another_port_replaces_an_engine_and_only_one() {
    let vpn = Vpn::new("versions", "5001");
    let weir = Weir::start(&vpn.config("")).await;
    let mut before = vpn.until_served(&weir, 5001).await;
    let mut port = 5001;
    for row in &ROWS {
        vpn.tell(row.order).await;
        until_told(&weir, row).await;
        let after = vpn.until_served(&weir, row.of_engine).await;
        let gone: BTreeSet<String> = ids(&before)
            .into_iter()
            .filter(|id| !ids(&after).contains(id))
            .collect();
        let expected = match row.of_engine == port {
            true => BTreeSet::new(),
            false => BTreeSet::from([forwarded(&before)]),
        };
        assert_eq!(gone, expected, "{}\n{}", row.order, weir.log());
        (before, port) = (after, row.of_engine);
    }
}
