//! Frames of clients: what they mean does not depend on how their bytes come. The cases follow the list of the Autobahn
//! suite for servers (1 to 7, 9, 10), whose numbers the tests name.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use proptest::prelude::*;
use weir_core::websocket::{Close, CloseCode, Decoder, Deflater, Event, Violation};

const MAX: usize = 1 << 20;

/// A masked frame. `first` is its first byte.
fn client_frame(first: u8, payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        short @ 0..=125 => out.push(0x80 | short as u8),
        medium @ 126..=65_535 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&key);
    let masked = payload.iter().zip(key.iter().cycle());
    out.extend(masked.map(|(byte, key)| byte ^ key));
    out
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    client_frame(first, payload, [0x37, 0xfa, 0x21, 0x3d])
}

type Decoded = (Vec<Event>, Option<Violation>);

/// Everything that pieces of bytes hold, up to the first violation.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Decoded {
    decode_by(Decoder::new(MAX), pieces)
}

fn decode_by<'a>(mut decoder: Decoder, pieces: impl IntoIterator<Item = &'a [u8]>) -> Decoded {
    let mut events = Vec::new();
    for mut piece in pieces {
        while !piece.is_empty() {
            match decoder.decode(piece) {
                Ok((used, event)) => {
                    assert!(used > 0, "it goes on");
                    piece = &piece[used..];
                    events.extend(event);
                }
                Err(violation) => return (events, Some(violation)),
            }
        }
    }
    (events, None)
}

fn at_once(bytes: &[u8]) -> Decoded {
    decode([bytes])
}

fn byte_by_byte(bytes: &[u8]) -> Decoded {
    decode(bytes.chunks(1))
}

/// The same, however it comes.
fn both(bytes: &[u8]) -> Decoded {
    let whole = at_once(bytes);
    assert_eq!(byte_by_byte(bytes), whole);
    whole
}

fn violation(bytes: &[u8]) -> Violation {
    both(bytes).1.expect("a violation")
}

fn joined(frames: &[Vec<u8>]) -> Vec<u8> {
    frames.concat()
}

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
const TEXT_BEGINS: u8 = 0x01;
const MORE: u8 = 0x00;
const LAST: u8 = 0x80;

#[test]
fn messages_of_every_length_arrive_1_and_9() {
    for bytes in [
        0, 1, 125, 126, 127, 128, 65_535, 65_536, 65_537, 300_000, MAX,
    ] {
        let text = "*".repeat(bytes);
        let got = at_once(&frame(TEXT, text.as_bytes()));
        assert_eq!(got, (vec![Event::Text(text.clone())], None), "{bytes}");
        let got = at_once(&frame(BINARY, text.as_bytes()));
        assert_eq!(got, (vec![Event::Binary(text.into_bytes())], None));
    }
}

#[test]
fn a_message_that_is_too_long_is_refused_by_its_head() {
    let head = &frame(BINARY, &vec![0; MAX + 1])[..10];
    let bytes = MAX as u64 + 1;
    assert_eq!(violation(head), Violation::TooBig { bytes, max: MAX });
    assert_eq!(violation(head).code(), CloseCode::TOO_BIG);
    let huge = [0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    assert_eq!(violation(&huge).code(), CloseCode::TOO_BIG);
    let parts = joined(&[
        frame(0x02, &vec![0; MAX]),
        frame(MORE, b""),
        frame(LAST, b"1"),
    ]);
    assert_eq!(
        at_once(&parts).1.map(Violation::code),
        Some(CloseCode::TOO_BIG)
    );
}

#[test]
fn pings_are_told_with_their_payload_and_pongs_are_not_2() {
    let whole = vec![0xfe; 125];
    for payload in [&b""[..], b"Hello", &whole] {
        let got = both(&frame(PING, payload));
        assert_eq!(got, (vec![Event::Ping(payload.to_vec())], None));
    }
    assert_eq!(both(&frame(PONG, b"never asked")).0, [Event::Pong]);
    assert_eq!(violation(&frame(PING, &[0; 126])), Violation::LongControl);
}

proptest! {
    #[test]
    fn a_compressed_message_arrives_in_whatever_parts_and_bytes_it_comes_12(
        text in "[a-c]{100,3000}",
        parts in 1_usize..6,
        piece in 1_usize..200,
    ) {
        let payload = Deflater::default().deflate(text.as_bytes()).unwrap();
        let chunks: Vec<_> = payload.chunks(payload.len().div_ceil(parts)).collect();
        let frames: Vec<_> = chunks.iter().enumerate().map(|(at, chunk)| {
            let begins = if at == 0 { 0x40 | TEXT_BEGINS } else { MORE };
            let ends = if at + 1 == chunks.len() { LAST } else { 0 };
            [frame(begins | ends, chunk), frame(PONG, b"")].concat()
        }).collect();
        let bytes = [joined(&frames), frame(TEXT, b"plain")].concat();
        let (mut events, violation) = decode_by(Decoder::new(MAX).deflated(true), bytes.chunks(piece));
        events.retain(|event| *event != Event::Pong);
        prop_assert_eq!(violation, None);
        prop_assert_eq!(events, vec![Event::Text(text), Event::Text("plain".to_owned())]);
    }
}

#[test]
fn reserved_bits_are_refused_with_the_first_byte_3() {
    for bits in 1..8_u8 {
        for kind in [TEXT, BINARY, CLOSE, PING, PONG] {
            let first = kind | (bits << 4);
            assert_eq!(violation(&[first]), Violation::ReservedBits, "{first:x}");
        }
    }
}

#[test]
fn reserved_opcodes_are_refused_with_the_first_byte_4() {
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        assert_eq!(violation(&[0x80 | opcode]), Violation::Opcode(opcode));
    }
}

