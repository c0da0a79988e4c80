use std::io::Read;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::parameters::Parameters;
use super::steps::{Compressor, OUTPUT_BYTES, Operation};
use super::{
    Coding, Encoder, Level, compress_whole, compress_whole_while, streamed_memory_bytes_max,
};

/// A decoder that shares no code with the encoder, where there is one.
pub(super) fn decoded(coding: Coding, bytes: &[u8]) -> Vec<u8> {
    match coding {
        Coding::Identity => bytes.to_vec(),
        Coding::Brotli => {
            let mut out = Vec::new();
            brotli::Decompressor::new(bytes, 4096)
                .read_to_end(&mut out)
                .unwrap();
            out
        }
        Coding::Gzip => zune_inflate::DeflateDecoder::new(bytes)
            .decode_gzip()
            .unwrap(),
        Coding::Zstd => {
            let mut out = Vec::new();
            ruzstd::decoding::StreamingDecoder::new(bytes)
                .unwrap()
                .read_to_end(&mut out)
                .unwrap();
            out
        }
    }
}

/// What a client can see of a stream that goes on.
pub(super) fn decoded_so_far(coding: Coding, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match coding {
        Coding::Identity => out.extend_from_slice(bytes),
        Coding::Brotli => read_what_is_there(brotli::Decompressor::new(bytes, 4096), &mut out),
        Coding::Gzip => read_what_is_there(flate2::read::GzDecoder::new(bytes), &mut out),
        Coding::Zstd => {
            let mut context = zstd_safe::DCtx::create();
            let mut input = zstd_safe::InBuffer::around(bytes);
            loop {
                let mut room = [0_u8; 4096];
                let mut output = zstd_safe::OutBuffer::around(&mut room[..]);
                context.decompress_stream(&mut output, &mut input).unwrap();
                out.extend_from_slice(output.as_slice());
                if output.pos() < output.capacity() {
                    break;
                }
            }
        }
    }
    out
}

fn read_what_is_there(mut decoder: impl Read, out: &mut Vec<u8>) {
    let mut room = [0_u8; 4096];
    while let Ok(bytes @ 1..) = decoder.read(&mut room) {
        out.extend_from_slice(&room[..bytes]);
    }
}

/// Some hundred kilobytes in which matches are near and far, as in markup.
pub(super) fn text(bytes: usize) -> Vec<u8> {
    let mut text = Vec::new();
    let mut state = 7_u32;
    while text.len() < bytes {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let line = format!("<li class=\"item-{}\">{}</li>\n", state >> 26, state >> 20);
        text.extend_from_slice(line.as_bytes());
    }
    text.truncate(bytes);
    text
}

pub(super) fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    })
    .take(bytes)
    .collect()
}

fn codings() -> impl Strategy<Value = Coding> {
    prop::sample::select(Coding::MADE.to_vec())
}

fn chunks() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let any_bytes = prop::collection::vec(any::<u8>(), 0..3000);
    let few_bytes = prop::collection::vec(prop::sample::select(b"ab<>\n".to_vec()), 0..3000);
    let words = (0_usize..20_000, 0_usize..20_000)
        .prop_map(|(from, bytes)| text(from + bytes)[from..].to_vec());
    prop::collection::vec(prop_oneof![any_bytes, few_bytes, words], 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_stream_decodes_to_what_was_pushed_wherever_it_was_flushed(
        coding in codings(), effort in 0_u8..=11, parts in prop::collection::vec((chunks(), any::<bool>()), 0..4),
    ) {
        let mut encoder = Encoder::new(coding, Level::new(effort)).unwrap();
        let (mut pushed, mut out) = (Vec::new(), BytesMut::new());
        for (chunks, flushed) in parts {
            for chunk in chunks {
                encoder.push(&chunk, &mut out).unwrap();
                pushed.extend(chunk);
            }
            if flushed {
                encoder.flush(&mut out).unwrap();
                prop_assert_eq!(&decoded_so_far(coding, &out), &pushed, "not all was given out");
            }
        }
        encoder.finish(&mut out).unwrap();
        prop_assert_eq!(decoded(coding, &out), pushed);
    }

    #[test]
    fn a_variant_is_smaller_and_decodes_to_the_whole(coding in codings(), effort in 0_u8..=11, chunks in chunks()) {
        let chunks: Vec<Bytes> = chunks.into_iter().map(Bytes::from).collect();
        let whole = chunks.concat();
        if let Some(variant) = compress_whole(coding, Level::new(effort), &chunks).unwrap() {
            prop_assert!(variant.len() < whole.len());
            prop_assert_eq!(decoded(coding, &variant), whole);
        }
    }
}

#[test]
fn nothing_becomes_an_empty_stream() {
    for coding in Coding::MADE {
        let mut out = BytesMut::new();
        let encoder = Encoder::new(coding, Level::new(6)).unwrap();
        encoder.finish(&mut out).unwrap();
        assert!(!out.is_empty(), "{coding:?} has an end");
        assert_eq!(decoded(coding, &out), b"");
    }
}

#[test]
fn a_flush_gives_out_all_of_it_however_many_steps_that_takes() {
    for coding in Coding::MADE {
        for bytes in [20_000, 50_000, 100_000] {
            let (noise, mut out) = (noise(bytes), BytesMut::new());
            let mut encoder = Encoder::new(coding, Level::new(6)).unwrap();
            encoder.push(&noise, &mut out).unwrap();
            encoder.flush(&mut out).unwrap();
            let seen = decoded_so_far(coding, &out);
            assert!(seen == noise, "{coding:?}: {} of {bytes}", seen.len());
        }
    }
}

