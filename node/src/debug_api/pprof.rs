//! Profiles in the format of pprof (`profile.proto`), as `go tool pprof` and viewers read it.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message;
use weir_core::flame::Stacks;

use super::heap_profile::HeapSamples;

/// A profile.
#[derive(Clone, PartialEq, Message)]
pub struct Profile {
    /// What each value of a sample is.
    #[prost(message, repeated, tag = "1")]
    pub sample_type: Vec<ValueType>,
    /// Stacks.
    #[prost(message, repeated, tag = "2")]
    pub sample: Vec<Sample>,
    /// Places in stacks.
    #[prost(message, repeated, tag = "4")]
    pub location: Vec<Location>,
    /// What runs there.
    #[prost(message, repeated, tag = "5")]
    pub function: Vec<Function>,
    /// Every text; the first one is empty.
    #[prost(string, repeated, tag = "6")]
    pub string_table: Vec<String>,
    /// When it was taken.
    #[prost(int64, tag = "9")]
    pub time_nanos: i64,
    /// How long.
    #[prost(int64, tag = "10")]
    pub duration_nanos: i64,
    /// What lies between two samples.
    #[prost(message, optional, tag = "11")]
    pub period_type: Option<ValueType>,
    /// How much of it.
    #[prost(int64, tag = "12")]
    pub period: i64,
}

/// Kind and unit, as places in the table of texts.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct ValueType {
    /// Kind.
    #[prost(int64, tag = "1")]
    pub kind: i64,
    /// Unit.
    #[prost(int64, tag = "2")]
    pub unit: i64,
}

/// One stack.
#[derive(Clone, PartialEq, Message)]
pub struct Sample {
    /// From the innermost call outwards.
    #[prost(uint64, repeated, tag = "1")]
    pub location_id: Vec<u64>,
    /// In the order of the profile's types.
    #[prost(int64, repeated, tag = "2")]
    pub value: Vec<i64>,
}

/// One place.
#[derive(Clone, PartialEq, Message)]
pub struct Location {
    /// Not 0.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// What is called there.
    #[prost(message, repeated, tag = "4")]
    pub line: Vec<Line>,
}

/// A function at a place.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Line {
    /// Which.
    #[prost(uint64, tag = "1")]
    pub function_id: u64,
}

/// One function.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Function {
    /// Not 0.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Its name in the table of texts.
    #[prost(int64, tag = "2")]
    pub name: i64,
}

/// What the values of a profile are.
struct Kinds<'a> {
    /// Kind and unit of each value.
    values: &'a [(&'a str, &'a str)],
    /// What lies between two samples, and how much of it.
    period: ((&'a str, &'a str), u64),
}

/// Encodes samples of processor time that were taken so many times in each second of it.
pub fn encode(stacks: &Stacks, hz: i32, taken_at_unix: Duration, duration: Duration) -> Vec<u8> {
    let period = 1_000_000_000 / u64::from(hz.max(1).unsigned_abs());
    let cpu = ("cpu", "nanoseconds");
    let kinds = Kinds {
        values: &[("samples", "count"), cpu],
        period: (cpu, period),
    };
    let samples = stacks
        .iter()
        .map(|(stack, times)| (stack, [times, times.saturating_mul(period)]));
    encode_values(kinds, samples, taken_at_unix, Some(duration))
}

/// Encodes samples of allocations: what is in use of them, and all.
pub fn encode_heap(samples: &HeapSamples, taken_at_unix: Duration) -> Vec<u8> {
    let kinds = Kinds {
        values: &[
            ("inuse_objects", "count"),
            ("inuse_space", "bytes"),
            ("alloc_objects", "count"),
            ("alloc_space", "bytes"),
        ],
        period: (("space", "bytes"), samples.interval),
    };
    let stacks = samples.stacks.iter();
    let stacks = stacks.map(|(stack, values)| (stack.as_slice(), *values));
    encode_values(kinds, stacks, taken_at_unix, samples.duration)
}

