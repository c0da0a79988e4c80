//! JSON, without line breaks, so that it is one line of an event.

use std::fmt::Write as _;

use weir_core::broadcast::{Class, Content, Facts as _};

use crate::batch::Batch;
use crate::message::Message;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A message as an object. What has its default is left out: offset 0, class `stream`, no key.
pub(crate) fn message(message: &Message) -> Vec<u8> {
    let mut head = String::from("{");
    let offset = message.position().offset;
    if offset > 0 {
        let _ = write!(head, "\"offset\":{offset},");
    }
    if message.class() != Class::Stream {
        let _ = write!(head, "\"class\":\"{}\",", message.class().as_str());
    }
    if message.class() == Class::Latest {
        let _ = write!(head, "\"key\":{},", text(message.key()));
    }
    let at = message.published_at().0;
    let _ = write!(head, "\"published_unix_ms\":{at},");
    let mut out = head.into_bytes();
    let data = message.data();
    match (message.content(), std::str::from_utf8(data)) {
        (Content::Json, Ok(_)) => {
            out.extend_from_slice(b"\"data\":");
            // Outside of strings, where alone JSON has them, line breaks are white space.
            let flat = |byte: &u8| {
                if matches!(byte, b'\n' | b'\r') {
                    b' '
                } else {
                    *byte
                }
            };
            out.extend(data.iter().map(flat));
        }
        (Content::Text, Ok(data)) => {
            out.extend_from_slice(b"\"text\":");
            out.extend_from_slice(text(data).as_bytes());
        }
        _ => {
            out.extend_from_slice(b"\"base64\":\"");
            base64(data, &mut out);
            out.push(b'"');
        }
    }
    out.push(b'}');
    out
}

/// A batch as an object, put together of messages that are encoded.
pub(crate) fn batch(batch: &Batch) -> Vec<u8> {
    let messages: usize = batch
        .messages()
        .iter()
        .map(|message| message.json().len() + 1)
        .sum();
    let mut out = Vec::with_capacity(messages + batch.topic().as_str().len() + 120);
    let epoch = batch.position().epoch;
    let head = format!(
        "{{\"batch\":{{\"topic\":\"{}\",\"epoch\":\"{epoch}\",\"after\":{},",
        batch.topic(),
        batch.after(),
    );
    out.extend_from_slice(head.as_bytes());
    if batch.conflated() > 0 {
        out.extend_from_slice(format!("\"conflated\":{},", batch.conflated()).as_bytes());
    }
    out.extend_from_slice(b"\"messages\":[");
    for (n, message) in batch.messages().iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        out.extend_from_slice(message.json());
    }
    out.extend_from_slice(b"]}}");
    out
}

/// A string with its quotes.
pub(crate) fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// RFC 4648, section 4.
/// Bytes as base64 (RFC 4648, section 4), appended to `out`.
pub fn base64(data: &[u8], out: &mut Vec<u8>) {
    for chunk in data.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or_default());
        let bits = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for at in 0..4 {
            let digit = BASE64[(bits >> (18 - 6 * at)) as usize & 63];
            out.push(if at > chunk.len() { b'=' } else { digit });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_vectors_of_base64_hold() {
        for (data, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            let mut out = Vec::new();
            base64(data.as_bytes(), &mut out);
            assert_eq!(out, expected.as_bytes(), "{data}");
        }
    }
}
