//! Whose an engine is that is about to be stopped.
//!
//! A process is its node's alone. A container runs on without its node, and whoever gets the hold of its slot has it:
//! a node that was cut off from the store may still take an engine for its own that serves another one by now.

use weir_control_plane::jobs::{Error, Holder};

use super::Parts;
use super::engines::Engine;
use super::holds::{Held, slot_name};
use crate::config::DriverKind;

/// Whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// This node's: it may be stopped.
    Ours,
    /// Another node runs this very container.
    Theirs,
}

/// An engine that is asked about.
pub(super) struct Asked {
    pub(super) driver: DriverKind,
    /// What its driver calls it.
    pub(super) name: String,
    engine: String,
    container_id: String,
    slot: Option<Held>,
    taken_by: Option<Holder>,
}

impl Asked {
    pub(super) fn of(engine: &Engine) -> Self {
        let id = engine.id();
        let name = slot_name(&id);
        Self {
            driver: engine.driver,
            name: engine.lot.name(),
            container_id: engine.running.container_id.clone().unwrap_or_default(),
            slot: engine
                .held
                .iter()
                .find(|held| held.hold.name == name)
                .cloned(),
            taken_by: engine.taken_by.clone(),
            engine: id,
        }
    }

    /// Whose it is now. A stop that begins while it is this node's may end later: whoever takes it over meanwhile sees
    /// it end.
    ///
    /// # Errors
    /// Why nobody can tell.
    pub(super) async fn whose(&self, parts: &Parts) -> Result<Whose, String> {
        if self.driver == DriverKind::Process {
            return Ok(Whose::Ours);
        }
        let Some(slot) = &self.slot else {
            return match &self.taken_by {
                Some(by) => self.theirs_or_left(parts, by).await,
                None => Err("nobody is known to hold its slot".to_owned()),
            };
        };
        match parts.queue.extend_hold(&slot.hold).await {
            Ok(()) => Ok(Whose::Ours),
            Err(Error::Lost { by: Some(by), .. }) if by == parts.holder => Ok(Whose::Ours),
            Err(Error::Lost { by: Some(by), .. }) => self.theirs_or_left(parts, &by).await,
            Err(Error::Lost { by: None, .. }) => {
                Err("nobody holds its slot; it is taken again first".to_owned())
            }
            // The hold lives on for a while, and so long it is nobody else's.
            Err(_) if !slot.kept.is_lost() => Ok(Whose::Ours),
            Err(error) => Err(format!("whose it is cannot be told: {error}")),
        }
    }

    /// Another node has the slot: with this container, or with one of its own on another Docker. Then this one is left
    /// over. While it says nothing of its engine it may be taking this one over.
    async fn theirs_or_left(&self, parts: &Parts, by: &Holder) -> Result<Whose, String> {
        let node = &by.node_id;
        if *node == parts.node {
            return Ok(Whose::Theirs);
        }
        match parts.peers.container_of(node, &self.engine).await? {
            Some(container) if container == self.container_id => Ok(Whose::Theirs),
            Some(_) => Ok(Whose::Ours),
            None => Err(format!(
                "node `{node}` has its slot, and does not say with what"
            )),
        }
    }
}
