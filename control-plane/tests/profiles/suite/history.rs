//! Revisions, what they change, and what is forgotten.

use weir_control_plane::profiles::{PutError, REVISIONS_KEPT_MAX, REVISIONS_KEPT_MIN};
use weir_control_plane::records::{FORMAT, decode, encode};
use weir_control_plane::store::{Compare, List, Op, Revision as At, Txn};
use weir_core::tuning::Scope;
use weir_proto::control::records::v1 as records;
use weir_proto::tuning::v1 as pb;

use crate::support::{Home, NOW, node, paths, problems};

const DAY_MS: u64 = 86_400_000;

pub(crate) async fn revisions_are_kept_and_restored(home: Home) {
    let fleet = Scope::Fleet;
    assert_eq!(home.profiles.newest(&fleet).await.unwrap().revision, 0);
    assert!(home.profiles.history(&fleet, 9).await.unwrap().is_empty());
    for (seen, value) in (0..).zip(["7", "8", "9"]) {
        let set = [("ingress.headers_max", value)];
        home.set("fleet", seen, &set).await.unwrap();
    }
    let mut request = home.request("fleet", 3, &[("upstream.idle_max", "50")]);
    request.rollback_to = 1;
    request.message = "back to what worked".to_owned();
    let outcome = home.put(&request).await.unwrap();
    assert_eq!(
        (outcome.revision.revision, outcome.revision.rollback_of),
        (4, 1)
    );
    let changes: Vec<(&str, &str, &str)> = outcome
        .changes
        .iter()
        .map(|change| (&*change.path, &*change.before, &*change.after))
        .collect();
    assert_eq!(
        changes,
        [
            ("ingress.headers_max", "9", "7"),
            ("upstream.idle_max", "", "50")
        ]
    );
    let history = home.profiles.history(&fleet, 3).await.unwrap();
    let numbers: Vec<u64> = history.iter().map(|revision| revision.revision).collect();
    assert_eq!(numbers, [4, 3, 2]);
    assert_eq!(history[0], outcome.revision);
    assert_eq!(history[0].message, "back to what worked");
    request = home.request("fleet", 4, &[]);
    request.rollback_to = 77;
    let refused = problems(home.put(&request).await);
    assert_eq!(
        refused[0].to_string(),
        "rollback_to: `77` is no revision of this scope that is kept (allowed: 1 to 4)"
    );
    assert_eq!(refused.len(), 1);
    let first = home.profiles.revision(&fleet, 1).await.unwrap().unwrap();
    assert_eq!(first.settings.texts()["ingress.headers_max"], "7");
}

pub(crate) async fn a_write_that_changes_nothing_writes_nothing(home: Home) {
    let set = [("ingress.headers_max", "7")];
    home.set("fleet", 0, &set).await.unwrap();
    let at = home.store_revision().await;
    let same = home.set("fleet", 1, &set).await.unwrap();
    assert!(!same.changed && same.changes.is_empty() && same.nodes.is_empty());
    assert_eq!(same.revision.revision, 1);
    // Stale all the same, though it would change nothing.
    let stale = home.set("fleet", 0, &set).await;
    assert!(matches!(stale, Err(PutError::Lost(_))), "{stale:?}");
    // The empty preset over nothing.
    let mut request = home.request("node/n", 0, &[]);
    request.preset = "standard".to_owned();
    let nothing = home.put(&request).await.unwrap();
    assert_eq!((nothing.changed, nothing.revision.revision), (false, 0));
    assert_eq!(home.store_revision().await, at);
}

pub(crate) async fn a_dry_run_writes_nothing_and_tells_everything(home: Home) {
    home.set("node/n2", 0, &[("ingress.headers_max", "9")])
        .await
        .unwrap();
    let at = home.store_revision().await;
    let mut request = home.request("fleet", 0, &[("ingress.headers_max", "7")]);
    (request.dry_run, request.write_id) = (true, String::new());
    let mut nodes: Vec<_> = (10..40).map(|n| node(&format!("n{n}"), &[])).collect();
    nodes.push(node("n2", &[]));
    let outcome = home.put_with(&request, NOW, &nodes).await.unwrap();
    assert_eq!((outcome.changed, outcome.revision.revision), (true, 1));
    assert_eq!(outcome.nodes.len(), 1, "n2 has its own value");
    assert_eq!(
        (outcome.nodes[0].nodes, outcome.nodes[0].node_ids.len()),
        (30, 10)
    );
    assert_eq!(outcome.nodes[0].changes, outcome.changes);
    assert_eq!(home.store_revision().await, at);
    request.set[0].value = "many".to_owned();
    let refused = problems(home.put_with(&request, NOW, &nodes).await);
    assert_eq!(paths(&refused), ["ingress.headers_max"]);
    request.expected_revision = 4;
    request.set[0].value = "5".to_owned();
    let lost = home.put(&request).await.unwrap_err().to_string();
    assert_eq!(lost, "fleet has no revision 4: it has no profile");
}

pub(crate) async fn every_write_leaves_its_audit_record(home: Home) {
    let mut request = home.request("fleet", 0, &[("ingress.headers_max", "7")]);
    request.message = "more headers".to_owned();
    home.put(&request).await.unwrap();
    let audit = |day: &str| List {
        prefix: format!("/weir/v1/default/audit/{day}/").into(),
        entries_max: 10,
        ..List::default()
    };
    let page = home.store.list(audit("20260301")).await.unwrap();
    assert_eq!(page.entries.len(), 1);
    let (key, value) = (&page.entries[0].key, &page.entries[0].value);
    assert!(key.starts_with(&home.keys.audit_from(NOW)), "{key:?}");
    let record: records::Audit = decode(key, value).unwrap();
    let record = record.record.unwrap();
    assert_eq!((&*record.author, &*record.role), ("ana", "operator"));
    assert_eq!((&*record.action, &*record.target), ("profile.put", "fleet"));
    assert_eq!(record.message, "more headers");
    assert_eq!(record.detail, "revision 1, changed ingress.headers_max");
    let head = home
        .store
        .get(home.keys.profile_head(&Scope::Fleet), None)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(head.mod_revision, page.entries[0].mod_revision);
}

