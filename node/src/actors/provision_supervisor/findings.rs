//! What drivers run that is none of this node's engines: yet, or at all.

use std::collections::{BTreeMap, BTreeSet};

use std::time::Duration;

use tokio::time::Instant;
use weir_engines::driver::Running;

use super::spec::Lot;
use crate::config::DriverKind;

/// Between two looks into one that is somebody else's: that one may have died, and then it is to be taken over before
/// it leaves traffic.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// So many are looked into again with one tick; with more of them each one's turn comes later.
const AGAIN_MAX: usize = 2;

/// What was found, until it is this node's or gone.
#[derive(Debug, Default)]
pub(super) struct Findings {
    listed: BTreeSet<DriverKind>,
    by_id: BTreeMap<String, Finding>,
}

#[derive(Debug)]
struct Finding {
    service: String,
    driver: DriverKind,
    /// It is being looked into.
    asking: bool,
    /// It may become an engine of this node; if not, it is about to be removed.
    may_serve: bool,
    /// As it was listed last.
    lot: Lot,
    running: Running,
    /// It was somebody else's then.
    theirs_at: Option<Instant>,
}

impl Findings {
    /// Whether this driver has told what it runs: before, nothing is started with it, lest it be started twice.
    pub(super) fn is_listed(&self, driver: DriverKind) -> bool {
        self.listed.contains(&driver)
    }

    /// A driver runs these and nothing else.
    pub(super) fn listed(&mut self, driver: DriverKind, there: &BTreeSet<String>) {
        self.listed.insert(driver);
        self.by_id
            .retain(|id, finding| finding.driver != driver || finding.asking || there.contains(id));
    }

    /// Notes what was found; tells whether it is to be looked into now.
    pub(super) fn found(
        &mut self,
        lot: &Lot,
        driver: DriverKind,
        (running, runs): (&Running, bool),
    ) -> bool {
        let finding = self.by_id.entry(lot.engine_id()).or_insert(Finding {
            service: lot.service.clone(),
            driver,
            asking: false,
            may_serve: runs,
            lot: lot.clone(),
            running: running.clone(),
            theirs_at: None,
        });
        finding.lot.clone_from(lot);
        finding.running.clone_from(running);
        !std::mem::replace(&mut finding.asking, true)
    }

    /// It is somebody else's.
    pub(super) fn is_not_ours(&mut self, id: &str, now: Instant) {
        if let Some(finding) = self.by_id.get_mut(id) {
            finding.asking = false;
            finding.theirs_at = Some(now);
        }
    }

    /// It is not removed here; the next list looks into it again.
    pub(super) fn stays(&mut self, id: &str) {
        if let Some(finding) = self.by_id.get_mut(id) {
            finding.asking = false;
            finding.theirs_at = None;
        }
    }

    /// Those of others that are to be looked into again now: who had them may have died.
    pub(super) fn again(&mut self, now: Instant) -> Vec<(Lot, Running, DriverKind)> {
        let is_due = |finding: &&mut Finding| {
            let theirs_at = finding.theirs_at.filter(|_| !finding.asking);
            finding.may_serve && theirs_at.is_some_and(|at| now >= at + AGAIN_AFTER)
        };
        let mut due: Vec<&mut Finding> = self.by_id.values_mut().filter(is_due).collect();
        due.sort_by_key(|finding| finding.theirs_at);
        due.truncate(AGAIN_MAX);
        let looked = due.into_iter().map(|finding| {
            finding.asking = true;
            (finding.lot.clone(), finding.running.clone(), finding.driver)
        });
        looked.collect()
    }

    /// It is being removed.
    pub(super) fn leaves(&mut self, id: &str) {
        if let Some(finding) = self.by_id.get_mut(id) {
            finding.may_serve = false;
        }
    }

    /// It is an engine of this node now, or gone.
    pub(super) fn forget(&mut self, id: &str) {
        self.by_id.remove(id);
    }

    /// All of them: their names are taken.
    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.by_id.keys().map(String::as_str)
    }

    /// What each of them has, as it was listed last.
    pub(super) fn lots(&self) -> impl Iterator<Item = &Lot> {
        self.by_id.values().map(|finding| &finding.lot)
    }

    /// Service and id of those that may serve.
    pub(super) fn serving(&self) -> impl Iterator<Item = (&str, &str)> {
        let serving = self.by_id.iter().filter(|(_, finding)| finding.may_serve);
        serving.map(|(id, finding)| (finding.service.as_str(), id.as_str()))
    }
}
