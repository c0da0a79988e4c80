//! An engine that speaks AceStream's HTTP API and streams made-up packets. See `weir_fakes::engine`.

use std::process::ExitCode;

fn main() -> ExitCode {
    weir_fakes::engine::run(
        std::env::args().skip(1).collect(),
        std::env::vars().collect(),
    )
}
