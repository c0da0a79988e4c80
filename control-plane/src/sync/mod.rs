//! The streams of nodes (`weir.control.v1.NodeSync`).
//!
//! ```text
//! view ──► ResourceSet (weights, endpoints, peers) ─┐
//!     └──► ProfileView ──► Offer of this node ──────┼──► Lane, one a type ──► Push ──► node
//!     └──► orders of this node ─────────────────────┘         ▲                │
//! Sessions ◄── what the node says of itself ── Session ◄── Ack, heartbeat ◄────┘
//! ```
//!
//! One task a stream. It keeps no queue of changes: when something changes and no push of that type is in flight,
//! it compares what the node holds with what there is. However slow a node is, it costs one push and what the
//! sets share with everyone.

mod hello;
pub mod lane;
pub mod resources;
