//! Whether nodes know what weights are set for. The control plane knows only backends that registered themselves; those
//! of nodes' own files are known to the nodes, who are asked.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;
use tokio::time::timeout;
use weir_core::text::nearest;
use weir_proto::control::v1 as pb;
use weir_proto::node::v1::ListServicesRequest;
use weir_proto::node::v1::load_balancer_client::LoadBalancerClient;

use super::control::{ControlPlane, Session, is_connected};
use super::output::connect;

/// Nodes that are asked; those of a fleet have mostly the same services.
const NODES_ASKED_MAX: usize = 16;
/// How long all of them have to answer.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// Names that are told of those that there are.
const SHOWN_MAX: usize = 10;

/// What nodes that answered have: the ids of backends, by service.
#[derive(Debug, Default)]
pub(super) struct Known {
    nodes: usize,
    services: BTreeMap<String, BTreeSet<String>>,
}

impl Known {
    /// What connected nodes say. Who does not answer is left out.
    pub(super) async fn ask(plane: &mut ControlPlane) -> Self {
        let page = async |session: Session, page_token: String| {
            let request = pb::ListNodesRequest {
                page_token,
                ..pb::ListNodesRequest::default()
            };
            session.nodes().list_nodes(request).await
        };
        let nodes = plane.all(page).await.unwrap_or_default();
        let there = nodes.into_iter().filter(is_connected);
        let addresses = there.map(|node| node.grpc_address);
        let addresses = addresses.filter(|address| !address.is_empty());
        let asked = addresses.take(NODES_ASKED_MAX).map(async |address| {
            let services = timeout(ASK_TIMEOUT, services_at(&address)).await;
            services.ok().flatten()
        });
        let mut known = Self::default();
        for services in join_all(asked).await.into_iter().flatten() {
            known.nodes += 1;
            for (service, backend) in services {
                let backends = known.services.entry(service).or_default();
                backends.extend(backend);
            }
        }
        known
    }

    /// One line for each name that no node has; `None` when no node answered.
    pub(super) fn warnings(&self, service: &str, backends: &[String]) -> Option<Vec<String>> {
        let asked = match self.nodes {
            0 => return None,
            1 => "the node that was asked".to_owned(),
            nodes => format!("the {nodes} nodes that were asked"),
        };
        let Some(there) = self.services.get(service) else {
            let names = self.services.keys().map(String::as_str);
            return Some(vec![format!(
                "no node knows a service `{service}`{}; the weights wait for one ({asked} have {})",
                meant(service, names.clone()),
                listed(names)
            )]);
        };
        let missing = backends.iter().filter(|backend| !there.contains(*backend));
        let line = |backend: &String| {
            let names = there.iter().map(String::as_str);
            format!(
                "no node knows a backend `{backend}` of `{service}`{}; its weight waits for one ({asked} have {})",
                meant(backend, names.clone()),
                listed(names)
            )
        };
        Some(missing.map(line).collect())
    }
}

async fn services_at(address: &str) -> Option<Vec<(String, Option<String>)>> {
    let mut client = LoadBalancerClient::new(connect(address).await.ok()?);
    let answer = client.list_services(ListServicesRequest {}).await.ok()?;
    let mut found = Vec::new();
    for service in answer.into_inner().services {
        found.push((service.name.clone(), None));
        let ids = service.backends.into_iter().map(|backend| Some(backend.id));
        found.extend(ids.map(|id| (service.name.clone(), id)));
    }
    Some(found)
}

fn meant<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    let meant = nearest(name, names);
    meant.map_or_else(String::new, |meant| format!(", did you mean `{meant}`?"))
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    let shown = &names[..names.len().min(SHOWN_MAX)];
    match names.len() - shown.len() {
        _ if names.is_empty() => "none".to_owned(),
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(nodes: usize) -> Known {
        let of_web = ["backend-1", "backend-2"].map(str::to_owned);
        Known {
            nodes,
            services: [("web".to_owned(), of_web.into())].into(),
        }
    }

    fn warnings(service: &str, backends: &[&str]) -> Vec<String> {
        let backends: Vec<String> = backends.iter().map(|b| (*b).to_owned()).collect();
        known(3).warnings(service, &backends).unwrap()
    }

    #[test]
    fn what_a_node_has_is_no_reason_to_warn() {
        assert_eq!(warnings("web", &["backend-1", "backend-2"]), [""; 0]);
        assert_eq!(known(0).warnings("web", &[]), None);
    }

    #[test]
    fn a_name_that_no_node_has_is_told_with_the_one_that_was_meant() {
        assert_eq!(
            warnings("wbe", &["backend-1"]),
            [
                "no node knows a service `wbe`, did you mean `web`?; the weights wait for one \
                 (the 3 nodes that were asked have web)"
            ]
        );
        let told = warnings("web", &["backend-1", "backend-77"]);
        assert_eq!(told.len(), 1);
        assert!(
            told[0].starts_with("no node knows a backend `backend-77` of `web`"),
            "{told:?}"
        );
        assert!(told[0].contains("have backend-1, backend-2"), "{told:?}");
    }
}
