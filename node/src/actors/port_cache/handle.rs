//! What everyone else holds of the port cache.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use weir_core::port_cache::{Answer, Failure, Port, Reason};
use weir_core::provision::VpnState;
use weir_core::vpn::{Doubt, grant};
use weir_proto::node::v1::VpnPort;

use super::{Ask, Configure, Confirmed, Invalidate, Links, Table, VpnView};
use crate::link::{Refused, Timed};
use crate::snapshot::Snapshot;

/// How long a caller waits for the actor.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a provision waits for a port of a VPN that has none yet.
const PROVISION_WAIT: Duration = Duration::from_secs(30);
const PROVISION_LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// This node has no such VPN.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no VPN is called `{0}`")]
pub struct UnknownVpn(pub String);

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// From what was known.
    Hit,
    /// From what was known, past its time.
    Stale,
    /// It was waited for.
    Miss,
}

impl How {
    /// In one word, for traces.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Miss => "miss",
        }
    }
}

/// An answer, and where it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The answer.
    pub answer: Answer,
    /// Where it came from.
    pub how: How,
}

impl Found {
    pub(super) const fn known(answer: Answer) -> Self {
        let how = match answer {
            Answer::Port { is_stale: true, .. } => How::Stale,
            _ => How::Hit,
        };
        Self { answer, how }
    }

    pub(super) const fn waited_for(answer: Answer) -> Self {
        let how = How::Miss;
        Self { answer, how }
    }
}

/// How far a VPN can be relied on, and its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// How far.
    pub state: VpnState,
    /// The port that an engine may be given now, or why none.
    pub port: Result<Port, Doubt>,
    /// It had one when it was asked last that it was up.
    pub had_port: bool,
}

impl Standing {
    /// Whether an engine that starts now has reason to wait for the port.
    pub fn may_have_port(&self) -> bool {
        self.port
            .map_or_else(|doubt| self.had_port && doubt.ends_soon(), |_| true)
    }
}

/// The port cache, for everyone else. Cheap to clone.
#[derive(Clone)]
pub struct PortCacheHandle {
    pub(crate) links: Links,
    table: Snapshot<Table>,
}

impl PortCacheHandle {
    /// A handle to a cache that publishes to `table`.
    pub fn new(table: Snapshot<Table>) -> Self {
        Self {
            links: Links::new(),
            table,
        }
    }

    /// Hands over what the configuration says of VPNs.
    ///
    /// # Errors
    /// [`Refused`] when it was not taken in time.
    pub async fn configure(&self, part: Configure, within: Duration) -> Result<Timed<()>, Refused> {
        self.links.configure.ask_timed(part, within).await
    }

    /// Every VPN.
    pub fn table(&self) -> Arc<Table> {
        self.table.load()
    }

    /// One VPN.
    pub fn view(&self, name: &str) -> Option<Arc<VpnView>> {
        self.table.load().vpn(name).cloned()
    }

    /// How far a VPN can be relied on.
    pub fn vpn(&self, name: &str) -> Option<Standing> {
        let view = self.view(name)?;
        Some(Standing {
            state: view.standing(),
            port: grant(&view.port_facts(Instant::now())),
            had_port: view.settled.is_some(),
        })
    }

    /// The port, if it is warm: no call, no wait, no lock.
    pub fn warm(&self, name: &str) -> Option<(Port, Duration)> {
        self.table.load().warm(name, Instant::now())
    }

    /// The port, from what is known or, when that may not be believed, from the control server.
    ///
    /// # Errors
    /// [`UnknownVpn`], when this node has none of that name.
    pub async fn port(&self, name: &str) -> Result<Answer, UnknownVpn> {
        Ok(self.look_up(name).await?.answer)
    }

    /// As [`Self::port`]; tells where the answer came from.
    ///
    /// # Errors
    /// [`UnknownVpn`], when this node has none of that name.
    pub async fn look_up(&self, name: &str) -> Result<Found, UnknownVpn> {
        let unreachable = Found::waited_for(Answer::Refused(Failure::Unreachable));
        if let Some((port, age)) = self.warm(name) {
            return Ok(Found::known(Answer::Port {
                port,
                is_stale: false,
                age,
            }));
        }
        let (answer, answered) = oneshot::channel();
        let ask = Ask {
            vpn: name.to_owned(),
            answer,
        };
        match self.links.ask.ask(ask, None, ASK_TIMEOUT).await {
            Ok(known) => known?,
            Err(_) => return Ok(unreachable),
        }
        let answered = timeout(PROVISION_WAIT, answered).await;
        Ok(answered.ok().and_then(Result::ok).unwrap_or(unreachable))
    }

    /// The port for an engine to start with: one that the VPN has, as far as anybody can tell. What is in doubt for
    /// moments only is waited for.
    ///
    /// Tells besides where the first answer came from; `None` without such a VPN.
    pub async fn port_for_provision(&self, name: &str) -> (Result<Port, Doubt>, Option<How>) {
        let found = self.look_up(name).await.ok();
        let port = self.granted(name, found).await;
        (port, found.map(|found| found.how))
    }

    async fn granted(&self, name: &str, mut found: Option<Found>) -> Result<Port, Doubt> {
        let deadline = Instant::now() + PROVISION_WAIT;
        loop {
            let found_now = found.ok_or(Doubt::NoPort)?;
            let doubt = match (found_now.answer, self.grant(name)) {
                (Answer::Refused(_), _) => return Err(Doubt::NoPort),
                (_, Ok(port)) => return Ok(port),
                (_, Err(doubt)) => doubt,
            };
            if !doubt.ends_soon() || Instant::now() >= deadline {
                return Err(doubt);
            }
            tokio::time::sleep(PROVISION_LOOK_INTERVAL).await;
            found = self.look_up(name).await.ok();
        }
    }

    /// The port that an engine may be given now, by what is known: no call, no wait.
    ///
    /// # Errors
    /// Why none.
    pub fn grant(&self, name: &str) -> Result<Port, Doubt> {
        let view = self.view(name).ok_or(Doubt::NoPort)?;
        grant(&view.port_facts(Instant::now()))
    }

    /// The node that asks was told of an invalidation here, at that time, and said this.
    ///
    /// # Errors
    /// [`Refused`] when the actor did not take it: then what that node says is not believed for a while.
    pub async fn confirm(&self, node: &str, port: VpnPort, at: Instant) -> Result<(), Refused> {
        let confirmed = Confirmed {
            vpn: port.vpn.clone(),
            node: node.to_owned(),
            port,
            at,
        };
        self.links.confirmed.ask(confirmed, None, ASK_TIMEOUT).await
    }

    /// Forgets what is known and asks again.
    ///
    /// # Errors
    /// [`Refused`] when the actor did not answer; [`UnknownVpn`].
    pub async fn invalidate(&self, name: &str) -> Result<Result<(), UnknownVpn>, Refused> {
        let invalidate = Invalidate {
            vpn: name.to_owned(),
            reason: Reason::Told,
        };
        self.links
            .invalidate
            .ask(invalidate, None, ASK_TIMEOUT)
            .await
    }
}
