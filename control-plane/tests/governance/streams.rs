//! A stream lasts no longer than what let it in.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tonic::Code;
use weir_control_plane::clock::NowUnixMs;
use weir_control_plane::governance::guard::Access;
use weir_control_plane::governance::identity::{Identity, Role};
use weir_control_plane::governance::tokens::{NewToken, TokenRefused};

use crate::support::server::serve;
use crate::support::{BEGIN_MS, Clock, PATIENCE, alice, home, keys, token};

#[tokio::test]
async fn a_stream_ends_when_its_token_is_revoked_and_others_go_on() {
    let (home, clock) = (home().await, Clock::new());
    let server = serve(&home, &clock, Access::Tokens, None).await;
    let mut streams = Vec::new();
    for name in ["edge-1", "edge-2"] {
        let node = NewToken {
            subject: name.to_owned(),
            ..token(name, Role::Node)
        };
        let client = server.client().with(&home.create(&node).await);
        let mut stream = client.sync_as(name).await.unwrap();
        stream.message().await.unwrap().unwrap();
        streams.push(stream);
    }
    let revoked = home.tokens.revoke(&alice(), "edge-1", BEGIN_MS).await;
    revoked.unwrap();
    let ended = tokio::time::timeout(PATIENCE, streams[0].message());
    let status = ended.await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    let goes_on = tokio::time::timeout(Duration::from_millis(100), streams[1].message());
    assert!(goes_on.await.is_err());
}

#[tokio::test]
async fn a_stream_ends_when_its_token_expires() {
    let home = home().await;
    let node = NewToken {
        ttl_ms: 3_600_000,
        ..token("edge", Role::Node)
    };
    let secret = home.create(&node).await;
    let identity = home.table.look_up(secret.expose(), BEGIN_MS).unwrap();
    let table = Arc::clone(&home.table);
    drop(home);
    tokio::time::pause();
    let begin = Instant::now();
    let since = move || u64::try_from(begin.elapsed().as_millis()).unwrap();
    let now: NowUnixMs = Arc::new(move || BEGIN_MS + since());
    let refused = table.ended(&identity, &now).await;
    assert!(matches!(refused, TokenRefused::Expired { .. }));
    let lasted = begin.elapsed();
    assert!((3600..3602).contains(&lasted.as_secs()), "{lasted:?}");
}

#[tokio::test(start_paused = true)]
async fn an_identity_without_a_token_does_not_end() {
    let table = weir_control_plane::governance::tokens::TokenTable::new(keys());
    let now: NowUnixMs = Arc::new(|| BEGIN_MS);
    let identity = Identity::local();
    let ended = table.ended(&identity, &now);
    let year = Duration::from_secs(365 * 86_400);
    assert!(tokio::time::timeout(year, ended).await.is_err());
}
