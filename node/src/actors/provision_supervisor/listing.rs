//! What drivers run, told by lists and by ends.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::time::{Instant, sleep, timeout};
use weir_engines::driver::{Running, State};

use super::adopt::Seen;
use super::engines::unix_ms;
use super::messages::Look;
use super::settle::tell_looked;
use super::spec::Lot;
use super::{Parts, ProvisionSupervisor};
use crate::config::DriverKind;

/// Between two looks at what drivers run.
const LIST_INTERVAL: Duration = Duration::from_secs(10);
/// After one that told nothing.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// For one look.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);
/// An engine that is younger may be missing in a list that was begun before it.
const YOUNG: Duration = Duration::from_secs(45);

impl ProvisionSupervisor {
    /// Hears of engines that end.
    pub(super) fn follow_drivers(&mut self) {
        for kind in [DriverKind::Process, DriverKind::Docker] {
            let links = self.parts.links.clone();
            let mut ends = self.parts.drivers.of(kind).ends();
            self.followers.spawn_local(async move {
                while let Some(ended) = ends.next().await {
                    tell_looked(&links, Look::Ended(ended)).await;
                }
            });
        }
    }

    /// Looks at what drivers run, now and again.
    pub(super) fn follow_lists(&mut self) {
        for kind in [DriverKind::Process, DriverKind::Docker] {
            let follow = follow_list(self.parts.clone(), kind);
            self.followers.spawn_local(follow);
        }
    }

    /// Compares what a driver runs with what is known.
    pub(super) fn listed(
        &mut self,
        driver: DriverKind,
        running: Result<Vec<Running>, String>,
        now: Instant,
    ) {
        let running = match running {
            Ok(running) => running,
            Err(why) => return self.driver_is_away(driver, why),
        };
        self.driver_is_back(driver);
        let mut there = BTreeSet::new();
        for running in running {
            let Some(lot) = Lot::of(&running) else {
                continue;
            };
            let id = lot.engine_id();
            there.insert(id.clone());
            let runs = matches!(running.state, State::Running);
            if self.engines.contains(&id) {
                self.seen(&id, running, now);
            } else if self.findings.found(&lot, driver, (&running, runs)) {
                self.find(lot, running, driver, Seen::Now);
            }
        }
        self.findings.listed(driver, &there);
        self.missing(driver, &there, now);
    }

    /// An engine that is known is in the list.
    fn seen(&mut self, id: &str, running: Running, now: Instant) {
        let Some(engine) = self
            .engines
            .get_mut(id)
            .filter(|engine| engine.running.fence == running.fence)
        else {
            return;
        };
        let state = running.state;
        engine.running = running;
        match state {
            State::Ended(code) => self.ended(id, self.fence_of(id), Some(code), now),
            State::Running | State::Starting => {}
        }
    }

    fn fence_of(&self, id: &str) -> u64 {
        self.engines
            .all()
            .find(|engine| engine.id() == id)
            .map_or(0, |engine| engine.running.fence)
    }

    /// Engines that are known and not in the list.
    fn missing(&mut self, driver: DriverKind, there: &BTreeSet<String>, now: Instant) {
        let young = u64::try_from(YOUNG.as_millis()).unwrap_or(u64::MAX);
        let before = unix_ms(&self.parts).saturating_sub(young);
        let missing: Vec<(String, u64)> = self
            .engines
            .all()
            .filter(|engine| engine.driver == driver && engine.job.is_none())
            .filter(|engine| engine.since.1 < before && !there.contains(&engine.id()))
            .map(|engine| (engine.id(), engine.running.fence))
            .collect();
        for (id, fence) in missing {
            self.ended(&id, fence, None, now);
        }
    }
}

/// Lists what a driver runs. One that no service asks for is asked until it has nothing of a service that left.
async fn follow_list(parts: Parts, driver: DriverKind) {
    let mut is_empty = false;
    loop {
        let is_used = is_used(&parts, driver);
        if !is_used && is_empty {
            sleep(LIST_INTERVAL).await;
            continue;
        }
        let listed = timeout(LIST_TIMEOUT, parts.drivers.of(driver).list()).await;
        let running = match listed {
            Ok(Ok(running)) => Ok(running),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no list within {LIST_TIMEOUT:?}")),
        };
        is_empty = running.as_ref().is_ok_and(Vec::is_empty);
        let wait = match running {
            Err(_) if is_used => AGAIN_AFTER,
            _ => LIST_INTERVAL,
        };
        // A machine without Docker is fine as long as nobody wants any.
        if is_used || running.is_ok() {
            tell_looked(&parts.links, Look::Listed { driver, running }).await;
        }
        sleep(wait).await;
    }
}

/// Whether any service wants this driver; processes are always looked for, because they cost nothing.
fn is_used(parts: &Parts, kind: DriverKind) -> bool {
    let in_force = parts.in_force.load();
    let mut engines = in_force
        .config
        .services
        .iter()
        .filter_map(|service| service.engines.as_ref());
    kind == DriverKind::Process || engines.any(|engines| engines.launch.driver == kind)
}
