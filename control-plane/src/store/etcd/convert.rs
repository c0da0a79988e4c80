//! Between the store's words and etcd's.

use std::time::Duration;

use bytes::Bytes;
use etcd_client::{
    Compare as Condition, CompareOp, KeyValue, PutOptions, ResponseHeader, Txn as Sent, TxnOp,
    TxnOpResponse,
};

use super::error::incomplete;
use crate::store::{Compare, Entry, Error, LeaseId, Op, OpResult, Revision, Txn};

/// A transaction as etcd takes it.
pub(super) fn txn(txn: &Txn) -> Sent {
    let conditions: Vec<_> = txn.when.iter().map(condition).collect();
    let then: Vec<_> = txn.then.iter().map(op).collect();
    let or_else: Vec<_> = txn.or_else.iter().map(op).collect();
    Sent::new().when(conditions).and_then(then).or_else(or_else)
}

fn condition(compare: &Compare) -> Condition {
    let key = compare.key().to_vec();
    match compare {
        Compare::Exists(_) => Condition::create_revision(key, CompareOp::NotEqual, 0),
        Compare::Absent(_) => Condition::create_revision(key, CompareOp::Equal, 0),
        Compare::ModRevision(_, at) => {
            Condition::mod_revision(key, CompareOp::Equal, revision_or_zero(Some(*at)))
        }
        Compare::CreateRevision(_, at) => {
            Condition::create_revision(key, CompareOp::Equal, revision_or_zero(Some(*at)))
        }
        Compare::Value(_, value) => Condition::value(key, CompareOp::Equal, value.to_vec()),
    }
}

fn op(op: &Op) -> TxnOp {
    match op {
        Op::Put { key, value, lease } => {
            let options = lease.map(|lease| PutOptions::new().with_lease(lease_id(lease)));
            TxnOp::put(key.to_vec(), value.to_vec(), options)
        }
        Op::Delete(key) => TxnOp::delete(key.to_vec(), None),
        Op::Get(key) => TxnOp::get(key.to_vec(), None),
    }
}

/// What one operation did.
pub(super) fn result(answer: TxnOpResponse) -> Result<OpResult, Error> {
    match answer {
        TxnOpResponse::Put(_) => Ok(OpResult::Put),
        TxnOpResponse::Get(got) => Ok(OpResult::Got(got.kvs().first().map(entry))),
        TxnOpResponse::Delete(deleted) => Ok(OpResult::Deleted(deleted.deleted() > 0)),
        TxnOpResponse::Txn(_) => Err(incomplete("results of its own level")),
    }
}

/// An entry out of an answer.
pub(super) fn entry(found: &KeyValue) -> Entry {
    Entry {
        key: Bytes::copy_from_slice(found.key()),
        value: Bytes::copy_from_slice(found.value()),
        create_revision: revision(found.create_revision()),
        mod_revision: revision(found.mod_revision()),
        version: u64::try_from(found.version()).unwrap_or(0),
        lease: (found.lease() != 0).then(|| lease(found.lease())),
    }
}

/// The header that every answer has.
pub(super) fn header(header: Option<&ResponseHeader>) -> Result<&ResponseHeader, Error> {
    header.ok_or_else(|| incomplete("header"))
}

/// etcd counts revisions from 0 up, in a signed number.
pub(super) fn revision(revision: i64) -> Revision {
    Revision(u64::try_from(revision).unwrap_or(0))
}

/// A revision as etcd takes it; 0 is the present.
pub(super) fn revision_or_zero(at: Option<Revision>) -> i64 {
    at.map_or(0, |at| i64::try_from(at.0).unwrap_or(i64::MAX))
}

/// etcd's lease ids are signed; the bits are the same.
pub(super) fn lease(id: i64) -> LeaseId {
    LeaseId(id.cast_unsigned())
}

/// A lease id as etcd takes it.
pub(super) fn lease_id(lease: LeaseId) -> i64 {
    lease.0.cast_signed()
}

/// Seconds, as etcd tells them.
pub(super) fn ttl(whole_secs: i64) -> Duration {
    Duration::from_secs(u64::try_from(whole_secs).unwrap_or(0))
}

/// Start and end of the keys below a prefix and after a key. `\0` alone stands for no end, and for no start.
pub(super) fn range(prefix: &[u8], after: Option<&[u8]>) -> (Vec<u8>, Vec<u8>) {
    let after = after.filter(|after| *after >= prefix);
    let start = match after {
        Some(after) => [after, b"\0"].concat(),
        None if prefix.is_empty() => vec![0],
        None => prefix.to_vec(),
    };
    let mut end = prefix.to_vec();
    while end.last() == Some(&0xff) {
        end.pop();
    }
    match end.last_mut() {
        Some(last) => *last += 1,
        None => end.push(0),
    }
    (start, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_ends_where_the_prefix_does() {
        assert_eq!(range(b"a/", None), (b"a/".to_vec(), b"a0".to_vec()));
        assert_eq!(range(b"a\xff", None), (b"a\xff".to_vec(), b"b".to_vec()));
        assert_eq!(range(b"\xff", None), (b"\xff".to_vec(), b"\0".to_vec()));
        assert_eq!(range(b"", None), (b"\0".to_vec(), b"\0".to_vec()));
        assert_eq!(range(b"a", Some(b"ab")), (b"ab\0".to_vec(), b"b".to_vec()));
    }
}
