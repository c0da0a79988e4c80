//! Backends that come into traffic and go out of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;
use weir_core::ids::{BackendId, ServiceName};

use super::{Events, Kind};
use crate::data_plane::routing::Routing;
use crate::describe;
use crate::snapshot::Snapshot;

/// How each backend is.
type Standings = BTreeMap<(ServiceName, BackendId), How>;

/// Whether a backend takes work.
#[derive(Clone, Debug, PartialEq, Eq)]
struct How {
    /// Why it takes none.
    why_out: Option<String>,
    /// Its service has engines. Who runs an engine says what is wrong with it when it takes it out.
    has_engines: bool,
    /// It was taken out of the configuration, or out of what nodes have.
    was_taken: bool,
}

/// Records which backends come and go, until nobody publishes any more.
pub async fn run(events: Events, routing: Snapshot<Routing>, mut revisions: watch::Receiver<u64>) {
    let mut before = standings(&routing.load());
    while revisions.changed().await.is_ok() {
        let now = standings(&routing.load());
        for ((service, backend), how) in changes(&before, &now) {
            let (service, id) = (("service", service.to_string()), backend.as_str());
            let Some(why) = how.why_out else {
                events.record(Kind::BackendIn, id, [service]);
                continue;
            };
            let attributes = [service, ("why", why)];
            match how.has_engines && how.was_taken {
                true => events.record_routine(Kind::BackendOut, id, attributes),
                false => events.record(Kind::BackendOut, id, attributes),
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
            let how = How {
                why_out: (!view.standing.takes_work()).then(|| describe::reason(view)),
                has_engines: service.settings.engines.is_some(),
                was_taken: view.leaving,
            };
            ((name.clone(), view.backend.id.clone()), how)
        })
    });
    all.collect()
}

/// Those that came or went; one that stays out for another reason has not gone again.
fn changes(before: &Standings, now: &Standings) -> Vec<(ServiceAndBackend, How)> {
    let is_in = |standings: &Standings, key| {
        let how: Option<&How> = standings.get(key);
        how.is_some_and(|how| how.why_out.is_none())
    };
    let mut changes = Vec::new();
    for (key, how) in now {
        if is_in(before, key) != how.why_out.is_none() {
            changes.push((key.clone(), how.clone()));
        }
    }
    for (key, how) in before {
        if how.why_out.is_none() && !now.contains_key(key) {
            let removed = How {
                why_out: Some("removed".to_owned()),
                was_taken: true,
                ..how.clone()
            };
            changes.push((key.clone(), removed));
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
            .map(|(id, why)| {
                let how = How {
                    why_out: why.map(str::to_owned),
                    has_engines: false,
                    was_taken: false,
                };
                (key(id), how)
            })
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
            .map(|((_, id), how)| (id.as_str(), how.why_out.as_deref()))
            .collect();
        assert_eq!(
            told,
            [("b", Some("drained")), ("e", None), ("d", Some("removed"))]
        );
        assert_eq!(changes(&now, &now), []);
    }
}
