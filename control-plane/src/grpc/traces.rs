//! What an instance told last of the way of profiles, as it is asked for and added to.

use std::time::Duration;

use prost::Message as _;
use tokio::time::Instant;
use tonic::Status;
use weir_core::trace::TraceContext;
use weir_proto::control::v1 as pb;
use weir_proto::node::v1 as node;

use crate::clock::WallClock;
use crate::steps::{self, Step, Steps};

/// Of one answer, which a client takes up to 4 MiB of.
const SPANS_MAX: usize = 5_000;
const BYTES_MAX: usize = 2 << 20;
/// Of the name of a command.
const COMMAND_CHARS_MAX: usize = 64;
/// No command takes longer.
const COMMAND_MAX: Duration = Duration::from_secs(86_400);
/// Who is said to have done what a command did.
const CLI: &str = "cli";

/// What is kept of a trace.
pub(super) fn get(
    (steps, clock, instance): (&Steps, &WallClock, &str),
    id: &str,
) -> Result<node::Trace, Status> {
    let write = TraceContext::of_write(id).ok_or_else(|| {
        Status::invalid_argument("id: 32 hexadecimal digits name a trace of a write")
    })?;
    let mut trace = node::Trace {
        trace_id: id.to_owned(),
        ..node::Trace::default()
    };
    let mut bytes = 0;
    for step in steps.of_trace(write.trace_id) {
        let span = describe(step, clock, instance);
        bytes += span.encoded_len();
        trace.cut = trace.spans.len() == SPANS_MAX || bytes > BYTES_MAX;
        if trace.cut {
            break;
        }
        trace.spans.push(span);
    }
    match trace.spans.is_empty() {
        true => Err(Status::not_found("this instance keeps nothing of it")),
        false => Ok(trace),
    }
}

/// Puts a command above the write that it made.
pub(super) fn tell_command(steps: &Steps, told: &pb::TellCommandRequest) -> Result<(), Status> {
    let command = weir_core::text::printable(&told.command);
    if !(1..=COMMAND_CHARS_MAX).contains(&command.chars().count()) {
        let message = format!("command: 1 to {COMMAND_CHARS_MAX} characters name it");
        return Err(Status::invalid_argument(message));
    }
    let id = &told.write_id;
    let unknown = || Status::not_found("write_id: this instance knows no such write");
    let context = TraceContext::of_writer(id).ok_or_else(unknown)?;
    let known = steps.of_trace(context.trace_id);
    let is_of_command = |step: &Step| step.parent == Some(context.parent_id);
    let has = |name: &str| known.iter().any(|step| step.name == name);
    if has(steps::COMMAND) || !known.iter().any(is_of_command) {
        return Err(unknown());
    }
    let ended = Instant::now();
    let took = Duration::from_micros(told.duration_us).min(COMMAND_MAX);
    steps.tell(Step {
        context,
        parent: None,
        name: steps::COMMAND,
        begun: ended.checked_sub(took).unwrap_or(ended),
        ended,
        attributes: vec![("weir.command", command)],
        error: (!told.error.is_empty()).then(|| weir_core::text::printable(&told.error)),
    });
    Ok(())
}

fn describe(step: Step, clock: &WallClock, instance: &str) -> node::TraceSpan {
    let hex = |id: [u8; 8]| format!("{:016x}", u64::from_be_bytes(id));
    let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let (kind, who) = match step.name {
        steps::COMMAND => ("client", CLI),
        steps::PUSH => ("producer", instance),
        _ => ("server", instance),
    };
    let attributes = step.attributes.into_iter();
    node::TraceSpan {
        span_id: hex(step.context.parent_id),
        parent_span_id: step.parent.map(hex).unwrap_or_default(),
        node: who.to_owned(),
        name: step.name.to_owned(),
        kind: kind.to_owned(),
        start_unix_ns: ns(clock.unix_at(step.begun)),
        duration_ns: ns(step.ended.saturating_duration_since(step.begun)),
        attributes: attributes
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        error: step.error.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn write(steps: &Steps) {
        let (context, now) = (TraceContext::of_write(ID).unwrap(), Instant::now());
        steps.tell(Step {
            context,
            parent: TraceContext::of_writer(ID).map(|writer| writer.parent_id),
            name: steps::WRITE,
            begun: now,
            ended: now,
            attributes: Vec::new(),
            error: None,
        });
    }

    fn told(command: &str, write_id: &str) -> pb::TellCommandRequest {
        pb::TellCommandRequest {
            write_id: write_id.to_owned(),
            command: command.to_owned(),
            duration_us: 3_000,
            error: String::new(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_stands_above_the_write_that_it_made_once() {
        let (steps, clock) = (Steps::default(), WallClock::system());
        let parts = (&steps, &clock, "cp-1");
        assert_eq!(get(parts, ID).unwrap_err().code(), tonic::Code::NotFound);
        write(&steps);
        tokio::time::advance(Duration::from_millis(10)).await;
        tell_command(&steps, &told("weir profile set", ID)).unwrap();
        let spans = get(parts, ID).unwrap().spans;
        let [write, command] = &spans[..] else {
            panic!("{spans:?}");
        };
        assert_eq!(write.parent_span_id, command.span_id);
        assert_eq!((&*command.node, &*command.kind), ("cli", "client"));
        assert_eq!((&*write.node, command.duration_ns), ("cp-1", 3_000_000));
        let twice = tell_command(&steps, &told("weir profile set", ID));
        assert_eq!(twice.unwrap_err().code(), tonic::Code::NotFound);
    }

    #[tokio::test]
    async fn what_is_told_of_no_write_and_what_has_no_name_is_refused() {
        let steps = Steps::default();
        write(&steps);
        let code = |told: &pb::TellCommandRequest| tell_command(&steps, told).unwrap_err().code();
        let other = "4bf92f3577b34da6a3ce929d0e0e4737";
        assert_eq!(
            code(&told("weir profile set", other)),
            tonic::Code::NotFound
        );
        for name in ["", &"a".repeat(65)] {
            assert_eq!(code(&told(name, ID)), tonic::Code::InvalidArgument);
        }
        assert!(get((&steps, &WallClock::system(), "cp-1"), "x").is_err());
    }
}
