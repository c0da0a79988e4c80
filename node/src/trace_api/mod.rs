//! What was traced last, on this node, on the others and on the control plane: behind gRPC, the HTTP API and
//! `weir trace`.

mod planes;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use opentelemetry_proto::tonic::trace::v1 as otlp;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message as _;
use tokio::time::timeout;
use tonic::Code;
use tonic::transport::Channel;
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::traces_client::TracesClient;

use crate::actors::config_agent::ConfigAgentHandle;
use crate::peers::Peers;
use crate::telemetry::recent::{Batch, Recent};
use crate::telemetry::spans::Tracer;
use crate::telemetry::wire::text_of;
use crate::wiring::Wired;

/// For one node to tell what it has.
const NODE_TIMEOUT: Duration = Duration::from_secs(1);
/// Nodes that are asked at a time.
const ASKED_MAX: usize = 128;
/// Of one node's answer.
const OF_NODE: Bound = Bound {
    spans: 5_000,
    bytes: 2 << 20,
};
/// Of the whole answer, which a gRPC client takes up to 4 MiB of.
const OF_ALL: Bound = Bound {
    spans: 10_000,
    bytes: 3 << 20,
};
/// Characters of what is asked for.
const ID_CHARS_MAX: usize = 128;

/// What an answer may hold at most.
#[derive(Clone, Copy, Debug)]
struct Bound {
    spans: usize,
    /// As they are sent.
    bytes: usize,
}

impl Bound {
    /// Leaves out what is beyond, and says so in the trace.
    fn apply(self, trace: &mut pb::Trace) {
        let mut bytes = 0;
        let spans = trace.spans.iter().take(self.spans);
        let fitting = spans.take_while(|span| {
            bytes += span.encoded_len();
            bytes <= self.bytes
        });
        let fitting = fitting.count();
        trace.cut |= fitting < trace.spans.len();
        trace.spans.truncate(fitting);
    }
}

/// Recent traces, for whoever shows them. Cheap to clone.
#[derive(Clone)]
pub struct TraceApi {
    tracer: Tracer,
    peers: Peers,
    config: ConfigAgentHandle,
}

/// Why there is no trace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is no id.
    #[error("id: 1 to {ID_CHARS_MAX} visible characters name a trace or a request")]
    NoId,
    /// The node keeps none.
    #[error("this node keeps no traces (telemetry.trace_recent_bytes_max is 0)")]
    NotKept,
    /// Nobody has it.
    #[error(
        "no node that answers keeps a trace `{id}`{}: it was not sampled and neither failed nor was slow, \
         or it is too old",
        not_answered(.silent)
    )]
    Unknown {
        /// What was asked for.
        id: String,
        /// Nodes that did not answer.
        silent: Vec<String>,
    },
}

fn not_answered(nodes: &[String]) -> String {
    match nodes {
        [] => String::new(),
        nodes => format!(" ({} did not answer)", nodes.join(", ")),
    }
}

impl TraceApi {
    /// What the node and its peers keep.
    pub fn new(wired: &Wired) -> Self {
        Self {
            tracer: wired.core_parts.tracer.weak(),
            peers: wired.peers.clone(),
            config: wired.config.clone(),
        }
    }

