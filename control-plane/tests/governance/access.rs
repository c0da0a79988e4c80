//! Over a real server: who is let in by token, and to what.

use std::time::Duration;

use tonic::Code;
use weir_control_plane::governance::guard::Access;
use weir_control_plane::governance::identity::Role;
use weir_control_plane::governance::secret::Secret;
use weir_control_plane::governance::tokens::NewToken;
use weir_proto::control::v1 as pb;

use crate::support::server::{Client, Serving, serve};
use crate::support::{Clock, Home, home, token};

async fn with_tokens() -> (Home, Clock, Serving) {
    let (home, clock) = (home().await, Clock::new());
    let server = serve(&home, &clock, Access::Tokens, None).await;
    (home, clock, server)
}

async fn create(client: &Client, name: &str, role: pb::Role) -> Result<Secret, tonic::Status> {
    let request = pb::CreateTokenRequest {
        name: name.to_owned(),
        role: role as i32,
        author: "mallory".to_owned(),
        ..Default::default()
    };
    let created = client.tokens().create_token(request).await?;
    Ok(Secret::new(created.into_inner().token))
}

#[tokio::test]
async fn without_a_token_nobody_is_let_in() {
    let (_home, _clock, server) = with_tokens().await;
    let status = server.client().who_am_i().await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(
        status.message(),
        "a token is needed: send it as `authorization: Bearer TOKEN`"
    );
    assert_eq!(server.guard.failed_logins(), 1);
}

#[tokio::test]
async fn a_token_that_nobody_made_is_refused() {
    let (_home, _clock, server) = with_tokens().await;
    let forged = Secret::new(format!("weir_{}", "0".repeat(64)));
    let status = server.client().with(&forged).who_am_i().await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(status.message(), "the token is unknown or was revoked");
}

#[tokio::test]
async fn a_token_lets_in_as_what_it_was_made_for() {
    let (home, _clock, server) = with_tokens().await;
    let viewer = home.create(&token("dash", Role::Viewer)).await;
    let client = server.client().with(&viewer);
    assert_eq!(client.who_am_i().await.unwrap(), "viewer dash");
    let status = create(&client, "more", pb::Role::Admin).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(
        status.message(),
        "`dash` is viewer and may not manage tokens; that takes admin"
    );
    let listed = client
        .audit()
        .list_audit(pb::ListAuditRequest::default())
        .await;
    assert_eq!(listed.unwrap_err().code(), Code::PermissionDenied);
    let status = client.sync_as("edge-1").await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn an_admin_manages_tokens_and_the_audit_says_so() {
    let (home, clock, server) = with_tokens().await;
    let admin = home.create(&token("root", Role::Admin)).await;
    let client = server.client().with(&admin);
    clock.advance(Duration::from_millis(1));
    let operator = create(&client, "ci", pb::Role::Operator).await.unwrap();
    let operator = server.client().with(&operator);
    assert_eq!(operator.who_am_i().await.unwrap(), "operator ci");

    let taken = create(&client, "ci", pb::Role::Viewer).await.unwrap_err();
    assert_eq!(taken.code(), Code::AlreadyExists);
    assert_eq!(
        taken.message(),
        "token `ci` exists: operator, created by root"
    );
    let unknown = create(&client, "x", pb::Role::Unspecified)
        .await
        .unwrap_err();
    assert_eq!(unknown.code(), Code::InvalidArgument);

    let listed = client.tokens().list_tokens(pb::ListTokensRequest {}).await;
    let listed = listed.unwrap().into_inner().tokens;
    let names: Vec<&str> = listed.iter().map(|token| &*token.name).collect();
    assert_eq!(names, ["ci", "root"]);

    let audit = operator
        .audit()
        .list_audit(pb::ListAuditRequest::default())
        .await;
    let records = audit.unwrap().into_inner().records;
    let newest = &records[0];
    let said = (
        &*newest.author,
        &*newest.role,
        &*newest.action,
        &*newest.target,
    );
    assert_eq!(said, ("root", "admin", "token.create", "ci"));
    assert_eq!(newest.detail, "operator, without end");
    assert_eq!(records.len(), 2);
}

#[tokio::test]
async fn a_revoked_token_is_refused_at_once() {
    let (home, _clock, server) = with_tokens().await;
    let admin = home.create(&token("root", Role::Admin)).await;
    let viewer = home.create(&token("dash", Role::Viewer)).await;
    let (admin, viewer) = (server.client().with(&admin), server.client().with(&viewer));
    viewer.who_am_i().await.unwrap();
    let revoke = |name: &str| {
        let request = pb::RevokeTokenRequest {
            name: name.to_owned(),
            ..Default::default()
        };
        let admin = admin.clone();
        async move { admin.tokens().revoke_token(request).await }
    };
    revoke("dash").await.unwrap();
    let status = viewer.who_am_i().await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    let status = revoke("dash").await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    assert_eq!(status.message(), "there is no token `dash`");
}

#[tokio::test]
async fn an_expired_token_is_refused() {
    let (home, clock, server) = with_tokens().await;
    let short = NewToken {
        ttl_ms: 60_000,
        ..token("short", Role::Viewer)
    };
    let short = home.create(&short).await;
    let client = server.client().with(&short);
    clock.advance(Duration::from_millis(59_999));
    client.who_am_i().await.unwrap();
    clock.advance(Duration::from_millis(1));
    let status = client.who_am_i().await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(status.message(), "token `short` expired");
}

#[tokio::test]
async fn an_open_control_plane_believes_who_the_caller_claims_to_be() {
    let (home, clock) = (home().await, Clock::new());
    let server = serve(&home, &clock, Access::OpenLoopback, None).await;
    create(&server.client(), "first", pb::Role::Admin)
        .await
        .unwrap();
    let audit = server.client();
    let listed = audit
        .audit()
        .list_audit(pb::ListAuditRequest::default())
        .await;
    let records = listed.unwrap().into_inner().records;
    assert_eq!(
        (&*records[0].author, &*records[0].role),
        ("mallory", "local")
    );
}

#[tokio::test]
async fn an_audit_of_too_many_entries_is_refused() {
    let (home, _clock, server) = with_tokens().await;
    let operator = home.create(&token("ci", Role::Operator)).await;
    let mut audit = server.client().with(&operator).audit();
    let status = audit
        .list_audit(pb::ListAuditRequest { entries_max: 1001 })
        .await;
    let status = status.unwrap_err();
    assert_eq!(
        status.message(),
        "entries_max: `1001` is out of bounds (allowed: 1 to 1000, or 0 for 50)"
    );
}
