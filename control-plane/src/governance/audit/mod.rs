//! What was done, by whom: one record beside each change, in the same transaction.
//!
//! Records lie below `audit/{yyyymmdd}/`, and their keys sort by time. They are written by whoever makes the
//! change ([`record`], [`put`]), read by [`list`], and removed when they are old by [`prune`].

mod clean;
mod prune;
mod read;

use weir_proto::control::records::v1 as records;
use weir_proto::control::v1::AuditRecord;
use weir_proto::sync::content_hash;

use super::identity::Role;
use crate::keys::Keys;
use crate::records::encode;
use crate::store::Op;

pub use clean::{name_of, one_line, redact};
pub use prune::{Pruned, prune};
pub use read::{ENTRIES_DEFAULT, ENTRIES_MAX, list};

/// Longest message that is kept.
pub const MESSAGE_CHARS_MAX: usize = 512;
/// Longest detail that is kept.
pub const DETAIL_CHARS_MAX: usize = 1024;

/// Who the audit says did it; see [`super::identity::Identity::actor`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// A name.
    pub author: String,
    /// What it acted as.
    pub role: Role,
}

/// What was done. Texts are made one line and short, and what looks like a secret is taken out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change<'a> {
    /// Domain and verb, such as `profile.put`.
    pub action: &'a str,
    /// What it was done to: a scope, a service, a node.
    pub target: &'a str,
    /// What its author says about it.
    pub message: &'a str,
    /// Names the write, where it has a name: made again, it is made once.
    pub write_id: &'a str,
    /// What else is worth knowing.
    pub detail: &'a str,
}

/// The record of a change.
pub fn record(actor: &Actor, change: &Change<'_>, now_unix_ms: u64) -> AuditRecord {
    AuditRecord {
        at_unix_ms: now_unix_ms,
        author: name_of(&actor.author),
        role: actor.role.as_text().to_owned(),
        action: name_of(change.action),
        target: one_line(change.target, MESSAGE_CHARS_MAX),
        message: one_line(change.message, MESSAGE_CHARS_MAX),
        write_id: name_of(change.write_id),
        detail: one_line(change.detail, DETAIL_CHARS_MAX),
    }
}

/// The operation that keeps a record; it belongs into the transaction of the change.
///
/// `id` tells records of one millisecond apart: draw it at random, or make it of the write ([`id_of_write`]).
pub fn put(keys: &Keys, record: AuditRecord, id: u64) -> Op {
    let key = keys.audit_record(record.at_unix_ms, id);
    let record = Some(record);
    Op::put(key, encode(&records::Audit { record }))
}

/// The same for each try of one write: where its record is, the write was made.
pub fn id_of_write(change: &Change<'_>) -> u64 {
    let name = [change.action, change.target, change.write_id].join("\0");
    let [a, b, c, d, e, f, g, h, ..] = content_hash(name.as_bytes());
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}
