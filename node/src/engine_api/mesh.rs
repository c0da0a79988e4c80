//! Engines of every node.

use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use tokio::time::timeout;
use tonic::transport::Channel;
use weir_proto::node::v1 as pb;

use super::{EngineApi, Error};

/// For one node to tell its engines.
const NODE_TIMEOUT: Duration = Duration::from_secs(1);
/// For one node to tell what an engine wrote.
const LOGS_TIMEOUT: Duration = Duration::from_secs(10);
/// Nodes that are asked at a time.
const ASKED_MAX: usize = 128;

impl EngineApi {
    /// Engines of this node, or of every node that answers, by id.
    pub async fn list(&self, mesh: bool) -> pb::ListEnginesResponse {
        let mut list = pb::ListEnginesResponse {
            engines: self.own(),
            unreachable_nodes: Vec::new(),
            problems: self.own_problems(),
        };
        if mesh {
            let others = self.peers.channels().into_iter();
            let asked = others.map(|(node, channel)| async move {
                let engines = self.engines_of(&node, channel).await;
                (node, engines)
            });
            let mut answers = stream::iter(asked).buffer_unordered(ASKED_MAX);
            while let Some((node, engines)) = answers.next().await {
                match engines {
                    Some(told) => {
                        list.engines.extend(told.engines);
                        list.problems.extend(told.problems);
                    }
                    None => list.unreachable_nodes.push(node),
                }
            }
        }
        list.engines.sort_by(|one, other| one.id.cmp(&other.id));
        list.unreachable_nodes.sort();
        list.problems
            .sort_by(|one, other| one.node.cmp(&other.node));
        list
    }
}

impl EngineApi {
    /// As [`Self::stop`], on whichever node runs the engine.
    ///
    /// # Errors
    /// [`Error::Nowhere`] when nobody does; [`Error::Elsewhere`] when that other node did not stop it; those of
    /// [`Self::stop`].
    pub async fn stop_anywhere(&self, engine: &str, now: bool) -> Result<(), Error> {
        match self.stop(engine, now).await {
            Err(Error::UnknownEngine(_)) => {}
            done => return done,
        }
        let node = self.node_of(engine).await?;
        let stopped = self.peers.stop_engine(&node, engine, now).await;
        stopped.map_err(|why| Error::Elsewhere { node, why })
    }

    /// As [`Self::logs`], of whichever node runs the engine.
    ///
    /// # Errors
    /// [`Error::Nowhere`] when nobody does; [`Error::Elsewhere`] when that other node did not tell; those of
    /// [`Self::logs`].
    pub async fn logs_anywhere(
        &self,
        engine: &str,
        lines_max: usize,
    ) -> Result<Vec<String>, Error> {
        match self.logs(engine, lines_max).await {
            Err(Error::UnknownEngine(_)) => {}
            done => return done,
        }
        let node = self.node_of(engine).await?;
        let lines = self.lines_of(&node, engine, lines_max).await;
        lines.map_err(|why| Error::Elsewhere { node, why })
    }

    /// The other node that runs an engine.
    async fn node_of(&self, engine: &str) -> Result<String, Error> {
        let list = self.list(true).await;
        let found = list.engines.into_iter().find(|known| known.id == engine);
        found.map(|found| found.node).ok_or(Error::Nowhere {
            engine: engine.to_owned(),
            silent: list.unreachable_nodes,
        })
    }

    async fn lines_of(
        &self,
        node: &str,
        engine: &str,
        lines_max: usize,
    ) -> Result<Vec<String>, String> {
        let mut client = self.peers.engines_at(node)?;
        let request = pb::EngineLogsRequest {
            engine_id: engine.to_owned(),
            lines_max: u32::try_from(lines_max).unwrap_or(u32::MAX),
        };
        match timeout(LOGS_TIMEOUT, client.engine_logs(request)).await {
            Ok(Ok(told)) => Ok(told.into_inner().lines),
            Ok(Err(status)) => Err(status.message().to_owned()),
            Err(_) => {
                self.peers.is_silent(node);
                Err("no answer in time".to_owned())
            }
        }
    }

    /// What a node says of its engines; `None` when it does not answer.
    async fn engines_of(
        &self,
        node: &str,
        channel: Option<Channel>,
    ) -> Option<pb::ListEnginesResponse> {
        let mut client = self.peers.engines_over(channel?);
        let request = pb::ListEnginesRequest { mesh: false };
        let Ok(answer) = timeout(NODE_TIMEOUT, client.list_engines(request)).await else {
            self.peers.is_silent(node);
            return None;
        };
        Some(answer.ok()?.into_inner())
    }
}
