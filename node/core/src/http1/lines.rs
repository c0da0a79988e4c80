//! Finds line ends in a section that arrives in pieces.

use super::refusal::Refusal;

/// How far the section at the start of the offered bytes has been read.
///
/// The bytes themselves stay with the caller, who offers them again from the section's start; the
/// positions kept here make that linear instead of quadratic.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lines {
    line_start: usize,
    searched: usize,
}

impl Lines {
    /// Where the line that is being read starts, counted from the start of the section.
    pub(super) fn line_start(&self) -> usize {
        self.line_start
    }

    /// The next whole line, without its CRLF; `None` if it has not all arrived.
    ///
    /// `too_long` is returned once the line ends, or must end, beyond `end_max` bytes. The length
    /// is judged before the content, so that a line seen whole and one seen in pieces are refused
    /// for the same reason.
    pub(super) fn next<'a>(
        &mut self,
        section: &'a [u8],
        end_max: usize,
        too_long: Refusal,
    ) -> Result<Option<&'a [u8]>, Refusal> {
        let Some(distance) = memchr::memchr(b'\n', &section[self.searched..]) else {
            self.searched = section.len();
            return if section.len() >= end_max {
                Err(too_long)
            } else {
                Ok(None)
            };
        };
        let newline = self.searched + distance;
        if newline >= end_max {
            return Err(too_long);
        }
        let line = &section[self.line_start..newline];
        self.searched = newline + 1;
        self.line_start = self.searched;
        match line {
            [content @ .., b'\r'] => Ok(Some(content)),
            _ => Err(Refusal::BareLf),
        }
    }
}
