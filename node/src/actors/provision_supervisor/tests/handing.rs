//! Engines on their way into traffic, as whoever takes configurations hands them on.

use super::*;
use crate::config::{Endpoints, Give};

/// Hands engines on to the load balancer, and the plan to the supervisor as whoever takes engines does each time.
pub(super) async fn hand_on(handle: ProvisionHandle, parts: Parts, balancer: LoadBalancerHandle) {
    let (outlet, in_force) = (parts.outlet, parts.in_force);
    let mut in_traffic = outlet.in_traffic.subscribe();
    loop {
        let engines = Arc::clone(&in_traffic.borrow_and_update());
        // It need not know of more than it is asked about.
        if engines.len() <= BALANCED_MAX {
            let mut endpoints = Endpoints::new();
            for engine in &*engines {
                let service = endpoints.entry(engine.service.clone()).or_default();
                service.insert(engine.id.clone(), engine.backend.clone());
            }
            let known = Arc::clone(&in_force.load().config);
            let config = parsed(known.text(), &known.given().with(Give::Engines(endpoints)));
            let part = load_balancer::Configure::of(&config);
            balancer.configure(part, WITHIN).await.unwrap();
            // One that restarts is told again.
            while handle
                .configure(Plan::of(&in_force.load().config), WITHIN)
                .await
                .is_err()
            {
                sleep(LOOK_INTERVAL).await;
            }
        }
        outlet.given.send_replace(engines);
        if in_traffic.changed().await.is_err() {
            return;
        }
    }
}
