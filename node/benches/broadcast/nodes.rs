//! Nodes as processes, alone or as a mesh.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::process::{Process, free_address, text, weir};
use super::socket::connect;
use super::{Options, PATIENCE};

const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// One node with a route for messages.
pub(super) struct Node {
    pub(super) process: Process,
    pub(super) ingress: SocketAddr,
}

/// Nodes, and what they need.
pub(super) struct Nodes {
    pub(super) nodes: Vec<Node>,
    _control_plane: Option<Process>,
    _folder: tempfile::TempDir,
}

impl Node {
    /// Waits until it upgrades connections.
    pub(super) async fn answers(&self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match connect(self.ingress, "topic=first").await {
                Ok(_) => return Ok(()),
                Err(why) if Instant::now() > deadline => return Err(why),
                Err(_) => sleep(LOOK_INTERVAL).await,
            }
        }
    }
}

impl Nodes {
    /// One node with these keys of `[broadcaster]`.
    pub(super) async fn one(options: &Options, keys: &str) -> Result<Self, String> {
        Self::one_on(1, options, keys).await
    }

    /// The same on so many cores.
    pub(super) async fn one_on(
        cores: usize,
        options: &Options,
        keys: &str,
    ) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let node = start(options, &folder, ("node-0", cores), keys, "")?;
        node.answers().await?;
        Ok(Self {
            nodes: vec![node],
            _control_plane: None,
            _folder: folder,
        })
    }

    /// A control plane and so many nodes.
    pub(super) async fn mesh(options: &Options, count: usize, keys: &str) -> Result<Self, String> {
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
        let mut nodes = Vec::new();
        for number in 0..count {
            nodes.push(start(
                options,
                &folder,
                (&format!("node-{number}"), 1),
                keys,
                &more,
            )?);
        }
        for node in &nodes {
            node.answers().await?;
        }
        // Nodes know each other when one's message comes to another's client.
        for number in 0..count {
            let other = (number + 1) % count;
            reaches(nodes[number].ingress, nodes[other].ingress).await?;
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
    (name, cores): (&str, usize),
    keys: &str,
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
        "[node]\nname = \"{name}\"\ncores = {cores}\ndata_dir = \"{}\"\n\
         [ingress]\nlisten = \"{ingress}\"\nconnections_max = 50000\n\
         [grpc]\nlisten = \"{grpc}\"\n[http_api]\nlisten = \"{api}\"\n{more}\
         [broadcaster]\nanonymous = \"all\"\nhandshakes_per_second_max = 1000000\n{keys}\n\
         [[routes]]\npath = \"/live\"\nbroadcast = true\n",
        at.join(name).display(),
    );
    let file = at.join(format!("{name}.toml"));
    std::fs::write(&file, config).map_err(|error| error.to_string())?;
    let binary = weir(options.weir.as_ref())?;
    let arguments = ["node", "--config", text(&file)?];
    let process = Process::start(&binary, &arguments, &file.with_extension("log"))?;
    Ok(Node { process, ingress })
}

/// Waits until what is published on one node comes to a client of another.
async fn reaches(from: SocketAddr, to: SocketAddr) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    let topic = format!("probe.{}", to.port());
    let (mut listening, _speaking) = connect(to, &format!("topic={topic}")).await?;
    let (_answers, mut publisher) = connect(from, "").await?;
    while Instant::now() < deadline {
        let probe = format!("{{\"publish\":{{\"topic\":\"{topic}\",\"data\":1}}}}");
        publisher.say(&[probe]).await?;
        let came = timeout(Duration::from_millis(500), async {
            while let Some(frame) = listening.next().await {
                if memchr::memmem::find(frame, b"\"batch\"").is_some() {
                    return true;
                }
            }
            false
        });
        if came.await == Ok(true) {
            return Ok(());
        }
    }
    Err("nodes do not reach each other".to_owned())
}
