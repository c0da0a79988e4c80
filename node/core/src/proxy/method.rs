//! What the method says about how a request may be handled.

use http::Method;
use thiserror::Error;

/// Weir does not forward this method; answer `405`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MethodRefused {
    /// CONNECT: a gateway opens no tunnels to where the client says (RFC 9110 section 9.3.6).
    #[error("CONNECT is not forwarded")]
    Connect,
    /// TRACE echoes what the proxy added, credentials included (RFC 9110 section 9.3.8).
    #[error("TRACE is not forwarded")]
    Trace,
}

/// Refuses methods that are never forwarded. With TRACE refused there is nothing for
/// `Max-Forwards` to bound (it only applies to TRACE and OPTIONS, RFC 9110 section 7.6.2).
///
/// # Errors
/// [`MethodRefused`] for CONNECT and TRACE.
pub fn check_method(method: &Method) -> Result<(), MethodRefused> {
    match *method {
        Method::CONNECT => Err(MethodRefused::Connect),
        Method::TRACE => Err(MethodRefused::Trace),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_and_trace_are_not_forwarded() {
        assert_eq!(check_method(&Method::CONNECT), Err(MethodRefused::Connect));
        assert_eq!(check_method(&Method::TRACE), Err(MethodRefused::Trace));
        assert_eq!(check_method(&Method::OPTIONS), Ok(()));
    }
}
