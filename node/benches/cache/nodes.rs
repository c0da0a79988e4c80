//! Nodes as processes, alone or as a mesh.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tonic::transport::{Channel, Endpoint};

use super::client::Client;
use super::origin::Origin;
use super::process::{Process, free_address, text, weir};
use super::{Options, PATIENCE};

const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// One node.
pub(super) struct Node {
    pub(super) process: Process,
    pub(super) ingress: SocketAddr,
    grpc: SocketAddr,
}

/// Nodes with one cached route to an origin.
pub(super) struct Nodes {
    pub(super) nodes: Vec<Node>,
    _control_plane: Option<Process>,
    _folder: tempfile::TempDir,
}

impl Node {
    pub(super) fn channel(&self) -> Result<Channel, String> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.grpc));
        Ok(endpoint.map_err(|error| error.to_string())?.connect_lazy())
    }

    /// Waits until it answers.
    async fn answers(&self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Client::connect(self.ingress).await {
                Ok(mut client) => return client.get("/first").await.map(drop),
                Err(why) if Instant::now() > deadline => return Err(why),
                Err(_) => sleep(LOOK_INTERVAL).await,
            }
        }
    }

    /// Waits until it asks other nodes for what they own.
    async fn knows_others(&self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        let mut client = Client::connect(self.ingress).await?;
        for number in 0_u64.. {
            let path = format!("/probe/{}/{number}", self.ingress.port());
            if client.get(&path).await?.head.contains("detail=peer") {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err("a node knows no other".to_owned());
            }
            sleep(LOOK_INTERVAL).await;
        }
        Ok(())
    }
}

impl Nodes {
    /// Starts one that has `more` in its configuration.
    pub(super) async fn one(
        options: &Options,
        origin: &Origin,
        more: &str,
    ) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let node = start(options, &folder, "node-0", origin, more)?;
        node.answers().await?;
        Ok(Self {
            nodes: vec![node],
            _control_plane: None,
            _folder: folder,
        })
    }

    /// Starts a control plane and three nodes, and waits until they know each other.
    pub(super) async fn mesh(options: &Options, origin: &Origin) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let control = free_address(&mut fastrand::Rng::new())?.to_string();
        let data = folder.path().join("control-plane");
        let arguments = [
            "control-plane",
            "--listen",
            &control,
            "--data-dir",
            text(&data)?,
        ];
        let log = folder.path().join("control-plane.log");
        let control_plane = Process::start(&weir(options.weir.as_ref())?, &arguments, &log)?;
        let more = format!("[control_plane]\nendpoints = [\"{control}\"]\n");
        let names = ["node-0", "node-1", "node-2"];
        let nodes = names.map(|name| start(options, &folder, name, origin, &more));
        let nodes = nodes.into_iter().collect::<Result<Vec<_>, _>>()?;
        for node in &nodes {
            node.answers().await?;
        }
        for node in &nodes {
            node.knows_others().await?;
        }
        Ok(Self {
            nodes,
            _control_plane: Some(control_plane),
            _folder: folder,
        })
    }
}

fn start(
    options: &Options,
    folder: &tempfile::TempDir,
    name: &str,
    origin: &Origin,
    more: &str,
) -> Result<Node, String> {
    let mut random = fastrand::Rng::new();
    let [ingress, grpc, api] = [
        free_address(&mut random)?,
        free_address(&mut random)?,
        free_address(&mut random)?,
    ];
    let at = folder.path();
    let config = format!(
        "[node]\nname = \"{name}\"\ndata_dir = \"{}\"\n[ingress]\nlisten = \"{ingress}\"\n\
         [grpc]\nlisten = \"{grpc}\"\n[http_api]\nlisten = \"{api}\"\n{more}\
         [services.web]\nbackends = [\"{}\"]\n[[routes]]\nservice = \"web\"\ncache = true\n",
        at.join(name).display(),
        origin.address,
    );
    let file = at.join(format!("{name}.toml"));
    std::fs::write(&file, config).map_err(|error| error.to_string())?;
    let arguments = ["node", "--config", text(&file)?];
    let process = Process::start(
        &weir(options.weir.as_ref())?,
        &arguments,
        &at.join(format!("{name}.log")),
    )?;
    Ok(Node {
        process,
        ingress,
        grpc,
    })
}
