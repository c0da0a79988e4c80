//! What the control plane answers over gRPC: thin services over the domains.
//!
//! Each method asks who calls ([`crate::governance::guard::allow`]), converts, asks the part that knows, and converts
//! back.

mod audit;
mod control_plane;
mod jobs;
mod nodes;
mod page;
mod profiles;
mod registry;
mod router;
mod status;
mod tokens;
mod traces;
mod weights;
mod wire;

use std::sync::Arc;

use futures::future::BoxFuture;
use tonic::{Request, Status};
use weir_core::tuning::Code;
use weir_proto::control::v1::{EffectiveReport, NodeInfo};

use crate::governance::audit::Actor;
use crate::governance::guard::allow;
use crate::governance::identity::Action;
use crate::problem::refused;
use crate::profiles::NodeFacts;

pub use audit::AuditService;
pub use jobs::JobsService;
pub(crate) use nodes::WATCHERS_MAX;
pub use profiles::ROLLOUT_NODES_MAX;
pub use profiles::{ASK_LIMIT, HISTORY_ENTRIES_DEFAULT, ProfilesContext, ProfilesService};
pub use router::{Served, router};
pub(crate) use status::refusal;
pub use status::{DETAILS_BYTES_MAX, MESSAGE_BYTES_MAX};
pub use tokens::TokensService;
pub use weights::WeightsService;

/// What is known of nodes.
pub trait KnownNodes: Send + Sync {
    /// What layers need to know of each.
    fn facts(&self) -> Arc<[NodeFacts]>;
    /// Whether what is not known is not there.
    fn is_complete(&self) -> bool {
        true
    }
    /// Everything.
    fn infos(&self) -> BoxFuture<'_, Vec<NodeInfo>>;
}

/// Asks nodes themselves.
pub trait AskNode: Send + Sync {
    /// Every knob as the node has it, or why it does not say.
    fn report<'a>(&'a self, node_id: &'a str) -> BoxFuture<'a, Result<EffectiveReport, String>>;
}

/// How many entries are told, from 1 to `most`; 0 stands for the default.
fn entries_max(asked: u32, default: usize, most: usize) -> Result<usize, Status> {
    match usize::try_from(asked).unwrap_or(usize::MAX) {
        0 => Ok(default),
        asked if asked <= most => Ok(asked),
        _ => {
            let bound = format!("1 to {most}, or 0 for {default}");
            let message = "is out of bounds";
            let problem = refused("entries_max", Code::Range, message, asked, bound);
            Err(status::refusal(&[problem]))
        }
    }
}

/// Who does this, if they may: as proven, else as claimed.
fn actor_of<T>(request: &Request<T>, action: &Action<'_>, claimed: &str) -> Result<Actor, Status> {
    Ok(allow(request, action)?.actor(claimed))
}

/// An instance that has not read its store yet does not tell that there is nothing.
fn read(is_complete: bool) -> Result<(), Status> {
    match is_complete {
        true => Ok(()),
        false => Err(Status::unavailable("the store was not read yet")),
    }
}
