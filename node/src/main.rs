//! `weir`: arguments to subcommand, nothing else.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: weir_heap::Sampled = weir_heap::Sampled;

fn main() -> ExitCode {
    weir_node::cli::run()
}
