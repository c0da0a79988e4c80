//! Purges.

use weir_core::purge::{Hardness, Hlc, Purge, Scope};

use crate::node::v1 as pb;
use crate::node::v1::purge::Scope as Wire;

/// Bytes of the longest prefix.
const PREFIX_BYTES_MAX: usize = 8 << 10;

/// A time for the wire.
pub fn encode_hlc(at: Hlc) -> pb::PurgeTime {
    pb::PurgeTime {
        time: at.time(),
        node: at.node(),
    }
}

/// A time from the wire.
pub fn decode_hlc(wire: pb::PurgeTime) -> Hlc {
    Hlc::from_time(wire.time, wire.node)
}

/// A purge for the wire; whose and which it is are told by the message around it.
pub fn encode_purge(purge: &Purge) -> pb::Purge {
    let scope = match &purge.scope {
        Scope::Key(key) => Wire::Key(*key),
        Scope::Tag(tag) => Wire::Tag(*tag),
        Scope::Prefix { host, path } => Wire::Prefix(pb::PurgedPrefix {
            host: *host,
            path: path.to_string(),
        }),
        Scope::Host(host) => Wire::Host(*host),
        Scope::All(namespace) => Wire::Namespace(*namespace),
    };
    pb::Purge {
        scope: Some(scope),
        soft: purge.hardness == Hardness::Soft,
        at: Some(encode_hlc(purge.at)),
    }
}

/// A purge from the wire.
///
/// # Errors
/// Its time, when it is of something that this version does not know: whatever was fetched until then may be purged.
pub fn decode_purge(wire: pb::Purge, origin: u64, seq: u64) -> Result<Purge, Hlc> {
    let at = decode_hlc(wire.at.unwrap_or_default());
    let scope = match wire.scope {
        Some(Wire::Key(key)) => Scope::Key(key),
        Some(Wire::Tag(tag)) => Scope::Tag(tag),
        Some(Wire::Prefix(prefix)) if prefix.path.len() <= PREFIX_BYTES_MAX => Scope::Prefix {
            host: prefix.host,
            path: prefix.path.into(),
        },
        Some(Wire::Host(host)) => Scope::Host(host),
        Some(Wire::Namespace(namespace)) => Scope::All(namespace),
        Some(Wire::Prefix(_)) | None => return Err(at),
    };
    Ok(Purge {
        scope,
        hardness: if wire.soft {
            Hardness::Soft
        } else {
            Hardness::Hard
        },
        at,
        origin,
        seq,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_purge_comes_back_as_it_was() {
        let prefix = Scope::Prefix {
            host: 3,
            path: "/blog/".into(),
        };
        for scope in [
            Scope::Key(1),
            Scope::Tag(2),
            prefix,
            Scope::Host(4),
            Scope::All(5),
        ] {
            for hardness in [Hardness::Soft, Hardness::Hard] {
                let purge = Purge {
                    scope: scope.clone(),
                    hardness,
                    at: Hlc::new(1_000, 7, 9),
                    origin: 11,
                    seq: 12,
                };
                assert_eq!(decode_purge(encode_purge(&purge), 11, 12), Ok(purge));
            }
        }
    }

    #[test]
    fn of_what_is_not_known_the_time_is_told() {
        let at = Hlc::new(1_000, 7, 9);
        let unknown = pb::Purge {
            scope: None,
            soft: false,
            at: Some(encode_hlc(at)),
        };
        assert_eq!(decode_purge(unknown, 1, 1), Err(at));
    }
}
