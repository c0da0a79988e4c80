//! Refreshing before the end, so that one request of many does it (XFetch).

use super::stored::Stored;
use super::time::UnixMs;

/// No draw comes earlier than this times what a fetch costs: the logarithm of the least positive number.
const LEAD_MAX: f64 = 709.0;

/// Whether this request should have the response fetched anew beside its answer, though it is still fresh.
///
/// `uniform` is drawn evenly from (0, 1]; `beta` above 1 refreshes earlier. The chance grows with what a fetch costs
/// and as the end comes near (Vattani, Chierichetti, Lowenstein: Optimal Probabilistic Cache Stampede Prevention).
pub fn is_due(stored: &Stored, beta: f64, uniform: f64, now: UnixMs) -> bool {
    if stored.flags.no_cache || now >= stored.fresh_until {
        return false;
    }
    let remaining_ms = (stored.fresh_until.0 - now.0) as f64;
    let cost_ms = stored.fetch_ms() as f64 * beta;
    // Of most requests no logarithm is needed.
    if remaining_ms > cost_ms * LEAD_MAX {
        return false;
    }
    -cost_ms * uniform.clamp(f64::MIN_POSITIVE, 1.0).ln() >= remaining_ms
}
