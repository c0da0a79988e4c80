//! Transactions, reads and lists.

use bytes::Bytes;
use weir_control_plane::store::{Compare, Error, List, Op, OpResult, Revision, Txn};

use crate::support::{Shared, always, b, delete, get, keys, only_if, page, put, put_op, run};

pub(crate) async fn a_put_is_read_back(store: Shared) {
    let first = put(&store, "k", "one").await;
    let second = put(&store, "k", "two").await;
    let entry = get(&store, "k").await.unwrap();
    assert_eq!((&entry.key, &entry.value), (&b("k"), &b("two")));
    assert_eq!((entry.create_revision, entry.mod_revision), (first, second));
    assert_eq!((entry.version, entry.lease), (2, None));

    delete(&store, "k").await;
    assert_eq!(get(&store, "k").await, None);
    let third = put(&store, "k", "three").await;
    let entry = get(&store, "k").await.unwrap();
    assert_eq!((entry.create_revision, entry.version), (third, 1));

    let odd = Bytes::from_static(b"\x00\xff/\xff\xff");
    let op = Op::Put {
        key: odd.clone(),
        value: Bytes::new(),
        lease: None,
    };
    run(&store, vec![op]).await;
    assert_eq!(
        store.get(odd, None).await.unwrap().unwrap().value,
        Bytes::new()
    );
    let status = store.status().await.unwrap();
    assert!(status.healthy && status.revision == third.next() && status.disk_bytes > 0);
}

pub(crate) async fn revisions_rise_only_with_changes(store: Shared) {
    assert_eq!(
        page(&store, "", 1).await.revision,
        Revision(1),
        "an empty store is at 1"
    );
    assert_eq!(put(&store, "k", "same").await, Revision(2));
    assert_eq!(
        put(&store, "k", "same").await,
        Revision(3),
        "the same value again"
    );
    assert_eq!(
        delete(&store, "none").await,
        Revision(3),
        "nothing to delete"
    );
    let read = run(&store, vec![Op::Get(b("k"))]).await;
    assert_eq!(read.revision, Revision(3), "only a read");
    let lease = store.grant(crate::suite::leases::TTL).await.unwrap();
    store.revoke(lease.id).await.unwrap();
    assert_eq!(
        page(&store, "", 1).await.revision,
        Revision(3),
        "a lease without keys"
    );
    let many = vec![put_op("a", "1"), put_op("b", "2"), Op::Delete(b("k"))];
    assert_eq!(
        run(&store, many).await.revision,
        Revision(4),
        "three changes in one"
    );
    assert_eq!(run(&store, Vec::new()).await.revision, Revision(4));
}

pub(crate) async fn every_comparison_decides(store: Shared) {
    let created = put(&store, "k", "v").await;
    let modified = put(&store, "k", "w").await;
    let none = Revision(0);
    let cases = [
        (Compare::Exists(b("k")), true),
        (Compare::Exists(b("x")), false),
        (Compare::Absent(b("k")), false),
        (Compare::Absent(b("x")), true),
        (Compare::ModRevision(b("k"), modified), true),
        (Compare::ModRevision(b("k"), created), false),
        (Compare::ModRevision(b("x"), none), true),
        (Compare::CreateRevision(b("k"), created), true),
        (Compare::CreateRevision(b("k"), modified), false),
        (Compare::CreateRevision(b("x"), none), true),
        (Compare::Value(b("k"), b("w")), true),
        (Compare::Value(b("k"), b("v")), false),
        (Compare::Value(b("x"), b("")), false),
    ];
    for (compare, holds) in cases {
        let txn = Txn {
            when: vec![compare.clone()],
            then: vec![Op::Get(b("k"))],
            or_else: vec![Op::Delete(b("x")), Op::Get(b("x"))],
        };
        let outcome = store.txn(txn).await.unwrap();
        assert_eq!(outcome.succeeded, holds, "{compare:?}");
        let otherwise = vec![OpResult::Deleted(false), OpResult::Got(None)];
        assert_eq!(outcome.results == otherwise, !holds, "{compare:?}");
    }
    let one_fails = Txn {
        when: vec![Compare::Exists(b("k")), Compare::Exists(b("x"))],
        then: vec![put_op("k", "wrong")],
        or_else: Vec::new(),
    };
    let outcome = store.txn(one_fails).await.unwrap();
    assert!(!outcome.succeeded && outcome.results.is_empty());
    assert_eq!(get(&store, "k").await.unwrap().value, b("w"));
}

