//! Never doubled, never lost.

use weir_control_plane::profiles::{PutError, Revision};
use weir_control_plane::store::{Op, Txn};
use weir_core::tuning::Scope;

use crate::faulty::{Fault, Faulty};
use crate::support::{Home, NOW, operator, paths, problems};

pub(crate) async fn a_write_id_used_again_writes_once(home: Home) {
    let request = home.request("fleet", 0, &[("ingress.headers_max", "7")]);
    let first = home.put(&request).await.unwrap();
    let at = home.store_revision().await;
    // Again at another time, and again after somebody else wrote.
    let again = home.put_with(&request, NOW + 5_000, &[]).await.unwrap();
    assert_eq!(again, first);
    assert_eq!(home.store_revision().await, at);
    home.set("fleet", 1, &[("ingress.headers_max", "8")])
        .await
        .unwrap();
    let again = home.put(&request).await.unwrap();
    assert_eq!(
        (again.revision, again.changes),
        (first.revision, first.changes)
    );
    let history = home.profiles.history(&Scope::Fleet, 10).await.unwrap();
    assert_eq!(history.len(), 2);
}

pub(crate) async fn a_write_id_of_another_write_is_refused(home: Home) {
    let mut request = home.request("fleet", 0, &[("ingress.headers_max", "7")]);
    home.put(&request).await.unwrap();
    request.set[0].value = "8".to_owned();
    let refused = problems(home.put(&request).await);
    assert_eq!(paths(&refused), ["write_id"]);
    assert!(refused[0].message.contains("another write: revision 1"));
}

pub(crate) async fn a_write_id_of_an_override_that_holds_otherwise_is_refused(home: Home) {
    let mut request = home.request("override", 0, &[("ingress.headers_max", "7")]);
    request.ttl_ms = 60_000;
    let first = home.put(&request).await.unwrap();
    // The same again, later: it ends when the first one said.
    let again = home.put_with(&request, NOW + 5_000, &[]).await.unwrap();
    assert_eq!(again, first);
    request.ttl_ms = 90_000;
    let refused = problems(home.put(&request).await);
    assert_eq!(paths(&refused), ["write_id"]);
    assert!(refused[0].message.contains("another write: revision 1"));
    let newest = home.profiles.newest(&Scope::Override).await.unwrap();
    assert_eq!(newest, first.revision);
}

async fn written_once(home: &Home, faults: &[Fault]) {
    let newest = home.profiles.newest(&Scope::Fleet).await.unwrap().revision;
    let value = (newest + 1).to_string();
    let request = home.request("fleet", newest, &[("ingress.headers_max", &value)]);
    let profiles = home.through(Faulty::new(&home.store, faults));
    let outcome = profiles.put(&request, &operator("ana"), NOW, &[]).await;
    let revision = outcome.unwrap().revision;
    assert_eq!(revision.revision, newest + 1);
    let history = home.profiles.history(&Scope::Fleet, 100).await.unwrap();
    assert_eq!(history.len() as u64, newest + 1);
    assert_eq!(history[0], revision);
}

pub(crate) async fn a_lost_answer_of_a_write_that_was_made_writes_once(home: Home) {
    written_once(&home, &[Fault::Made]).await;
    written_once(&home, &[Fault::MadeThenAway]).await;
    written_once(&home, &[Fault::NotMade, Fault::NotMade, Fault::Made]).await;
}

pub(crate) async fn a_lost_answer_of_a_write_that_was_not_made_writes_once(home: Home) {
    written_once(&home, &[Fault::NotMade]).await;
    written_once(&home, &[Fault::NotMade, Fault::NotMade]).await;
    written_once(&home, &[Fault::Stuck]).await;
    written_once(&home, &[Fault::MadeWithNext]).await;
    written_once(&home, &[Fault::MadeWithNext, Fault::MadeWithNext]).await;
}

/// A write that arrives long after it was sent, when others wrote, is not made.
pub(crate) async fn a_late_write_does_not_undo_another(home: Home) {
    let request = home.request("fleet", 0, &[("ingress.headers_max", "7")]);
    let faulty = Faulty::new(&home.store, &[Fault::Stuck]);
    let profiles = home.through(faulty.clone());
    let outcome = profiles.put(&request, &operator("ana"), NOW, &[]).await;
    assert_eq!(outcome.unwrap().revision.revision, 1);
    home.set("fleet", 1, &[("ingress.headers_max", "8")])
        .await
        .unwrap();
    assert_eq!(faulty.arrive().await, Some(false));
    let newest = home.profiles.newest(&Scope::Fleet).await.unwrap();
    assert_eq!(newest.settings.texts()["ingress.headers_max"], "8");
}

pub(crate) async fn a_lost_answer_is_found_beneath_what_others_wrote(home: Home) {
    let request = home.request("fleet", 0, &[("ingress.headers_max", "7")]);
    let faulty = Faulty::new(&home.store, &[Fault::MadeThenRival]);
    let rival = Revision {
        revision: 2,
        write_id: "rival".to_owned(),
        ..Revision::none(Scope::Fleet)
    };
    let put = |key| Op::Put {
        key,
        value: rival.write(),
        lease: None,
    };
    let (head, second) = (
        home.keys.profile_head(&Scope::Fleet),
        home.keys.profile_revision(&Scope::Fleet, 2),
    );
    let txn = Txn {
        then: vec![put(head), put(second)],
        ..Txn::default()
    };
    faulty.rival(txn).await;
    let profiles = home.through(faulty);
    let outcome = profiles.put(&request, &operator("ana"), NOW, &[]).await;
    assert_eq!(outcome.unwrap().revision.revision, 1);
    assert_eq!(home.profiles.newest(&Scope::Fleet).await.unwrap(), rival);
}

pub(crate) async fn a_store_that_stays_away_leaves_the_writer_uncertain(home: Home) {
    let request = home.request("fleet", 0, &[("ingress.headers_max", "7")]);
    home.view(|view| view.serial() == 0).await;
    let faults = [Fault::NotMade; 1_000];
    let profiles = home.through(Faulty::new(&home.store, &faults));
    let outcome = profiles.put(&request, &operator("ana"), NOW, &[]).await;
    assert!(
        matches!(outcome, Err(PutError::Uncertain(_))),
        "{outcome:?}"
    );
    // Sent again, it is written once.
    let outcome = home.put(&request).await.unwrap();
    assert_eq!(outcome.revision.revision, 1);
}
