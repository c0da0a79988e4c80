//! What holds for some time only.

use weir_control_plane::profiles::ProfileBook;
use weir_core::tuning::Scope;

use crate::support::{Home, NOW, labels, paths, problems};

pub(crate) async fn an_override_needs_an_end_and_ends(home: Home) {
    let set = [("ingress.headers_max", "7")];
    let refused = |ttl_ms: u64, scope: &str| {
        let mut request = home.request(scope, 0, &set);
        request.ttl_ms = ttl_ms;
        let home = &home;
        async move { problems(home.put(&request).await) }
    };
    for (ttl_ms, scope) in [
        (0, "override"),
        (999, "override/n"),
        (86_400_001, "override"),
        (5_000, "fleet"),
    ] {
        let refused = refused(ttl_ms, scope).await;
        assert_eq!(paths(&refused), ["ttl_ms"]);
        assert!(!refused[0].bound.is_empty());
    }
    let mut request = home.request("override/n", 0, &set);
    request.ttl_ms = 60_000;
    let outcome = home.put(&request).await.unwrap();
    assert_eq!(outcome.revision.until_unix_ms, NOW + 60_000);
    let view = home.view(|view| view.next_expiry().is_some()).await;
    assert_eq!(view.next_expiry(), Some(NOW + 60_000));
    assert_eq!(
        view.offer_for("n", &labels(&[])).overrides_until,
        Some(NOW + 60_000)
    );
    // What follows the store lets it end.
    let mut book = ProfileBook::new(home.keys.clone());
    let key = home.keys.profile_head(&Scope::NodeOverride("n".to_owned()));
    let head = home.store.get(key.clone(), None).await.unwrap().unwrap();
    book.put(&key, &head.value, head.mod_revision.0);
    assert!(!book.expire(NOW + 59_999));
    assert_eq!(
        book.snapshot()
            .offer_for("n", &labels(&[]))
            .merged
            .iter()
            .count(),
        1
    );
    assert!(book.expire(NOW + 60_000));
    let view = book.snapshot();
    assert_eq!(view.next_expiry(), None);
    let offer = view.offer_for("n", &labels(&[]));
    assert_eq!(
        (offer.overrides_until, offer.merged.iter().count()),
        (None, 0)
    );
    assert_eq!(offer.hash, view.offer_for("other", &labels(&[])).hash);
}

pub(crate) async fn an_override_can_be_ended_early_and_begun_anew(home: Home) {
    let mut request = home.request("override", 0, &[("ingress.headers_max", "7")]);
    request.ttl_ms = 60_000;
    home.put(&request).await.unwrap();
    // The same once more holds for longer: that is a change.
    let mut request = home.request("override", 1, &[]);
    request.ttl_ms = 90_000;
    let longer = home.put(&request).await.unwrap();
    assert!(longer.changed && longer.changes.is_empty());
    assert_eq!(longer.revision.settings.len(), 1);
    let mut request = home.request("override", 2, &[]);
    request.replace = true;
    let ended = home.put(&request).await.unwrap();
    assert_eq!((ended.changed, ended.revision.until_unix_ms), (true, 0));
    home.view(|view| view.next_expiry().is_none()).await;
    request = home.request("override", 3, &[]);
    request.replace = true;
    assert!(!home.put(&request).await.unwrap().changed);
    // One that ended by itself is not what the next begins from.
    let mut request = home.request("override", 3, &[("ingress.headers_max", "8")]);
    request.ttl_ms = 1_000;
    home.put(&request).await.unwrap();
    let mut request = home.request("override", 4, &[("upstream.idle_max", "50")]);
    request.ttl_ms = 1_000;
    let anew = home.put_with(&request, NOW + 1_000, &[]).await.unwrap();
    let texts = anew.revision.settings.texts();
    assert_eq!(texts.keys().collect::<Vec<_>>(), ["upstream.idle_max"]);
}
