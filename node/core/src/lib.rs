//! What Weir is and how it decides.
//!
//! Pure: time and randomness come in as arguments, decisions go out as values.

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "tests need some instant to start from"
    )
)]

pub mod access_log;
pub mod alerts;
pub mod aside;
pub mod backoff;
pub mod balance;
pub mod bench;
pub mod broadcast;
pub mod cache;
pub mod calendar;
pub mod content_coding;
pub mod doctor;
pub mod error;
pub mod files;
pub mod flame;
pub mod health;
pub mod heap;
pub mod http1;
pub mod ids;
pub mod logs;
pub mod port_cache;
pub mod probation;
pub mod provision;
pub mod proxy;
pub mod purge;
pub mod route;
pub mod series;
pub mod stored_value;
pub mod surrogate;
pub mod text;
pub mod trace;
pub mod trip;
pub mod tuning;
pub mod units;
pub mod vpn;
pub mod warming;
pub mod websocket;
