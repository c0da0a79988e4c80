//! `weir backends`: backends that announced themselves to the control plane.

use clap::{Args, Subcommand};
use serde::Serialize;
use weir_proto::control::v1 as pb;

use super::block_on;
use super::control::text::{or_dash, some};
use super::control::{ControlPlane, Page, Repeat, Session, Signature, Target};
use super::output::{Failure, Format, print, print_json, table};

/// Show and remove backends that registered themselves
///
/// Those of nodes' files are not here: `weir services` shows both.
#[derive(Args)]
#[command(after_help = "Example:\n  weir backends\n  weir backends list web\n  \
    weir backends remove web/10.0.0.7:8080 -m \"left over\"")]
pub(super) struct Backends {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// Show every registered backend (the default)
    #[command(after_help = "Example:\n  weir backends list web")]
    List {
        /// Only those of this service.
        service: Option<String>,
    },
    /// Remove a backend, whoever registered it; one that still runs may register itself again
    #[command(after_help = "Example:\n  weir backends remove web/10.0.0.7:8080 -m \"left over\"")]
    Remove {
        /// The service and the backend's id there.
        #[arg(value_name = "SERVICE/ID", value_parser = backend)]
        backend: (String, String),
        #[command(flatten)]
        signature: Signature,
    },
}

fn backend(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('/');
    let named = parts.filter(|(service, id)| !service.is_empty() && !id.is_empty());
    let (service, id) =
        named.ok_or_else(|| "expected SERVICE/ID, such as web/10.0.0.7:8080".to_owned())?;
    Ok((service.to_owned(), id.to_owned()))
}

impl Page for pb::ListEndpointsResponse {
    type Item = pb::Endpoint;

    fn into_parts(self) -> (Vec<pb::Endpoint>, String) {
        (self.endpoints, self.next_page_token)
    }
}

impl Backends {
    pub(super) fn run(self) -> Result<(), Failure> {
        let target = &self.target;
        let action = self.action.unwrap_or(Action::List { service: None });
        block_on(async move {
            let (format, mut plane) = (target.format()?, ControlPlane::new(target)?);
            match action {
                Action::List { service } => {
                    list(&mut plane, service.unwrap_or_default(), format).await
                }
                Action::Remove { backend, signature } => {
                    remove(&mut plane, backend, signature, format).await
                }
            }
        })
    }
}

async fn list(plane: &mut ControlPlane, service: String, format: Format) -> Result<(), Failure> {
    let page = async |session: Session, page_token: String| {
        let request = pb::ListEndpointsRequest {
            service: service.clone(),
            page_token,
            ..pb::ListEndpointsRequest::default()
        };
        session.registry().list_endpoints(request).await
    };
    let endpoints = plane.all(page).await?;
    match format {
        Format::Json => print_json(&endpoints.iter().map(View::from).collect::<Vec<_>>()),
        Format::Text => print(&as_table(&endpoints)),
    }
}

async fn remove(
    plane: &mut ControlPlane,
    (service, backend_id): (String, String),
    signature: Signature,
    format: Format,
) -> Result<(), Failure> {
    let name = format!("{service}/{backend_id}");
    let request = pb::RemoveEndpointRequest {
        service,
        backend_id,
        message: signature.message,
        author: signature.author.author,
    };
    // Removed twice, it is not found, or registered anew.
    plane
        .call(Repeat::Harmful, async |session| {
            session.registry().remove_endpoint(request.clone()).await
        })
        .await?;
    match format {
        Format::Text => print(&format!("{name} is removed")),
        Format::Json => print_json(&serde_json::json!({ "removed": name })),
    }
}

#[derive(Serialize)]
struct View<'a> {
    service: &'a str,
    id: &'a str,
    address: &'a str,
    weight: u32,
    zone: Option<String>,
    priority: u32,
    labels: &'a std::collections::BTreeMap<String, String>,
}

impl<'a> From<&'a pb::Endpoint> for View<'a> {
    fn from(endpoint: &'a pb::Endpoint) -> Self {
        Self {
            service: &endpoint.service,
            id: &endpoint.backend_id,
            address: &endpoint.address,
            weight: endpoint.weight,
            zone: some(&endpoint.zone),
            priority: endpoint.priority,
            labels: &endpoint.labels,
        }
    }
}

fn as_table(endpoints: &[pb::Endpoint]) -> String {
    let heading = [
        "SERVICE", "BACKEND", "ADDRESS", "WEIGHT", "ZONE", "PRIORITY",
    ];
    let mut rows = vec![heading.map(String::from).into()];
    for endpoint in endpoints {
        rows.push(vec![
            endpoint.service.clone(),
            endpoint.backend_id.clone(),
            endpoint.address.clone(),
            endpoint.weight.to_string(),
            or_dash(&endpoint.zone),
            endpoint.priority.to_string(),
        ]);
    }
    table(&rows)
}
