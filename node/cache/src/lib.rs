//! Where answers are kept. What may be kept and served is decided in `weir_core::cache`.

pub mod codings;
