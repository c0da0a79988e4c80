//! One connection to each other node, kept as long as it is used and answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint as Uri};

use super::CALL_TIMEOUT;
use crate::ports::net::{Endpoint, Net};

/// One that nobody asked for this long is given up; what still runs on it goes on.
const UNUSED_MAX: Duration = Duration::from_secs(30);
/// A node that loses its power closes nothing: what waits for it ends when it answers no ping for so long.
const PING_INTERVAL: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// The connections, by address. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Channels(Arc<watch::Sender<BTreeMap<String, Kept>>>);

struct Kept {
    channel: Channel,
    used: Instant,
}

impl Channels {
    /// The way to `address`, which connects when it is used; `None` when that is no address.
    pub(super) fn to(&self, address: &str, net: &Arc<dyn Net>) -> Option<Channel> {
        let now = Instant::now();
        let mut to = None;
        self.0.send_if_modified(|kept| {
            if let Some(kept) = kept.get_mut(address) {
                kept.used = now;
                to = Some(kept.channel.clone());
            } else if let Some(channel) = lazy(address, net) {
                to = Some(channel.clone());
                kept.insert(address.to_owned(), Kept { channel, used: now });
            }
            false
        });
        to
    }

    /// Who is there does not answer: the next question is asked on a new connection.
    pub(super) fn forget(&self, address: &str) {
        self.0.send_if_modified(|kept| {
            kept.remove(address);
            false
        });
    }

    /// Gives up what is not used, and what leads to nobody whom `is_known` knows.
    pub(super) fn tidy(&self, is_known: impl Fn(&str) -> bool) {
        let now = Instant::now();
        self.0.send_if_modified(|kept| {
            kept.retain(|address, kept| {
                is_known(address) && now.duration_since(kept.used) < UNUSED_MAX
            });
            false
        });
    }
}

/// Connects when it is used.
fn lazy(address: &str, net: &Arc<dyn Net>) -> Option<Channel> {
    let to: Endpoint = address.parse().ok()?;
    let uri = Uri::from_shared(format!("http://{to}"))
        .ok()?
        .connect_timeout(CALL_TIMEOUT)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true);
    let net = Arc::clone(net);
    let connector = tower::service_fn(move |_| {
        let (net, to) = (Arc::clone(&net), to.clone());
        async move { net.connect(&to).await.map(TokioIo::new) }
    });
    Some(uri.connect_with_connector_lazy(connector))
}