    /// The trace with that id, or that of the request which its client called so.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn get(&self, request: &pb::GetTraceRequest) -> Result<pb::Trace, Error> {
        let id = &*request.id;
        if !(1..=ID_CHARS_MAX).contains(&id.len()) || !id.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Error::NoId);
        }
        let recent = self.tracer.recent().ok_or(Error::NotKept)?;
        let mut trace = self.own(recent, id);
        let mut silent = BTreeSet::new();
        if !request.local {
            let known = trace.trace_id.clone();
            self.ask_others(id, &mut trace, &mut silent).await;
            // What a client calls a request is known where it came in; the others know the trace.
            if known.is_empty() && !trace.trace_id.is_empty() {
                let id = trace.trace_id.clone();
                trace = self.own(recent, &id);
                self.ask_others(&id, &mut trace, &mut silent).await;
            }
            self.ask_control_plane(id, &mut trace, &mut silent).await;
        }
        let silent: Vec<String> = silent.into_iter().collect();
        if trace.spans.is_empty() {
            let id = id.to_owned();
            return Err(Error::Unknown { id, silent });
        }
        trace.spans.sort_by_key(|span| span.start_unix_ns);
        trace.silent_nodes = silent;
        Ok(trace)
    }

    fn own(&self, recent: &Recent, id: &str) -> pb::Trace {
        let as_trace = id_of_trace(id).map(|id| (id, recent.of_trace(id)));
        let found = as_trace.filter(|(_, batches)| !batches.is_empty());
        let found = found.or_else(|| {
            let id = recent.trace_of_request(id)?;
            Some((id, recent.of_trace(id)))
        });
        let Some((trace_id, batches)) = found else {
            return pb::Trace::default();
        };
        // The whole first, then its steps as they came: spans that begin together stay so.
        let spans = batches
            .iter()
            .flat_map(|batch: &Arc<Batch>| batch.spans.decode().into_iter().rev());
        // One more than there may be tells that there are more.
        let spans = spans.take(OF_NODE.spans + 1);
        let mut trace = pb::Trace {
            trace_id: format!("{trace_id:032x}"),
            spans: spans.map(|span| self.describe(span)).collect(),
            silent_nodes: Vec::new(),
            cut: false,
        };
        OF_NODE.apply(&mut trace);
        trace
    }

    /// Asks the control plane what is above this trace, if something is that nobody has told of.
    async fn ask_control_plane(
        &self,
        id: &str,
        trace: &mut pb::Trace,
        silent: &mut BTreeSet<String>,
    ) {
        let id = match &*trace.trace_id {
            "" if id_of_trace(id).is_some() => id.to_ascii_lowercase(),
            known => known.to_owned(),
        };
        if id.is_empty() || is_whole(trace) {
            return;
        }
        let config = Arc::clone(&self.config.in_force().config);
        for (instance, answer) in planes::ask(&config.control_plane, &id).await {
            match answer {
                Some(told) => add(trace, told),
                None => _ = silent.insert(format!("control plane {instance}")),
            }
        }
    }

    async fn ask_others(&self, id: &str, trace: &mut pb::Trace, silent: &mut BTreeSet<String>) {
        // Whoever knows the trace knows more of it than what a client called one of its requests.
        let id = match &*trace.trace_id {
            "" => id.to_owned(),
            trace_id => trace_id.to_owned(),
        };
        let others = self.peers.channels().into_iter();
        let asked = others.map(|(node, channel)| {
            let id = id.clone();
            async move { (node, ask(channel, id).await) }
        });
        let mut answers = stream::iter(asked).buffer_unordered(ASKED_MAX);
        while let Some((node, answer)) = answers.next().await {
            match answer {
                Some(told) => add(trace, told),
                None => _ = silent.insert(node),
            }
        }
    }

    fn describe(&self, span: otlp::Span) -> pb::TraceSpan {
        let kind = kind(span.kind()).to_owned();
        let attributes = span.attributes.into_iter();
        pb::TraceSpan {
            kind,
            span_id: hex(&span.span_id),
            parent_span_id: hex(&span.parent_span_id),
            node: self.peers.node().to_owned(),
            name: span.name,
            start_unix_ns: span.start_time_unix_nano,
            duration_ns: span
                .end_time_unix_nano
                .saturating_sub(span.start_time_unix_nano),
            attributes: attributes
                .map(|attribute| (attribute.key, text_of(attribute.value)))
                .collect(),
            error: span.status.map(|status| status.message).unwrap_or_default(),
        }
    }
}

/// Adds what somebody else has.
fn add(trace: &mut pb::Trace, mut told: pb::Trace) {
    OF_NODE.apply(&mut told);
    trace.cut |= told.cut;
    if trace.trace_id.is_empty() {
        trace.trace_id = told.trace_id;
    }
    trace.spans.extend(told.spans);
    OF_ALL.apply(trace);
}

/// Nothing is above it that is not in it.
fn is_whole(trace: &pb::Trace) -> bool {
    let known: BTreeSet<&str> = trace.spans.iter().map(|span| &*span.span_id).collect();
    let mut above = trace.spans.iter().map(|span| &*span.parent_span_id);
    !known.is_empty() && above.all(|above| above.is_empty() || known.contains(above))
}

/// What another node has; `None` when it does not answer.
async fn ask(channel: Option<Channel>, id: String) -> Option<pb::Trace> {
    let mut client = TracesClient::new(channel?);
    let request = pb::GetTraceRequest { id, local: true };
    match timeout(NODE_TIMEOUT, client.get_trace(request)).await {
        Ok(Ok(told)) => Some(told.into_inner()),
        Ok(Err(status)) if status.code() == Code::NotFound => Some(pb::Trace::default()),
        Ok(Err(_)) | Err(_) => None,
    }
}

fn id_of_trace(id: &str) -> Option<u128> {
    let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| u128::from_str_radix(id, 16).ok()).flatten()
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn kind(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
        SpanKind::Internal | SpanKind::Unspecified => "internal",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(spans: usize, name_bytes: usize) -> pb::Trace {
        let span = pb::TraceSpan {
            name: "a".repeat(name_bytes),
            ..pb::TraceSpan::default()
        };
        pb::Trace {
            spans: vec![span; spans],
            ..pb::Trace::default()
        }
    }

    #[test]
    fn a_trace_under_a_span_that_nobody_told_of_is_not_whole() {
        let mut trace = trace(2, 1);
        assert!(!is_whole(&pb::Trace::default()));
        "1".clone_into(&mut trace.spans[0].span_id);
        "1".clone_into(&mut trace.spans[1].parent_span_id);
        assert!(is_whole(&trace));
        "2".clone_into(&mut trace.spans[0].parent_span_id);
        assert!(!is_whole(&trace));
    }

    #[test]
    fn an_answer_is_cut_at_its_spans_and_its_bytes_and_says_so() {
        for (spans, name_bytes, told) in [(5_000, 1, 5_000), (5_001, 1, 5_000), (3, 1 << 20, 1)] {
            let mut trace = trace(spans, name_bytes);
            OF_NODE.apply(&mut trace);
            assert_eq!((trace.spans.len(), trace.cut), (told, told < spans));
        }
    }
}
