//! The request guard under every split and against hostile bytes.

use proptest::prelude::*;
use weir_core::http1::{Limits, Refusal, RequestGuard};

const LIMITS: Limits = Limits {
    head_bytes_max: 200,
    headers_max: 6,
    request_line_bytes_max: 60,
    chunk_line_bytes_max: 20,
};

/// What passed of a stream, and how it ended.
#[derive(Debug, PartialEq)]
struct Outcome {
    passed: Vec<u8>,
    refusal: Option<Refusal>,
    heads: u64,
    is_tunnel: bool,
}

/// Feeds the stream in pieces, as a caller does that keeps what did not pass.
fn run(stream: &[u8], pieces: &[usize]) -> Outcome {
    let mut guard = RequestGuard::new(LIMITS);
    let (mut passed, mut unread) = (Vec::new(), Vec::new());
    let mut refusal = None;
    let mut rest = stream;
    let mut sizes = pieces.iter().chain(std::iter::repeat(&usize::MAX));
    while !rest.is_empty() && refusal.is_none() {
        let size = *sizes.next().expect("endless");
        let (piece, after) = rest.split_at(size.min(rest.len()));
        rest = after;
        unread.extend_from_slice(piece);
        let pass = match guard.feed(&unread) {
            Ok(pass) => pass,
            Err(refused) => {
                refusal = Some(refused.refusal);
                refused.pass
            }
        };
        passed.extend(unread.drain(..pass));
    }
    Outcome {
        passed,
        refusal,
        heads: guard.heads(),
        is_tunnel: guard.is_tunnel(),
    }
}

fn body() -> impl Strategy<Value = (&'static str, String)> {
    let data = "[a-z\r\n\0]{0,12}";
    prop_oneof![
        Just(("", String::new())),
        data.prop_map(|data| ("length", data)),
        (
            prop::collection::vec("[a-z\r\n\0]{1,12}", 0..4),
            prop_oneof![Just(""), Just(";e=1"), Just(" ;\te")],
            prop_oneof![Just(""), Just("T: 1\r\n"), Just("T: 1\r\nU:\r\n")],
        )
            .prop_map(|(chunks, extension, trailers)| {
                let mut body: String = chunks
                    .iter()
                    .map(|chunk| format!("{:X}{extension}\r\n{chunk}\r\n", chunk.len()))
                    .collect();
                body.push_str(&format!("00{extension}\r\n{trailers}\r\n"));
                ("chunked", body)
            }),
    ]
}

fn request() -> impl Strategy<Value = String> {
    (
        prop_oneof![Just(""), Just("\r\n")],
        prop_oneof![Just("GET /"), Just("POST /a?b"), Just("PUT http://h/")],
        prop_oneof![
            Just(""),
            Just("X: y\r\n"),
            Just("Connection: close\r\nZ:\r\n")
        ],
        body(),
    )
        .prop_map(|(empty, start, extra, (kind, body))| {
            let framing = match kind {
                "length" => format!("Content-Length: {}\r\n", body.len()),
                "chunked" => "Transfer-Encoding: chunked\r\n".to_owned(),
                _ => String::new(),
            };
            format!("{empty}{start} HTTP/1.1\r\nHost: h\r\n{extra}{framing}\r\n{body}")
        })
}

fn pipeline() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(request(), 1..6)
}

/// A sound pipeline with a few bytes replaced, inserted or dropped: nearly sound.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop::sample::select(b"\r\n\t\0 :;,0aA\x7f\xff".to_vec());
    let damage = (any::<prop::sample::Index>(), byte, 0..3u8);
    (pipeline(), prop::collection::vec(damage, 0..4)).prop_map(|(requests, damages)| {
        let mut stream = requests.concat().into_bytes();
        for (at, byte, kind) in damages {
            let at = at.index(stream.len());
            match kind {
                0 => stream[at] = byte,
                1 => stream.insert(at, byte),
                _ => drop(stream.remove(at)),
            }
        }
        stream
    })
}

/// Reads what passed the plain way and panics where it breaks a rule. Returns the heads seen.
fn reread(passed: &[u8]) -> u64 {
    let mut rest = passed;
    let mut heads = 0;
    while !rest.is_empty() {
        while let Some(after) = rest.strip_prefix(b"\r\n") {
            rest = after;
        }
        let end = find(rest, b"\r\n\r\n").expect("heads pass whole") + 4;
        let head = String::from_utf8_lossy(&rest[..end]).to_ascii_lowercase();
        heads += 1;
        rest = &rest[end..];
        let plain = head.replace("\r\n", "");
        assert!(!plain.contains(['\r', '\n', '\0', '\x7f']), "{head:?}");
        let values = |name: &str| -> Vec<&str> {
            head.split("\r\n")
                .filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(|value| value.trim_matches([' ', '\t']))
                .collect()
        };
        let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
        assert!(lengths.len() + codings.len() <= 1, "{head:?}");
        assert!(
            values("host").len() == 1 || head.contains("http/1.0"),
            "{head:?}"
        );
        rest = match (lengths.first(), codings.first()) {
            (Some(length), _) => {
                let length: usize = length.parse().expect("digits");
                &rest[length.min(rest.len())..]
            }
            (_, Some(coding)) => {
                assert_eq!(*coding, "chunked");
                after_chunks(rest)
            }
            _ => rest,
        };
    }
    heads
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

fn after_chunks(mut rest: &[u8]) -> &[u8] {
    loop {
        let Some(end) = find(rest, b"\r\n") else {
            return &[];
        };
        let digits = rest.iter().take_while(|byte| byte.is_ascii_hexdigit());
        let digits = String::from_utf8(digits.copied().collect()).expect("ASCII");
        let size = usize::from_str_radix(&digits, 16).expect("sizes pass sound");
        rest = &rest[end + 2..];
        if size == 0 {
            break;
        }
        match rest.get(size..).and_then(|rest| rest.strip_prefix(b"\r\n")) {
            Some(after) => rest = after,
            None => return &[],
        }
    }
    while let Some(end) = find(rest, b"\r\n") {
        rest = &rest[end + 2..];
        if end == 0 {
            return rest;
        }
    }
    rest
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn how_a_stream_is_split_does_not_matter(
        stream in damaged(),
        pieces in prop::collection::vec(1..40usize, 0..80),
    ) {
        let whole = run(&stream, &[]);
        prop_assert_eq!(&run(&stream, &pieces), &whole);
        prop_assert_eq!(&run(&stream, &vec![1; stream.len()]), &whole);
        prop_assert!(stream.starts_with(&whole.passed));
    }

    #[test]
    fn sound_pipelines_pass_whole_and_are_counted(requests in pipeline()) {
        let stream = requests.concat();
        let outcome = run(stream.as_bytes(), &[]);
        prop_assert_eq!(outcome.refusal, None, "{:?}", stream);
        prop_assert_eq!(outcome.passed.len(), stream.len());
        prop_assert_eq!(outcome.heads, requests.len() as u64);
    }

    #[test]
    fn what_passes_has_one_reading(stream in damaged()) {
        let outcome = run(&stream, &[]);
        prop_assert_eq!(reread(&outcome.passed), outcome.heads);
    }

    #[test]
    fn arbitrary_bytes_do_not_panic_and_never_pass(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let outcome = run(&bytes, &[7, 1, 64]);
        prop_assert!(outcome.passed.is_empty());
    }

    #[test]
    fn an_unfinished_head_is_never_held_beyond_its_limit(byte in b' '..=b'~') {
        let stream = vec![byte; LIMITS.request_line_bytes_max];
        prop_assert!(run(&stream, &[1; 300]).refusal.is_some());
    }
}
