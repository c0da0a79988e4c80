//! How the stream to the control plane is, for everyone to read.

use std::sync::Arc;

use tokio::time::Instant;
use weir_proto::control::v1 as control;

/// The stream and what it brought.
#[derive(Clone, Debug, Default)]
pub struct LinkStatus {
    /// False for a node of its own.
    pub configured: bool,
    /// The instance at the other end, or the last one there was.
    pub instance: Arc<str>,
    /// A stream is open.
    pub connected: bool,
    /// When the control plane was last heard.
    pub heard_at: Option<Instant>,
    /// Without a stream: since when.
    pub away_since: Option<Instant>,
    /// Without a stream: why, in words.
    pub why: Arc<str>,
    /// What became of the profile.
    pub profile: Arc<control::ProfileState>,
    /// What the profile offered last was merged from, as `SCOPE@REVISION`, the strongest last.
    pub offered_layers: Arc<[String]>,
    /// The same of the profile in force.
    pub effective_layers: Arc<[String]>,
    /// The nodes of the mesh, this one included.
    pub peers: Arc<[control::Peer]>,
    /// What keeps the last known good from the disk.
    pub disk_problem: Option<String>,
}
