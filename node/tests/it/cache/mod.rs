//! Answers that the node keeps.

mod attacks;
mod bad_owners;
mod cdns;
mod clocks;
mod crowds;
mod faults;
mod introduced;
mod kept;
mod odd;
mod often;
pub mod origin;
mod partial;
mod peers;
mod purges;
mod redis;
mod told;
mod traced;
mod values;
mod warming;

use crate::common::Weir;

/// A node with one cached route to the origin; `route` are further keys of the route, `node` further sections.
pub async fn cached(origin: std::net::SocketAddr, route: &str, node: &str) -> Weir {
    let config = format!(
        "{node}\n[services.web]\nbackends = [\"{origin}\"]\n[[routes]]\nservice = \"web\"\n{route}\n"
    );
    Weir::start(&config).await
}
