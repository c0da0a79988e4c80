//! One step of each library's compressor, in one form.

use brotli::enc::StandardAlloc;
use brotli::enc::encode::{
    BrotliEncoderOperation, BrotliEncoderParameter, BrotliEncoderStateStruct,
};
use flate2::{Compress, Compression, FlushCompress, Status};
use zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer};

use super::parameters::{Parameters, ZstdTables};

/// What one step makes at most.
pub(super) const OUTPUT_BYTES: usize = 16 * 1024;

/// The largest window that RFC 1952 knows, 32 KiB.
const GZIP_WINDOW_LOG: u8 = 15;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// Take input; what comes out and when is the compressor's choice.
    Process,
    /// Give out all that was taken, so that a decoder can give it on.
    Flush,
    /// The same, and what the coding ends with.
    Finish,
}

/// What a step did. It is to be repeated with the rest of the input until it is done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) read: usize,
    pub(super) written: usize,
    /// The operation is through, for the input that was given.
    pub(super) done: bool,
}

pub(super) enum Compressor {
    Identity,
    Brotli(Box<BrotliEncoderStateStruct<StandardAlloc>>),
    Gzip(Compress),
    Zstd(CCtx<'static>),
}

impl Compressor {
    pub(super) fn new(parameters: Parameters) -> Result<Self, &'static str> {
        match parameters {
            Parameters::Identity => Ok(Self::Identity),
            Parameters::Brotli {
                quality,
                window_log,
                input_bytes,
            } => Ok(Self::Brotli(brotli(quality, window_log, input_bytes))),
            Parameters::Gzip { level } => Ok(Self::Gzip(Compress::new_gzip(
                Compression::new(level),
                GZIP_WINDOW_LOG,
            ))),
            Parameters::Zstd {
                level,
                window_log,
                tables,
                input_bytes,
            } => zstd(level, window_log, tables, input_bytes).map(Self::Zstd),
        }
    }

    /// After [`Operation::Finish`] was done, no step may follow.
    pub(super) fn step(
        &mut self,
        operation: Operation,
        input: &[u8],
        output: &mut [u8],
    ) -> Result<Step, &'static str> {
        match self {
            Self::Identity => Ok(identity_step(input, output)),
            Self::Brotli(state) => brotli_step(state, operation, input, output),
            Self::Gzip(state) => gzip_step(state, operation, input, output),
            Self::Zstd(context) => zstd_step(context, operation, input, output),
        }
    }
}

fn identity_step(input: &[u8], output: &mut [u8]) -> Step {
    let bytes = input.len().min(output.len());
    output[..bytes].copy_from_slice(&input[..bytes]);
    Step {
        read: bytes,
        written: bytes,
        done: bytes == input.len(),
    }
}

fn brotli(
    quality: u8,
    window_log: u32,
    input_bytes: Option<usize>,
) -> Box<BrotliEncoderStateStruct<StandardAlloc>> {
    let mut state = Box::new(BrotliEncoderStateStruct::new(StandardAlloc::default()));
    state.set_parameter(
        BrotliEncoderParameter::BROTLI_PARAM_QUALITY,
        u32::from(quality),
    );
    state.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_LGWIN, window_log);
    if let Some(hint) = input_bytes.and_then(|bytes| u32::try_from(bytes).ok()) {
        state.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_SIZE_HINT, hint);
    }
    state
}

fn brotli_step(
    state: &mut BrotliEncoderStateStruct<StandardAlloc>,
    operation: Operation,
    input: &[u8],
    output: &mut [u8],
) -> Result<Step, &'static str> {
    let (mut available_in, mut read) = (input.len(), 0);
    let (mut available_out, mut written) = (output.len(), 0);
    let sound = state.compress_stream(
        match operation {
            Operation::Process => BrotliEncoderOperation::BROTLI_OPERATION_PROCESS,
            Operation::Flush => BrotliEncoderOperation::BROTLI_OPERATION_FLUSH,
            Operation::Finish => BrotliEncoderOperation::BROTLI_OPERATION_FINISH,
        },
        &mut available_in,
        input,
        &mut read,
        &mut available_out,
        output,
        &mut written,
        &mut None,
        &mut |_, _, _, _| (),
    );
    if !sound {
        return Err("out of step");
    }
    let done = match operation {
        Operation::Process | Operation::Flush => available_in == 0 && !state.has_more_output(),
        Operation::Finish => state.is_finished(),
    };
    Ok(Step {
        read,
        written,
        done,
    })
}

fn gzip_step(
    state: &mut Compress,
    operation: Operation,
    input: &[u8],
    output: &mut [u8],
) -> Result<Step, &'static str> {
    let before = (state.total_in(), state.total_out());
    let flush = match operation {
        Operation::Process => FlushCompress::None,
        Operation::Flush => FlushCompress::Sync,
        Operation::Finish => FlushCompress::Finish,
    };
    let status = state
        .compress(input, output, flush)
        .map_err(|_| "out of step")?;
    // At most the lengths of two slices.
    let read = (state.total_in() - before.0) as usize;
    let written = (state.total_out() - before.1) as usize;
    let done = match operation {
        // A full output may hide a rest.
        Operation::Process | Operation::Flush => read == input.len() && written < output.len(),
        Operation::Finish => status == Status::StreamEnd,
    };
    Ok(Step {
        read,
        written,
        done,
    })
}

fn zstd(
    level: i32,
    window_log: u32,
    tables: Option<ZstdTables>,
    input_bytes: Option<usize>,
) -> Result<CCtx<'static>, &'static str> {
    let mut context = CCtx::try_create().ok_or("no memory")?;
    let mut set = |parameter| {
        context
            .set_parameter(parameter)
            .map_err(zstd_safe::get_error_name)
    };
    set(CParameter::CompressionLevel(level))?;
    set(CParameter::WindowLog(window_log))?;
    if let Some(ZstdTables {
        hash_log,
        chain_log,
    }) = tables
    {
        set(CParameter::HashLog(hash_log))?;
        set(CParameter::ChainLog(chain_log))?;
    }
    if let Some(bytes) = input_bytes {
        context
            .set_pledged_src_size(Some(bytes as u64))
            .map_err(zstd_safe::get_error_name)?;
    }
    Ok(context)
}

fn zstd_step(
    context: &mut CCtx<'static>,
    operation: Operation,
    input: &[u8],
    output: &mut [u8],
) -> Result<Step, &'static str> {
    let mut from = InBuffer::around(input);
    let mut to = OutBuffer::around(output);
    let directive = match operation {
        Operation::Process => ZSTD_EndDirective::ZSTD_e_continue,
        Operation::Flush => ZSTD_EndDirective::ZSTD_e_flush,
        Operation::Finish => ZSTD_EndDirective::ZSTD_e_end,
    };
    let rest = context
        .compress_stream2(&mut to, &mut from, directive)
        .map_err(zstd_safe::get_error_name)?;
    let read = from.pos();
    let done = match operation {
        Operation::Process => read == input.len(),
        Operation::Flush | Operation::Finish => rest == 0,
    };
    Ok(Step {
        read,
        written: to.pos(),
        done,
    })
}
