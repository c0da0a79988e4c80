//! What Weir is and how it decides.
//!
//! Pure: time and randomness come in as arguments, decisions go out as values.

pub mod balance;
pub mod health;
pub mod http1;
pub mod ids;
pub mod proxy;
pub mod route;
pub mod trace;
