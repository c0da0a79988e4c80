//! Nodes and their control plane: what is set there is in force here, and whatever happens there, traffic goes on.

mod access;
mod backends;
mod bench;
mod disk;
mod first_token;
mod jobs;
mod logs;
mod outages;
pub mod plane;
mod profiles;
mod refusals;
mod renewal;
mod small_disk;
mod strangers;
mod traced;
mod under_load;

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};

use plane::ControlPlane;

use crate::common::{Weir, web};
use crate::operator::wait_until;

/// A node with a control plane and a place on disk.
pub struct Node {
    pub weir: Weir,
    pub id: String,
    /// The last known good is in it.
    pub data: tempfile::TempDir,
}

impl Node {
    /// A node of this name, before these backends.
    pub async fn start(id: &str, plane: &ControlPlane, backends: &[SocketAddr]) -> Self {
        let keys = format!("endpoints = [\"{}\"]\n", plane.address);
        Self::start_as(id, &keys, &service(backends)).await
    }

    /// The same with a file that says nothing of how backends are chosen.
    pub async fn untuned(id: &str, plane: &ControlPlane, backends: &[SocketAddr]) -> Self {
        let keys = format!("endpoints = [\"{}\"]\n", plane.address);
        Self::start_as(id, &keys, &web(backends, "")).await
    }

    /// The same with these keys of `[control_plane]`, and the rest of the file.
    pub async fn start_as(id: &str, keys: &str, config: &str) -> Self {
        Self::start_with(id, "", keys, config).await
    }

    /// The same with keys of `[ingress]`.
    pub async fn start_with(id: &str, ingress_keys: &str, keys: &str, config: &str) -> Self {
        let data = folder();
        let keys = format!(
            "[node]\nname = \"{id}\"\ndata_dir = \"{}\"\n[control_plane]\n{keys}",
            data.path().display()
        );
        Self {
            weir: Weir::start_with(ingress_keys, &format!("{keys}{config}")).await,
            id: id.to_owned(),
            data,
        }
    }

    /// Replaces a text in the node's file, as an editor would.
    pub fn mend(&self, from: &str, to: &str) {
        let file = self.weir.config_path();
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{text}");
        let next = file.with_extension("next");
        std::fs::write(&next, text.replace(from, to)).unwrap();
        std::fs::rename(next, file).unwrap();
    }

    /// The policy by which the service chooses backends.
    pub async fn policy(&self) -> String {
        let (_, text) = self.get_api("/api/services").await.unwrap();
        let services: serde_json::Value = serde_json::from_str(&text).unwrap();
        services[0]["policy"].as_str().unwrap().to_owned()
    }

    /// A knob in force, as the node tells it to the control plane.
    pub async fn effective(&self, plane: &ControlPlane, path: &str) -> serde_json::Value {
        let arguments = ["profile", "effective", &self.id, "-o", "json"];
        let told = plane.weir(&arguments).await.json();
        let knobs = told["knobs"].as_array().unwrap_or_else(|| panic!("{told}"));
        let found = knobs.iter().find(|knob| knob["path"] == path);
        found.cloned().unwrap_or_else(|| panic!("{told}"))
    }

    /// Waits until a line of the log says this.
    pub async fn says(&self, text: &str) {
        wait_until(&self.weir, &format!("it says `{text}`"), async || {
            self.weir.log().contains(text)
        })
        .await;
    }
}

impl Deref for Node {
    type Target = Weir;

    fn deref(&self) -> &Weir {
        &self.weir
    }
}

impl DerefMut for Node {
    fn deref_mut(&mut self) -> &mut Weir {
        &mut self.weir
    }
}

/// A folder for as long as it is held. What these tests do to processes does no harm to a disk in memory, and many
/// at once wait long for a real one.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir_in("/dev/shm");
    folder.or_else(|_| tempfile::tempdir()).unwrap()
}

/// One service `web` that takes its backends in turn.
fn service(backends: &[SocketAddr]) -> String {
    web(backends, "balance = { policy = \"round_robin\" }")
}

/// Three nodes before one backend.
async fn three(plane: &ControlPlane, backends: &[SocketAddr]) -> Vec<Node> {
    let mut nodes = Vec::new();
    for id in ["node-a", "node-b", "node-c"] {
        nodes.push(Node::start(id, plane, backends).await);
    }
    for node in &nodes {
        plane.sees_connected(&node.id).await;
    }
    nodes
}
