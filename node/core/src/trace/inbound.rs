//! What a request's headers say of the trace that it belongs to (W3C Trace Context sections 3 and 4).

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::context::TraceContext;

/// Where a request stands in a trace.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// What vendors add to that.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Members of a `tracestate`, and characters of a key or a value.
const MEMBERS_MAX: usize = 32;
const TEXT_MAX: usize = 256;

/// The span that a caller says a request belongs to. `None` without a sound `traceparent`, or with several: then a
/// trace begins here.
pub fn parent_of(headers: &HeaderMap) -> Option<TraceContext> {
    let mut said = headers.get_all(TRACEPARENT).iter();
    match (said.next(), said.next()) {
        (Some(only), None) => TraceContext::parse(only),
        _ => None,
    }
}

/// Removes what must not be passed on: a `traceparent` that is none, the `tracestate` that came with it or without any,
/// and a `tracestate` that breaks its form. `baggage` is no business of whoever passes it on.
pub fn sanitise(headers: &mut HeaderMap, parent: Option<&TraceContext>) {
    if parent.is_none() {
        headers.remove(TRACEPARENT);
    }
    if headers.contains_key(TRACESTATE)
        && (parent.is_none() || !is_sound_state(headers.get_all(TRACESTATE).iter()))
    {
        headers.remove(TRACESTATE);
    }
}

/// Whether this is a `tracestate` (section 3.3.1): members with a key of their own each, at most 32.
fn is_sound_state<'a>(values: impl Iterator<Item = &'a HeaderValue>) -> bool {
    let mut keys: Vec<&[u8]> = Vec::new();
    for member in values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')) {
        let member = member.trim_ascii();
        if member.is_empty() {
            continue;
        }
        let Some(at) = member.iter().position(|byte| *byte == b'=') else {
            return false;
        };
        let (key, value) = (&member[..at], &member[at + 1..]);
        if !is_key(key) || !is_value(value) || keys.contains(&key) || keys.len() == MEMBERS_MAX {
            return false;
        }
        keys.push(key);
    }
    true
}

fn is_key(key: &[u8]) -> bool {
    let first = key.first().copied().unwrap_or(0);
    key.len() <= TEXT_MAX
        && (first.is_ascii_lowercase() || first.is_ascii_digit())
        && key.iter().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/@".contains(byte)
        })
}

fn is_value(value: &[u8]) -> bool {
    (1..=TEXT_MAX).contains(&value.len())
        && value
            .iter()
            .all(|byte| (b' '..=b'~').contains(byte) && *byte != b'=')
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    const SOUND: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn passed_on(fields: &[(&'static str, &str)]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let parent = parent_of(&headers);
        sanitise(&mut headers, parent.as_ref());
        headers.keys().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_sound_is_passed_on() {
        let fields = [
            ("traceparent", SOUND),
            ("tracestate", "a@b=1 , , c/d=x y"),
            ("tracestate", "e=~"),
            ("baggage", "k=v"),
        ];
        assert_eq!(passed_on(&fields), ["traceparent", "tracestate", "baggage"]);
    }

    #[test]
    fn a_trace_that_is_none_takes_its_state_with_it_but_no_baggage() {
        let rest = [("tracestate", "a=1"), ("baggage", "k=v")];
        assert_eq!(passed_on(&rest), ["baggage"]);
        let bad = [&[("traceparent", "00-0")][..], &rest].concat();
        assert_eq!(passed_on(&bad), ["baggage"]);
        let two = [&[("traceparent", SOUND), ("traceparent", SOUND)][..], &rest].concat();
        assert_eq!(passed_on(&two), ["baggage"]);
    }

    #[test]
    fn a_state_that_breaks_its_form_goes_and_the_trace_stays() {
        let many: Vec<String> = (0..33).map(|n| format!("k{n}=1")).collect();
        for state in ["a", "A=1", "=1", "a=", "a=1,a=2", "a=b=c", &many.join(",")] {
            let fields = [("traceparent", SOUND), ("tracestate", state)];
            assert_eq!(passed_on(&fields), ["traceparent"], "{state}");
        }
    }
}
