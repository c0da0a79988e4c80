//! What the leader does for jobs: whose holder is gone is given to others, what is old is forgotten.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::error::Error;
use super::local::Jobs;
use crate::election::{Fence, Standing};

/// Between two rounds.
const EVERY: Duration = Duration::from_secs(30);

/// Does the duties whenever this instance leads.
pub(crate) async fn run(jobs: Arc<Jobs>, mut standing: watch::Receiver<Standing>) {
    loop {
        let fence = standing.borrow_and_update().is_self.clone();
        if let Some(fence) = fence
            && let Err(error) = round(&jobs, &fence).await
        {
            tracing::warn!(%error, "a round of the leader's care of jobs ended early");
        }
        tokio::select! {
            biased;
            changed = standing.changed() => if changed.is_err() {
                return;
            },
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

async fn round(jobs: &Jobs, fence: &Fence) -> Result<(), Error> {
    let guard = fence.guard();
    for queue in jobs.queues().await? {
        jobs.recover(&queue, Some(&guard)).await?;
        jobs.prune(&queue, Some(&guard)).await?;
    }
    Ok(())
}
