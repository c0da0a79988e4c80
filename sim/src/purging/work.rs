//! Clients of a node, who end with it: they read, change what the origin has, and purge.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::sleep;
use weir_core::purge::{Hardness, Wait};

use super::history::Purged;
use super::serving::Serving;
use super::{KEYS, Of};
use crate::history::now;

/// Nobody purges after this.
pub(crate) const WORK_UNTIL: Duration = Duration::from_secs(20);
const READ_EVERY_MS: std::ops::Range<u64> = 5..120;
const PURGE_EVERY_MS: std::ops::Range<u64> = 20..1_200;
/// One of so many reads finds nothing in memory.
const CROWDED_OUT: u8 = 8;
/// For a purge to be in force everywhere.
const WAIT_MS: std::ops::Range<u64> = 100..10_000;

/// Reads until the node ends.
pub(super) async fn read(serving: Rc<Serving>, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed ^ 0x5ead);
    loop {
        sleep(Duration::from_millis(random.u64(READ_EVERY_MS))).await;
        let key = random.usize(..KEYS);
        if random.u8(..CROWDED_OUT) == 0 {
            serving.evict(key);
        }
        tokio::task::spawn_local(Rc::clone(&serving).asked(key));
    }
}

/// Purges what has changed, now and then.
pub(super) async fn purge(serving: Rc<Serving>, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed ^ 0x9412);
    loop {
        sleep(Duration::from_millis(random.u64(PURGE_EVERY_MS))).await;
        if now() > WORK_UNTIL {
            return;
        }
        let of = Of::any(&mut random);
        let hardness = match random.u8(..3) {
            0 => Hardness::Soft,
            _ => Hardness::Hard,
        };
        serving.world.changes(of);
        let within = Duration::from_millis(random.u64(WAIT_MS));
        tokio::task::spawn_local(one_purge(Rc::clone(&serving), of, hardness, within));
    }
}

async fn one_purge(serving: Rc<Serving>, of: Of, hardness: Hardness, within: Duration) {
    let (recorder, tier) = (&serving.recorder, &serving.tier);
    let order = recorder.order();
    let seq = tier.purge_here(vec![of.scope()], hardness);
    let origin = tier.store().purges.origin();
    let versions = serving.world.versions();
    let purged = Purged::now(
        (serving.node, order),
        (origin, seq),
        (of, hardness),
        versions,
    );
    let purge = recorder.purged(purged);
    if let Of::Key(key) = of {
        serving.drop_gone(key);
    }
    let standing = tier.standing(seq, Wait::All, within).await;
    if standing.acked == super::NODES.len() && standing.missing.is_empty() {
        recorder.acked(purge);
    }
}
