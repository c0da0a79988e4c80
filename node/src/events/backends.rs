//! Backends that come into traffic and go out of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;
use weir_core::ids::{BackendId, ServiceName};

use super::{Events, Kind};
use crate::data_plane::routing::Routing;
use crate::describe;
use crate::snapshot::Snapshot;

/// Whether each backend takes work, and why not.
type Standings = BTreeMap<(ServiceName, BackendId), Option<String>>;

/// Records which backends come and go, until nobody publishes any more.
pub async fn run(events: Events, routing: Snapshot<Routing>, mut revisions: watch::Receiver<u64>) {
    let mut before = standings(&routing.load());
    while revisions.changed().await.is_ok() {
        let now = standings(&routing.load());
        for ((service, backend), why_out) in changes(&before, &now) {
            let service = ("service", service.to_string());
            match why_out {
                None => events.record(Kind::BackendIn, backend.as_str(), [service]),
                Some(why) => {
                    events.record(Kind::BackendOut, backend.as_str(), [service, ("why", why)]);
                }
            }
        }
        before = now;
    }
}

fn standings(routing: &Arc<Routing>) -> Standings {
    let services = routing.services.iter();
    let all = services.flat_map(|service| {
        let name = &service.settings.name;
        service.backends.iter().map(move |view| {
            let why_out = (!view.standing.takes_work()).then(|| describe::reason(view));
            ((name.clone(), view.backend.id.clone()), why_out)
        })
    });
    all.collect()
}

/// Those that came or went; one that stays out for another reason has not gone again.
fn changes(before: &Standings, now: &Standings) -> Vec<(ServiceAndBackend, Option<String>)> {
    let is_in = |standings: &Standings, key| standings.get(key).is_some_and(Option::is_none);
    let mut changes = Vec::new();
    for (key, why_out) in now {
        if is_in(before, key) != why_out.is_none() {
            changes.push((key.clone(), why_out.clone()));
        }
    }
    for (key, why_out) in before {
        if why_out.is_none() && !now.contains_key(key) {
            changes.push((key.clone(), Some("removed".to_owned())));
        }
    }
    changes
}

type ServiceAndBackend = (ServiceName, BackendId);

#[cfg(test)]
mod tests {
    use super::*;

    fn standings_of(list: &[(&str, Option<&str>)]) -> Standings {
        let key = |id: &str| (ServiceName::from("web"), BackendId::from(id));
        list.iter()
            .map(|(id, why)| (key(id), why.map(str::to_owned)))
            .collect()
    }

    #[test]
    fn who_comes_and_who_goes_is_told_once_with_why() {
        let before = standings_of(&[
            ("a", None),
            ("b", None),
            ("c", Some("checks fail")),
            ("d", None),
        ]);
        let now = standings_of(&[
            ("a", None),
            ("b", Some("drained")),
            ("c", Some("another reason")),
            ("e", None),
            ("f", Some("never in")),
        ]);
        let told = changes(&before, &now);
        let told: Vec<_> = told
            .iter()
            .map(|((_, id), why)| (id.as_str(), why.as_deref()))
            .collect();
        assert_eq!(
            told,
            [("b", Some("drained")), ("e", None), ("d", Some("removed"))]
        );
        assert_eq!(changes(&now, &now), []);
    }
}
