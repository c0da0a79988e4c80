//! Who may do what, and what was done.
//!
//! ```text
//! request ─► guard ─► identity ─► may(action)? ─► the change and its audit record, in one transaction
//!              │ token: its SHA-256 in tokens::TokenTable, a copy of `cfg/token/`
//!              │ certificate: its `weir://namespace/role/subject`
//! ```
//!
//! [`guard`] is the only place where a request becomes an [`identity::Identity`]; what the identity may do
//! is one pure table in [`identity`]. A change and its record in [`audit`] are one transaction: there is none
//! without the other. Time is handed in ([`NowUnixMs`](crate::clock::NowUnixMs)).

pub mod audit;
pub mod guard;
pub mod identity;
pub mod listen;
pub mod secret;
pub mod tls;
pub mod tokens;

const NAME_CHARS_MAX: usize = 63;
const NAME_BOUND: &str = "1 to 63 letters, digits, `-`, `_`, `.` or `@`";

/// Whether this can be the name of a token, a person, a node or a service.
fn is_name(text: &str) -> bool {
    (1..=NAME_CHARS_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte))
}