/// Stacks from the outermost call inwards, each with a value of each kind.
fn encode_values<'a, const VALUES: usize>(
    kinds: Kinds<'_>,
    samples: impl Iterator<Item = (&'a [String], [u64; VALUES])>,
    taken_at_unix: Duration,
    duration: Option<Duration>,
) -> Vec<u8> {
    let mut profile = Profile {
        string_table: vec![String::new()],
        time_nanos: nanos(taken_at_unix),
        duration_nanos: duration.map_or(0, nanos),
        period: signed(kinds.period.1),
        ..Profile::default()
    };
    for value in kinds.values {
        let kind = profile.kind(*value);
        profile.sample_type.push(kind);
    }
    profile.period_type = Some(profile.kind(kinds.period.0));
    let mut known: BTreeMap<String, u64> = BTreeMap::new();
    for (stack, values) in samples {
        let calls = stack.iter().rev();
        let location_id = calls
            .map(|call| profile.location(&mut known, call))
            .collect();
        profile.sample.push(Sample {
            location_id,
            value: values.map(signed).into(),
        });
    }
    profile.encode_to_vec()
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

impl Profile {
    fn kind(&mut self, (kind, unit): (&str, &str)) -> ValueType {
        let (kind, unit) = (self.text(kind), self.text(unit));
        ValueType { kind, unit }
    }

    /// The place of a text, which there are few of.
    fn text(&mut self, text: &str) -> i64 {
        let known = self.string_table.iter().position(|known| known == text);
        let at = known.unwrap_or_else(|| {
            self.string_table.push(text.to_owned());
            self.string_table.len() - 1
        });
        i64::try_from(at).unwrap_or(0)
    }

    /// The place of a call; each has one, with one function.
    fn location(&mut self, known: &mut BTreeMap<String, u64>, call: &str) -> u64 {
        if let Some(id) = known.get(call) {
            return *id;
        }
        let id = known.len() as u64 + 1;
        known.insert(call.to_owned(), id);
        self.function.push(Function {
            id,
            name: i64::try_from(self.string_table.len()).unwrap_or(0),
        });
        self.string_table.push(call.to_owned());
        self.location.push(Location {
            id,
            line: vec![Line { function_id: id }],
        });
        id
    }

    /// Each value of a sample by its kind.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        let names = self.sample_type.iter();
        names.filter_map(|of| {
            Some(
                self.string_table
                    .get(usize::try_from(of.kind).ok()?)?
                    .as_str(),
            )
        })
    }

    /// The names of a sample's calls, from the innermost outwards.
    pub fn calls<'a>(&'a self, sample: &'a Sample) -> impl Iterator<Item = &'a str> {
        let at = |id: &u64| usize::try_from(*id).ok()?.checked_sub(1);
        sample.location_id.iter().filter_map(move |id| {
            let line = self.location.get(at(id)?)?.line.first()?;
            let function = self.function.get(at(&line.function_id)?)?;
            let name = self.string_table.get(usize::try_from(function.name).ok()?);
            name.map(String::as_str)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_can_be_read_again() {
        let mut stacks = Stacks::default();
        stacks.add(vec!["core-0".into(), "poll".into(), "read".into()], 3);
        stacks.add(vec!["core-0".into(), "poll".into()], 1);
        let bytes = encode(&stacks, 100, Duration::from_secs(9), Duration::from_secs(2));
        let profile = Profile::decode(bytes.as_slice()).unwrap();
        assert_eq!(profile.string_table[0], "");
        assert_eq!(
            (profile.period, profile.duration_nanos),
            (10_000_000, 2_000_000_000)
        );
        assert_eq!(profile.location.len(), 3, "each call once");
        let deep = &profile.sample[1];
        assert_eq!(
            profile.calls(deep).collect::<Vec<_>>(),
            ["read", "poll", "core-0"]
        );
        assert_eq!(deep.value, [3, 30_000_000]);
        assert_eq!(profile.time_nanos, 9_000_000_000);
    }

    #[test]
    fn a_heap_profile_has_what_is_in_use_and_all_that_was_allocated() {
        let samples = HeapSamples {
            stacks: vec![(vec!["main".into(), "grow".into()], [1, 10, 4, 40])],
            interval: 512,
            dropped: 0,
            duration: None,
        };
        let bytes = encode_heap(&samples, Duration::from_secs(9));
        let profile = Profile::decode(bytes.as_slice()).unwrap();
        let kinds: Vec<_> = profile.kinds().collect();
        let expected = [
            "inuse_objects",
            "inuse_space",
            "alloc_objects",
            "alloc_space",
        ];
        assert_eq!(kinds, expected);
        assert_eq!(profile.sample[0].value, [1, 10, 4, 40]);
        assert_eq!((profile.period, profile.duration_nanos), (512, 0));
        let innermost: Vec<_> = profile.calls(&profile.sample[0]).collect();
        assert_eq!(innermost, ["grow", "main"]);
        let svg = samples.svg("n1", true);
        assert!(
            svg.contains("n1: 10 bytes in use, allocated since the start, one sample in 512B"),
            "{svg}"
        );
    }
}
