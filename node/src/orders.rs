//! What operators want of the node's clients, and how the node obeys.
//!
//! Cordoned, it says that it is not ready and serves whatever comes. Draining, it also ends client
//! connections after what runs on them. A stop is the last order and wins over both.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::data_plane::stop::{Stop, Stopper};
use crate::grpc::Readiness;
use crate::snapshot::Snapshot;

/// All orders at once; none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// Not ready for new clients; whatever comes is served.
    pub cordoned: bool,
    /// Besides, client connections end after what runs on them.
    pub draining: bool,
}

/// Takes orders and tells what is in force. Cheap to clone.
#[derive(Clone, Debug)]
pub struct OrdersHandle(Arc<Obeying>);

#[derive(Debug)]
struct Obeying {
    orders: Snapshot<Orders>,
    stopping: AtomicBool,
    warming: AtomicBool,
    stopper: Stopper,
    readiness: Readiness,
    /// One change at a time: what readiness says last is what was ordered last.
    turn: Mutex<()>,
}

impl OrdersHandle {
    /// A handle without orders, and what tells the data plane of them.
    pub fn new() -> (Self, Stop) {
        let (stopper, stop) = Stopper::new();
        let obeying = Obeying {
            orders: Snapshot::new(Orders::default()),
            stopping: AtomicBool::new(false),
            warming: AtomicBool::new(false),
            stopper,
            readiness: Readiness::default(),
            turn: Mutex::default(),
        };
        (Self(Arc::new(obeying)), stop)
    }

    /// Says that the node fetches first what it shall have when it is ready.
    pub async fn warms(&self) {
        self.change(|obeying| obeying.warming.store(true, Ordering::Relaxed))
            .await;
    }

    /// Says that the node has started: ready, unless it was ordered otherwise.
    pub async fn started(&self) {
        self.change(|obeying| obeying.warming.store(false, Ordering::Relaxed))
            .await;
    }

    /// Puts `orders` in force in place of those before: status, readiness and connections.
    pub async fn obey(&self, orders: Orders) {
        self.change(move |obeying| {
            if *obeying.orders.load() != orders {
                let Orders { cordoned, draining } = orders;
                tracing::info!(cordoned, draining, "orders changed");
            }
            obeying.orders.publish(orders);
            obeying.stopper.drain(orders.draining);
        })
        .await;
    }

    /// Stops for good; what still runs at `deadline` is cut.
    pub async fn stop(&self, deadline: Instant) {
        self.change(move |obeying| {
            obeying.stopping.store(true, Ordering::Relaxed);
            obeying.stopper.stop(deadline);
        })
        .await;
    }

    /// What says over `grpc.health.v1` whether the node wants new clients.
    pub fn readiness(&self) -> &Readiness {
        &self.0.readiness
    }

    /// The orders in force.
    pub fn in_force(&self) -> Orders {
        *self.0.orders.load()
    }

    /// The state of the node in one word; `ready` when it wants new clients.
    pub fn state(&self) -> &'static str {
        let orders = self.in_force();
        match self.0.stopping.load(Ordering::Relaxed) {
            true => LEAVING[1],
            false if orders.draining => LEAVING[0],
            false if orders.cordoned => "cordoned",
            false if self.0.warming.load(Ordering::Relaxed) => WARMING,
            false => READY,
        }
    }

    async fn change(&self, change: impl FnOnce(&Obeying) + Send + 'static) {
        let this = self.clone();
        // In a task of its own: who asked may give up in the middle of it.
        let changed = tokio::spawn(async move {
            let _turn = this.0.turn.lock().await;
            change(&this.0);
            this.0.readiness.tell(this.state() == READY).await;
        });
        if let Err(error) = changed.await {
            tracing::error!(%error, "orders not obeyed");
        }
    }
}

/// The state of a node that will want them once its cache is warm.
pub const WARMING: &str = "warming";
/// The state of a node that wants new clients.
pub const READY: &str = "ready";
/// The states of a node that ends what runs on it.
pub const LEAVING: [&str; 2] = ["draining", "stopping"];

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_node_that_warms_is_not_ready_and_obeys_all_the_same() {
        let (handle, _stop) = OrdersHandle::new();
        handle.warms().await;
        assert_eq!(handle.state(), WARMING);
        let cordoned = Orders {
            cordoned: true,
            draining: false,
        };
        handle.obey(cordoned).await;
        assert_eq!(handle.state(), "cordoned");
        handle.started().await;
        assert_eq!(handle.state(), "cordoned");
        handle.obey(Orders::default()).await;
        assert_eq!(handle.state(), READY);
    }

    #[tokio::test]
    async fn a_stop_wins_over_a_drain_and_a_drain_over_a_cordon() {
        let (handle, _stop) = OrdersHandle::new();
        handle.started().await;
        assert_eq!(
            (handle.in_force(), handle.state()),
            (Orders::default(), READY)
        );
        for (cordoned, draining, state) in [
            (true, false, "cordoned"),
            (true, true, "draining"),
            (false, true, "draining"),
            (false, false, "ready"),
        ] {
            handle.obey(Orders { cordoned, draining }).await;
            assert_eq!(handle.state(), state);
        }
        handle.stop(Instant::now()).await;
        handle.obey(Orders::default()).await;
        assert_eq!(handle.state(), "stopping");
    }
}
