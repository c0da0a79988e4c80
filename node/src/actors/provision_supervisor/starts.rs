//! Lets starts begin: when a permit is given back, when the spacing is over, and not only at the next tick.

use actix::{AsyncContext as _, Context};
use tokio::time::Instant;
use weir_core::provision::Next;

use super::ProvisionSupervisor;

impl ProvisionSupervisor {
    /// Lets those at the gate begin whose turn it is, and looks again when the next one's comes.
    pub(super) fn let_start(&mut self, now: Instant, ctx: &mut Context<Self>) {
        if let Some(before) = self.next_start.take() {
            ctx.cancel_future(before);
        }
        loop {
            match self.gate.next(now.into_std()) {
                Next::Start(job) => self.let_begin(&job),
                Next::WaitUntil(at) => {
                    let after = Instant::from_std(at).saturating_duration_since(now);
                    let look = |this: &mut Self, ctx: &mut _| this.let_start(Instant::now(), ctx);
                    self.next_start = Some(ctx.run_later(after, look));
                    return;
                }
                Next::AtCapacity | Next::Idle => return,
            }
        }
    }

    fn let_begin(&mut self, job: &String) {
        let waiting = self.waiting.remove(job);
        let begun = waiting.is_some_and(|start| start.send(Ok(())).is_ok());
        if !begun {
            // Whoever waited is gone; its place is free again.
            self.gate.ended(job);
        }
    }
}
