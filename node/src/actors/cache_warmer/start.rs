//! What a node fetches when it starts.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use weir_core::warming::Wanted;

use super::Parts;
use super::run::Run;
use crate::telemetry::cache::WarmSource;

/// How long a node waits until it knows the others, of the time that it has for the list: without them each would ask
/// the origin by itself.
const PEERS_WAIT_MAX: Duration = Duration::from_secs(2);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// After the others are known it takes a moment until cores know them too.
const PEERS_SETTLE: Duration = Duration::from_millis(300);
/// How often each of the list is tried: backends may be about to start as well.
const TRIES: u32 = 3;
/// How long what was asked for most before may take; nobody waits for it.
const HOT_TIMEOUT: Duration = Duration::from_secs(120);

/// What is fetched, and until when the node waits for it.
pub(super) struct Start {
    pub(super) parts: Parts,
    pub(super) wanted: Vec<Wanted>,
    /// How the list is fetched.
    pub(super) listed: Run,
    /// What was asked for most before.
    pub(super) hot: Run,
    /// How long the node waits for the list.
    pub(super) within: Duration,
}

impl Start {
    /// Fetches the list and says so, then what was asked for most before.
    pub(super) async fn warm(self) {
        let until = Instant::now() + self.within;
        let parts = self.parts;
        if !self.wanted.is_empty() || !self.hot.items.is_empty() {
            let longest = PEERS_WAIT_MAX.min(self.within / 4);
            let _ = timeout(longest, knows_routes_and_peers(&parts)).await;
        }
        if !self.wanted.is_empty() {
            let listed = Run {
                items: parts.listed(&self.wanted, WarmSource::Start),
                within: until.saturating_duration_since(Instant::now()),
                tries: TRIES,
                ..self.listed
            };
            let tally = listed.run(None).await;
            tally.log("what the configuration lists was fetched");
            tally.tell(&parts.events, WarmSource::Start);
        }
        parts.warm.send_replace(true);
        if !self.hot.items.is_empty() {
            let hot = Run {
                within: HOT_TIMEOUT,
                ..self.hot
            };
            hot.run(None).await.tell(&parts.events, WarmSource::Hot);
        }
    }
}

async fn knows_routes_and_peers(parts: &Parts) {
    while parts.routing.load().revision == 0 {
        sleep(LOOK_INTERVAL).await;
    }
    if parts.is_alone {
        return;
    }
    while parts.control_plane.load().peers.is_empty() {
        sleep(LOOK_INTERVAL).await;
    }
    sleep(PEERS_SETTLE).await;
}
