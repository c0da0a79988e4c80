//! What drivers run that is none of this node's engines: yet, or at all.

use std::collections::{BTreeMap, BTreeSet};

use super::spec::Lot;
use crate::config::DriverKind;

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
    pub(super) fn found(&mut self, lot: &Lot, driver: DriverKind, runs: bool) -> bool {
        let finding = self.by_id.entry(lot.engine_id()).or_insert(Finding {
            service: lot.service.clone(),
            driver,
            asking: false,
            may_serve: runs,
        });
        !std::mem::replace(&mut finding.asking, true)
    }

    /// It is somebody else's; the next list looks into it again.
    pub(super) fn is_not_ours(&mut self, id: &str) {
        if let Some(finding) = self.by_id.get_mut(id) {
            finding.asking = false;
        }
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

    /// Service and id of those that may serve.
    pub(super) fn serving(&self) -> impl Iterator<Item = (&str, &str)> {
        let serving = self.by_id.iter().filter(|(_, finding)| finding.may_serve);
        serving.map(|(id, finding)| (finding.service.as_str(), id.as_str()))
    }
}