pub(crate) async fn a_step_sees_the_steps_before_it(store: Shared) {
    put(&store, "gone", "soon").await;
    let ops = vec![
        put_op("k", "v"),
        Op::Get(b("k")),
        Op::Delete(b("gone")),
        Op::Get(b("gone")),
    ];
    let outcome = run(&store, ops).await;
    let entry = get(&store, "k").await.unwrap();
    assert_eq!(entry.mod_revision, outcome.revision);
    let expected = vec![
        OpResult::Put,
        OpResult::Got(Some(entry)),
        OpResult::Deleted(true),
        OpResult::Got(None),
    ];
    assert_eq!(outcome.results, expected);
}

pub(crate) async fn lists_come_in_pages_of_one_revision(store: Shared) {
    for key in ["a", "p/1", "p/2", "p/3", "p0", "q"] {
        put(&store, key, "v").await;
    }
    let all = page(&store, "", 200).await;
    assert_eq!((all.entries.len(), all.more), (6, false));
    assert_eq!(keys(&store, "p/").await, ["p/1", "p/2", "p/3"]);

    let first = page(&store, "p/", 2).await;
    assert!(first.more && first.entries.len() == 2);
    let whole = vec![
        put_op("p/25", "late"),
        put_op("p/3", "late"),
        Op::Delete(b("p/2")),
    ];
    run(&store, whole).await;
    let rest = List {
        prefix: b("p/"),
        after: Some(b("p/2")),
        at: Some(first.revision),
        entries_max: 2,
    };
    let second = store.list(rest.clone()).await.unwrap();
    assert!(!second.more && second.store == first.store);
    let entry = &second.entries[0];
    assert_eq!(
        (second.entries.len(), &entry.key, &entry.value),
        (1, &b("p/3"), &b("v"))
    );
    let now = List { at: None, ..rest };
    let now = store.list(now).await.unwrap();
    assert_eq!((now.entries.len(), now.more), (2, false));
    assert_eq!(now.revision, first.revision.next());
    let past_the_end = List {
        prefix: b("p/"),
        after: Some(b("zzz")),
        entries_max: 9,
        at: None,
    };
    assert_eq!(store.list(past_the_end).await.unwrap().entries, []);
}

pub(crate) async fn the_past_can_be_read(store: Shared) {
    let first = put(&store, "k", "one").await;
    put(&store, "k", "two").await;
    let gone = delete(&store, "k").await;
    let last = put(&store, "k", "three").await;
    let at = |revision| store.get(b("k"), Some(revision));
    assert_eq!(at(first).await.unwrap().unwrap().value, b("one"));
    assert_eq!(at(first.next()).await.unwrap().unwrap().value, b("two"));
    assert_eq!(at(gone).await.unwrap(), None);
    assert_eq!(at(Revision(1)).await.unwrap(), None);
    assert_eq!(at(last).await.unwrap(), get(&store, "k").await);
    let future = at(last.next()).await;
    assert!(matches!(future, Err(Error::Future { asked, .. }) if asked == last.next()));
    // A condition that fails changes nothing, in the past or now.
    let txn = only_if(Compare::Absent(b("k")), vec![put_op("k", "four")]);
    assert!(!store.txn(txn).await.unwrap().succeeded);
    assert_eq!(store.txn(always(Vec::new())).await.unwrap().revision, last);
}
