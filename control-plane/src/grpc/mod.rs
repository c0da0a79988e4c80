//! What operators ask over gRPC: each method converts, asks the part that knows, and converts back.

mod profiles;
mod status;
mod weights;
mod wire;

use std::sync::Arc;

use futures::future::BoxFuture;
use tonic::{Request, Status};
use weir_core::tuning::Code;
use weir_proto::control::v1::{EffectiveReport, NodeInfo};

use crate::profiles::{Author, NodeFacts, refused};

pub use profiles::ROLLOUT_NODES_MAX;
pub use profiles::{ASK_LIMIT, HISTORY_ENTRIES_DEFAULT, ProfilesContext, ProfilesService};
pub use status::{DETAILS_BYTES_MAX, MESSAGE_BYTES_MAX};
pub use weights::WeightsService;

/// Tells the wall clock, in milliseconds since 1970.
pub type NowUnixMs = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What is known of nodes.
pub trait KnownNodes: Send + Sync {
    /// What layers need to know of each.
    fn facts(&self) -> Arc<[NodeFacts]>;
    /// Everything.
    fn infos(&self) -> Vec<NodeInfo>;
}

/// Asks nodes themselves.
pub trait AskNode: Send + Sync {
    /// Every knob as the node has it, or why it does not say.
    fn report(&self, node_id: &str) -> BoxFuture<'_, Result<EffectiveReport, String>>;
}

/// Longest name of an author that nobody has proven.
pub const AUTHOR_BYTES_MAX: usize = 128;
/// Who writes if nobody says it, and as what.
const LOCAL: &str = "local";

/// Who asks: as proven, else as claimed in the request.
fn author_of<T>(request: &Request<T>, claimed: impl Fn(&T) -> &str) -> Result<Author, Status> {
    if let Some(author) = request.extensions().get::<Author>() {
        return Ok(author.clone());
    }
    let name = match claimed(request.get_ref()) {
        "" => LOCAL,
        name => name,
    };
    if name.len() > AUTHOR_BYTES_MAX || name.chars().any(char::is_control) {
        let bound = format!("at most {AUTHOR_BYTES_MAX} bytes without control characters");
        let problem = refused("author", Code::Range, "is no name", name, &bound);
        return Err(status::refusal(&[problem]));
    }
    Ok(Author {
        name: name.to_owned(),
        role: LOCAL.to_owned(),
    })
}
