//! What goes back to the kernel once nobody needs it.

#[expect(unsafe_code, reason = "the allocator is written in C")]
// SAFETY: it has this form in `mimalloc.h`, and any thread may call it at any time.
unsafe extern "C" {
    safe fn mi_collect(force: bool);
}

/// Gives back what was read of binaries to name calls, and with it whatever the allocator keeps for this thread or for
/// later. The next name reads the binaries again. Takes some milliseconds.
pub fn forget_binaries() {
    backtrace::clear_symbol_cache();
    mi_collect(true);
}