#[test]
fn a_flush_without_news_costs_nothing() {
    for coding in Coding::MADE {
        let mut out = BytesMut::new();
        let mut encoder = Encoder::new(coding, Level::new(6)).unwrap();
        encoder.flush(&mut out).unwrap();
        assert!(out.is_empty(), "{coding:?} gave out what nobody put in");
        encoder.push(b"tick", &mut out).unwrap();
        encoder.flush(&mut out).unwrap();
        let bytes = out.len();
        encoder.flush(&mut out).unwrap();
        assert_eq!(out.len(), bytes, "{coding:?}");
    }
}

#[test]
fn what_does_not_get_smaller_is_not_kept() {
    for coding in Coding::MADE {
        for bytes in [0, 1, 100, 200_000] {
            let noise = [Bytes::from(noise(bytes))];
            assert_eq!(
                compress_whole(coding, Level::new(6), &noise),
                Ok(None),
                "{coding:?} {bytes}"
            );
        }
    }
}

#[test]
fn what_nobody_wants_any_more_is_given_up() {
    let looks = std::cell::Cell::new(0);
    let is_wanted = || looks.replace(looks.get() + 1) < 2;
    let text = [Bytes::from(text(1_000_000))];
    let given_up = compress_whole_while(Coding::Gzip, Level::new(6), &text, is_wanted);
    assert_eq!((given_up, looks.get()), (Ok(None), 3));
}

#[test]
fn identity_is_the_bytes_as_they_are() {
    let (text, mut out) = (text(100_000), BytesMut::new());
    let mut encoder = Encoder::new(Coding::Identity, Level::new(6)).unwrap();
    encoder.push(&text, &mut out).unwrap();
    encoder.finish(&mut out).unwrap();
    assert_eq!(out, text);
}

#[test]
fn more_effort_makes_texts_smaller_not_larger() {
    let text = [Bytes::from(text(200_000))];
    for coding in Coding::MADE {
        let sizes: Vec<usize> = [0, 6, 11]
            .map(|effort| compress_whole(coding, Level::new(effort), &text))
            .map(|variant| variant.unwrap().unwrap().len())
            .to_vec();
        assert!(
            sizes.is_sorted_by(|less, more| less > more),
            "{coding:?} {sizes:?}"
        );
        assert!(sizes[0] < 200_000 / 2, "{coding:?} {sizes:?}");
    }
}

#[test]
fn small_pushes_cost_little_even_at_the_least_effort() {
    for coding in Coding::MADE {
        let text = text(100_000);
        let [at_once, in_parts] = [text.len(), 500].map(|bytes| {
            let mut encoder = Encoder::new(coding, Level::new(0)).unwrap();
            let mut out = BytesMut::new();
            for chunk in text.chunks(bytes) {
                encoder.push(chunk, &mut out).unwrap();
            }
            encoder.finish(&mut out).unwrap();
            out.len()
        });
        assert!(
            in_parts < at_once * 5 / 4,
            "{coding:?}: {in_parts}, {at_once}"
        );
    }
}

#[test]
fn what_is_above_the_range_of_levels_is_the_greatest() {
    assert_eq!(Level::new(200), Level::MAX);
    assert_eq!(Level::new(11), Level::MAX);
    assert!(Level::new(10) < Level::MAX);
}

#[test]
fn a_stream_takes_no_more_than_8_mib_at_any_level() {
    for coding in Coding::MADE {
        for effort in 0..=11 {
            let bytes = streamed_memory_bytes_max(coding, Level::new(effort));
            assert!(bytes <= 8 << 20, "{coding:?} {effort}: {bytes}");
        }
    }
}

/// The one library that tells.
#[test]
fn zstd_takes_no_more_than_is_said_of_it() {
    let text = text(600_000);
    for effort in 0..=11 {
        let level = Level::new(effort);
        let parameters = Parameters::streamed(Coding::Zstd, level);
        let Ok(Compressor::Zstd(mut context)) = Compressor::new(parameters) else {
            panic!("not zstd");
        };
        let mut out = vec![0_u8; OUTPUT_BYTES];
        for chunk in text.chunks(OUTPUT_BYTES) {
            let mut input = zstd_safe::InBuffer::around(chunk);
            let mut output = zstd_safe::OutBuffer::around(&mut out[..]);
            let go_on = zstd_safe::zstd_sys::ZSTD_EndDirective::ZSTD_e_continue;
            context
                .compress_stream2(&mut output, &mut input, go_on)
                .unwrap();
        }
        let (taken, said) = (
            context.sizeof(),
            streamed_memory_bytes_max(Coding::Zstd, level),
        );
        assert!(taken <= said, "level {effort}: {taken} of {said}");
        assert!(
            taken > said / 2,
            "level {effort}: {said} is far from {taken}"
        );
    }
}

#[test]
fn a_step_stays_within_its_room() {
    for coding in Coding::MADE {
        let mut encoder = Encoder::new(coding, Level::new(6)).unwrap();
        let (noise, mut out) = (noise(300_000), BytesMut::new());
        let mut operations = [Operation::Process, Operation::Flush, Operation::Finish].into_iter();
        let mut input = &noise[..];
        let mut operation = operations.next();
        while let Some(now) = operation {
            let before = out.len();
            let step = encoder.step(now, input, &mut out).unwrap();
            assert!(out.len() - before <= OUTPUT_BYTES, "{coding:?}");
            input = &input[step.read..];
            if step.done && input.is_empty() {
                operation = operations.next();
            }
        }
        assert_eq!(decoded(coding, &out), noise);
    }
}
