//! How the subscribers of a thread are sent away.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use weir_broadcast::{Control, Encoding, Shard};
use weir_core::broadcast::{CutReason, DrainPlan};

use super::Broadcast;
use crate::data_plane::stop::Stop;
use crate::peers::WayIn;

/// After the last of them was to come back elsewhere, whoever is still here is cut.
const GRACE: Duration = Duration::from_secs(2);

impl Broadcast {
    /// Sends the subscribers of a thread away whenever the node drains or stops, until it ends.
    pub(crate) async fn see_off(
        &self,
        shard: &Rc<Shard>,
        mut stop: Stop,
        mut draw: impl FnMut() -> u64,
    ) {
        loop {
            if !stop.is_leaving() {
                if stop.changed().await {
                    continue;
                }
                return;
            }
            let until = stop.deadline();
            tokio::select! {
                () = self.leave(shard, until, &mut draw) => {}
                more = stop.changed() => match more {
                    true => continue,
                    false => return,
                },
            }
            if !stop.changed().await {
                return;
            }
        }
    }

    /// Tells everybody when to come back elsewhere, and cuts whoever stays.
    async fn leave(
        &self,
        shard: &Rc<Shard>,
        until: Option<Instant>,
        draw: &mut impl FnMut() -> u64,
    ) {
        let mut plan = DrainPlan {
            window: self.settings().drain_window,
            ..DrainPlan::default()
        };
        let mut grace = GRACE;
        if let Some(until) = until {
            // All of it has to happen before the node ends.
            let left = until.saturating_duration_since(Instant::now());
            plan.window = plan.window.min(left / 2);
            grace = grace.min(left / 4);
        }
        let mut longest = Duration::ZERO;
        let elsewhere = |way| self.mesh.elsewhere(way);
        let (on_core, grpc) = (shard.index() < self.cores, elsewhere(WayIn::Grpc));
        let http = elsewhere(if on_core {
            WayIn::Ingress
        } else {
            WayIn::HttpApi
        });
        // Whoever comes later has been told nothing: a node alone takes them in.
        let newest = shard.connections(self.now()).iter().map(|one| one.id).max();
        shard.tell_all(self.now(), |number, encoding| {
            let leave = plan.leave(number, draw());
            // Who is told later comes back later; all are told now, because the node may not have so long.
            let after = leave.told_after + leave.reconnect_after;
            longest = longest.max(after);
            // Neighbours by number go to different nodes.
            let addresses = match encoding {
                Encoding::Grpc if !on_core => &grpc,
                _ => &http,
            };
            let alternative = addresses.get(number % addresses.len().max(1));
            Some(Control::Reconnect {
                after,
                alternative: alternative.map_or("", String::as_str).into(),
            })
        });
        sleep(longest + grace).await;
        let all = shard.connections(self.now()).into_iter();
        for connection in all.filter(|one| Some(one.id) <= newest) {
            shard.cut(connection.id, CutReason::Draining);
        }
    }
}
