//! What the control plane answers over gRPC: thin services over the domains.

mod audit;
mod status;
mod tokens;

pub use audit::AuditService;
pub use tokens::TokensService;