pub(crate) async fn what_this_version_cannot_read_survives_a_write(home: Home) {
    home.set("fleet", 0, &[("upstream.idle_max", "50")])
        .await
        .unwrap();
    let key = home.keys.profile_head(&Scope::Fleet);
    let head = home.store.get(key.clone(), None).await.unwrap().unwrap();
    let mut record: records::Profile = decode(&head.key, &head.value).unwrap();
    let kind = Some(pb::value::Kind::Count(9));
    let warp = pb::Setting {
        path: "ingress.warp".to_owned(),
        value: Some(pb::Value { kind }),
    };
    record.profile.as_mut().unwrap().settings.push(warp.clone());
    let put = Op::Put {
        key: key.clone(),
        value: encode(&record),
        lease: None,
    };
    let txn = Txn {
        then: vec![put],
        ..Txn::default()
    };
    home.store.txn(txn).await.unwrap();
    let view = home.view(|view| {
        let head = view.head(&Scope::Fleet);
        head.is_some_and(|head| head.revision.settings.len() == 2)
    });
    view.await;
    let outcome = home.set("fleet", 1, &[("upstream.idle_max", "60")]).await;
    assert_eq!(outcome.unwrap().changes.len(), 1);
    let head = home.store.get(key, None).await.unwrap().unwrap();
    assert_eq!(head.value[0], FORMAT);
    let record: records::Profile = decode(&head.key, &head.value).unwrap();
    assert_eq!(record.revision, 2);
    assert!(record.profile.unwrap().settings.contains(&warp));
    let mut request = home.request("fleet", 2, &[]);
    request.unset = vec!["ingress.warp".to_owned()];
    let outcome = home.put(&request).await.unwrap();
    assert_eq!(
        (&*outcome.changes[0].before, &*outcome.changes[0].after),
        ("9", "")
    );
}

/// Puts as many revisions as the numbers, each as old as told, without the rules of a put.
async fn write_history(home: &Home, scope: &Scope, age_days: impl Fn(u64) -> u64, newest: u64) {
    let mut revision = home.profiles.newest(scope).await.unwrap();
    for number in revision.revision + 1..=newest {
        (revision.revision, revision.scope) = (number, scope.clone());
        revision.written_at_unix_ms = NOW - age_days(number) * DAY_MS;
        let op = |key| Op::Put {
            key,
            value: revision.write(),
            lease: None,
        };
        let txn = Txn {
            then: vec![
                op(home.keys.profile_revision(scope, number)),
                op(home.keys.profile_head(scope)),
            ],
            ..Txn::default()
        };
        home.store.txn(txn).await.unwrap();
    }
    home.view(|view| {
        let head = view.head(scope);
        head.is_some_and(|head| head.revision.revision == newest)
    })
    .await;
}

async fn oldest(home: &Home, scope: &Scope) -> Option<u64> {
    let list = List {
        prefix: home.keys.profile_revisions(scope),
        entries_max: 1,
        ..List::default()
    };
    let page = home.store.list(list).await.unwrap();
    let key = page.entries.first()?.key.clone();
    std::str::from_utf8(&key[key.len() - 20..])
        .unwrap()
        .parse()
        .ok()
}

pub(crate) async fn old_revisions_and_idle_scopes_are_forgotten(home: Home) {
    let (fleet, idle, young) = (
        Scope::Fleet,
        Scope::Node("idle".to_owned()),
        Scope::Node("young".to_owned()),
    );
    home.set("fleet", 0, &[("ingress.headers_max", "7")])
        .await
        .unwrap();
    write_history(&home, &fleet, |_| 0, REVISIONS_KEPT_MAX + 30).await;
    let first = home.request("node/young", 0, &[("ingress.headers_max", "7")]);
    home.put_with(&first, NOW - 300 * DAY_MS, &[])
        .await
        .unwrap();
    write_history(&home, &young, |number| 300 - number, 120).await;
    write_history(&home, &idle, |_| 91, 3).await;
    let outcome = home.profiles.prune(None, NOW).await.unwrap();
    assert_eq!(oldest(&home, &fleet).await, Some(31));
    // All are old; the newest are kept whatever their age.
    assert_eq!(
        oldest(&home, &young).await,
        Some(120 - REVISIONS_KEPT_MIN + 1)
    );
    assert_eq!(oldest(&home, &idle).await, None);
    assert_eq!((outcome.revisions, outcome.scopes), (30 + 70 + 3, 1));
    home.view(|view| view.head(&idle).is_none()).await;
    assert_eq!(
        home.profiles.prune(None, NOW).await.unwrap(),
        Default::default()
    );
}

pub(crate) async fn who_does_not_lead_forgets_nothing(home: Home) {
    let idle = Scope::Node("idle".to_owned());
    write_history(&home, &idle, |_| 91, 3).await;
    let guard = Compare::CreateRevision("/weir/v1/default/live/election/controller".into(), At(9));
    let outcome = home.profiles.prune(Some(&guard), NOW).await.unwrap();
    assert!(outcome.was_stopped && outcome.scopes == 0);
    assert_eq!(oldest(&home, &idle).await, Some(1));
}
