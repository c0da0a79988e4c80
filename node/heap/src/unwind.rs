//! The calls of this thread, and their names.

use std::collections::BTreeMap;

/// Writes the addresses of the calls, the innermost first; says how many.
pub(crate) fn calls(into: &mut [usize]) -> usize {
    let mut depth = 0_usize;
    let each = |frame: &backtrace::Frame| {
        let Some(place) = into.get_mut(depth) else {
            return false;
        };
        *place = frame.ip() as usize;
        depth = depth.wrapping_add(1);
        true
    };
    #[expect(
        unsafe_code,
        reason = "the synchronised one waits for a lock that whoever names calls holds while it allocates"
    )]
    // SAFETY: what must not run at the same time are the symbol look-ups of Windows; on other systems unwinding only
    // reads this thread's stack and tables that nobody writes. `each` neither panics nor allocates.
    unsafe {
        backtrace::trace_unsynchronized(each);
    }
    depth
}

/// Names of calls by address. Each address is looked up once; looking up allocates and may read files.
#[derive(Debug, Default)]
pub struct Names(BTreeMap<usize, Vec<String>>);

impl Names {
    /// The functions at the address of a call, the innermost first: more than one where some are inlined.
    pub fn of(&mut self, address: usize) -> &[String] {
        self.0.entry(address).or_insert_with(|| {
            let mut names = Vec::new();
            backtrace::resolve(address as *mut _, |symbol| {
                // Without the hash that a compiler adds.
                names.extend(symbol.name().map(|name| format!("{name:#}")));
            });
            if names.is_empty() {
                names.push(format!("{address:#x}"));
            }
            names
        })
    }

    /// Names of a whole stack from its root inwards, without the calls that took the sample.
    pub fn stack(&mut self, calls: &[usize]) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for call in calls {
            names.extend_from_slice(self.of(*call));
        }
        let is_sampling = |name: &String| OWN.iter().any(|own| name.contains(own));
        // Between them are some that are inlined, which have short names.
        let last = names.iter().take(OWN_DEPTH_MAX).rposition(is_sampling);
        let mut stack = names.split_off(last.map_or(0, |last| last.wrapping_add(1)));
        stack.reverse();
        if stack.is_empty() {
            stack.push("[stack is not known]".to_owned());
        }
        stack
    }
}

/// In the names of what allocates and samples.
const OWN: [&str; 3] = ["weir_heap::", "__rust_alloc", "__rust_realloc"];
/// How many such calls there may be, with what is inlined.
const OWN_DEPTH_MAX: usize = 20;
