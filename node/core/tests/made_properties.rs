//! What must hold for what engines are made of, and for how many are lost while they are renewed.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests need some instant to start from, and may panic"
)]
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use weir_core::provision::{MadeOf, Outdated, Rolling, next_outdated};

/// What a launch says; few words, so that many are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    image: String,
    command: Vec<String>,
    env: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    network: String,
    port: Option<u16>,
    memory_bytes_max: Option<u64>,
}

impl Said {
    fn digest(&self) -> String {
        MadeOf {
            driver: "docker",
            image: &self.image,
            command: &self.command,
            env: Some(&self.env),
            labels: Some(&self.labels),
            network: &self.network,
            port: self.port,
            memory_bytes_max: self.memory_bytes_max,
            ..MadeOf::default()
        }
        .digest()
    }
}

fn said() -> impl Strategy<Value = Said> {
    let map = || prop::collection::btree_map("[ab]{0,2}", "[ab]{0,2}", 0..3);
    let (word, words) = ("[ab]{0,2}", prop::collection::vec("[ab]{0,2}", 0..3));
    let memory = prop::option::of(1..3u64);
    (
        word,
        words,
        map(),
        map(),
        word,
        prop::option::of(1..3u16),
        memory,
    )
        .prop_map(
            |(image, command, env, labels, network, port, memory_bytes_max)| Said {
                image,
                command,
                env,
                labels,
                network,
                port,
                memory_bytes_max,
            },
        )
}

/// A service whose engines are replaced without a place for one more; every start ends as the script says.
struct World {
    outdated: Vec<Outdated>,
    renewed: usize,
    missing: usize,
    rolling: Rolling,
    now: Instant,
}

impl World {
    fn serve(&self) -> usize {
        self.outdated.len() + self.renewed
    }

    fn replace_next(&mut self, least: usize) {
        let next = next_outdated(&self.outdated).cloned();
        if let Some(next) = next.filter(|_| self.rolling.may_go_on(self.serve(), least, self.now)) {
            let until = self.now + Duration::from_secs(300);
            self.rolling.ended_first(self.serve(), until);
            self.outdated.retain(|engine| engine.id != next);
            self.missing += 1;
        }
    }

    fn start(&mut self, is_good: bool) {
        if self.missing == 0 {
            return;
        }
        if is_good {
            self.missing -= 1;
            self.renewed += 1;
            self.rolling.proved();
        } else {
            self.rolling.failed("as the test wished");
        }
    }
}

proptest! {
    #[test]
    fn the_text_is_equal_for_what_is_equal_and_for_nothing_else(one in said(), other in said()) {
        prop_assert_eq!(one.digest() == other.digest(), one == other);
        prop_assert_eq!(one.digest(), one.clone().digest());
    }

    #[test]
    fn at_most_one_engine_is_missing_whatever_starts_come_to_and_good_ones_renew_all(
        count in 1..6usize,
        starts in prop::collection::vec((0..400u64, any::<bool>()), 0..40),
    ) {
        let now = Instant::now();
        let outdated = (0..count).map(|number| Outdated {
            id: format!("tv-{number}").as_str().into(),
            in_flight: number as u64 % 2,
            idle_since: None,
            forwarded: number == 0,
        });
        let mut world = World {
            outdated: outdated.collect(),
            renewed: 0,
            missing: 0,
            rolling: Rolling::default(),
            now,
        };
        for (wait, is_good) in starts {
            world.replace_next(count);
            prop_assert!(world.missing <= 1, "{} are missing", world.missing);
            prop_assert_eq!(world.serve() + world.missing, count);
            world.now += Duration::from_secs(wait);
            world.replace_next(count);
            world.start(is_good);
        }
        for _ in 0..=count {
            world.replace_next(count);
            world.start(true);
        }
        prop_assert_eq!((world.renewed, world.outdated.len()), (count, 0));
    }
}
