//! Whether images of engines are out of date, asked rarely and one after the other; lines of engines that were lost.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::time::{Instant, sleep, timeout};
use weir_engines::driver::Error;

use super::messages::Look;
use super::publish::Outlet;
use super::settle::tell_looked;
use super::spec::{id_of, name_of};
use super::{Drivers, Links, ProvisionSupervisor};
use crate::config::DriverKind;
use crate::events::{Events, Kind};

/// Between two questions for one engine.
const ASK_INTERVAL: Duration = Duration::from_secs(600);
/// Between two looks whether there is an engine to ask for.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// For one question.
const ASK_TIMEOUT: Duration = Duration::from_secs(15);

/// Asks for each engine of Docker soon after it is there, and then every ten minutes.
pub async fn watch_images(outlet: Outlet, drivers: Drivers, links: Links) {
    let mut asked: BTreeMap<(String, u64), Instant> = BTreeMap::new();
    loop {
        sleep(LOOK_INTERVAL).await;
        let picture = outlet.picture.load();
        let engines = picture.engines.iter();
        let there: Vec<(String, u64)> = engines
            .filter(|engine| engine.driver == DriverKind::Docker.name() && !engine.has_job)
            .map(|engine| (engine.id.clone(), engine.fence))
            .collect();
        asked.retain(|engine, _| there.contains(engine));
        for (engine, fence) in there {
            let key = (engine.clone(), fence);
            let is_due = |at: &Instant| at.elapsed() >= ASK_INTERVAL;
            if !asked.get(&key).is_none_or(is_due) {
                continue;
            }
            asked.insert(key, Instant::now());
            let name = name_of(&engine);
            match timeout(ASK_TIMEOUT, drivers.docker.has_drifted(&name)).await {
                Ok(Ok(has_drifted)) => {
                    let look = Look::Image {
                        engine,
                        fence,
                        has_drifted,
                    };
                    tell_looked(&links, look).await;
                }
                // It ended meanwhile.
                Ok(Err(Error::Unknown(_))) => {}
                Ok(Err(error)) => {
                    tracing::debug!(engine, %error, "whether its image is out of date is not known");
                }
                Err(_) => tracing::debug!(engine, "nobody tells whether its image is out of date"),
            }
        }
    }
}

/// Counts lines that engines wrote and that were not kept.
pub async fn count_lost_lines(drivers: Drivers, events: Events) {
    let mut lost = drivers.process.lines_lost();
    while let Some(lost) = lost.next().await {
        events.record_many(Kind::EngineLinesLost, id_of(&lost.name), [], lost.count);
    }
}

impl ProvisionSupervisor {
    /// Takes whether an engine's image is out of date.
    pub(super) fn image_looked_at(&mut self, id: &str, fence: u64, has_drifted: bool) {
        let engine = self.engines.get_mut(id);
        let Some(engine) = engine.filter(|engine| engine.running.fence == fence) else {
            return;
        };
        let had_drifted = std::mem::replace(&mut engine.has_drifted, has_drifted);
        if has_drifted && !had_drifted {
            let image = engine.running.image.clone().unwrap_or_default();
            let events = &self.parts.events;
            events.record(Kind::EngineImageDrifted, id, [("image", image)]);
        }
    }
}
