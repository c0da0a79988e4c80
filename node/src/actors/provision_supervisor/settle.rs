//! How a job ends: done, to be tried again, or given back, with what it had taken.

use std::time::Duration;

use tokio::time::sleep;
use weir_control_plane::jobs::{Claim, Error as QueueError, Failed as Became};
use weir_core::error::chain;

use super::holds::Held;
use super::messages::{Look, Looked, Over};
use super::runner::{Failed, Taken};
use super::{Links, Parts};
use crate::events::Kind;

/// Between two tries to tell the store.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// Tries, for half an hour at least. The engine serves meanwhile: a store that is away is no reason to end it, and when
/// it is back the claim may be this node's still.
const TRIES: u32 = 3_600;
/// What is left of a failed start has this long to end by itself.
const LEFTOVER_GRACE: Duration = Duration::from_secs(1);

/// Says that the job is done, until the store has heard it or gave the job to somebody else.
pub(super) async fn complete(parts: &Parts, claim: &Claim, engine: &str) -> Result<(), Failed> {
    let mut tries = 0;
    loop {
        tries += 1;
        match parts.queue.complete(&claim.ticket, engine.to_owned()).await {
            Ok(()) => {
                let attributes = [
                    ("service", claim.spec.service.clone()),
                    ("engine", engine.to_owned()),
                ];
                let job = &claim.ticket.job_id;
                parts.events.record(Kind::JobDone, job, attributes);
                return Ok(());
            }
            Err(error) if error.is_lost() => return Err(Failed::Lost),
            Err(error) if tries >= TRIES => return Err(error.into()),
            Err(_) => sleep(AGAIN_AFTER).await,
        }
    }
}

/// Gives back whatever the job had taken.
pub(super) async fn give_back(parts: &Parts, taken: Taken) {
    if let Some((lot, fence, kind)) = taken.started
        && let Err(error) = parts
            .drivers
            .of(kind)
            .stop(&lot.name(), fence, LEFTOVER_GRACE)
            .await
    {
        // Its labels tell who comes next that it is there.
        tracing::warn!(engine = lot.engine_id(), error = %chain(&error), "a failed start is not cleaned up");
    }
    for held in taken.held.into_iter().chain(taken.fleet_turn) {
        release(parts, held).await;
    }
}

/// Gives a hold back.
pub(super) async fn release(parts: &Parts, held: Held) {
    held.kept.no_longer();
    if let Err(error) = parts.queue.release_hold(&held.hold).await {
        tracing::debug!(hold = held.hold.name, %error, "a hold ends by itself");
    }
}

/// Tells the store what became of an attempt that came to nothing.
pub(super) async fn settle(parts: &Parts, claim: &Claim, failed: &Failed) {
    let ticket = &claim.ticket;
    let told: Result<Option<Kind>, QueueError> = match failed {
        Failed::Lost | Failed::NotNeeded => Ok(None),
        Failed::Refused(_)
        | Failed::Gone
        | Failed::Leaves
        | Failed::Away(_)
        | Failed::Queue(_)
        // Holds of a life that is over end in a moment.
        | Failed::NoSlot
        | Failed::TooLate(_) => {
            let released = parts.queue.release(ticket).await;
            released.map(|()| Some(Kind::JobReleased))
        }
        Failed::Driver { .. }
        | Failed::NotReady { .. }
        | Failed::Asked(_)
        | Failed::Late(_)
        | Failed::GoneAgain => {
            let why = chain(failed).to_string();
            let became = parts.queue.fail(ticket, why, true).await;
            became.map(|became| match became {
                Became::RetryAt(_) => Some(Kind::JobFailed),
                Became::Dead => Some(Kind::JobDead),
            })
        }
    };
    match told {
        Ok(Some(kind)) => tell(parts, claim, kind, failed),
        Ok(None) => {}
        Err(error) => {
            tracing::debug!(job = ticket.job_id, %error, "the claim ends by itself");
        }
    }
}

fn tell(parts: &Parts, claim: &Claim, kind: Kind, failed: &Failed) {
    let mut attributes = vec![
        ("service", claim.spec.service.clone()),
        ("why", chain(failed).to_string()),
    ];
    if kind != Kind::JobReleased {
        attributes.push(("attempt", claim.attempt.to_string()));
    }
    parts.events.record(kind, &claim.ticket.job_id, attributes);
}

/// Tells the supervisor, however busy it is: it must not count a job that is over.
pub(super) async fn tell_over(parts: &Parts, over: Over) {
    while parts.links.over.offer(over.clone()).is_err() {
        sleep(AGAIN_AFTER).await;
    }
}

/// Tells the supervisor what was seen, however busy it is.
pub(super) async fn tell_looked(links: &Links, look: Look) {
    let mut looked = Looked(look);
    while let Err(back) = links.looked.offer_back(looked) {
        looked = back;
        sleep(AGAIN_AFTER).await;
    }
}
