//! Spans as OTLP sends them (`opentelemetry/proto/trace/v1/trace.proto`), written once, when they are told: rings keep
//! them so, and the exporter puts them one behind the other.

use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1 as pb;
use prost::{Message as _, length_delimiter_len};

use super::spans::SpanKind;

/// Fields of a protobuf message whose contents are a length and as many bytes.
const LENGTH_DELIMITED: u8 = 2;
const FIXED_64: u8 = 1;
const VARINT: u8 = 0;

/// What every span has.
#[derive(Clone, Copy, Debug)]
pub struct SpanHead<'a> {
    /// Its trace.
    pub trace_id: [u8; 16],
    /// Its own id.
    pub id: [u8; 8],
    /// The span above it.
    pub parent: Option<[u8; 8]>,
    /// What was done.
    pub name: &'static str,
    /// Its kind.
    pub kind: SpanKind,
    /// When it began, in nanoseconds since 1970.
    pub start_unix_ns: u64,
    /// When it ended.
    pub end_unix_ns: u64,
    /// Why it failed, if it did.
    pub error: Option<&'a str>,
}

/// Spans of one trace, one behind the other, each as a field `spans` of `ScopeSpans`.
#[derive(Debug, Default)]
pub struct EncodedSpans {
    bytes: Box<[u8]>,
    count: usize,
    trace_id: u128,
    start_unix_ns: u64,
}

impl EncodedSpans {
    /// As they are sent.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many they are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The trace of the last one.
    pub fn trace_id(&self) -> u128 {
        self.trace_id
    }

    /// When the last one began, in nanoseconds since 1970.
    pub fn start_unix_ns(&self) -> u64 {
        self.start_unix_ns
    }

    /// For somebody who reads them.
    pub fn decode(&self) -> Vec<pb::Span> {
        let decoded = pb::ScopeSpans::decode(self.bytes());
        debug_assert!(decoded.is_ok(), "what was written is read");
        decoded.map(|scope| scope.spans).unwrap_or_default()
    }
}

/// What an attribute says.
pub fn text_of(value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        _ => String::new(),
    }
}

/// Writes spans; what it writes into is used again.
#[derive(Debug, Default)]
pub struct SpanWriter {
    all: Vec<u8>,
    one: Vec<u8>,
    count: usize,
    last: Option<(u128, u64)>,
}

impl SpanWriter {
    /// Writes a span with the attributes that `tell` tells.
    pub fn span(&mut self, head: &SpanHead<'_>, tell: impl FnOnce(&mut Attributes<'_>)) {
        let one = &mut self.one;
        one.clear();
        bytes(one, 1, &head.trace_id);
        bytes(one, 2, &head.id);
        if let Some(parent) = &head.parent {
            bytes(one, 4, parent);
        }
        bytes(one, 5, head.name.as_bytes());
        number(one, 6, head.kind.number());
        fixed(one, 7, head.start_unix_ns);
        fixed(one, 8, head.end_unix_ns);
        tell(&mut Attributes(one));
        if let Some(error) = head.error {
            status(one, error);
        }
        bytes(&mut self.all, 2, &self.one);
        self.count += 1;
        self.last = Some((u128::from_be_bytes(head.trace_id), head.start_unix_ns));
    }

    /// What was written since the last time.
    pub fn finish(&mut self) -> EncodedSpans {
        let (trace_id, start_unix_ns) = self.last.take().unwrap_or_default();
        let written = EncodedSpans {
            bytes: self.all.as_slice().into(),
            count: std::mem::take(&mut self.count),
            trace_id,
            start_unix_ns,
        };
        self.all.clear();
        written
    }
}

/// Where the attributes of one span are written.
#[derive(Debug)]
pub struct Attributes<'a>(&'a mut Vec<u8>);

impl Attributes<'_> {
    /// A text.
    pub fn text(&mut self, key: &str, text: &str) {
        let value = field_len(text.len());
        self.key(key, value);
        bytes(self.0, 1, text.as_bytes());
    }

    /// A whole number.
    pub fn number(&mut self, key: &str, value: i64) {
        // As protobuf has negative ones: in two's complement.
        let value = value.cast_unsigned();
        self.key(key, 1 + varint_len(value));
        number(self.0, 3, value);
    }

    /// The key of a `KeyValue` whose value's contents are so long.
    fn key(&mut self, key: &str, value_len: usize) {
        tag(self.0, 9, LENGTH_DELIMITED);
        varint(self.0, (field_len(key.len()) + field_len(value_len)) as u64);
        bytes(self.0, 1, key.as_bytes());
        tag(self.0, 2, LENGTH_DELIMITED);
        varint(self.0, value_len as u64);
    }
}

