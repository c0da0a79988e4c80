use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

fn purge(scope: Scope, hardness: Hardness, ms: u64) -> Purge {
    Purge {
        scope,
        hardness,
        at: Hlc::new(ms, 0, 1),
        origin: 1,
        seq: 1,
    }
}

fn entry(tags: &[u64], ms: u64) -> Fetched<'_> {
    Fetched {
        namespace: 1,
        key: 10,
        host: 20,
        path: "/blog/a",
        tags,
        at: Hlc::new(ms, 0, 2),
    }
}

fn scopes() -> [Scope; 5] {
    let prefix = Scope::Prefix {
        host: 20,
        path: "/blog/".into(),
    };
    [
        Scope::Key(10),
        Scope::Tag(31),
        prefix,
        Scope::Host(20),
        Scope::All(1),
    ]
}

fn small() -> StampLimits {
    StampLimits {
        keys_max: 4,
        tags_max: 4,
        wide_max: 2,
    }
}

#[test]
fn every_scope_purges_what_was_fetched_until_then_and_nothing_later() {
    for scope in scopes() {
        for (hardness, verdict) in [
            (Hardness::Soft, Verdict::Stale),
            (Hardness::Hard, Verdict::Gone),
        ] {
            let mut writer = StampWriter::new(StampLimits::default());
            assert!(writer.merge(&purge(scope.clone(), hardness, 100)).changed);
            let stamps = writer.stamps();
            assert_eq!(stamps.verdict(&entry(&[30, 31], 99)), verdict, "{scope:?}");
            assert_eq!(stamps.verdict(&entry(&[30, 31], 100)), verdict, "{scope:?}");
            let later = stamps.verdict(&entry(&[30, 31], 101));
            assert_eq!(later, Verdict::Valid, "{scope:?}");
        }
    }
}

#[test]
fn purges_of_others_are_not_of_an_entry() {
    let mut writer = StampWriter::new(StampLimits::default());
    let prefix = |host, path: &str| Scope::Prefix {
        host,
        path: path.into(),
    };
    for scope in [
        Scope::Key(11),
        Scope::Tag(32),
        Scope::Host(21),
        Scope::All(2),
        prefix(20, "/blog/b"),
        prefix(21, "/blog/"),
    ] {
        writer.merge(&purge(scope, Hardness::Hard, 100));
    }
    assert_eq!(writer.stamps().verdict(&entry(&[30], 50)), Verdict::Valid);
}

#[test]
fn a_soft_purge_after_a_hard_one_leaves_what_came_between_stale() {
    for scope in scopes() {
        let mut writer = StampWriter::new(StampLimits::default());
        writer.merge(&purge(scope.clone(), Hardness::Soft, 200));
        writer.merge(&purge(scope, Hardness::Hard, 100));
        let stamps = writer.stamps();
        assert_eq!(stamps.verdict(&entry(&[31], 100)), Verdict::Gone);
        assert_eq!(stamps.verdict(&entry(&[31], 150)), Verdict::Stale);
        assert_eq!(stamps.verdict(&entry(&[31], 201)), Verdict::Valid);
    }
}

#[test]
fn what_has_no_room_raises_the_floor() {
    for of in [Scope::Key, Scope::Tag, Scope::Host] {
        let mut writer = StampWriter::new(small());
        for n in 1..=20_u64 {
            writer.merge(&purge(of(n << 32), Hardness::Hard, n * 10));
        }
        let stamps = writer.stamps();
        let floor = stamps.floor().unwrap().unix_ms();
        assert!((10..200).contains(&floor), "{floor}");
        assert_eq!(stamps.verdict(&entry(&[], floor)), Verdict::Unsure);
        assert_eq!(stamps.verdict(&entry(&[], floor + 1)), Verdict::Valid);
    }
}

#[test]
fn a_table_that_grows_keeps_what_it_holds() {
    let mut writer = StampWriter::new(StampLimits::default());
    let mut random = fastrand::Rng::with_seed(1);
    let keys: Vec<u64> = (0..20_000).map(|_| random.u64(..)).collect();
    let mut published = 0;
    for key in &keys {
        let merged = writer.merge(&purge(Scope::Key(*key), Hardness::Hard, 100));
        published += usize::from(merged.republish);
    }
    let stamps = writer.stamps();
    assert!(published >= 3, "{published}");
    assert_eq!(stamps.floor(), None);
    for key in keys {
        let old = Fetched {
            key,
            ..entry(&[], 100)
        };
        assert_eq!(stamps.verdict(&old), Verdict::Gone);
    }
}

#[test]
fn a_version_lasts_as_long_as_nothing_is_purged() {
    let mut writer = StampWriter::new(small());
    let mut versions = vec![writer.stamps().version()];
    for (n, scope) in scopes().into_iter().enumerate() {
        let purge = purge(scope, Hardness::Hard, n as u64 + 1);
        assert!(writer.merge(&purge).changed);
        versions.push(writer.stamps().version());
        assert_eq!(Some(&writer.stamps().version()), versions.last());
        // Nothing is purged by it that was not; what was fetched in between began before it all the same.
        assert_eq!(writer.merge(&purge), Merged::default());
        versions.push(writer.stamps().version());
    }
    writer.raise_floor(Hlc::new(9, 0, 0));
    versions.push(writer.stamps().version());
    versions.sort_unstable();
    versions.dedup();
    assert_eq!(versions.len(), 12);
}

#[test]
fn a_reader_of_an_old_edition_never_takes_its_version_for_a_new_one() {
    let mut writer = StampWriter::new(StampLimits::default());
    let old = writer.stamps();
    writer.merge(&purge(Scope::Host(20), Hardness::Hard, 100));
    let new = writer.stamps();
    for n in 0..10 {
        assert_ne!(old.version(), new.version());
        writer.merge(&purge(Scope::Key(n), Hardness::Soft, n + 1));
    }
}

/// One thread purges far more keys than there is room for, others read at the same time.
#[test]
fn no_reader_sees_valid_what_was_purged_before_it_looked() {
    const KEYS: u64 = 30_000;
    let limits = StampLimits {
        keys_max: 64,
        ..StampLimits::default()
    };
    let mut writer = StampWriter::new(limits);
    let stamps = writer.stamps();
    let (done, spread) = (AtomicU64::new(0), 0x9e37_79b9_7f4a_7c15_u64);
    let read = |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        loop {
            let done = done.load(Ordering::Acquire);
            let n = done.saturating_sub(random.u64(..100)).max(1);
            let old = Fetched {
                key: n.wrapping_mul(spread),
                ..entry(&[], n)
            };
            let verdict = stamps.verdict(&old);
            assert!(
                done == 0 || verdict >= Verdict::Unsure,
                "{n} of {done}: {verdict:?}"
            );
            if done == KEYS {
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| read(1));
        scope.spawn(|| read(2));
        for n in 1..=KEYS {
            let key = Scope::Key(n.wrapping_mul(spread));
            assert!(!writer.merge(&purge(key, Hardness::Hard, n)).republish);
            done.store(n, Ordering::Release);
        }
    });
}
