//! What operators want of a node: cordon, drain, forget.

use weir_proto::control::records::v1 as records;
use weir_proto::control::v1 as pb;

use crate::governance::audit::{self, Actor};
use crate::keys::{InvalidName, Key, Keys};
use crate::records::{self as written, decode, encode};
use crate::store::{Compare, Error as StoreError, Op, Revision, Store, Txn};

/// Tries of a change that others make at the same time.
const TRIES_MAX: usize = 10;

/// Why an order was not given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a node's id.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the store holds cannot be read.
    #[error(transparent)]
    Record(#[from] written::Error),
    /// Others change it all the time.
    #[error("others changed the orders of `{0}` {TRIES_MAX} times in between")]
    Busy(String),
    /// A node that is connected cannot be forgotten.
    #[error(
        "`{0}` is connected, or was within the last 30 s; only a node that is away can be removed"
    )]
    Connected(String),
    /// No such node.
    #[error("no node is called `{0}`")]
    Unknown(String),
}

/// A change of a node's orders; what is absent stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// Not ready for new clients.
    pub cordoned: Option<bool>,
    /// Besides, ends client connections after what runs on them. While it lasts the node is not ready either; what
    /// `cordoned` says stays, and holds again afterwards.
    pub draining: Option<bool>,
}

impl Order {
    /// The orders after it.
    fn applied_to(self, before: pb::NodeOrders) -> pb::NodeOrders {
        // A node that takes new clients does not drain.
        let goes_on = before.draining && self.cordoned != Some(false);
        pb::NodeOrders {
            cordoned: self.cordoned.unwrap_or(before.cordoned),
            draining: self.draining.unwrap_or(goes_on),
        }
    }

    fn action(self) -> &'static str {
        match (self.draining, self.cordoned) {
            (Some(true), _) => "node.drain",
            (Some(false), _) => "node.undrain",
            (None, Some(true)) => "node.cordon",
            (None, _) => "node.uncordon",
        }
    }
}

/// Who gives an order, and when.
#[derive(Clone, Copy, Debug)]
pub struct By<'a> {
    /// Who.
    pub actor: &'a Actor,
    /// What they say about it.
    pub message: &'a str,
    /// When.
    pub now_unix_ms: u64,
    /// Tells audit records of one millisecond apart.
    pub audit_id: u64,
}

impl By<'_> {
    fn audit(&self, keys: &Keys, action: &str, node: &str) -> Op {
        let change = audit::Change {
            action,
            target: node,
            message: self.message,
            ..audit::Change::default()
        };
        let record = audit::record(self.actor, &change, self.now_unix_ms);
        audit::put(keys, record, self.audit_id)
    }
}

/// Changes a node's orders, with the audit record in the same transaction.
///
/// # Errors
/// Nothing was changed, or, for an ambiguous error of the store, it may have been.
pub async fn order(
    store: &dyn Store,
    keys: &Keys,
    node: &str,
    order: Order,
    by: By<'_>,
) -> Result<pb::NodeOrders, Error> {
    let key = keys.of(&Key::Orders { node })?;
    for _ in 0..TRIES_MAX {
        let entry = store.get(key.clone(), None).await?;
        let (seen, before) = match &entry {
            Some(entry) => {
                let record: records::Orders = decode(&key, &entry.value)?;
                (entry.mod_revision, record.orders.unwrap_or_default())
            }
            None => (Revision(0), pb::NodeOrders::default()),
        };
        let after = order.applied_to(before);
        if after == before {
            return Ok(after);
        }
        let record = records::Orders {
            node_id: node.to_owned(),
            orders: Some(after),
            author: by.actor.author.clone(),
            written_at_unix_ms: by.now_unix_ms,
        };
        let is_seen = Compare::ModRevision(key.clone(), seen);
        let then = vec![
            Op::put(key.clone(), encode(&record)),
            by.audit(keys, order.action(), node),
        ];
        let change = Txn::only_if(vec![is_seen], then);
        if store.txn(change).await?.succeeded {
            return Ok(after);
        }
    }
    Err(Error::Busy(node.to_owned()))
}

/// Forgets what is kept of a node that is away.
///
/// # Errors
/// When it is connected or unknown, or the store did not take it.
pub async fn forget(store: &dyn Store, keys: &Keys, node: &str, by: By<'_>) -> Result<(), Error> {
    let presence = keys.of(&Key::Presence { node })?;
    let status = keys.of(&Key::NodeStatus { node })?;
    let orders = keys.of(&Key::Orders { node })?;
    let kept = store.get(status.clone(), None).await?.is_some()
        || store.get(orders.clone(), None).await?.is_some();
    if !kept {
        return Err(Error::Unknown(node.to_owned()));
    }
    let then = vec![
        Op::Delete(status),
        Op::Delete(orders),
        by.audit(keys, "node.forget", node),
    ];
    let forgotten = Txn::only_if(vec![Compare::Absent(presence)], then);
    match store.txn(forgotten).await?.succeeded {
        true => Ok(()),
        false => Err(Error::Connected(node.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undraining_leaves_what_was_before_and_uncordoning_ends_a_drain() {
        let after = |cordoned, draining, before: (bool, bool)| {
            let before = pb::NodeOrders {
                cordoned: before.0,
                draining: before.1,
            };
            let after = Order { cordoned, draining }.applied_to(before);
            (after.cordoned, after.draining)
        };
        let (yes, no) = (Some(true), Some(false));
        assert_eq!(after(yes, None, (false, false)), (true, false));
        assert_eq!(after(None, yes, (false, false)), (false, true));
        assert_eq!(after(None, no, (false, true)), (false, false));
        assert_eq!(after(None, yes, (true, false)), (true, true));
        assert_eq!(after(None, no, (true, true)), (true, false));
        assert_eq!(after(yes, None, (false, true)), (true, true));
        assert_eq!(after(no, None, (true, true)), (false, false));
        assert_eq!(after(no, None, (true, false)), (false, false));
        assert_eq!(after(no, yes, (true, false)), (false, true));
        assert_eq!(after(None, None, (true, true)), (true, true));
    }
}