/// A message of `head`, encoded, and a field of that number with `parts` in it.
pub fn nested<'a>(
    head: &[u8],
    number: u8,
    parts: impl Iterator<Item = &'a [u8]> + Clone,
) -> Vec<u8> {
    let len: usize = parts.clone().map(<[u8]>::len).sum();
    let mut out = Vec::with_capacity(head.len() + field_len(len));
    out.extend_from_slice(head);
    tag(&mut out, number, LENGTH_DELIMITED);
    varint(&mut out, len as u64);
    parts.for_each(|part| out.extend_from_slice(part));
    out
}

fn status(out: &mut Vec<u8>, message: &str) {
    let code = pb::status::StatusCode::Error as u64;
    tag(out, 15, LENGTH_DELIMITED);
    varint(
        out,
        (field_len(message.len()) + 1 + varint_len(code)) as u64,
    );
    bytes(out, 2, message.as_bytes());
    number(out, 3, code);
}

fn bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    tag(out, field, LENGTH_DELIMITED);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn number(out: &mut Vec<u8>, field: u8, value: u64) {
    tag(out, field, VARINT);
    varint(out, value);
}

fn fixed(out: &mut Vec<u8>, field: u8, value: u64) {
    tag(out, field, FIXED_64);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Fields up to 15 have a tag of one byte.
fn tag(out: &mut Vec<u8>, field: u8, wire_type: u8) {
    debug_assert!(field < 16, "{field}");
    out.push(field << 3 | wire_type);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Of a field whose contents are so long.
fn field_len(len: usize) -> usize {
    1 + length_delimiter_len(len) + len
}

fn varint_len(value: u64) -> usize {
    length_delimiter_len(usize::try_from(value).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::KeyValue;
    use proptest::prelude::*;

    use super::*;

    fn head(error: Option<&str>, parent: Option<[u8; 8]>, times: (u64, u64)) -> SpanHead<'_> {
        SpanHead {
            trace_id: [0xab; 16],
            id: [7; 8],
            parent,
            name: "ingress",
            kind: SpanKind::Client,
            start_unix_ns: times.0,
            end_unix_ns: times.1,
            error,
        }
    }

    fn any_value(value: Value) -> Option<AnyValue> {
        Some(AnyValue { value: Some(value) })
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_a_receiver_reads(
            texts in proptest::collection::vec(("[a-z.]{0,200}", ".{0,400}"), 0..4),
            numbers in proptest::collection::vec(("[a-z.]{1,20}", any::<i64>()), 0..4),
            error in proptest::option::of(".{0,300}"),
            parent in any::<Option<[u8; 8]>>(),
            times in any::<(u64, u64)>(),
            spans in 0_usize..4,
        ) {
            let head = head(error.as_deref(), parent, times);
            let mut writer = SpanWriter::default();
            for _ in 0..spans {
                writer.span(&head, |attributes| {
                    texts.iter().for_each(|(key, text)| attributes.text(key, text));
                    numbers.iter().for_each(|(key, number)| attributes.number(key, *number));
                });
            }
            let written = writer.finish();
            let texts = texts.iter().map(|(key, text)| (key, Value::StringValue(text.clone())));
            let numbers = numbers.iter().map(|(key, number)| (key, Value::IntValue(*number)));
            let attributes = texts.chain(numbers).map(|(key, value)| KeyValue {
                key: key.clone(),
                value: any_value(value),
                ..KeyValue::default()
            });
            let span = pb::Span {
                trace_id: vec![0xab; 16],
                span_id: vec![7; 8],
                parent_span_id: parent.map(Vec::from).unwrap_or_default(),
                name: "ingress".to_owned(),
                kind: pb::span::SpanKind::Client as i32,
                start_time_unix_nano: times.0,
                end_time_unix_nano: times.1,
                attributes: attributes.collect(),
                status: error.clone().map(|message| pb::Status {
                    message,
                    code: pb::status::StatusCode::Error as i32,
                }),
                ..pb::Span::default()
            };
            prop_assert_eq!(written.count(), spans);
            prop_assert_eq!(written.decode(), vec![span; spans]);
        }
    }

    #[test]
    fn a_writer_is_used_again_without_what_it_wrote_before() {
        let mut writer = SpanWriter::default();
        writer.span(&head(None, None, (5, 6)), |_| {});
        let first = writer.finish();
        assert_eq!((first.count(), first.start_unix_ns()), (1, 5));
        let nothing = writer.finish();
        assert_eq!(
            (nothing.count(), nothing.bytes().len(), nothing.trace_id()),
            (0, 0, 0)
        );
    }

    #[test]
    fn a_message_is_put_into_a_field_of_another() {
        let parts: [&[u8]; 2] = [&[b'a'; 100], &[b'b'; 100]];
        let nested = nested(&[0x08, 0x01], 2, parts.into_iter());
        assert_eq!(nested[..5], [0x08, 0x01, 0x12, 0xc8, 0x01]);
        assert_eq!(nested.len(), 205);
    }
}
