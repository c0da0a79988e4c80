//! A variant of a response that is all there.

use bytes::{Bytes, BytesMut};

use super::encoder::Encoder;
use super::parameters::Parameters;
use super::{Coding, CodingError, Level};

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
    let input_bytes = chunks.iter().map(Bytes::len).sum();
    let mut encoder = Encoder::with(coding, Parameters::whole(coding, level, input_bytes))?;
    let mut out = BytesMut::new();
    for chunk in chunks {
        encoder.push(chunk, &mut out)?;
        if out.len() >= input_bytes {
            return Ok(None);
        }
    }
    encoder.finish(&mut out)?;
    // Copied, for what is kept must not hold the room that it grew in.
    Ok((out.len() < input_bytes).then(|| Bytes::copy_from_slice(&out)))
}
