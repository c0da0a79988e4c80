//! What a proxy does to every message it forwards (RFC 9110 section 7.6, RFC 7239).

mod addresses;
mod authority;
mod chain;
mod forwarding;
mod grpc;
mod hop_by_hop;
mod method;
mod presence;
mod via;

pub use authority::{Authority, BadAuthority, effective_host, pin_host};
pub use chain::HOPS_MAX;
pub use forwarding::{Forwarding, ForwardingHeaders, Hop, Scheme, address_value};
pub use grpc::{is_grpc, parse_timeout};
pub use hop_by_hop::{
    NOMINEES_MAX, TooManyNominees, expects_upgrade, is_hop_by_hop, strip_hop_by_hop, strip_trailers,
};
pub use method::{MethodRefused, check_method};
pub use presence::{Presence, is_of_the_way};
pub use via::{BadPseudonym, LoopDetected, Via};