#[test]
fn fragments_make_messages_and_control_frames_may_come_between_5() {
    let bytes = joined(&[
        frame(TEXT_BEGINS, b"one "),
        frame(PING, b"?"),
        frame(MORE, b""),
        frame(MORE, b"two "),
        frame(PONG, b""),
        frame(LAST, b"three"),
        frame(TEXT, b"next"),
    ]);
    let expected = vec![
        Event::Ping(b"?".to_vec()),
        Event::Pong,
        Event::Text("one two three".to_owned()),
        Event::Text("next".to_owned()),
    ];
    assert_eq!(both(&bytes), (expected, None));
}

#[test]
fn fragments_out_of_order_are_refused_5() {
    for control in [0x08, 0x09, 0x0a] {
        assert_eq!(violation(&[control]), Violation::FragmentedControl);
    }
    for first in [MORE, LAST] {
        assert_eq!(violation(&[first]), Violation::NothingToContinue);
    }
    for second in [TEXT, BINARY, TEXT_BEGINS] {
        let mut bytes = frame(TEXT_BEGINS, b"a");
        bytes.push(second);
        assert_eq!(violation(&bytes), Violation::NotContinued);
    }
    let after = joined(&[frame(TEXT_BEGINS, b"a"), frame(LAST, b"b"), vec![LAST]]);
    assert_eq!(violation(&after), Violation::NothingToContinue);
}

#[test]
fn text_is_utf8_wherever_it_is_cut_6() {
    for text in [
        "κόσμε",
        "\u{10000}",
        "\u{10ffff}",
        "\u{d7ff}\u{e000}\u{fffd}",
        "\u{fffe}\u{ffff}\u{1fffe}",
        "\u{0}\u{7f}\u{80}\u{7ff}\u{800}",
    ] {
        let bytes = text.as_bytes();
        for cut in 0..=bytes.len() {
            let parts = joined(&[
                frame(TEXT_BEGINS, &bytes[..cut]),
                frame(LAST, &bytes[cut..]),
            ]);
            assert_eq!(both(&parts), (vec![Event::Text(text.to_owned())], None));
        }
    }
}

#[test]
fn what_is_not_utf8_is_refused_6() {
    for bad in [
        &b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80\x65"[..],
        b"\xf4\x90\x80\x80",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xc0\x80",
        b"\xe0\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xfc\x84\x80\x80\x80\x80",
        b"\xff",
        b"\x80",
        b"\xce",
        b"ab\xf0\x9f\x98",
    ] {
        assert_eq!(violation(&frame(TEXT, bad)), Violation::Utf8, "{bad:x?}");
        assert_eq!(Violation::Utf8.code(), CloseCode::INVALID_DATA);
        // As bytes it is nobody's business.
        assert_eq!(both(&frame(BINARY, bad)).1, None);
    }
}

#[test]
fn what_cannot_become_utf8_any_more_is_refused_at_once_6_4() {
    let begun = frame(TEXT_BEGINS, "κόσμε".as_bytes());
    // The second byte shows that this is beyond the last character; the third never comes.
    let half = &frame(LAST, b"\xf4\x90\x80\x80")[..8];
    let (events, found) = byte_by_byte(&joined(&[begun, half.to_vec()]));
    assert_eq!((events, found), (vec![], Some(Violation::Utf8)));
}

