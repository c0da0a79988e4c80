//! Any sequence of what can happen to a node, against a model.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use weir_core::probation::CRASHES_MAX;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    Store,
    StoreAgain,
    MarkGood,
    Crash,
    OrderlyEnd,
    /// Changes a byte of slot `.0`.
    Corrupt(usize, usize),
    /// Cuts slot `.0`.
    Cut(usize, usize),
    PassTime(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Store),
        1 => Just(Step::StoreAgain),
        3 => Just(Step::MarkGood),
        6 => Just(Step::Crash),
        1 => Just(Step::OrderlyEnd),
        1 => (0..2_usize, any::<usize>()).prop_map(|(slot, at)| Step::Corrupt(slot, at)),
        1 => (0..2_usize, any::<usize>()).prop_map(|(slot, at)| Step::Cut(slot, at)),
        1 => (0..100_u64).prop_map(Step::PassTime),
    ]
}

/// What must be true, told by somebody who watches the folder.
struct Model {
    folder: TempDir,
    lkg: Option<LastKnownGood>,
    now: u64,
    in_force: Option<u8>,
    /// Every content made, and whether it ever became good.
    contents: BTreeMap<u8, bool>,
    /// Crashes with content in force that was not good.
    crashes: BTreeMap<u8, u32>,
}

impl Model {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (lkg, _) = open(folder.path(), 1_000);
        Self {
            folder,
            lkg: Some(lkg),
            now: 1_000,
            in_force: None,
            contents: BTreeMap::new(),
            crashes: BTreeMap::new(),
        }
    }

    fn lkg(&mut self) -> &mut LastKnownGood {
        self.lkg.as_mut().unwrap()
    }

    fn slot(&self, at: usize) -> std::path::PathBuf {
        self.folder.path().join(slots::NAMES[at])
    }

    /// The contents of intact slots, each with whether its slot says that it is good.
    fn intact(&self) -> Vec<(u8, bool)> {
        let read = |at| SlotRecord::decode(std::fs::read(self.slot(at)).ok()?).ok();
        let told = |record: SlotRecord| (record.content.hash.0[0], record.content.good);
        (0..2).filter_map(read).map(told).collect()
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        self.now += 1;
        let now = self.now;
        match step {
            Step::Store => {
                let n = self.contents.last_key_value().map_or(1, |(n, _)| n + 1);
                store(self.lkg(), n, now);
                self.contents.insert(n, false);
                self.in_force = Some(n);
            }
            Step::StoreAgain => {
                if let Some(n) = self.in_force {
                    store(self.lkg(), n, now);
                }
            }
            Step::MarkGood => {
                // A slot that was damaged meanwhile is found out here.
                if self.lkg().mark_good().is_ok()
                    && let Some(n) = self.in_force
                {
                    self.contents.insert(n, true);
                }
            }
            Step::PassTime(secs) => self.now += secs,
            Step::Corrupt(at, byte) => self.damage(at, |bytes| {
                let at = byte % bytes.len();
                bytes[at] ^= 0x40;
            }),
            Step::Cut(at, length) => self.damage(at, |bytes| bytes.truncate(length % bytes.len())),
            Step::Crash => {
                if let Some(n) = self.in_force
                    && !self.contents[&n]
                {
                    *self.crashes.entry(n).or_default() += 1;
                }
                self.start()?;
            }
            Step::OrderlyEnd => {
                self.lkg().ended_well().unwrap();
                self.start()?;
            }
        }
        Ok(())
    }

    fn damage(&self, at: usize, how: impl FnOnce(&mut Vec<u8>)) {
        if let Ok(mut bytes) = std::fs::read(self.slot(at))
            && !bytes.is_empty()
        {
            how(&mut bytes);
            std::fs::write(self.slot(at), bytes).unwrap();
        }
    }

    fn start(&mut self) -> Result<(), TestCaseError> {
        self.lkg = None;
        let intact = self.intact();
        let (lkg, boot) = open(self.folder.path(), self.now);
        let n = started(&boot);
        if let Some(n) = n {
            prop_assert!(self.contents.contains_key(&n), "{n} was never stored");
        }
        if let Some(rolled_back) = boot.rolled_back {
            let n = rolled_back.0[0];
            prop_assert!(!self.contents[&n], "{n} is good and in quarantine");
            prop_assert!(self.crashes[&n] >= CRASHES_MAX);
        }
        let quarantined: Vec<u8> = boot.quarantined.iter().map(|q| q.hash.0[0]).collect();
        let newest_good = intact
            .iter()
            .filter(|(_, good)| *good)
            .map(|(n, _)| *n)
            .max();
        let refused = intact.iter().any(|(n, _)| quarantined.contains(n));
        prop_assert!(n >= newest_good, "{n:?} and {intact:?}");
        let usable = |(n, good): &(u8, bool)| *good || !quarantined.contains(n);
        prop_assert_eq!(n.is_some(), intact.iter().any(usable), "{:?}", intact);
        if let Some(n) = n {
            let good = intact.contains(&(n, true));
            prop_assert!(good || !quarantined.contains(&n), "{n} is in quarantine");
            let newest = intact.iter().map(|(n, _)| *n).max();
            prop_assert!(Some(n) == newest || refused, "{n} and {intact:?}");
        }
        self.in_force = n;
        self.lkg = Some(lkg);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 40,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..ProptestConfig::default()
    })]

    #[test]
    fn nothing_that_was_never_stored_starts_and_good_content_is_not_lost(
        steps in proptest::collection::vec(any_step(), 1..60),
    ) {
        let mut model = Model::new();
        for step in steps {
            model.step(step)?;
        }
        model.step(Step::Crash)?;
    }
}
