//! A compressor that takes bytes as they come.

use std::fmt;

use bytes::BytesMut;

use super::parameters::Parameters;
use super::steps::{Compressor, OUTPUT_BYTES, Operation, Step};
use super::{Coding, CodingError, Level};

/// One response's compressor. Output is appended, as a whole valid stream once it is finished.
///
/// It takes [`streamed_memory_bytes_max`](super::streamed_memory_bytes_max). After an error it is of no use.
pub struct Encoder {
    coding: Coding,
    compressor: Compressor,
    output: Box<[u8]>,
    /// Something was taken that a decoder may not be able to give on yet.
    unflushed: bool,
}

impl Encoder {
    /// For what comes in parts, its end unknown.
    ///
    /// # Errors
    ///
    /// [`CodingError`] without memory.
    pub fn new(coding: Coding, level: Level) -> Result<Self, CodingError> {
        Self::with(coding, Parameters::streamed(coding, level))
    }

    pub(super) fn with(coding: Coding, parameters: Parameters) -> Result<Self, CodingError> {
        Ok(Self {
            coding,
            compressor: Compressor::new(parameters)
                .map_err(|reason| CodingError { coding, reason })?,
            output: vec![0; OUTPUT_BYTES].into_boxed_slice(),
            unflushed: false,
        })
    }

    /// What it makes.
    pub fn coding(&self) -> Coding {
        self.coding
    }

    /// Takes `input`; what comes out and when is the coding's choice.
    ///
    /// # Errors
    ///
    /// [`CodingError`] if the library fails.
    pub fn push(&mut self, input: &[u8], out: &mut BytesMut) -> Result<(), CodingError> {
        self.run(Operation::Process, input, out)
    }

    /// Gives out all that was taken, so that the other side can decode it. Costs some bytes each time; nothing if
    /// nothing was taken since the last time.
    ///
    /// # Errors
    ///
    /// [`CodingError`] if the library fails.
    pub fn flush(&mut self, out: &mut BytesMut) -> Result<(), CodingError> {
        if self.unflushed {
            self.run(Operation::Flush, &[], out)?;
        }
        Ok(())
    }

    /// Gives out the rest and the end.
    ///
    /// # Errors
    ///
    /// [`CodingError`] if the library fails.
    pub fn finish(mut self, out: &mut BytesMut) -> Result<(), CodingError> {
        self.run(Operation::Finish, &[], out)
    }

    /// Whether [`Encoder::flush`] has something to give.
    pub(super) fn is_unflushed(&self) -> bool {
        self.unflushed
    }

    /// One step, which appends at most [`OUTPUT_BYTES`].
    pub(super) fn step(
        &mut self,
        operation: Operation,
        input: &[u8],
        out: &mut BytesMut,
    ) -> Result<Step, CodingError> {
        let step = self
            .compressor
            .step(operation, input, &mut self.output)
            .map_err(|reason| self.error(reason))?;
        if step.read == 0 && step.written == 0 && !step.done {
            return Err(self.error("does not go on"));
        }
        out.extend_from_slice(&self.output[..step.written]);
        match operation {
            Operation::Process => self.unflushed |= step.read > 0,
            Operation::Flush | Operation::Finish => self.unflushed &= !step.done,
        }
        Ok(step)
    }

    fn run(
        &mut self,
        operation: Operation,
        mut input: &[u8],
        out: &mut BytesMut,
    ) -> Result<(), CodingError> {
        if input.is_empty() && operation == Operation::Process {
            return Ok(());
        }
        loop {
            let step = self.step(operation, input, out)?;
            input = &input[step.read..];
            if step.done && input.is_empty() {
                return Ok(());
            }
        }
    }

    fn error(&self, reason: &'static str) -> CodingError {
        CodingError {
            coding: self.coding,
            reason,
        }
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder")
            .field("coding", &self.coding)
            .field("unflushed", &self.unflushed)
            .finish_non_exhaustive()
    }
}
