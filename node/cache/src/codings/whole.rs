//! A variant of a response that is all there.

use bytes::{Bytes, BytesMut};

use super::encoder::Encoder;
use super::parameters::Parameters;
use super::{Coding, CodingError, Level};

/// What is taken between two looks whether it is still wanted.
const PART_BYTES: usize = 64 * 1024;

/// `chunks` as one coded representation, or `None` if that is not smaller.
///
/// It holds the thread until it is through: 10 MB take some 0.2 s at level 6 of brotli and most of a minute at level
/// 11, so this is not for threads that serve. Besides what it makes it takes up to 16 MiB at level 6 and 64 MiB at any.
///
/// # Errors
///
/// [`CodingError`] without memory, or if the library fails.
pub fn compress_whole(
    coding: Coding,
    level: Level,
    chunks: &[Bytes],
) -> Result<Option<Bytes>, CodingError> {
    compress_whole_while(coding, level, chunks, || true)
}

/// The same, given up as `None` once it is not wanted any more; that is looked at every 64 KiB.
///
/// # Errors
///
/// [`CodingError`] without memory, or if the library fails.
pub fn compress_whole_while(
    coding: Coding,
    level: Level,
    chunks: &[Bytes],
    is_wanted: impl Fn() -> bool,
) -> Result<Option<Bytes>, CodingError> {
    let input_bytes = chunks.iter().map(Bytes::len).sum();
    let mut encoder = Encoder::with(coding, Parameters::whole(coding, level, input_bytes))?;
    let mut out = BytesMut::new();
    for part in chunks.iter().flat_map(|chunk| chunk.chunks(PART_BYTES)) {
        if !is_wanted() {
            return Ok(None);
        }
        encoder.push(part, &mut out)?;
        if out.len() >= input_bytes {
            return Ok(None);
        }
    }
    encoder.finish(&mut out)?;
    // Copied, for what is kept must not hold the room that it grew in.
    Ok((out.len() < input_bytes).then(|| Bytes::copy_from_slice(&out)))
}
