//! Watches.

use futures::StreamExt;
use weir_control_plane::store::{Error, Op, Revision, Watched};

use crate::support::{
    PATIENCE, PROGRESS_EVERY, Shared, b, delete, next_change, put, put_op, run, told, try_watch,
    watch,
};

pub(crate) async fn events_come_in_order_with_what_was_before(store: Shared) {
    let mut watch = watch(&store, "p/", Revision(2)).await;
    let mut expected = Vec::new();
    put(&store, "other", "x").await;
    expected.push((put(&store, "p/a", "1").await, "p/a=1"));
    put(&store, "p", "x").await;
    expected.push((put(&store, "p/a", "2").await, "p/a=2 (was 1)"));
    delete(&store, "p/none").await;
    expected.push((delete(&store, "p/a").await, "p/a gone (was 2)"));
    put(&store, "p0", "x").await;
    expected.push((put(&store, "p/a", "3").await, "p/a=3"));
    for (at, change) in expected {
        let (revision, events) = next_change(&mut watch).await.unwrap();
        assert_eq!(events.iter().map(told).collect::<Vec<_>>(), [change]);
        assert_eq!(revision, at);
    }
}

pub(crate) async fn a_revision_comes_in_one_piece(store: Shared) {
    put(&store, "p/5", "old").await;
    let mut watch = watch(&store, "p/", Revision(3)).await;
    let mut ops: Vec<_> = (10..70).map(|i| put_op(&format!("p/{i}"), "v")).collect();
    ops.push(Op::Delete(b("p/5")));
    ops.extend((70..100).rev().map(|i| put_op(&format!("q/{i}"), "v")));
    ops.push(put_op("p/1", "last"));
    run(&store, ops).await;
    run(&store, vec![put_op("p/2", "b"), put_op("p/1", "a")]).await;
    let (first, events) = next_change(&mut watch).await.unwrap();
    assert_eq!((first, events.len()), (Revision(3), 62));
    assert_eq!(
        (told(&events[0]), told(&events[59])),
        ("p/10=v".into(), "p/69=v".into())
    );
    assert_eq!(
        (told(&events[60]), told(&events[61])),
        ("p/5 gone (was old)".into(), "p/1=last".into())
    );
    let (second, events) = next_change(&mut watch).await.unwrap();
    assert_eq!(second, Revision(4));
    assert_eq!(
        events.iter().map(told).collect::<Vec<_>>(),
        ["p/2=b", "p/1=a (was last)"]
    );
}

pub(crate) async fn a_watch_begins_in_the_past_and_goes_on(store: Shared) {
    const PAST: usize = 1500;
    for chunk in 0..PAST / 100 {
        // Many revisions at once, as a store may batch them.
        let puts = (0..100).map(|i| {
            let store = store.clone();
            async move { put(&store, &format!("k/{i}"), &chunk.to_string()).await }
        });
        futures::future::join_all(puts).await;
    }
    let mut all = watch(&store, "", Revision(2)).await;
    let mut late = watch(&store, "k/", Revision(1000)).await;
    put(&store, "k/last", "v").await;
    let mut count = 0;
    for (watch, first) in [(&mut all, 2), (&mut late, 1000)] {
        let mut expected = Revision(first);
        loop {
            let (revision, events) = next_change(watch).await.unwrap();
            assert_eq!(
                (revision, events.len()),
                (expected, 1),
                "none is missing or twice"
            );
            expected = expected.next();
            count += 1;
            if told(&events[0]) == "k/last=v" {
                break;
            }
        }
    }
    assert_eq!(count, PAST + 1 + (PAST + 2 - 1000 + 1));
}

pub(crate) async fn a_silent_watch_proves_that_it_lives(store: Shared) {
    let from = put(&store, "k", "v").await.next();
    let mut watch = watch(&store, "none/", from).await;
    for _ in 0..3 {
        put(&store, "elsewhere", "v").await;
        let item = tokio::time::timeout(PROGRESS_EVERY * 4, watch.next()).await;
        let item = item.expect("a sign of life").unwrap();
        assert!(matches!(item, Ok(Watched::Progress(_))), "{item:?}");
    }
    put(&store, "none/k", "v").await;
    next_change(&mut watch).await.unwrap();
}

pub(crate) async fn a_watch_of_the_future_is_refused(store: Shared) {
    let now = put(&store, "k", "v").await;
    let future = try_watch(&store, "", now.next().next()).await;
    let Err(Error::Future { asked, current }) = future else {
        panic!("not refused");
    };
    assert_eq!((asked, current), (now.next().next(), Some(now)));
    let mut next = watch(&store, "", now.next()).await;
    put(&store, "k", "w").await;
    let change = tokio::time::timeout(PATIENCE, next.next())
        .await
        .unwrap()
        .unwrap();
    assert!(matches!(change, Ok(Watched::Changed { revision, .. }) if revision == now.next()));
}
