//! Reads a key back.

use super::Key;

const REVISION_DIGITS: usize = 20;

/// What a key below the root is about. Names in it are not checked.
pub(super) fn below_root(path: &str) -> Option<Key<'_>> {
    let (area, rest) = path.split_once('/')?;
    match area {
        "cfg" => cfg(rest),
        "live" => live(rest),
        "audit" => {
            let (day, id) = rest.split_once('/')?;
            Some(Key::Audit { day, id })
        }
        _ => None,
    }
}

fn cfg(path: &str) -> Option<Key<'_>> {
    let (kind, rest) = path.split_once('/')?;
    match kind {
        "meta" => (rest == "epoch").then_some(Key::Epoch),
        "profile" => profile(rest),
        "service" => {
            let service = rest.strip_suffix("/weights")?;
            Some(Key::Weights { service })
        }
        "node" => {
            let node = rest.strip_suffix("/orders")?;
            Some(Key::Orders { node })
        }
        "token" => Some(Key::Token { hash: rest }),
        _ => None,
    }
}

/// Read from its end, because a scope may hold a slash and its last name may be any.
fn profile(path: &str) -> Option<Key<'_>> {
    let (front, last) = path.rsplit_once('/')?;
    if last == "head" {
        return Some(Key::ProfileHead { scope: front });
    }
    let scope = front.strip_suffix("/rev")?;
    let is_number = last.len() == REVISION_DIGITS && last.bytes().all(|b| b.is_ascii_digit());
    let revision = last.parse().ok().filter(|_| is_number)?;
    Some(Key::ProfileRevision { scope, revision })
}

fn live(path: &str) -> Option<Key<'_>> {
    let (kind, rest) = path.split_once('/')?;
    match kind {
        "node" => match rest.rsplit_once('/')? {
            (node, "presence") => Some(Key::Presence { node }),
            (node, "status") => Some(Key::NodeStatus { node }),
            _ => None,
        },
        "endpoint" => {
            let (service, backend) = rest.split_once('/')?;
            Some(Key::Endpoint { service, backend })
        }
        "election" => (rest == "controller").then_some(Key::Leader),
        "cp" => Some(Key::Instance { instance: rest }),
        _ => None,
    }
}
