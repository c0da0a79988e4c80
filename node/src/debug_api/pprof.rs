//! Profiles in the format of pprof (`profile.proto`), as `go tool pprof` and viewers read it.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message;
use weir_core::flame::Stacks;

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

/// Encodes samples of processor time that were taken so many times in each second of it.
pub fn encode(stacks: &Stacks, hz: i32, taken_at_unix: Duration, duration: Duration) -> Vec<u8> {
    let period = 1_000_000_000 / i64::from(hz.max(1));
    let texts = ["", "samples", "count", "cpu", "nanoseconds"];
    let mut profile = Profile {
        sample_type: vec![
            ValueType { kind: 1, unit: 2 },
            ValueType { kind: 3, unit: 4 },
        ],
        string_table: texts.map(str::to_owned).into(),
        time_nanos: nanos(taken_at_unix),
        duration_nanos: nanos(duration),
        period_type: Some(ValueType { kind: 3, unit: 4 }),
        period,
        ..Profile::default()
    };
    let mut known: BTreeMap<String, u64> = BTreeMap::new();
    for (stack, times) in stacks.iter() {
        let calls = stack.iter().rev();
        let location_id = calls
            .map(|call| profile.location(&mut known, call))
            .collect();
        let times = i64::try_from(times).unwrap_or(i64::MAX);
        profile.sample.push(Sample {
            location_id,
            value: vec![times, times.saturating_mul(period)],
        });
    }
    profile.encode_to_vec()
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

impl Profile {
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
}
