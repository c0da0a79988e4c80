//! What may be listened on.

use std::net::SocketAddr;

use super::guard::Access;

/// Whether what is said on the way can be read by others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// It can.
    Plain,
    /// TLS.
    Tls,
}

/// Whether a lack of protection was asked for in so many words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insecure {
    /// It was.
    Allowed,
    /// The default.
    Refused,
}

/// Why an address is not listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListenError {
    /// Everybody could read or do everything.
    #[error(
        "listening on {address} needs {missing}: {remedy}, listen on a loopback address such as \
         127.0.0.1, or give --insecure if the network is trusted"
    )]
    Exposed {
        /// Where.
        address: SocketAddr,
        /// What there is not.
        missing: &'static str,
        /// How to get it.
        remedy: &'static str,
    },
    /// Certificates are asked for, and there is no TLS to carry them.
    #[error(
        "listening on {address} with client certificates needs TLS: give a certificate and a key"
    )]
    NoTls {
        /// Where.
        address: SocketAddr,
    },
}

/// Checks that beyond loopback there is TLS and somebody who asks for an identity.
///
/// # Errors
/// What is missing, and what to do.
pub fn check_listen(
    address: SocketAddr,
    access: Access,
    wire: Wire,
    insecure: Insecure,
) -> Result<(), ListenError> {
    if wire == Wire::Plain && access.takes_certificates() {
        return Err(ListenError::NoTls { address });
    }
    if address.ip().to_canonical().is_loopback() || insecure == Insecure::Allowed {
        return Ok(());
    }
    let (missing, remedy) = match (wire, access == Access::OpenLoopback) {
        (Wire::Tls, false) => return Ok(()),
        (Wire::Tls, true) => ("authentication", "ask for tokens or client certificates"),
        (Wire::Plain, false) => ("TLS", "give a certificate and a key"),
        (Wire::Plain, true) => (
            "TLS and authentication",
            "give a certificate and a key, and ask for tokens or client certificates",
        ),
    };
    Err(ListenError::Exposed {
        address,
        missing,
        remedy,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str, access: Access, wire: Wire, insecure: Insecure) -> String {
        let checked = check_listen(address.parse().unwrap(), access, wire, insecure);
        match checked {
            Ok(()) => "fine".to_owned(),
            Err(ListenError::Exposed { missing, .. }) => missing.to_owned(),
            Err(ListenError::NoTls { .. }) => "certificates without TLS".to_owned(),
        }
    }

    #[test]
    fn beyond_loopback_tls_and_authentication_are_needed() {
        use Access::{MutualTls, OpenLoopback, Tokens, TokensOrMutualTls};
        use Wire::{Plain, Tls};
        let table = [
            ("127.0.0.1:1", OpenLoopback, Plain, "fine"),
            ("127.9.9.9:1", OpenLoopback, Plain, "fine"),
            ("[::1]:1", OpenLoopback, Plain, "fine"),
            ("[::ffff:127.0.0.1]:1", OpenLoopback, Plain, "fine"),
            ("127.0.0.1:1", Tokens, Plain, "fine"),
            ("127.0.0.1:1", MutualTls, Plain, "certificates without TLS"),
            ("0.0.0.0:1", OpenLoopback, Plain, "TLS and authentication"),
            ("[::]:1", OpenLoopback, Tls, "authentication"),
            ("10.0.0.1:1", Tokens, Plain, "TLS"),
            ("[::ffff:10.0.0.1]:1", Tokens, Plain, "TLS"),
            ("10.0.0.1:1", Tokens, Tls, "fine"),
            ("10.0.0.1:1", MutualTls, Tls, "fine"),
            ("10.0.0.1:1", TokensOrMutualTls, Tls, "fine"),
            (
                "10.0.0.1:1",
                TokensOrMutualTls,
                Plain,
                "certificates without TLS",
            ),
        ];
        for (address, access, wire, expected) in table {
            let found = check(address, access, wire, Insecure::Refused);
            assert_eq!(found, expected, "{address} {access:?} {wire:?}");
            let found = check(address, access, wire, Insecure::Allowed);
            let is_fine = found == "fine";
            assert_eq!(is_fine, expected != "certificates without TLS", "{found}");
        }
    }

    #[test]
    fn the_error_names_the_address_and_what_to_do() {
        let address = "0.0.0.0:7500".parse().unwrap();
        let error = check_listen(address, Access::Tokens, Wire::Plain, Insecure::Refused);
        assert_eq!(
            error.unwrap_err().to_string(),
            "listening on 0.0.0.0:7500 needs TLS: give a certificate and a key, listen on a loopback address \
             such as 127.0.0.1, or give --insecure if the network is trusted"
        );
    }
}
