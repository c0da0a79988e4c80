//! Exclusive holds.

use tokio::time::Instant;
use weir_control_plane::jobs::{DEFAULT_QUEUE, Error, Hold, Holder};

use crate::support::{Home, PATIENCE, TTL, holder};

async fn hold(home: &Home, name: &str, node: &str) -> Result<Hold, Error> {
    home.jobs.hold(DEFAULT_QUEUE, name, holder(node)).await
}

pub(crate) async fn a_hold_is_one_process_s_alone(home: Home) {
    let taking = ["a", "b", "c"].map(|node| hold(&home, "vpn-1", node));
    let (mut taken, mut refused) = (Vec::new(), Vec::new());
    for outcome in futures::future::join_all(taking).await {
        match outcome {
            Ok(hold) => taken.push(hold),
            Err(error) => refused.push(error),
        }
    }
    assert_eq!((taken.len(), refused.len()), (1, 2));
    let first = &taken[0];
    for refused in refused {
        match refused {
            Error::Held { by, .. } => assert_eq!(by, first.holder),
            other => panic!("{other:?}"),
        }
    }
    // Another name is another hold.
    hold(&home, "vpn-2", "d").await.unwrap();
    home.jobs.extend_hold(first).await.unwrap();
    home.jobs.release_hold(first).await.unwrap();
    let second = hold(&home, "vpn-1", "d").await.unwrap();
    assert!(second.fence > first.fence);
    // What is released again by who had it before stays with who has it now.
    home.jobs.release_hold(first).await.unwrap();
    assert!(home.jobs.extend_hold(first).await.unwrap_err().is_lost());
    home.jobs.extend_hold(&second).await.unwrap();
}

pub(crate) async fn a_hold_ends_with_its_holder(home: Home) {
    let first = hold(&home, "vpn-1", "a").await.unwrap();
    let until = Instant::now() + TTL + TTL / 2;
    while Instant::now() < until {
        home.jobs.extend_hold(&first).await.unwrap();
        assert!(hold(&home, "vpn-1", "b").await.is_err());
        tokio::time::sleep(TTL / 8).await;
    }
    let deadline = Instant::now() + PATIENCE;
    let second = loop {
        if let Ok(second) = hold(&home, "vpn-1", "b").await {
            break second;
        }
        assert!(Instant::now() < deadline);
        tokio::time::sleep(TTL / 50).await;
    };
    assert!(second.fence > first.fence);
    match home.jobs.extend_hold(&first).await.unwrap_err() {
        Error::Lost { by: Some(by), .. } => assert_eq!(by.node_id, "b"),
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn a_node_that_starts_again_gets_what_its_earlier_life_held(home: Home) {
    let life = |boot: &str| Holder {
        node_id: "a".to_owned(),
        boot_id: boot.to_owned(),
    };
    let take = |boot| home.jobs.hold(DEFAULT_QUEUE, "vpn-1", life(boot));
    let first = take("0001").await.unwrap();
    assert!(hold(&home, "vpn-1", "b").await.is_err());
    let second = take("0002").await.unwrap();
    assert!(second.fence > first.fence);
    assert!(home.jobs.extend_hold(&first).await.unwrap_err().is_lost());
    home.jobs.release_hold(&first).await.unwrap();
    // Neither the earlier life nor the same one gets it a second time.
    for boot in ["0001", "0002"] {
        let error = take(boot).await.unwrap_err();
        assert!(matches!(error, Error::Held { .. }), "{error:?}");
    }
    home.jobs.extend_hold(&second).await.unwrap();
}
