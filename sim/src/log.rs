//! The event log: what every host did and when, in simulated time.
//!
//! Nothing in it may differ between two runs of one seed: no wall clock, no addresses, no process ids.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

/// Weir, the simulation, and the name of the host that speaks.
const EVENTS: &str =
    "off,weir_node=trace,weir_core=trace,weir_control_plane=trace,weir_sim=trace,turmoil::sim=info";
/// The same and whatever else is said inside a host: a span with a level opens all targets within it.
const EVENTS_AND_SEGMENTS: &str = "off,weir_node=trace,weir_core=trace,weir_control_plane=trace,weir_sim=trace,\
     turmoil::sim=info,turmoil[node]=trace";

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// What the log shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// What hosts do.
    Events,
    /// And every segment that they send, byte for byte, with what HTTP/2 makes of it.
    Segments,
}

/// Writes the log to `path`, or to standard output.
///
/// # Errors
/// When the file cannot be created.
pub(crate) fn start(path: Option<&Path>, depth: Depth) -> io::Result<()> {
    let writer = match path {
        Some(path) => BoxMakeWriter::new(Arc::new(File::create(path)?)),
        None => BoxMakeWriter::new(io::stdout),
    };
    let filter = EnvFilter::new(match depth {
        Depth::Events => EVENTS,
        Depth::Segments => EVENTS_AND_SEGMENTS,
    });
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_timer(SimulatedTime)
        .with_ansi(false)
        .with_writer(writer)
        .init();
    // tokio keeps a task's panic to itself; here it must show, and fail the run.
    std::panic::set_hook(Box::new(|panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        tracing::error!(%panic, "panicked");
    }));
    Ok(())
}

/// Panics since the log began, those that somebody caught included.
pub(crate) fn panics() -> usize {
    PANICS.load(Ordering::Relaxed)
}

struct SimulatedTime;

impl FormatTime for SimulatedTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        match turmoil::sim_elapsed() {
            Some(elapsed) => write!(writer, "{:>10.6}", elapsed.as_secs_f64()),
            None => writer.write_str("         -"),
        }
    }
}
