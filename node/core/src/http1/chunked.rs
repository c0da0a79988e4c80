//! Chunked bodies (RFC 9112 section 7.1).

use super::chars::{is_control, is_space};
use super::fields::{check_trailer, split_field};
use super::limits::Limits;
use super::lines::Lines;
use super::refusal::Refusal;

/// What became of the bytes offered to a body.
pub(super) enum Progress {
    /// All bytes belong to the body and it goes on.
    More,
    /// The last chunk's line ends after this many bytes; the trailer section follows.
    LastChunk(usize),
    /// The byte at this position breaks a rule.
    Refused(usize, Refusal),
}

/// Where in a chunked body the next byte falls.
#[derive(Clone, Copy, Debug)]
enum Place {
    SizeStart,
    Size,
    SpaceAfterSize,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
}

/// A chunked body that is being read, byte by byte except for its data.
///
/// Every byte is passed as soon as it is judged, so nothing is retained and how the bytes were
/// split cannot matter.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChunkReader {
    place: Place,
    line_bytes: usize,
    /// The size as read so far, then the data bytes still to come.
    left: u64,
}

impl ChunkReader {
    pub(super) fn new() -> Self {
        Self {
            place: Place::SizeStart,
            line_bytes: 0,
            left: 0,
        }
    }

    pub(super) fn read(&mut self, bytes: &[u8], limits: &Limits) -> Progress {
        let mut at = 0;
        while at < bytes.len() {
            if matches!(self.place, Place::Data) {
                at += self.data((bytes.len() - at) as u64);
                continue;
            }
            match self.step(bytes[at], limits) {
                Ok(false) => at += 1,
                Ok(true) => return Progress::LastChunk(at + 1),
                Err(refusal) => return Progress::Refused(at, refusal),
            }
        }
        Progress::More
    }

    fn data(&mut self, offered: u64) -> usize {
        let taken = self.left.min(offered);
        self.left -= taken;
        if self.left == 0 {
            self.place = Place::DataCr;
        }
        usize::try_from(taken).expect("no more than was offered, which is in memory")
    }

    /// Takes one byte outside of chunk data; true when it ends the last chunk's line.
    fn step(&mut self, byte: u8, limits: &Limits) -> Result<bool, Refusal> {
        match (self.place, byte) {
            (Place::DataCr, b'\r') => self.place = Place::DataLf,
            (Place::DataLf, b'\n') => *self = Self::new(),
            (Place::DataCr | Place::DataLf, _) => return Err(Refusal::BadChunkEnd),
            _ => return self.size_line(byte, limits),
        }
        Ok(false)
    }

    fn size_line(&mut self, byte: u8, limits: &Limits) -> Result<bool, Refusal> {
        self.line_bytes += 1;
        if self.line_bytes > limits.chunk_line_bytes_max {
            return Err(Refusal::ChunkLineTooLong);
        }
        self.place = match (self.place, byte) {
            (Place::SizeLf, b'\n') if self.left == 0 => return Ok(true),
            (Place::SizeLf, b'\n') => Place::Data,
            (Place::SizeLf, _) => return Err(Refusal::BareCr),
            (_, b'\n') => return Err(Refusal::BareLf),
            (Place::SizeStart | Place::Size, digit) if digit.is_ascii_hexdigit() => {
                self.digit(digit)?;
                Place::Size
            }
            (Place::Size | Place::Extension, b'\r') => Place::SizeLf,
            (Place::Size | Place::SpaceAfterSize, b';') => Place::Extension,
            (Place::Size | Place::SpaceAfterSize, space) if is_space(space) => {
                Place::SpaceAfterSize
            }
            (Place::Extension, other) if is_control(other) => {
                return Err(Refusal::ControlCharacter);
            }
            (Place::Extension, _) => Place::Extension,
            _ => return Err(Refusal::BadChunkSize),
        };
        Ok(false)
    }

    fn digit(&mut self, digit: u8) -> Result<(), Refusal> {
        let value = char::from(digit)
            .to_digit(16)
            .expect("the caller has checked that it is a hexadecimal digit");
        // Bits 59 and up would be shifted to 2^63 or beyond.
        if self.left >> 59 != 0 {
            return Err(Refusal::ChunkSizeOverflow);
        }
        self.left = self.left << 4 | u64::from(value);
        Ok(())
    }
}

/// The trailer section after the last chunk (RFC 9112 section 7.1.2), retained like a head.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TrailerReader {
    lines: Lines,
    fields: usize,
}

impl TrailerReader {
    /// Reads on. `bytes` starts where the section starts. Its length once it is complete, the
    /// empty line included.
    pub(super) fn read(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<usize>, Refusal> {
        while let Some(line) =
            self.lines
                .next(bytes, limits.head_bytes_max, Refusal::HeadTooLarge)?
        {
            if line.is_empty() {
                return Ok(Some(self.lines.line_start()));
            }
            self.fields += 1;
            if self.fields > limits.headers_max {
                return Err(Refusal::TooManyHeaders);
            }
            let (name, _) = split_field(line)?;
            check_trailer(name)?;
        }
        Ok(None)
    }
}
