//! The binary under test, as processes that end with the benchmark.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::process::{Child, Command};

/// Below the ports that the system gives to clients.
const PORTS: std::ops::Range<u16> = 26_500..32_000;
const PORTS_TRIED_MAX: usize = 100;

/// A process; it dies with this.
pub(super) struct Process(Child);

impl Process {
    pub(super) fn start(weir: &Path, arguments: &[&str], log: &Path) -> Result<Self, String> {
        let log = std::fs::File::create(log).map_err(|error| error.to_string())?;
        let child = Command::new(weir)
            .args(arguments)
            // Its end ends the child, should this be killed.
            .arg("--stop-with-stdin")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn();
        child
            .map(Self)
            .map_err(|error| format!("{}: {error}", weir.display()))
    }

    /// Processor time that it used, in milliseconds.
    pub(super) fn cpu_ms(&self) -> Result<u64, String> {
        let id = self.0.id().ok_or("a process ended")?;
        cpu_ms_of(&format!("/proc/{id}/stat"))
    }

    /// Processor time that its threads used, in nanoseconds; only for one whose threads do not end meanwhile.
    #[allow(dead_code, reason = "shared with other benches")]
    pub(super) fn cpu_ns(&self) -> Result<u64, String> {
        let id = self.0.id().ok_or("a process ended")?;
        let tasks = std::fs::read_dir(format!("/proc/{id}/task"));
        let tasks = tasks.map_err(|error| error.to_string())?;
        let ran_ns = tasks.filter_map(|task| {
            let stat = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            stat.split(' ').next()?.parse::<u64>().ok()
        });
        Ok(ran_ns.sum())
    }

    /// Memory of it that is resident, in bytes.
    pub(super) fn resident_bytes(&self) -> Result<u64, String> {
        let id = self.0.id().ok_or("a process ended")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"));
        let status = status.map_err(|error| error.to_string())?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kibibytes
            .map(|kibibytes| kibibytes << 10)
            .ok_or_else(|| "no VmRSS".to_owned())
    }
}

/// Processor time of a process by its `stat`, in milliseconds.
pub(super) fn cpu_ms_of(stat: &str) -> Result<u64, String> {
    let stat = std::fs::read_to_string(stat).map_err(|error| error.to_string())?;
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let field = |at: usize| after_name.split(' ').nth(at)?.parse::<u64>().ok();
    // Fields 14 and 15 of proc(5), in ticks of 10 ms.
    let ticks = field(11).zip(field(12)).map(|(user, system)| user + system);
    ticks
        .map(|ticks| ticks * 10)
        .ok_or_else(|| "no times".to_owned())
}

pub(super) fn text(path: &Path) -> Result<&str, String> {
    path.to_str().ok_or_else(|| "a path is no text".to_owned())
}

/// The binary under test: told, or the one of the release profile.
pub(super) fn weir(told: Option<&PathBuf>) -> Result<PathBuf, String> {
    if let Some(weir) = told {
        return Ok(weir.clone());
    }
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    // This one is target/load/deps/NAME.
    let target = own.ancestors().nth(3);
    target
        .map(|target| target.join("release").join("weir"))
        .ok_or_else(|| "--weir is needed".to_owned())
}

pub(super) fn free_address(random: &mut fastrand::Rng) -> Result<SocketAddr, String> {
    for _ in 0..PORTS_TRIED_MAX {
        let address = SocketAddr::from(([127, 0, 0, 1], random.u16(PORTS)));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err("no free port was found".to_owned())
}

/// Takes as many file descriptors as the hard limit allows.
pub(super) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // Fewer are enough for short runs.
    let _ = setrlimit(Resource::Nofile, raised);
}
