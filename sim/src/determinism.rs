//! Takes entropy and time away from the operating system.
//!
//! The libc functions behind both are overridden in any binary that links `mad-turmoil`: entropy then
//! comes from one generator for the whole process, clocks show simulated time inside a runtime and 1970
//! outside of one. Hash keys and tokio's own generator start from that entropy once for each process,
//! which is why one process runs one seed.

use mad_turmoil::rand::{get_rng, set_rng};
use mad_turmoil::time::SimClocksGuard;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

/// Holds the clocks still until it is dropped.
pub(crate) struct Sealed {
    _clocks: SimClocksGuard,
}

/// Must come before anything else in `main`: what draws entropy earlier draws it from the system.
pub(crate) fn seal() {
    set_rng(StdRng::seed_from_u64(0));
}

/// From here on the process is a function of `seed`.
pub(crate) fn start(seed: u64) -> Sealed {
    *get_rng() = StdRng::seed_from_u64(seed);
    fastrand::seed(seed);
    Sealed {
        _clocks: SimClocksGuard::init(),
    }
}
