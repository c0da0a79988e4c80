//! The verdict of active checks.

/// What the checks so far say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Pending,
    Passing,
    Failing,
}

/// Runs of good and failed checks.
#[derive(Clone, Debug)]
pub(super) struct Checks {
    verdict: Verdict,
    good_run: u32,
    failed_run: u32,
    last_failure: String,
}

impl Checks {
    pub(super) fn new(verdict: Verdict) -> Self {
        Self {
            verdict,
            good_run: 0,
            failed_run: 0,
            last_failure: String::new(),
        }
    }

    pub(super) fn verdict(&self) -> Verdict {
        self.verdict
    }

    pub(super) fn good(&mut self, rise: u32) {
        self.failed_run = 0;
        self.good_run = self.good_run.saturating_add(1);
        // A newcomer has no bad record to make up for, so its first good check is enough.
        if self.verdict == Verdict::Pending || self.good_run >= rise {
            self.verdict = Verdict::Passing;
        }
    }

    pub(super) fn failed(&mut self, fall: u32, detail: &str) {
        self.good_run = 0;
        self.failed_run = self.failed_run.saturating_add(1);
        detail.clone_into(&mut self.last_failure);
        if self.verdict == Verdict::Passing && self.failed_run >= fall {
            self.verdict = Verdict::Failing;
        }
    }

    /// What the failed checks said, for people. While good checks come in it tells of those.
    pub(super) fn failing_reason(&self, rise: u32) -> String {
        match (self.good_run, self.failed_run) {
            (0, 1) => format!("1 check failed: {}", self.last_failure),
            (0, run) => format!("{run} checks failed in a row: {}", self.last_failure),
            (good, _) => format!(
                "{good} of {rise} good checks since the last failure: {}",
                self.last_failure
            ),
        }
    }

    pub(super) fn pending_reason(&self) -> String {
        if self.failed_run == 0 {
            "waiting for the first check".to_owned()
        } else {
            format!("waiting for the first good check: {}", self.last_failure)
        }
    }
}
