//! The `traceparent` header (W3C Trace Context section 3.2).

use http::HeaderValue;

/// `00-<32 digits>-<16 digits>-<2 digits>`
const LENGTH: usize = 55;
const FLAG_SAMPLED: u8 = 1;

/// A request's place in a trace. Neither id is all zeros if it was made here or parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// Common to all spans of the trace.
    pub trace_id: [u8; 16],
    /// The span that sends the request.
    pub parent_id: [u8; 8],
    /// Whether the sender records the trace.
    pub sampled: bool,
}

impl TraceContext {
    /// Starts a trace.
    pub fn root(rng: &mut fastrand::Rng, sampled: bool) -> Self {
        let id = u128::from(non_zero(rng)) << 64 | u128::from(rng.u64(..));
        Self {
            trace_id: id.to_be_bytes(),
            parent_id: non_zero(rng).to_be_bytes(),
            sampled,
        }
    }

    /// The same trace, from a new span.
    #[must_use]
    pub fn child(&self, rng: &mut fastrand::Rng) -> Self {
        Self {
            parent_id: non_zero(rng).to_be_bytes(),
            ..*self
        }
    }

    /// The span that stands for a write whose id is 32 digits, as those of `weir` are: the id is the trace's, and its
    /// second half the span's. So whoever made the write knows the trace without being told. Always sampled.
    pub fn of_write(id: &str) -> Option<Self> {
        let trace_id: [u8; 16] = decode(id.as_bytes()).filter(|_| id.len() == 32)?;
        let mut parent_id = [0; 8];
        parent_id.copy_from_slice(&trace_id[8..]);
        (parent_id != [0; 8]).then_some(Self {
            trace_id,
            parent_id,
            sampled: true,
        })
    }

    /// The span of whoever made that write, above it: the first half of the id is the span's.
    pub fn of_writer(id: &str) -> Option<Self> {
        let write = Self::of_write(id)?;
        let mut parent_id = [0; 8];
        parent_id.copy_from_slice(&write.trace_id[..8]);
        (parent_id != [0; 8]).then_some(Self { parent_id, ..write })
    }

    /// As [`Self::header_value`], as text.
    pub fn to_text(&self) -> String {
        let value = self.header_value();
        String::from_utf8_lossy(value.as_bytes()).into_owned()
    }

    /// Reads `traceparent`. `None` if it is malformed: upper-case digits, version `ff` or an id of
    /// zeros. A version above 00 may go on after the flags with a dash (section 4.3).
    pub fn parse(value: &HeaderValue) -> Option<Self> {
        let bytes = value.as_bytes();
        let (head, rest) = bytes.split_first_chunk::<LENGTH>()?;
        if [head[2], head[35], head[52]] != [b'-'; 3] {
            return None;
        }
        let [version] = decode(&head[..2])?;
        let is_whole = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => matches!(rest, [] | [b'-', ..]),
        };
        let trace_id: [u8; 16] = decode(&head[3..35])?;
        let parent_id: [u8; 8] = decode(&head[36..52])?;
        let [flags] = decode(&head[53..])?;
        if !is_whole || trace_id == [0; 16] || parent_id == [0; 8] {
            return None;
        }
        Some(Self {
            trace_id,
            parent_id,
            sampled: flags & FLAG_SAMPLED != 0,
        })
    }

    /// Formats `traceparent`, version 00.
    pub fn header_value(&self) -> HeaderValue {
        let mut text = [b'-'; LENGTH];
        encode([0], &mut text[..2]);
        encode(self.trace_id, &mut text[3..35]);
        encode(self.parent_id, &mut text[36..52]);
        encode([u8::from(self.sampled)], &mut text[53..]);
        HeaderValue::from_bytes(&text).expect("digits and dashes are legal in header values")
    }
}

fn non_zero(rng: &mut fastrand::Rng) -> u64 {
    rng.u64(1..)
}

/// Two lower-case digits for each byte; `None` for other characters.
fn decode<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

/// Two lower-case digits for each byte.
fn encode<const N: usize>(bytes: [u8; N], digits: &mut [u8]) {
    static PAIRS: [[u8; 2]; 256] = pairs();
    for (byte, pair) in bytes.into_iter().zip(digits.as_chunks_mut().0) {
        *pair = PAIRS[usize::from(byte)];
    }
}

const fn pairs() -> [[u8; 2]; 256] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < pairs.len() {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    pairs
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SOUND: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn parse(text: &str) -> Option<TraceContext> {
        TraceContext::parse(&HeaderValue::from_str(text).unwrap())
    }

    #[test]
    fn a_sound_header_survives_parsing_and_formatting() {
        let context = parse(SOUND).unwrap();
        assert!(context.sampled);
        assert_eq!(context.trace_id[0], 0x4b);
        assert_eq!(context.header_value(), SOUND);
    }

    #[test]
    fn only_the_sampled_flag_is_understood() {
        assert!(!parse(&SOUND.replace("-01", "-fe")).unwrap().sampled);
        assert!(parse(&SOUND.replace("-01", "-ff")).unwrap().sampled);
    }

    #[test]
    fn later_versions_may_go_on_after_a_dash() {
        let later = SOUND.replacen("00", "cc", 1);
        assert!(parse(&later).is_some());
        assert!(parse(&format!("{later}-what-ever")).is_some());
        assert!(parse(&format!("{later}.what-ever")).is_none());
        assert!(parse(&format!("{SOUND}-what-ever")).is_none());
    }

    #[test]
    fn malformed_headers_are_ignored() {
        for text in [
            "",
            &SOUND[..54],
            &SOUND.to_uppercase(),
            &SOUND.replacen("00", "ff", 1),
            &SOUND.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &SOUND.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &SOUND.replace('-', "_"),
            &SOUND.replace("4bf9", "4bg9"),
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_child_stays_in_its_trace() {
        let mut rng = fastrand::Rng::with_seed(3);
        let root = TraceContext::root(&mut rng, true);
        let child = root.child(&mut rng);
        assert_eq!(child.trace_id, root.trace_id);
        assert_ne!(child.parent_id, root.parent_id);
        assert!(child.sampled);
    }

    #[test]
    fn a_write_is_a_span_of_a_trace_that_has_its_id() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let context = TraceContext::of_write(id).unwrap();
        assert_eq!(context.to_text(), format!("00-{id}-a3ce929d0e0e4736-01"));
        let writer = TraceContext::of_writer(id).unwrap();
        assert_eq!(writer.to_text(), format!("00-{id}-4bf92f3577b34da6-01"));
        assert_eq!(TraceContext::of_writer(&format!("{:032x}", 7)), None);
        let half = "4bf92f3577b34da60000000000000000";
        for other in ["", "4bf9", half, &id.to_uppercase(), &id.replace('4', "g")] {
            assert_eq!(TraceContext::of_write(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn what_is_formatted_parses_back(seed: u64, sampled: bool) {
            let context = TraceContext::root(&mut fastrand::Rng::with_seed(seed), sampled);
            prop_assert_eq!(TraceContext::parse(&context.header_value()), Some(context));
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(bytes: Vec<u8>) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let _ = TraceContext::parse(&value);
            }
        }
    }
}
