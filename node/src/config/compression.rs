//! Which answers are compressed, and how.

use std::sync::Arc;

use weir_core::content_coding::{Coding, MediaType, MediaTypes};
use weir_core::tuning::knobs::ingress;

use super::reader::{Problem, Section};

const TYPES_MAX: usize = 256;

/// How answers are compressed on routes that ask for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compression {
    /// What clients are offered, the preferred one first; none: nothing is compressed.
    pub codings: Vec<Coding>,
    /// The effort, 0 to 11.
    pub level: u8,
    /// Shorter answers are sent as they are.
    pub bytes_min: u64,
    /// Longer ones too.
    pub bytes_max: u64,
}

impl Compression {
    /// The part of `[ingress]` that is about it.
    pub(super) fn read(s: &mut Section, problems: &mut Vec<Problem>) -> Self {
        let names: Vec<String> = s.tuned(problems, "compression", &ingress::COMPRESSION);
        let mut codings = Vec::new();
        for name in names {
            match Coding::made_from_name(&name) {
                Some(coding) if codings.contains(&coding) => {}
                Some(coding) => codings.push(coding),
                None => {
                    let made = Coding::MADE.map(Coding::name).join(", ");
                    let what = format!("`{name}` is none of {made}");
                    s.contradiction(problems, "compression", what, [&ingress::COMPRESSION; 2]);
                }
            }
        }
        let level: u32 = s.tuned(problems, "compression_level", &ingress::COMPRESSION_LEVEL);
        let read = Self {
            codings,
            level: u8::try_from(level).unwrap_or(u8::MAX),
            bytes_min: s.tuned(
                problems,
                "compression_bytes_min",
                &ingress::COMPRESSION_BYTES_MIN,
            ),
            bytes_max: s.tuned(
                problems,
                "compression_bytes_max",
                &ingress::COMPRESSION_BYTES_MAX,
            ),
        };
        if read.bytes_max < read.bytes_min {
            let what = format!(
                "{} is less than compression_bytes_min ({})",
                read.bytes_max, read.bytes_min
            );
            let knobs = [
                &ingress::COMPRESSION_BYTES_MAX,
                &ingress::COMPRESSION_BYTES_MIN,
            ];
            s.contradiction(problems, "compression_bytes_max", what, knobs);
        }
        read
    }
}

/// What of one route is compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteCompression {
    /// Of these types.
    pub types: Arc<MediaTypes>,
}

impl RouteCompression {
    /// The `compress` of a route: `true`, or a table.
    pub(super) fn read(route: &mut Section, problems: &mut Vec<Problem>) -> Option<Self> {
        let mut s = route.switched_section(problems, "compress")?;
        let types: Vec<MediaType> = s.parsed_list(problems, "types");
        if types.len() > TYPES_MAX {
            let what = format!("{} types, at most {TYPES_MAX}", types.len());
            s.problem(problems, "types", what);
        }
        s.finish(problems);
        let types = match types.is_empty() {
            true => MediaTypes::default(),
            false => MediaTypes::new(types),
        };
        Some(Self {
            types: Arc::new(types),
        })
    }
}
