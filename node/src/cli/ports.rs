//! `weir ports`: ports that VPNs forward.

use std::time::Duration;

use clap::{Args, Subcommand};
use weir_core::units::format_rough;
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::port_cache_client::PortCacheClient;

use super::control::text::or_dash;
use super::output::{Failure, Format, connect, print, print_json, table};
use super::{Target, block_on};

/// Show the ports that VPNs forward, as a node knows them
#[derive(Args)]
#[command(after_help = "Example:\n  weir ports\n  weir ports get nl\n  weir ports invalidate nl")]
pub(super) struct Ports {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// Show every VPN of the node (the default)
    #[command(after_help = "Example:\n  weir ports list -o json")]
    List,
    /// Show one VPN; its control server is asked when nothing usable is known
    #[command(after_help = "Example:\n  weir ports get nl")]
    Get {
        /// The VPN's name.
        vpn: String,
    },
    /// Forget what is known of a VPN's port, on the node that asks for all, too, so that it is asked for anew
    #[command(after_help = "Example:\n  weir ports invalidate nl")]
    Invalidate {
        /// The VPN's name.
        vpn: String,
    },
}

impl Ports {
    pub(super) fn run(self) -> Result<(), Failure> {
        let format = self.target.output;
        block_on(async move {
            let mut client = PortCacheClient::new(connect(&self.target.node).await?);
            let port = match self.action.unwrap_or(Action::List) {
                Action::List => {
                    let list = client.list_ports(pb::ListPortsRequest {}).await?;
                    return show(&list.get_ref().ports, format);
                }
                Action::Get { vpn } => client.get_port(pb::GetPortRequest { vpn }).await?,
                Action::Invalidate { vpn } => {
                    let request = pb::InvalidatePortRequest { vpn, told: false };
                    client.invalidate(request).await?
                }
            };
            match format {
                Format::Json => print_json(port.get_ref()),
                Format::Text => show(std::slice::from_ref(port.get_ref()), format),
            }
        })
    }
}

fn show(ports: &[pb::VpnPort], format: Format) -> Result<(), Failure> {
    match format {
        Format::Json => print_json(&ports),
        Format::Text => print(&as_text(ports)),
    }
}

fn as_text(ports: &[pb::VpnPort]) -> String {
    let heading = [
        "VPN",
        "STATE",
        "PORT",
        "AGE",
        "HEALTH",
        "IP",
        "ASKED BY",
        "ENGINES",
        "FORWARDED",
    ];
    let mut rows = vec![heading.map(String::from).into()];
    for port in ports {
        let (number, age) = match port.port {
            0 => ("-".to_owned(), "-".to_owned()),
            number => {
                let age = format_rough(Duration::from_millis(port.age_ms));
                let stale = if port.stale { " (stale)" } else { "" };
                (number.to_string(), format!("{age}{stale}"))
            }
        };
        rows.push(vec![
            port.vpn.clone(),
            port.state.clone(),
            number,
            age,
            port.health.clone(),
            or_dash(&port.public_ip),
            or_dash(&port.owner),
            port.engines.to_string(),
            or_dash(&port.forwarded_engine),
        ]);
    }
    let alarms = ports.iter().flat_map(|port| {
        let alarm = |alarm: &String| format!("\n{}: {alarm}", port.vpn);
        port.alarms.iter().map(alarm)
    });
    table(&rows) + &alarms.collect::<String>()
}