#[test]
fn a_close_frame_is_the_last_7() {
    let said = |code: u16, reason: &str| {
        let mut payload = code.to_be_bytes().to_vec();
        payload.extend_from_slice(reason.as_bytes());
        both(&joined(&[frame(CLOSE, &payload), frame(PING, b"late")]))
    };
    let close = |code, reason: &str| {
        let reason = reason.to_owned();
        (vec![Event::Close(Some(Close { code, reason }))], None)
    };
    assert_eq!(said(1000, "bye"), close(CloseCode(1000), "bye"));
    let longest = "*".repeat(123);
    assert_eq!(said(4999, &longest), close(CloseCode(4999), &longest));
    assert_eq!(both(&frame(CLOSE, b"")), (vec![Event::Close(None)], None));
    for (payload, why) in [
        (&b"\x03"[..], Violation::HalfCloseCode),
        (b"\x00\x00", Violation::CloseCode(0)),
        (b"\x03\xed", Violation::CloseCode(1005)),
        (b"\x03\xe8\xce", Violation::CloseReason),
    ] {
        assert_eq!(violation(&frame(CLOSE, payload)), why);
    }
    assert_eq!(violation(&frame(CLOSE, &[0; 126])), Violation::LongControl);
}

#[test]
fn bytes_without_a_mask_and_lengths_that_are_too_wide_are_refused() {
    assert_eq!(violation(b"\x81\x01"), Violation::NotMasked);
    assert_eq!(violation(b"\x82\xfe\x00\x7d"), Violation::Length);
    let wide = b"\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff";
    assert_eq!(violation(wide), Violation::Length);
    let negative = b"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00";
    assert_eq!(violation(negative), Violation::Length);
}

#[test]
fn a_message_in_many_fragments_is_one_10_and_9_3() {
    for size in [1, 64, 1_300, 65_536] {
        let text = "0123456789abcdef".repeat(8_192);
        let mut pieces: Vec<_> = text.as_bytes().chunks(size).peekable().collect();
        let last = pieces.pop().unwrap();
        let mut bytes = frame(TEXT_BEGINS, b"");
        for piece in pieces {
            bytes.extend(frame(MORE, piece));
        }
        bytes.extend(frame(LAST, last));
        assert_eq!(at_once(&bytes), (vec![Event::Text(text)], None), "{size}");
    }
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        Just(TEXT),
        Just(BINARY),
        Just(PING),
        Just(PONG),
        Just(TEXT_BEGINS),
        Just(0x02),
        Just(MORE),
        Just(LAST),
        any::<u8>(),
    ];
    let payload = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..140),
        "\\PC{0,40}".prop_map(String::into_bytes),
    ];
    (first, payload, any::<[u8; 4]>())
        .prop_map(|(first, payload, key)| client_frame(first, &payload, key))
}

proptest! {
    #[test]
    fn any_split_of_the_bytes_means_the_same(
        frames in proptest::collection::vec(any_frame(), 0..12),
        tail in proptest::collection::vec(any::<u8>(), 0..20),
        cuts in proptest::collection::vec(1_usize..300, 1..20),
    ) {
        let mut bytes = frames.concat();
        bytes.extend(tail);
        let whole = at_once(&bytes);
        let mut pieces = Vec::new();
        let (mut rest, mut cuts) = (&bytes[..], cuts.iter().cycle());
        while !rest.is_empty() {
            let cut = (*cuts.next().unwrap()).min(rest.len());
            pieces.push(&rest[..cut]);
            rest = &rest[cut..];
        }
        prop_assert_eq!(decode(pieces), whole.clone());
        prop_assert_eq!(byte_by_byte(&bytes), whole);
    }

    #[test]
    fn whatever_comes_is_within_bounds(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        let mut decoder = Decoder::new(64);
        let mut rest = &bytes[..];
        while let Ok((used, event)) = decoder.decode(rest) {
            let held = match event {
                Some(Event::Text(text)) => text.len(),
                Some(Event::Binary(bytes)) => bytes.len(),
                Some(Event::Ping(payload)) => { prop_assert!(payload.len() <= 125); 0 }
                _ => 0,
            };
            prop_assert!(held <= 64);
            rest = &rest[used..];
            if rest.is_empty() {
                break;
            }
        }
    }
}
