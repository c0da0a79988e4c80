//! A publisher of a node, who ends with it.

use std::time::Duration;

use tokio::time::sleep;
use weir_broadcast::Draft;
use weir_node::broadcast::{Ack, Broadcast};

use super::history::Recorder;
use super::{TOPICS, WORK_UNTIL, topic};
use crate::history::now;

const PUBLISH_EVERY_MS: std::ops::Range<u64> = 5..90;

/// Publishes until nobody does any more.
pub(super) async fn publish(
    node: &'static str,
    broadcast: Broadcast,
    recorder: Recorder,
    seed: u64,
) {
    let mut random = fastrand::Rng::with_seed(seed ^ 0x9a11);
    for number in 0_u64.. {
        sleep(Duration::from_millis(random.u64(PUBLISH_EVERY_MS))).await;
        if now() > WORK_UNTIL {
            return;
        }
        let ack = match random.bool() {
            true => Ack::Replicated,
            false => Ack::Owner,
        };
        let text = format!("{node}.{seed}.{number}");
        let at = random.usize(..TOPICS);
        let one = one(broadcast.clone(), recorder.clone(), at, text, ack);
        tokio::task::spawn_local(one);
    }
}

async fn one(broadcast: Broadcast, recorder: Recorder, at: usize, text: String, ack: Ack) {
    let draft = Draft::new(topic(at), text.clone());
    match broadcast.deliver(draft, ack).await {
        Ok(receipt) if receipt.is_replicated => {
            let position = receipt.published.position;
            let place = (at, position.epoch.0, position.offset);
            tracing::trace!(text, at, offset = position.offset, "is replicated");
            recorder.note(|history| {
                history.acked.push(place);
                history.knows(place, &text, "publisher");
            });
        }
        // Until a second node has it, nobody was promised anything.
        Ok(_) => {}
        Err(error) => tracing::trace!(text, %error, "is not published"),
    }
}
