//! The limits of every store, checked before anything is sent.
//!
//! They are etcd's, or below etcd's where a request at etcd's own limit would make an answer too large for
//! its client. A request that passes here is never refused by a store for its size.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;

use super::types::{Compare, List, Op, Revision, Txn, Watch};

/// Longest key.
pub const KEY_BYTES_MAX: usize = 1024;
/// Largest value: a full page of these still fits the 64 MiB that a client decodes.
pub const VALUE_BYTES_MAX: usize = 256 * 1024;
/// Most conditions, and most operations in each of the two lists.
pub const TXN_OPS_MAX: usize = 128;
/// Largest transaction: all keys and values, and [`OP_OVERHEAD_BYTES`] for each condition and operation.
pub const REQUEST_BYTES_MAX: usize = 1536 * 1024;
/// What a condition or operation may take on the wire besides its key and value.
pub const OP_OVERHEAD_BYTES: usize = 64;
/// Most entries of one page.
pub const PAGE_ENTRIES_MAX: usize = 200;
/// Shortest and longest life of a lease; etcd lengthens what is shorter.
pub const LEASE_TTL: RangeInclusive<Duration> =
    Duration::from_secs(2)..=Duration::from_secs(86_400);

/// What is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}; allowed: {bound}")]
pub struct Invalid {
    /// Which part of the request, as a path.
    pub field: String,
    /// What it is.
    pub value: String,
    /// What it may be.
    pub bound: String,
}

/// Checks a transaction.
pub fn check_txn(txn: &Txn) -> Result<(), Invalid> {
    let mut request_bytes = 0;
    count("when", txn.when.len())?;
    for (index, compare) in txn.when.iter().enumerate() {
        let field = || format!("when[{index}]");
        check_key(&format!("{}.key", field()), compare.key())?;
        request_bytes += compare.key().len() + OP_OVERHEAD_BYTES;
        if let Compare::Value(_, value) = compare {
            check_value(field, value)?;
            request_bytes += value.len();
        }
    }
    request_bytes += check_ops("then", &txn.then)?;
    request_bytes += check_ops("or_else", &txn.or_else)?;
    let bound = || format!("at most {REQUEST_BYTES_MAX} bytes");
    ensure(
        request_bytes <= REQUEST_BYTES_MAX,
        "txn",
        || bytes(request_bytes),
        bound,
    )
}

/// Checks one key.
pub fn check_key(field: &str, key: &Bytes) -> Result<(), Invalid> {
    let bound = || format!("1 to {KEY_BYTES_MAX} bytes");
    let fits = (1..=KEY_BYTES_MAX).contains(&key.len());
    ensure(fits, field, || bytes(key.len()), bound)
}

/// Checks what to list.
pub fn check_list(list: &List) -> Result<(), Invalid> {
    check_prefix(&list.prefix)?;
    if let Some(after) = &list.after {
        check_key("after", after)?;
    }
    check_at("at", list.at)?;
    let bound = || format!("1 to {PAGE_ENTRIES_MAX}");
    let fits = (1..=PAGE_ENTRIES_MAX).contains(&list.entries_max);
    ensure(fits, "entries_max", || list.entries_max.to_string(), bound)
}

/// Checks what to watch.
pub fn check_watch(watch: &Watch) -> Result<(), Invalid> {
    check_prefix(&watch.prefix)?;
    check_at("from", Some(watch.from))
}

/// Checks a revision to read or compact at.
pub fn check_at(field: &str, at: Option<Revision>) -> Result<(), Invalid> {
    let bound = || format!("1 to {}", i64::MAX);
    let fits = at.is_none_or(|at| (1..=i64::MAX.unsigned_abs()).contains(&at.0));
    ensure(fits, field, || at.unwrap_or_default().to_string(), bound)
}

/// Checks the life of a lease.
pub fn check_ttl(ttl: Duration) -> Result<(), Invalid> {
    let bound = || format!("{:?} to {:?}", LEASE_TTL.start(), LEASE_TTL.end());
    ensure(
        LEASE_TTL.contains(&ttl),
        "ttl",
        || format!("{ttl:?}"),
        bound,
    )
}

fn check_prefix(prefix: &Bytes) -> Result<(), Invalid> {
    let bound = || format!("at most {KEY_BYTES_MAX} bytes");
    let fits = prefix.len() <= KEY_BYTES_MAX;
    ensure(fits, "prefix", || bytes(prefix.len()), bound)
}

/// Checks one list and returns what it may take on the wire.
fn check_ops(list: &str, ops: &[Op]) -> Result<usize, Invalid> {
    count(list, ops.len())?;
    let mut written = BTreeSet::new();
    let mut ops_bytes = 0;
    for (index, op) in ops.iter().enumerate() {
        let field = || format!("{list}[{index}]");
        check_key(&format!("{}.key", field()), op.key())?;
        ops_bytes += op.key().len() + OP_OVERHEAD_BYTES;
        if let Op::Put { value, .. } = op {
            check_value(field, value)?;
            ops_bytes += value.len();
        }
        let is_new = matches!(op, Op::Get(_)) || written.insert(op.key());
        let again = || format!("written twice ({})", op.key().escape_ascii());
        ensure(is_new, &format!("{}.key", field()), again, || {
            "once in each list".to_owned()
        })?;
    }
    Ok(ops_bytes)
}

fn check_value(field: impl Fn() -> String, value: &Bytes) -> Result<(), Invalid> {
    let bound = || format!("at most {VALUE_BYTES_MAX} bytes");
    let fits = value.len() <= VALUE_BYTES_MAX;
    ensure(
        fits,
        &format!("{}.value", field()),
        || bytes(value.len()),
        bound,
    )
}

fn count(list: &str, found: usize) -> Result<(), Invalid> {
    let bound = || format!("at most {TXN_OPS_MAX}");
    ensure(
        found <= TXN_OPS_MAX,
        list,
        || format!("{found} long"),
        bound,
    )
}

fn bytes(count: usize) -> String {
    format!("{count} bytes")
}

fn ensure(
    fits: bool,
    field: &str,
    value: impl FnOnce() -> String,
    bound: impl FnOnce() -> String,
) -> Result<(), Invalid> {
    if fits {
        return Ok(());
    }
    Err(Invalid {
        field: field.to_owned(),
        value: value(),
        bound: bound(),
    })
}
