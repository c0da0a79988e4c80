//! How much of a machine's memory the first tier may have.

use thiserror::Error;

/// The part of the machine's memory that it may take at most, and unless told otherwise.
const SHARE_MAX: u64 = 2;
const SHARE_DEFAULT: u64 = 4;
/// No machine is too small for this.
const BYTES_MIN: u64 = 1 << 20;

/// More than the share of the machine's memory that there is for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "more than {bytes_max} bytes, half of the {machine_bytes} bytes of memory that this node may use"
)]
pub struct TooMuch {
    /// The most that it may be.
    pub bytes_max: u64,
    /// What the process may use, as its control group and the machine say.
    pub machine_bytes: u64,
}

/// The bytes that were asked for, if they are at most half of the memory that the process may use.
///
/// # Errors
/// [`TooMuch`].
pub fn asked(bytes: u64, machine_bytes: u64) -> Result<u64, TooMuch> {
    let bytes_max = (machine_bytes / SHARE_MAX).max(BYTES_MIN);
    match bytes <= bytes_max {
        true => Ok(bytes),
        false => Err(TooMuch {
            bytes_max,
            machine_bytes,
        }),
    }
}

/// The bytes that nobody asked for: `default`, on small machines a quarter of the memory.
pub fn derived(default: u64, machine_bytes: u64) -> u64 {
    default.min(machine_bytes / SHARE_DEFAULT).max(BYTES_MIN)
}

/// What `/proc/meminfo` says that the machine has, in bytes.
pub fn memory_of_machine(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1 << 10)
}

/// What `memory.max` (or `memory.limit_in_bytes`) of a control group says, in bytes; `None`: no limit.
pub fn memory_of_group(limit: &str) -> Option<u64> {
    limit.trim().parse().ok()
}

/// The folders of the control groups that a process is in, of what `/proc/self/cgroup` says: its own and those above,
/// each with the file that limits it, below where control groups are mounted.
pub fn groups(cgroup: &str) -> Vec<String> {
    let mut files = Vec::new();
    for line in cgroup.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let (folder, file) = match controllers {
            "" => ("", "memory.max"),
            named if named.split(',').any(|name| name == "memory") => {
                ("/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let mut path = path.trim_end_matches('/');
        loop {
            files.push(format!("{folder}{path}/{file}"));
            match path.rfind('/') {
                Some(end) => path = &path[..end],
                None => break,
            }
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn more_than_half_of_the_memory_is_refused_with_the_bound() {
        assert_eq!(asked(GIB, 2 * GIB), Ok(GIB));
        let refused = asked(GIB + 1, 2 * GIB).unwrap_err();
        assert_eq!(refused.bytes_max, GIB);
        let text = refused.to_string();
        assert!(
            text.contains("1073741824") && text.contains("2147483648"),
            "{text}"
        );
    }

    #[test]
    fn what_nobody_asked_for_fits_the_machine() {
        assert_eq!(derived(2 * GIB, 64 * GIB), 2 * GIB);
        assert_eq!(derived(2 * GIB, 4 * GIB), GIB);
        assert_eq!(derived(2 * GIB, 0), BYTES_MIN);
        for machine in [1 << 21, GIB, 8 * GIB, 64 * GIB] {
            assert!(asked(derived(2 * GIB, machine), machine).is_ok());
        }
    }

    #[test]
    fn memory_is_read_as_linux_says_it() {
        let meminfo = "MemTotal:       16303428 kB\nMemFree:  1 kB\n";
        assert_eq!(memory_of_machine(meminfo), Some(16_303_428 * 1024));
        assert_eq!(memory_of_machine("MemFree: 1 kB"), None);
        assert_eq!(memory_of_group("536870912\n"), Some(536_870_912));
        assert_eq!(memory_of_group("max\n"), None);
    }

    #[test]
    fn a_group_is_limited_by_those_above_it_too() {
        let v2 = groups("0::/a/b\n");
        assert_eq!(v2, ["/a/b/memory.max", "/a/memory.max", "/memory.max"]);
        let v1 = groups("5:cpu,cpuacct:/x\n4:memory:/docker/1\n");
        assert_eq!(
            v1,
            [
                "/memory/docker/1/memory.limit_in_bytes",
                "/memory/docker/memory.limit_in_bytes",
                "/memory/memory.limit_in_bytes"
            ]
        );
        assert_eq!(groups("0::/\nnonsense"), ["/memory.max"]);
    }
}
