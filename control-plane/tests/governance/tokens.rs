//! Tokens in the store.

use std::sync::Arc;

use bytes::Bytes;
use weir_control_plane::governance::audit;
use weir_control_plane::governance::identity::Role;
use weir_control_plane::governance::secret::Secret;
use weir_control_plane::governance::tokens::{
    Error, NewToken, TOKENS_MAX, TTL_MS_MAX, TokenHash, TokenRefused, TokenTable, Tokens,
};
use weir_control_plane::keys::Key;
use weir_control_plane::store::follow::Followed;
use weir_control_plane::store::{Entry, Event, EventKind, Op, Revision, Store, Txn};

use crate::support::unsteady::{Fault, Unsteady};
use crate::support::{BEGIN_MS, alice, home, keys, token};

const DAY_MS: u64 = 86_400_000;

fn token_key(hash: &str) -> Bytes {
    keys().of(&Key::Token { hash }).unwrap()
}

fn key_of(secret: &Secret) -> Bytes {
    token_key(&TokenHash::of(secret.expose()).unwrap().to_string())
}

#[tokio::test]
async fn only_the_hash_of_a_token_is_kept() {
    let home = home().await;
    let secret = home.create(&token("ci", Role::Operator)).await;
    let key = key_of(&secret);
    assert!(home.store.get(key, None).await.unwrap().is_some());
    let list = weir_control_plane::store::List {
        entries_max: 200,
        ..Default::default()
    };
    let bits = &secret.expose()[5..];
    for entry in home.store.list(list).await.unwrap().entries {
        let kept = format!("{entry:?}");
        assert!(!kept.contains(bits), "{kept}");
    }
}

