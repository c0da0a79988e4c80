//! How much there may be.

use weir_control_plane::profiles::{GROUPS_MAX, Revision, SCOPES_MAX, Settings};
use weir_control_plane::store::{Op, Txn};
use weir_core::tuning::Scope;
use weir_proto::tuning::v1 as pb;

use crate::support::{Home, embedded, paths, problems, selector};

#[tokio::test]
async fn there_are_only_so_many_groups_and_scopes() {
    let (_folder, store) = embedded().await;
    let home = Home::on(store);
    let group = |n: usize| {
        let mut request = home.request(&format!("group/g{n}"), 0, &[]);
        request.group = selector(&[("n", &n.to_string())], 0);
        request
    };
    for n in 0..GROUPS_MAX {
        home.put(&group(n)).await.unwrap();
    }
    let refused = problems(home.put(&group(GROUPS_MAX)).await);
    assert_eq!(refused[0].bound, "at most 64");
    let heads = (GROUPS_MAX..SCOPES_MAX).map(|n| {
        let scope = Scope::Node(format!("n{n}"));
        let revision = Revision {
            revision: 1,
            ..Revision::none(scope.clone())
        };
        Op::Put {
            key: home.keys.profile_head(&scope),
            value: revision.write(),
            lease: None,
        }
    });
    let heads: Vec<Op> = heads.collect();
    for then in heads.chunks(100) {
        let txn = Txn {
            then: then.to_vec(),
            ..Txn::default()
        };
        home.store.txn(txn).await.unwrap();
    }
    home.view(|view| view.heads().count() == SCOPES_MAX).await;
    let refused = problems(home.set("fleet", 0, &[("ingress.headers_max", "7")]).await);
    assert_eq!(paths(&refused), ["scope"]);
    assert_eq!(refused[0].bound, "at most 1000");
    // Those that are there can be written all the same.
    home.set("node/n999", 1, &[("ingress.headers_max", "7")])
        .await
        .unwrap();
}

#[tokio::test]
async fn a_profile_that_does_not_fit_the_store_is_refused_by_its_size() {
    let (_folder, store) = embedded().await;
    let home = Home::on(store);
    // What another version wrote fills the record; what this one adds is too much.
    let texts = pb::value::Kind::Texts(pb::Texts {
        texts: vec!["x".repeat(60_000); 4],
    });
    let settings = vec![pb::Setting {
        path: "cache.of_another_version".to_owned(),
        value: Some(pb::Value { kind: Some(texts) }),
    }];
    let revision = Revision {
        revision: 1,
        settings: Settings::decode(&pb::Profile { settings }),
        ..Revision::none(Scope::Fleet)
    };
    let put = Op::Put {
        key: home.keys.profile_head(&Scope::Fleet),
        value: revision.write(),
        lease: None,
    };
    let txn = Txn {
        then: vec![put],
        ..Txn::default()
    };
    home.store.txn(txn).await.unwrap();
    home.view(|view| view.head(&Scope::Fleet).is_some()).await;
    let long = vec!["x".repeat(1_000); 32].join(",");
    let refused = problems(
        home.set("fleet", 1, &[("cache.warm_on_start", &long)])
            .await,
    );
    assert_eq!(paths(&refused), ["profile"]);
    assert_eq!(refused[0].bound, "at most 262144 bytes");
    let fits = home.set("fleet", 1, &[("ingress.headers_max", "7")]).await;
    assert!(fits.unwrap().changed);
}
