//! Many writers at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::watch;
use weir_control_plane::profiles::{Lost, ProfileStore, PutError};
use weir_core::tuning::Scope;

use crate::support::{Home, NOW, node, operator, paths, problems, selector, texts};

const WRITERS: u64 = 8;
const ROUNDS: u64 = 6;

pub(crate) async fn of_writers_at_once_one_wins_each_revision_and_the_others_learn_who(home: Home) {
    let home = Arc::new(home);
    let writer = |number: u64| {
        let home = Arc::clone(&home);
        tokio::spawn(async move {
            let name = format!("writer-{number}");
            let mut won = Vec::new();
            for round in 0..ROUNDS {
                let mut request = home.request("fleet", round, &[]);
                request.replace = true;
                request.message = format!("{name} in round {round}");
                let value = (round * WRITERS + number + 1).to_string();
                request.set = texts(&[("ingress.headers_max", &value)]);
                match home
                    .profiles
                    .put(&request, &operator(&name), NOW, &[])
                    .await
                {
                    Ok(outcome) => {
                        assert_eq!(outcome.revision.revision, round + 1);
                        won.push((round + 1, name.clone()));
                    }
                    Err(PutError::Lost(lost)) => {
                        let winner = lost.winner.clone().unwrap();
                        assert!(winner.revision > round);
                        assert!(winner.author.starts_with("writer-") && winner.author != name);
                        let told = lost.to_string();
                        assert!(told.contains(&winner.author), "{told}");
                        assert!(told.contains("2026-03-01T12:00:00Z"), "{told}");
                        // Waits for the round to be over, as a writer that reads again does.
                        home.view(|view| {
                            let head = view.head(&Scope::Fleet);
                            head.is_some_and(|head| head.revision.revision > round)
                        })
                        .await;
                    }
                    Err(other) => panic!("{other:?}"),
                }
            }
            won
        })
    };
    let won = join_all((0..WRITERS).map(writer)).await;
    let won: Vec<(u64, String)> = won.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(won.len() as u64, ROUNDS);
    let by_revision: BTreeMap<u64, String> = won.into_iter().collect();
    assert_eq!(by_revision.len() as u64, ROUNDS);
    let history = home.profiles.history(&Scope::Fleet, 100).await.unwrap();
    assert_eq!(history.len() as u64, ROUNDS);
    for revision in history {
        assert_eq!(by_revision[&revision.revision], revision.author);
    }
}

/// Each is sound alone; together they disagree about one node.
pub(crate) async fn two_scopes_that_do_not_go_together_are_not_both_written(home: Home) {
    let nodes = [node("n1", &[("zone", "eu"), ("kind", "edge")])];
    for round in 0..5_u64 {
        let put = |scope: String, label: (&str, &str), value: &str| {
            let mut request = home.request(&scope, 0, &[("ingress.headers_max", value)]);
            request.group = selector(&[label], 3);
            let (home, nodes) = (&home, &nodes);
            async move { home.put_with(&request, NOW, nodes).await }
        };
        let a = put(format!("group/a{round}"), ("zone", "eu"), "7");
        let b = put(format!("group/b{round}"), ("kind", "edge"), "8");
        let (a, b) = tokio::join!(a, b);
        assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
        let (won, refused) = if a.is_ok() { (a, b) } else { (b, a) };
        let refused = problems(refused);
        assert_eq!(paths(&refused), ["ingress.headers_max"]);
        let won = won.unwrap().revision;
        assert!(refused[0].message.contains(&won.scope.to_string()));
        assert!(
            refused[0].message.contains("for n1 (layers "),
            "{}",
            refused[0]
        );
        // Makes room for the next round.
        let mut end = home.request(&won.scope.to_string(), 1, &[]);
        end.replace = true;
        home.put(&end).await.unwrap();
    }
}

pub(crate) async fn writers_of_different_scopes_all_get_through(home: Home) {
    let puts = (0..16).map(|n| {
        let request = home.request(&format!("node/n{n}"), 0, &[("ingress.headers_max", "9")]);
        let home = &home;
        async move { home.put(&request).await }
    });
    for put in join_all(puts).await {
        assert!(put.unwrap().changed);
    }
    let mut view = home.views.clone();
    assert_eq!(view.borrow_and_update().heads().count(), 16);
    let lost = home
        .set("node/n3", 0, &[("ingress.headers_max", "7")])
        .await;
    let Err(PutError::Lost(Lost { winner, .. })) = lost else {
        panic!("{lost:?}");
    };
    assert_eq!(winner.unwrap().revision, 1);
}

/// What another instance wrote is not here yet: a write that goes with what is here may not go with that.
pub(crate) async fn a_write_waits_for_what_others_wrote(home: Home) {
    let nodes = [node("n1", &[("zone", "eu"), ("kind", "edge")])];
    let request = |scope: &str, label, value: &str| {
        let mut request = home.request(scope, 0, &[("ingress.headers_max", value)]);
        request.group = selector(&[label], 3);
        request
    };
    let (publish, lagging) = watch::channel(home.profiles.view());
    let first = request("group/a", ("zone", "eu"), "7");
    home.put_with(&first, NOW, &nodes).await.unwrap();
    let profiles = ProfileStore::new(home.store.clone(), home.keys.clone(), lagging);
    let (second, bo) = (request("group/b", ("kind", "edge"), "8"), operator("bo"));
    let mut put = Box::pin(profiles.put(&second, &bo, NOW, &nodes));
    let early = tokio::time::timeout(Duration::from_millis(200), &mut put).await;
    assert!(early.is_err(), "{early:?}");
    publish.send_replace(home.profiles.view());
    assert_eq!(paths(&problems(put.await)), ["ingress.headers_max"]);
    // Nor is it written if that never comes.
    publish.send_replace(Arc::default());
    let never = profiles.put(&second, &bo, NOW, &nodes).await;
    assert_eq!(never, Err(PutError::Behind));
}