#[tokio::test]
async fn wrong_fields_are_named_with_their_bounds() {
    let home = home().await;
    let named = |name: &str| token(name, Role::Operator);
    let of = |role, subject: &str| NewToken {
        subject: subject.to_owned(),
        ..token("ci", role)
    };
    let lasting = |ttl_ms| NewToken {
        ttl_ms,
        ..token("ci", Role::Viewer)
    };
    for (wrong, expected) in [
        (named(""), "name: `` names"),
        (named("a b"), "name: `a b` names"),
        (named(&"x".repeat(64)), "name: `xxx"),
        (named("bootstrap"), "reserved"),
        (token("ci", Role::Local), "role: `local` cannot"),
        (of(Role::Operator, "web"), "empty for role operator"),
        (of(Role::Node, "a/b"), "subject: `a/b` names no"),
        (of(Role::Node, "a*b*"), "subject: `a*b*` names no"),
        (of(Role::Node, "a/*"), "one `*` for any of them"),
        (lasting(999), "ttl_ms: `999` is out"),
        (lasting(TTL_MS_MAX + 1), "1000 to 315360000000)"),
    ] {
        let created = home.tokens.create(&alice(), &wrong, BEGIN_MS).await;
        let error = created.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(home.count(Bytes::new()).await, 0);
}

#[tokio::test]
async fn of_two_tokens_of_one_name_made_at_once_one_is_made() {
    let home = home().await;
    let (alice, ci) = (alice(), token("ci", Role::Operator));
    let create = || home.tokens.create(&alice, &ci, BEGIN_MS);
    let (one, other) = tokio::join!(create(), create());
    assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
    let refused = one.err().or(other.err()).unwrap();
    assert!(matches!(refused, Error::Taken(_)), "{refused}");
    assert_eq!(
        (
            home.count(keys().tokens()).await,
            home.count(keys().audit()).await
        ),
        (1, 1)
    );
}

#[tokio::test]
async fn many_tokens_made_at_once_are_all_made_or_refused() {
    let home = home().await;
    let alice = alice();
    let names: Vec<NewToken> = (0..8)
        .map(|n| token(&format!("t{n}"), Role::Viewer))
        .collect();
    let create = names
        .iter()
        .map(|name| home.tokens.create(&alice, name, BEGIN_MS));
    let created = futures::future::join_all(create).await;
    let made = created.iter().filter(|created| created.is_ok()).count();
    assert!(made >= 5, "each round makes one: {made}");
    let others = created.iter().filter_map(|created| created.as_ref().err());
    others.for_each(|error| assert_eq!(*error, Error::Contended));
    assert_eq!(home.count(keys().tokens()).await, made);
    assert_eq!(home.count(keys().audit()).await, made);
}

#[tokio::test]
async fn a_change_whose_answer_was_lost_is_made_once() {
    for fault in [Fault::AnswerLost, Fault::RequestLost] {
        let home = home().await;
        let unsteady = || Tokens::new(Unsteady::new(home.store.clone(), fault, 2), keys());
        let created = unsteady()
            .create(&alice(), &token("ci", Role::Viewer), BEGIN_MS)
            .await;
        let secret = created.unwrap();
        assert!(TokenHash::of(secret.expose()).is_some());
        assert_eq!(
            (
                home.count(keys().tokens()).await,
                home.count(keys().audit()).await
            ),
            (1, 1)
        );
        let revoked = unsteady().revoke(&alice(), "ci", BEGIN_MS).await;
        revoked.unwrap();
        assert_eq!(
            (
                home.count(keys().tokens()).await,
                home.count(keys().audit()).await
            ),
            (0, 2)
        );
    }
}

#[tokio::test]
async fn a_store_that_never_answers_is_told() {
    let home = home().await;
    let silent = Unsteady::new(home.store.clone(), Fault::RequestLost, 1000);
    let tokens = Tokens::new(silent, keys());
    let created = tokens
        .create(&alice(), &token("ci", Role::Viewer), BEGIN_MS)
        .await;
    let error = created.unwrap_err();
    assert!(
        matches!(&error, Error::Store(error) if error.is_ambiguous()),
        "{error}"
    );
}

#[tokio::test]
async fn an_expired_token_gives_its_name_free_and_is_swept_out_later() {
    let home = home().await;
    let short = |name: &str| NewToken {
        ttl_ms: 1_000,
        ..token(name, Role::Viewer)
    };
    home.create(&short("a")).await;
    home.create(&short("b")).await;
    let taken = home
        .tokens
        .create(&alice(), &short("a"), BEGIN_MS + 999)
        .await;
    assert!(matches!(taken, Err(Error::Taken(_))));
    let again = home
        .tokens
        .create(&alice(), &short("a"), BEGIN_MS + 1_000)
        .await;
    assert!(again.is_ok());
    assert_eq!(home.tokens.list().await.unwrap().len(), 2);
    let week_later = BEGIN_MS + 8 * DAY_MS;
    let created = home
        .tokens
        .create(&alice(), &token("c", Role::Viewer), week_later)
        .await;
    created.unwrap();
    let names = home.tokens.list().await.unwrap();
    assert_eq!(names.len(), 1);
    assert_eq!(names[0].name, "c");
}

#[tokio::test]
async fn no_more_tokens_are_made_than_there_may_be() {
    let home = home().await;
    let secret = home.create(&token("first", Role::Viewer)).await;
    let key = key_of(&secret);
    let first = home.store.get(key, None).await.unwrap().unwrap();
    // With the first one they are as many as there may be.
    let numbers: Vec<usize> = (1..TOKENS_MAX).collect();
    for part in numbers.chunks(100) {
        let put = |number: &usize| Op::Put {
            key: token_key(&format!("{number:064x}")),
            value: first.value.clone(),
            lease: None,
        };
        let txn = Txn {
            then: part.iter().map(put).collect(),
            ..Txn::default()
        };
        home.store.txn(txn).await.unwrap();
    }
    let refused = home
        .tokens
        .create(&alice(), &token("last", Role::Viewer), BEGIN_MS)
        .await;
    assert_eq!(refused.unwrap_err(), Error::Full);
}

fn entry(key: Bytes, value: &[u8]) -> Entry {
    Entry {
        key,
        value: Bytes::copy_from_slice(value),
        create_revision: Revision(2),
        mod_revision: Revision(2),
        version: 1,
        lease: None,
    }
}

#[tokio::test]
async fn what_cannot_be_read_lets_nobody_in() {
    let home = home().await;
    let secret = home.create(&token("ci", Role::Operator)).await;
    let key = key_of(&secret);
    let kept = home.store.get(key.clone(), None).await.unwrap().unwrap();
    let table = TokenTable::new(keys());
    let look_up = || {
        table
            .look_up(secret.expose(), BEGIN_MS)
            .map(|identity| identity.role)
    };
    assert_eq!(look_up(), Err(TokenRefused::Unready));
    let snapshot = |entries| Followed::Snapshot {
        revision: Revision(2),
        entries,
    };
    let other = token_key("zz");
    table.apply(&snapshot(vec![entry(other, b"x"), kept.clone()]));
    assert_eq!(look_up(), Ok(Role::Operator));
    for damaged in [&b""[..], b"\x02", b"\x01", b"\x01\xff\xff"] {
        table.apply(&snapshot(vec![kept.clone()]));
        let put = EventKind::Put(entry(key.clone(), damaged));
        table.apply(&Followed::Changed {
            revision: Revision(3),
            events: vec![Event {
                key: key.clone(),
                kind: put,
                previous: None,
            }],
        });
        assert_eq!(look_up(), Err(TokenRefused::Unknown), "{damaged:?}");
    }
    let put = Op::Put {
        key,
        value: Bytes::from_static(b"\x09"),
        lease: None,
    };
    let txn = Txn {
        then: vec![put],
        ..Txn::default()
    };
    home.store.txn(txn).await.unwrap();
    assert_eq!(home.tokens.list().await.unwrap(), []);
}

#[tokio::test]
async fn a_token_outlives_the_store_for_those_who_know_it() {
    let home = home().await;
    let secret = home.create(&token("ci", Role::Operator)).await;
    let lost = weir_control_plane::store::Error::Unavailable {
        reason: "gone".into(),
    };
    home.table.apply(&Followed::Lost(lost));
    assert!(home.table.look_up(secret.expose(), BEGIN_MS).is_ok());
}

#[tokio::test]
async fn a_change_names_its_author_in_the_audit() {
    let home = home().await;
    home.create(&token("ci", Role::Operator)).await;
    home.tokens
        .revoke(&alice(), "ci", BEGIN_MS + 1)
        .await
        .unwrap();
    let store: Arc<dyn Store> = home.store.clone();
    let records = audit::list(&*store, &keys(), 10, BEGIN_MS).await.unwrap();
    let said: Vec<_> = records
        .iter()
        .map(|r| (&*r.author, &*r.action, &*r.target))
        .collect();
    let expected = [
        ("alice", "token.revoke", "ci"),
        ("alice", "token.create", "ci"),
    ];
    assert_eq!(said, expected);
}
