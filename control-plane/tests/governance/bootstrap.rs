//! The first token.

use std::os::unix::fs::PermissionsExt;

use weir_control_plane::governance::identity::Role;
use weir_control_plane::governance::secret::Secret;
use weir_control_plane::governance::tokens::{BootstrapError, Bootstrapped};

use crate::support::{BEGIN_MS, alice, home, keys, token};

#[tokio::test]
async fn a_file_that_is_not_there_is_made_and_lets_an_admin_in() {
    let home = home().await;
    let file = home.folder.path().join("bootstrap-token");
    let done = home.tokens.bootstrap(&file, BEGIN_MS).await.unwrap();
    assert_eq!(done, Bootstrapped::Inserted);
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let secret = Secret::new(std::fs::read_to_string(&file).unwrap().trim());
    let mut generation = home.table.generation();
    let known = |_: &u64| home.table.look_up(secret.expose(), BEGIN_MS).is_ok();
    let known = tokio::time::timeout(crate::support::PATIENCE, generation.wait_for(known));
    known.await.unwrap().unwrap();
    let identity = home.table.look_up(secret.expose(), BEGIN_MS).unwrap();
    assert_eq!((identity.role, &*identity.name), (Role::Admin, "bootstrap"));

    let again = home.tokens.bootstrap(&file, BEGIN_MS).await.unwrap();
    assert_eq!(again, Bootstrapped::AdminExists);
    assert_eq!(home.count(keys().audit()).await, 1);
}

#[tokio::test]
async fn a_file_is_not_looked_at_when_there_is_an_admin() {
    let home = home().await;
    home.create(&token("root", Role::Admin)).await;
    let absent = home.folder.path().join("bootstrap-token");
    let done = home.tokens.bootstrap(&absent, BEGIN_MS).await.unwrap();
    assert_eq!(done, Bootstrapped::AdminExists);
    assert!(!absent.exists());
}

#[tokio::test]
async fn the_file_lets_in_again_who_revoked_the_last_admin() {
    let home = home().await;
    let file = home.folder.path().join("bootstrap-token");
    home.tokens.bootstrap(&file, BEGIN_MS).await.unwrap();
    home.tokens
        .revoke(&alice(), "bootstrap", BEGIN_MS)
        .await
        .unwrap();
    let done = home.tokens.bootstrap(&file, BEGIN_MS).await.unwrap();
    assert_eq!(done, Bootstrapped::Inserted);
    assert_eq!(home.count(keys().tokens()).await, 1);
}

#[tokio::test]
async fn two_instances_with_one_file_make_one_token() {
    let home = home().await;
    let file = home.folder.path().join("bootstrap-token");
    std::fs::write(&file, format!("weir_{}\n", "5a".repeat(32))).unwrap();
    let (one, other) = tokio::join!(
        home.tokens.bootstrap(&file, BEGIN_MS),
        home.tokens.bootstrap(&file, BEGIN_MS)
    );
    assert_eq!(one.unwrap(), Bootstrapped::Inserted);
    other.unwrap();
    assert_eq!(home.count(keys().tokens()).await, 1);
}

#[tokio::test]
async fn a_file_with_anything_else_is_refused_and_not_repeated() {
    let home = home().await;
    let file = home.folder.path().join("bootstrap-token");
    std::fs::write(&file, "hunter2").unwrap();
    let error = home.tokens.bootstrap(&file, BEGIN_MS).await.unwrap_err();
    assert!(matches!(error, BootstrapError::NotAToken { .. }));
    assert!(!error.to_string().contains("hunter2"), "{error}");
    std::fs::write(&file, "").unwrap();
    let error = home.tokens.bootstrap(&file, BEGIN_MS).await.unwrap_err();
    assert!(matches!(error, BootstrapError::Secret(_)));

    let viewer = home.create(&token("dash", Role::Viewer)).await;
    std::fs::write(&file, viewer.expose()).unwrap();
    let error = home.tokens.bootstrap(&file, BEGIN_MS).await.unwrap_err();
    assert!(matches!(error, BootstrapError::InUse { .. }), "{error}");
    let elsewhere = home.folder.path().join("no/such/folder");
    let error = home
        .tokens
        .bootstrap(&elsewhere, BEGIN_MS)
        .await
        .unwrap_err();
    assert!(
        matches!(error, BootstrapError::Unwritable { .. }),
        "{error}"
    );
}
