//! What happens when the members of a cluster die in turn, its leader among them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use weir_control_plane::store::etcd::{EtcdStore, Options};
use weir_control_plane::store::follow::{self, follow};

use crate::cluster::{Cluster, MEMBERS};
use crate::etcd_faults::put_at_last;
use crate::suite::follower::{Copy, next};
use crate::support::{PATIENCE, Shared, b, get};

/// Who leads, once all agree on a cluster that is well.
async fn leader(store: &Shared) -> u64 {
    let begun = Instant::now();
    loop {
        match store.status().await {
            Ok(status) if status.healthy => return status.leader.unwrap(),
            other if begun.elapsed() > PATIENCE => panic!("{other:?}"),
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

#[tokio::test]
async fn members_that_die_in_turn_lose_nothing() {
    let mut cluster = Cluster::start();
    let options = Options {
        call_limit: Duration::from_secs(2),
        probe_after: Duration::from_millis(300),
        silent_max: Duration::from_millis(1500),
        ..Options::new(cluster.endpoints())
    };
    let store: Shared = Arc::new(EtcdStore::connect(options).await.unwrap());
    put_at_last(&store, "first", "v").await;
    let mut follower = follow(Arc::clone(&store), Bytes::new(), follow::Options::new(1));
    let mut copy = Copy::default();
    copy.apply(next(&mut follower).await);
    let mut leaders = BTreeSet::new();
    for index in 0..MEMBERS {
        leaders.insert(leader(&store).await);
        cluster.kill(index);
        let while_away = put_at_last(&store, &format!("without {index}"), "v").await;
        copy.catch_up(&mut follower, while_away).await;
        leaders.insert(leader(&store).await);
        // A read goes to another member if one is dead.
        for _ in 0..20 {
            assert!(get(&store, "first").await.is_some());
        }
        cluster.start_again(index);
        let back = put_at_last(&store, &format!("with {index}"), "v").await;
        copy.catch_up(&mut follower, back).await;
    }
    assert!(leaders.len() > 1, "the leader died once");
    assert_eq!(copy.entries.len(), 1 + 2 * MEMBERS);
    assert!(copy.entries.contains_key(&b("without 2")));
    copy.check(&store, "").await;
}
