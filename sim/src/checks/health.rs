//! Health checks see what the network does, no more and no less, and in time.

use std::time::Duration;

use weir_proto::node::v1::Standing;

use super::{GRANULARITY, Promises};
use crate::history::{Cut, Eye, History, Sight};

/// A backend whose link stays cut is out within `fall` rounds of checks, and stays out.
pub(super) fn cut_backend_is_out_in_time(history: &History, promises: &Promises) -> Vec<String> {
    let bound = promises.out_within();
    let long = backend_cuts(history).filter(|cut| cut.length() > bound);
    let missed = long.filter_map(|cut| {
        let until = cut.until.unwrap_or(Duration::MAX);
        let mut seen = inside(history, cut).filter(|sight| sight.at < until);
        let Some(out) = seen.find(|sight| sight.at >= cut.from && is_out(sight, cut)) else {
            return Some(format!("{} never out: {}", cut.peer, told(cut)));
        };
        if out.at > cut.from + bound {
            return Some(format!(
                "{} out at {:?}, bound {bound:?}: {}",
                cut.peer,
                out.at,
                told(cut)
            ));
        }
        let back = seen.find(|sight| !is_out(sight, cut))?;
        Some(format!(
            "{} back at {:?} during {}",
            cut.peer,
            back.at,
            told(cut)
        ))
    });
    missed.collect()
}

/// A backend that was out is back within `rise` rounds of checks after the repair.
pub(super) fn repaired_backend_is_back_in_time(
    history: &History,
    promises: &Promises,
) -> Vec<String> {
    let bound = promises.back_within();
    let missed = backend_cuts(history).filter_map(|cut| {
        let until = cut.until?;
        let before = inside(history, cut).take_while(|sight| sight.at <= until);
        if !before.last().is_some_and(|sight| is_out(sight, cut)) {
            return None;
        }
        let back = inside(history, cut).find(|sight| sight.at > until && !is_out(sight, cut));
        match back {
            Some(sight) if sight.at <= until + bound => None,
            Some(sight) => Some(format!(
                "{} back at {:?}, bound {bound:?}: {}",
                cut.peer,
                sight.at,
                told(cut)
            )),
            None => Some(format!("{} never back: {}", cut.peer, told(cut))),
        }
    });
    missed.collect()
}

/// A backend goes out only through a cut that was long enough, and while that cut lasts or one check
/// after it.
pub(super) fn only_cut_backends_go_out(history: &History, promises: &Promises) -> Vec<String> {
    let after = promises.timeout + GRANULARITY;
    let mut found = Vec::new();
    for (at, sight) in history.sights.iter().enumerate() {
        if sight.eye != Eye::Inside {
            continue;
        }
        let before = history.sights[..at]
            .iter()
            .rfind(|other| other.eye == Eye::Inside && other.node == sight.node);
        for backend in sight.services.iter().flat_map(|service| &service.backends) {
            let was_out = before
                .and_then(|before| before.backend(&backend.id))
                .is_some_and(|before| before.standing() == Standing::Unhealthy);
            if backend.standing() != Standing::Unhealthy || was_out {
                continue;
            }
            let explained = backend_cuts(history).any(|cut| {
                let until = cut.until.map_or(Duration::MAX, |until| until + after);
                cut.node == sight.node
                    && cut.peer == backend.id
                    && cut.length() > promises.harmless()
                    && (cut.from..=until).contains(&sight.at)
            });
            if !explained {
                found.push(format!(
                    "{} on {} at {:?}",
                    backend.id, sight.node, sight.at
                ));
            }
        }
    }
    found
}

/// Cuts between nodes and backends.
fn backend_cuts(history: &History) -> impl Iterator<Item = &Cut> {
    let known = |peer: &str| {
        history
            .sights
            .iter()
            .any(|sight| sight.backend(peer).is_some())
    };
    history.cuts.iter().filter(move |cut| known(&cut.peer))
}

fn inside<'a>(history: &'a History, cut: &'a Cut) -> impl Iterator<Item = &'a Sight> {
    let all = history.sights.iter();
    all.filter(move |sight| sight.eye == Eye::Inside && sight.node == cut.node)
}

fn is_out(sight: &Sight, cut: &Cut) -> bool {
    sight
        .backend(&cut.peer)
        .is_some_and(|backend| backend.standing() == Standing::Unhealthy)
}

fn told(cut: &Cut) -> String {
    format!(
        "{} cut off from {:?} until {:?}",
        cut.node, cut.from, cut.until
    )
}
