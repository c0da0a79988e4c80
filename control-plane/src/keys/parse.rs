//! Reads a key back.

use weir_core::calendar::yyyymmdd;

use super::Key;

/// Numbers are written with as many digits as any may have, so that they sort.
const NUMBER_DIGITS: usize = 20;
const ID_DIGITS: usize = 16;

/// What a key below the root is about. Names in it are not checked.
pub(super) fn below_root(path: &str) -> Option<Key<'_>> {
    let (area, rest) = path.split_once('/')?;
    match area {
        "cfg" => cfg(rest),
        "live" => live(rest),
        "audit" => audit(rest),
        "gone" => gone(rest),
        _ => None,
    }
}

fn cfg(path: &str) -> Option<Key<'_>> {
    let (kind, rest) = path.split_once('/')?;
    match kind {
        "meta" => match rest {
            "epoch" => Some(Key::Epoch),
            "tokens" => Some(Key::TokensMark),
            _ => None,
        },
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
    if path == "serial" {
        return Some(Key::ProfileSerial);
    }
    let (front, last) = path.rsplit_once('/')?;
    if last == "head" {
        let scope = front.parse().ok()?;
        return Some(Key::ProfileHead { scope });
    }
    let scope = front.strip_suffix("/rev")?.parse().ok()?;
    let revision = number(last)?;
    Some(Key::ProfileRevision { scope, revision })
}

fn audit(path: &str) -> Option<Key<'_>> {
    let (day, rest) = path.split_once('/')?;
    let (at, id) = rest.split_once('-')?;
    let at_unix_ms = number(at)?;
    let is_id = id.len() == ID_DIGITS && id.bytes().all(|b| b.is_ascii_hexdigit());
    let id = u64::from_str_radix(id, 16).ok().filter(|_| is_id)?;
    (yyyymmdd(at_unix_ms) == day).then_some(Key::Audit { at_unix_ms, id })
}

fn gone(path: &str) -> Option<Key<'_>> {
    let (service, rest) = path.split_once('/')?;
    let (backend, registration) = rest.split_once('/')?;
    Some(Key::Gone {
        service,
        backend,
        registration,
    })
}

pub(super) fn number(digits: &str) -> Option<u64> {
    let is_number = digits.len() == NUMBER_DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
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
