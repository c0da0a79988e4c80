//! Batches, history, patterns and resumption against any order of what may happen.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use proptest::prelude::*;
use weir_core::broadcast::{
    BatchLimits, BatchMode, Batcher, Class, Epoch, Facts, History, HistoryLimits, PageLimits,
    Pattern, PatternTrie, Position, Ready, Resume, TopicName, resume,
};
use weir_core::cache::UnixMs;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Message {
    offset: u64,
    class: Class,
    key: &'static str,
    bytes: usize,
    at: UnixMs,
}

impl Facts for Message {
    fn class(&self) -> Class {
        self.class
    }

    fn position(&self) -> Position {
        Position {
            epoch: Epoch(1),
            offset: self.offset,
        }
    }

    fn after(&self) -> u64 {
        self.offset - 1
    }

    fn key(&self) -> &str {
        self.key
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn published_at(&self) -> UnixMs {
        self.at
    }
}

fn class() -> impl Strategy<Value = Class> {
    prop_oneof![
        1 => Just(Class::Critical),
        6 => Just(Class::Stream),
        6 => Just(Class::Latest),
        3 => Just(Class::Ephemeral),
    ]
}

/// Messages in the order of publication: time since the one before, class, key, bytes; one in some is lost on its way.
fn messages() -> impl Strategy<Value = Vec<(Message, bool)>> {
    let pause = prop_oneof![Just(0_u64), 0..5_u64, 0..200_u64];
    let one = (pause, class(), 0..3_usize, 1..3_000_usize, 0..20_u8);
    proptest::collection::vec(one, 1..120).prop_map(|all| {
        let (mut at, mut offset) = (1_000, 0);
        let message = |(pause, class, key, bytes, lost): (u64, Class, usize, usize, u8)| {
            at += pause;
            offset += u64::from(class.is_numbered());
            let message = Message {
                offset: if class.is_numbered() { offset } else { 0 },
                class,
                key: ["a", "b", "c"][key],
                bytes,
                at: UnixMs(at),
            };
            (message, lost == 0)
        };
        all.into_iter().map(message).collect()
    })
}

fn limits() -> impl Strategy<Value = BatchLimits> {
    let mode = prop_oneof![Just(BatchMode::Adaptive), Just(BatchMode::Fixed)];
    (1..12_usize, 1..120_u64, 1_000..20_000_usize, mode).prop_map(
        |(messages_max, delay, bytes_max, mode)| BatchLimits {
            messages_max,
            delay_max: Duration::from_millis(delay),
            bytes_max,
            mode,
        },
    )
}

/// What goes when: as a shard does it that looks whenever something is due.
fn run(messages: &[Message], limits: &BatchLimits) -> Vec<(UnixMs, Ready<Message>)> {
    let mut batcher = Batcher::new(Epoch(1), 0);
    let mut went = Vec::new();
    for message in messages {
        let now = message.at;
        while let Some(due) = batcher.due(limits).filter(|due| *due < now) {
            went.push((due, batcher.flush(due).unwrap()));
        }
        let mut ready = Vec::new();
        batcher.push(message.clone(), now, limits, &mut ready);
        went.extend(ready.into_iter().map(|ready| (now, ready)));
    }
    if let Some(due) = batcher.due(limits) {
        went.push((due, batcher.flush(due).unwrap()));
    }
    went
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn batches_stay_within_their_limits(messages in messages(), limits in limits()) {
        let messages: Vec<_> = messages.into_iter().map(|(message, _)| message).collect();
        for (at, ready) in run(&messages, &limits) {
            let bytes: usize = ready.messages.iter().map(|message| message.bytes).sum();
            prop_assert!(ready.messages.len() <= limits.messages_max);
            prop_assert!(bytes <= limits.bytes_max || ready.messages.len() == 1);
            for message in &ready.messages {
                let waited = at.since(message.at);
                prop_assert!(waited <= limits.delay_max, "{waited:?}");
                prop_assert!(message.class != Class::Critical || waited.is_zero());
            }
        }
    }

    #[test]
    fn batches_keep_the_order_of_their_topic_and_tell_what_is_not_in_them(messages in messages(), limits in limits()) {
        let arrived: Vec<_> = messages.iter().filter(|(_, lost)| !lost).map(|(message, _)| message.clone()).collect();
        let (mut last, mut delivered) = (0, 0);
        for (_, ready) in run(&arrived, &limits) {
            prop_assert!(ready.after >= last);
            let offsets = ready.messages.iter().map(|message| message.offset);
            let offsets: Vec<_> = offsets.filter(|offset| *offset > 0).collect();
            prop_assert!(offsets.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(offsets.first().is_none_or(|first| *first > ready.after));
            prop_assert_eq!(offsets.last().copied().unwrap_or(ready.after), ready.last);
            prop_assert_eq!(offsets.len() as u64 + ready.conflated, ready.last - ready.after);
            // What is missing between batches was lost on the way; what is missing in them was replaced.
            let between = last + 1..=ready.after;
            prop_assert!(!arrived.iter().any(|message| between.contains(&message.offset)));
            let inside = ready.after + 1..=ready.last;
            for message in arrived.iter().filter(|message| inside.contains(&message.offset)) {
                // What replaces it may be in the next batch.
                let newer = |other: &Message| {
                    other.class == Class::Latest && other.key == message.key && other.offset > message.offset
                };
                let replaced = message.class == Class::Latest && arrived.iter().any(newer);
                prop_assert!(offsets.contains(&message.offset) || replaced);
            }
            last = ready.last;
            delivered += ready.messages.iter().filter(|message| message.class == Class::Ephemeral).count();
        }
        prop_assert_eq!(delivered, arrived.iter().filter(|message| message.class == Class::Ephemeral).count());
    }

    #[test]
    fn there_are_never_more_batches_in_the_longest_wait_than_it_has_messages(
        pauses in proptest::collection::vec(0..60_u64, 1..200),
    ) {
        let limits = BatchLimits::default();
        let mut at = 0;
        let messages: Vec<_> = (1..).zip(&pauses).map(|(offset, pause)| {
            at += pause;
            Message { offset, class: Class::Stream, key: "", bytes: 100, at: UnixMs(at) }
        }).collect();
        let went = run(&messages, &limits);
        let partial: Vec<_> = went.iter().filter(|(_, ready)| ready.messages.len() < 10).map(|(at, _)| *at).collect();
        for pair in partial.windows(2) {
            prop_assert!(pair[1].since(pair[0]) >= Duration::from_millis(10));
        }
    }

    #[test]
    fn history_holds_everything_after_its_floor_but_what_was_replaced(
        messages in messages(),
        messages_max in 0..20_usize,
        keys_max in 0..4_usize,
        age_ms in 1..2_000_u64,
        bytes_max in 1..40_000_usize,
        after in 0..120_u64,
        page_messages in 1..20_usize,
    ) {
        let limits = HistoryLimits { messages_max, keys_max, age_max: Duration::from_millis(age_ms), bytes_max };
        let mut history = History::new(Epoch(1), 0);
        let numbered: Vec<_> = messages.into_iter().filter(|(message, _)| message.class.is_numbered()).collect();
        for (message, lost) in &numbered {
            if !lost {
                history.append(message.clone(), message.at, &limits);
            }
        }
        let window = history.window();
        prop_assert!(history.bytes() <= bytes_max);
        let mut at = match resume(Position { epoch: Epoch(1), offset: after }, window) {
            Resume::Complete => after,
            Resume::Gap { from, to } => {
                prop_assert_eq!((from, to), (after + 1, window.floor));
                to
            }
            Resume::Restarted => panic!("it is the same epoch"),
            Resume::Ahead => {
                prop_assert!(after > window.last);
                return Ok(());
            }
        };
        let mut read = Vec::new();
        loop {
            let page = history.page(at, PageLimits { messages_max: page_messages, bytes_max: 5_000 });
            prop_assert_eq!(page.messages.len() as u64 + page.conflated, page.last - page.after);
            if page.messages.is_empty() {
                break;
            }
            at = page.last;
            read.extend(page.messages);
        }
        prop_assert_eq!(at.max(window.floor), window.last);
        for (message, lost) in numbered.iter().filter(|(message, _)| message.offset > after.max(window.floor)) {
            prop_assert!(!lost || message.offset > window.last);
            let newer = |other: &Message| {
                other.class == Class::Latest && other.key == message.key && other.offset > message.offset
            };
            let replaced = message.class == Class::Latest && read.iter().any(newer);
            prop_assert!(message.offset > window.last || read.contains(message) || replaced);
        }
    }

    #[test]
    fn the_trie_finds_what_each_pattern_takes(
        patterns in proptest::collection::vec("(a|b|\\*)(\\.(a|b|\\*)){0,3}(\\.>)?", 1..12),
        removed in 0..6_usize,
        topics in proptest::collection::vec("(a|b|_weir)(\\.(a|b|c)){0,4}", 1..8),
    ) {
        let patterns: Vec<_> = patterns.iter().filter_map(|text| Pattern::new(text).ok()).collect();
        let mut trie = PatternTrie::default();
        for (whose, pattern) in patterns.iter().enumerate() {
            prop_assert!(trie.insert(pattern, whose));
        }
        let removed = removed.min(patterns.len());
        for (whose, pattern) in patterns[..removed].iter().enumerate() {
            prop_assert!(trie.remove(pattern, &whose));
        }
        prop_assert_eq!(trie.len(), patterns.len() - removed);
        for topic in topics {
            let topic = TopicName::any(&topic).unwrap();
            let mut takers = trie.takers(&topic);
            takers.sort_unstable();
            let expected: Vec<_> = (removed..patterns.len()).filter(|whose| patterns[*whose].takes(&topic)).collect();
            prop_assert_eq!(takers, expected);
        }
    }
}

fn burst(count: u64, every_ms: u64) -> Vec<Message> {
    let message = |offset| Message {
        offset,
        class: Class::Stream,
        key: "",
        bytes: 128,
        at: UnixMs(1_000 + offset * every_ms),
    };
    (1..=count).map(message).collect()
}

#[test]
fn fixed_mode_makes_exactly_10_frames_of_100_messages() {
    let limits = BatchLimits {
        mode: BatchMode::Fixed,
        ..BatchLimits::default()
    };
    for every_ms in [0, 1, 9] {
        assert_eq!(
            run(&burst(100, every_ms), &limits).len(),
            10,
            "one every {every_ms} ms"
        );
    }
}

#[test]
fn the_longest_wait_is_no_bound_of_throughput() {
    // 10,000 messages in a second, in batches of 10 at most: with a timer alone it would be 100 of them.
    let messages = burst(10_000, 0).into_iter().map(|message| Message {
        at: UnixMs(1_000 + message.offset / 10),
        ..message
    });
    let messages: Vec<_> = messages.collect();
    let went = run(&messages, &BatchLimits::default());
    assert!(went.len() <= 1_001, "{}", went.len());
    assert!(went.last().unwrap().0 <= UnixMs(2_100));
}

#[test]
fn messages_that_come_slowly_do_not_wait() {
    for every_ms in [12, 50, 1_000] {
        for (at, ready) in run(&burst(40, every_ms), &BatchLimits::default()) {
            assert!(
                at.since(ready.messages[0].at) <= Duration::from_millis(10),
                "one every {every_ms} ms"
            );
        }
    }
}

#[test]
fn messages_that_come_fast_wait_until_the_batch_is_full() {
    let went = run(&burst(1_000, 5), &BatchLimits::default());
    assert!(went.len() < 120, "{}", went.len());
}

#[test]
fn a_key_that_changes_all_the_time_goes_in_time() {
    let changes = burst(400, 5).into_iter().map(|message| Message {
        class: Class::Latest,
        ..message
    });
    let went = run(&changes.collect::<Vec<_>>(), &BatchLimits::default());
    for pair in went.windows(2) {
        assert!(pair[1].0.since(pair[0].0) <= Duration::from_millis(105));
    }
    assert!((20..60).contains(&went.len()), "{}", went.len());
}
