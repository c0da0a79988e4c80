//! The outbox of CDNs, and its journal.

use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::task::JoinSet;
use weir_core::error::chain;

use super::Env;
use crate::actors::cache_tier::CacheTierHandle;
use crate::actors::cdn_outbox::{self, CdnOutbox, CdnOutboxHandle, Kept};
use crate::actors::config_agent::InForce;
use crate::cdn::{Journal, Sender};
use crate::config::Config;
use crate::events::Events;
use crate::guardian::{Budget, BudgetSpent, guard};
use crate::snapshot::Snapshot;

/// The actor that tells CDNs of purges.
pub(super) fn wire(
    tier: &CacheTierHandle,
    events: &Events,
    env: &Env,
    in_force: &Snapshot<InForce>,
    guardians: &mut JoinSet<Result<(), BudgetSpent>>,
) -> CdnOutboxHandle {
    let table = Snapshot::new(Vec::new());
    let handle = CdnOutboxHandle::new(in_force.clone(), table.clone());
    let parts = cdn_outbox::Parts {
        configured: in_force.clone(),
        tier: tier.clone(),
        journal: open_journal(&in_force.load().config),
        sender: Sender::new(Arc::clone(&env.net)),
        events: events.clone(),
        table,
        links: handle.links.clone(),
        seed: env.seed,
    };
    let links = handle.links.clone();
    guardians.spawn_local(guard(
        "cdn_outbox",
        cdn_outbox::MESSAGES_WAITING_MAX,
        Budget::default(),
        move || CdnOutbox::new(parts.clone()),
        move |life| links.point_at(life),
    ));
    handle
}

/// Without a folder what waits for CDNs ends with the node; with one that cannot be used whoever purges is told.
fn open_journal(config: &Config) -> Kept {
    let Some(folder) = &config.node.data_dir else {
        if !config.cdns.is_empty() {
            tracing::warn!(
                "purges that wait for CDNs do not outlive this node: it has no node.data_dir"
            );
        }
        return Kept::Nowhere;
    };
    match Journal::open(folder) {
        Ok(journal) => Kept::In(Arc::new(Mutex::new(journal))),
        Err(error) => {
            let why = chain(&error).to_string();
            tracing::error!(why, "purges that wait for CDNs do not outlive this node");
            Kept::Broken(why)
        }
    }
}
