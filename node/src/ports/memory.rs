//! How much memory this process may use: what the machine has, and what its control groups leave of it.

use std::fs;
use std::sync::LazyLock;

use weir_core::cache::room;

/// Where control groups are mounted.
const GROUPS: &str = "/sys/fs/cgroup";

/// Bytes of memory that this process may use, as of its start; `None` where nobody says.
pub fn limit_bytes() -> Option<u64> {
    static LIMIT: LazyLock<Option<u64>> = LazyLock::new(read);
    *LIMIT
}

fn read() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.and_then(|text| room::memory_of_machine(&text));
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let files = room::groups(&own).into_iter();
    let limits = files.filter_map(|file| {
        let text = fs::read_to_string(format!("{GROUPS}{file}")).ok()?;
        room::memory_of_group(&text)
    });
    machine.into_iter().chain(limits).min()
}
