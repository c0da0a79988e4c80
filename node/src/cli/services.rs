//! `weir services`: services and backends, and what an operator may change.

use std::time::Duration;

use clap::{Args, Subcommand};
use tonic::transport::Channel;
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::load_balancer_client::LoadBalancerClient;

use super::output::{Failure, Format, connect, print, print_json, table};
use super::{Target, block_on};
use weir_core::units::parse_duration;

/// List services and backends, drain, weigh, eject
#[derive(Args)]
#[command(after_help = "Example:\n  weir services\n  weir services get web\n  \
    weir services drain web 127.0.0.1:9001 --deadline 10s\n  weir services weight web 127.0.0.1:9001 5")]
pub(super) struct Services {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// Show every service (the default)
    #[command(after_help = "Example:\n  weir services list -o json")]
    List,
    /// Show one service with its backends
    #[command(after_help = "Example:\n  weir services get web")]
    Get { service: String },
    /// Show services again after each change, until interrupted
    #[command(after_help = "Example:\n  weir services watch web")]
    Watch {
        /// Only this service.
        service: Option<String>,
    },
    /// Give a backend no new work and let what runs finish
    #[command(after_help = "Example:\n  weir services drain web 127.0.0.1:9001 --deadline 10s")]
    Drain {
        #[command(flatten)]
        place: Place,
        /// When to cut what still runs [default: the service's drain_timeout].
        #[arg(long, value_parser = parse_duration)]
        deadline: Option<Duration>,
    },
    /// Take back a drain
    #[command(after_help = "Example:\n  weir services undrain web 127.0.0.1:9001")]
    Undrain {
        #[command(flatten)]
        place: Place,
    },
    /// Set a backend's share of new work
    #[command(after_help = "Example:\n  weir services weight web 127.0.0.1:9001 5")]
    Weight {
        #[command(flatten)]
        place: Place,
        /// 0 (no new work) to 65535.
        #[arg(value_parser = clap::value_parser!(u32).range(0..=65_535))]
        weight: u32,
    },
    /// Take a backend out as if it had failed too often
    #[command(after_help = "Example:\n  weir services eject web 127.0.0.1:9001 --for 5m")]
    Eject {
        #[command(flatten)]
        place: Place,
        /// For how long [default: until restored].
        #[arg(long = "for", value_parser = parse_duration)]
        duration: Option<Duration>,
    },
    /// Take back an ejection
    #[command(after_help = "Example:\n  weir services restore web 127.0.0.1:9001")]
    Restore {
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Args)]
struct Place {
    /// The service's name.
    service: String,
    /// The backend's id: its address, unless configured otherwise.
    backend: String,
}

impl From<Place> for pb::BackendRequest {
    fn from(Place { service, backend }: Place) -> Self {
        Self { service, backend }
    }
}

impl Services {
    pub(super) fn run(self) -> Result<(), Failure> {
        block_on(async move {
            let client = LoadBalancerClient::new(connect(&self.target.node).await?);
            act(
                client,
                self.action.unwrap_or(Action::List),
                self.target.output,
            )
            .await
        })
    }
}

async fn act(
    mut client: LoadBalancerClient<Channel>,
    action: Action,
    format: Format,
) -> Result<(), Failure> {
    let changed = match action {
        Action::List => {
            let services = client
                .list_services(pb::ListServicesRequest {})
                .await?
                .into_inner();
            return show(&services.services, format);
        }
        Action::Watch { service } => return watch(client, service, format).await,
        Action::Get { service } => {
            client
                .get_service(pb::GetServiceRequest { service })
                .await?
        }
        Action::Drain {
            place: Place { service, backend },
            deadline,
        } => {
            let deadline_ms = deadline.map(milliseconds);
            client
                .drain(pb::DrainRequest {
                    service,
                    backend,
                    deadline_ms,
                })
                .await?
        }
        Action::Undrain { place } => client.undrain(pb::BackendRequest::from(place)).await?,
        Action::Weight {
            place: Place { service, backend },
            weight,
        } => {
            client
                .set_weight(pb::SetWeightRequest {
                    service,
                    backend,
                    weight,
                })
                .await?
        }
        Action::Eject {
            place: Place { service, backend },
            duration,
        } => {
            let duration_ms = duration.map(milliseconds);
            client
                .eject(pb::EjectRequest {
                    service,
                    backend,
                    duration_ms,
                })
                .await?
        }
        Action::Restore { place } => client.restore(pb::BackendRequest::from(place)).await?,
    };
    match format {
        Format::Json => print_json(changed.get_ref()),
        Format::Text => show(std::slice::from_ref(changed.get_ref()), format),
    }
}

async fn watch(
    mut client: LoadBalancerClient<Channel>,
    service: Option<String>,
    format: Format,
) -> Result<(), Failure> {
    let request = pb::WatchServicesRequest {
        service: service.unwrap_or_default(),
    };
    let mut changes = client.watch_services(request).await?.into_inner();
    while let Some(list) = changes.message().await? {
        if format == Format::Text {
            print(&format!("revision {}", list.revision))?;
        }
        show(&list.services, format)?;
    }
    Ok(())
}

fn show(services: &[pb::Service], format: Format) -> Result<(), Failure> {
    match format {
        Format::Json => print_json(&services),
        Format::Text => print(&as_text(services)),
    }
}

fn as_text(services: &[pb::Service]) -> String {
    let heading = [
        "SERVICE", "BACKEND", "STANDING", "WEIGHT", "RUNNING", "REQUESTS", "FAILED", "REASON",
    ];
    let mut rows = vec![heading.map(String::from).into()];
    for service in services {
        for backend in &service.backends {
            rows.push(vec![
                service.name.clone(),
                backend.id.clone(),
                backend.standing().as_text().to_owned(),
                backend.weight.to_string(),
                backend.in_flight.to_string(),
                backend.requests.to_string(),
                backend.failures.to_string(),
                backend.reason.clone(),
            ]);
        }
    }
    let panics = services
        .iter()
        .filter(|service| service.panic)
        .map(|service| {
            format!(
                "{}: PANIC, too few backends are healthy, so all are tried\n",
                service.name
            )
        });
    panics.collect::<String>() + &table(&rows)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
