//! What every store takes and refuses.

use std::time::Duration;

use bytes::Bytes;
use weir_control_plane::store::limits::{
    KEY_BYTES_MAX, OP_OVERHEAD_BYTES, PAGE_ENTRIES_MAX, REQUEST_BYTES_MAX, TXN_OPS_MAX,
    VALUE_BYTES_MAX,
};
use weir_control_plane::store::{Compare, Error, Invalid, List, Op, Revision, Txn, Watch};

use crate::support::{Shared, always, b, page, put_op};

fn key(index: usize, length: usize) -> Bytes {
    Bytes::from(format!("{index:0length$}"))
}

fn sized(index: usize, key_bytes: usize, value_bytes: usize) -> Op {
    Op::Put {
        key: key(index, key_bytes),
        value: Bytes::from(vec![b'v'; value_bytes]),
        lease: None,
    }
}

/// As many of the largest values as fit a request, and one that fills it to the byte.
fn largest_request() -> Vec<Op> {
    let each = KEY_BYTES_MAX + VALUE_BYTES_MAX + OP_OVERHEAD_BYTES;
    let mut ops: Vec<_> = (0..REQUEST_BYTES_MAX / each)
        .map(|index| sized(index, KEY_BYTES_MAX, VALUE_BYTES_MAX))
        .collect();
    let left = REQUEST_BYTES_MAX - ops.len() * each;
    ops.push(sized(ops.len(), 10, left - 10 - OP_OVERHEAD_BYTES));
    ops
}

pub(crate) async fn what_just_fits_is_taken(store: Shared) {
    let most = Txn {
        when: (0..TXN_OPS_MAX)
            .map(|i| Compare::Absent(key(i, KEY_BYTES_MAX)))
            .collect(),
        then: (0..TXN_OPS_MAX)
            .map(|i| sized(i, KEY_BYTES_MAX, 1))
            .collect(),
        or_else: (0..TXN_OPS_MAX).map(|i| Op::Get(key(i, 9))).collect(),
    };
    let outcome = store.txn(most).await.unwrap();
    assert!(outcome.succeeded && outcome.results.len() == TXN_OPS_MAX);
    let outcome = store.txn(always(largest_request())).await.unwrap();
    let found = page(&store, "", PAGE_ENTRIES_MAX).await;
    assert_eq!(found.revision, outcome.revision);
    // A page of the largest values is cut short by one store and decoded whole from the other.
    for index in 0..40 {
        let op = sized(1000 + index, 20, VALUE_BYTES_MAX);
        store.txn(always(vec![op])).await.unwrap();
    }
    let (mut list, mut count) = (List::default(), 0);
    list.entries_max = PAGE_ENTRIES_MAX;
    loop {
        let page = store.list(list.clone()).await.unwrap();
        count += page.entries.len();
        list.after = page.entries.last().map(|entry| entry.key.clone());
        if !page.more {
            break;
        }
    }
    // The largest values of the request before overwrote keys that were there.
    assert_eq!(count, TXN_OPS_MAX + 1 + 40);
}

/// What does not fit, and what is said of it.
fn wrong_transactions() -> Vec<(Txn, &'static str)> {
    let too_many: Vec<_> = (0..=TXN_OPS_MAX).map(|i| Op::Get(key(i, 9))).collect();
    let too_many_compares = (0..=TXN_OPS_MAX)
        .map(|i| Compare::Exists(key(i, 9)))
        .collect();
    let mut too_large = largest_request();
    too_large.push(Op::Get(key(0, 1)));
    let txn = Txn::default;
    let put_to = |key: Bytes| Op::Put {
        key,
        value: Bytes::new(),
        lease: None,
    };
    let large = Bytes::from(vec![0; VALUE_BYTES_MAX + 1]);
    vec![
        (
            always(too_many.clone()),
            "then is 129 long; allowed: at most 128",
        ),
        (
            Txn {
                or_else: too_many,
                ..txn()
            },
            "or_else is 129 long; allowed: at most 128",
        ),
        (
            Txn {
                when: too_many_compares,
                ..txn()
            },
            "when is 129 long; allowed: at most 128",
        ),
        (
            always(vec![put_to(Bytes::new())]),
            "then[0].key is 0 bytes; allowed: 1 to 1024 bytes",
        ),
        (
            always(vec![Op::Get(b("k")), put_to(key(0, 1025))]),
            "then[1].key is 1025 bytes; allowed: 1 to 1024 bytes",
        ),
        (
            Txn {
                or_else: vec![sized(0, 1, VALUE_BYTES_MAX + 1)],
                ..txn()
            },
            "or_else[0].value is 262145 bytes; allowed: at most 262144 bytes",
        ),
        (
            Txn {
                when: vec![Compare::Value(b("k"), large)],
                ..txn()
            },
            "when[0].value is 262145 bytes; allowed: at most 262144 bytes",
        ),
        (
            always(vec![put_op("k", "1"), Op::Delete(b("k"))]),
            "then[1].key is written twice (k); allowed: once in each list",
        ),
        (
            always(too_large),
            "txn is 1572929 bytes; allowed: at most 1572864 bytes",
        ),
    ]
}

pub(crate) async fn transactions_that_do_not_fit_are_refused_by_field(store: Shared) {
    for (txn, message) in wrong_transactions() {
        let refused = store.txn(txn).await.unwrap_err();
        assert_eq!(refused.to_string(), message);
    }
    assert_eq!(
        page(&store, "", 1).await.revision,
        Revision(1),
        "nothing was written"
    );
}

pub(crate) async fn calls_that_do_not_fit_are_refused_by_field(store: Shared) {
    let list = |entries_max| {
        store.list(List {
            entries_max,
            ..List::default()
        })
    };
    assert_eq!(field(list(0).await), "entries_max");
    assert_eq!(field(list(PAGE_ENTRIES_MAX + 1).await), "entries_max");
    assert_eq!(field(store.get(Bytes::new(), None).await), "key");
    assert_eq!(field(store.get(b("k"), Some(Revision(0))).await), "at");
    assert_eq!(field(store.compact(Revision(u64::MAX)).await), "at");
    assert_eq!(field(store.grant(Duration::from_secs(1)).await), "ttl");
    assert_eq!(field(store.grant(Duration::MAX).await), "ttl");
    let watch = |prefix, from| store.watch(Watch { prefix, from });
    assert_eq!(field(watch(b(""), Revision(0)).await.map(drop)), "from");
    assert_eq!(
        field(watch(key(0, 1025), Revision(1)).await.map(drop)),
        "prefix"
    );
    assert_eq!(
        page(&store, "", 1).await.revision,
        Revision(1),
        "nothing was written"
    );
}

fn field<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    match result {
        Err(Error::Invalid(Invalid { field, .. })) => field,
        other => panic!("{other:?} was not refused"),
    }
}
