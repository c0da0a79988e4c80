//! A profile change is told as one tree down to every actor of the node.

use opentelemetry_proto::tonic::trace::v1::Span;
use weir_core::trace::{Sampler, TraceContext};

use super::*;
use crate::ports::clock::WallClock;
use crate::telemetry::wire::text_of;

const WRITE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let mut found = spans.iter().filter(|span| span.name == name);
    let first = found.next();
    assert!(found.next().is_none(), "{name} is told twice");
    first.unwrap_or_else(|| panic!("no {name} in {spans:#?}"))
}

fn attribute(span: &Span, name: &str) -> Option<String> {
    let mut attributes = span.attributes.iter();
    let found = attributes.find(|attribute| attribute.key == name)?;
    Some(text_of(found.value.clone()))
}

fn has_number(span: &Span, name: &str) -> bool {
    attribute(span, name).is_some_and(|text| text.parse::<i64>().is_ok())
}

#[tokio::test(start_paused = true)]
async fn a_profile_is_one_tree_under_the_write_that_made_it_and_says_why_it_is_refused() {
    run(async {
        let (tracer, mut told) = Tracer::new(Sampler::new(0.0).unwrap(), WallClock::system());
        let wired = started(FILE, tracer).await;
        let mut taker = new_taker(&wired);
        let write = TraceContext::of_write(WRITE).unwrap();
        let mut take = async |settings: &[(&str, &str)], context: String| -> Vec<Span> {
            let push = pb::Push {
                trace_context: context,
                ..profile_push(settings)
            };
            taker.take(&push).await;
            let batches = std::iter::from_fn(|| told.try_recv().ok());
            batches.flat_map(|batch| batch.spans.decode()).collect()
        };
        let spans = take(&[(TIMEOUT, "7s")], write.to_text()).await;
        for (name, parent) in [
            ("last_known_good.announce", "profile.take"),
            ("profile.give", "profile.take"),
            ("config_agent.take", "profile.give"),
            ("config_agent.check", "config_agent.take"),
            ("load_balancer.configure", "config_agent.take"),
            ("port_cache.configure", "config_agent.take"),
            ("provision_supervisor.configure", "config_agent.take"),
            ("cache_tier.configure", "config_agent.take"),
            ("cache_warmer.configure", "config_agent.take"),
        ] {
            let (span, parent) = (named(&spans, name), named(&spans, parent));
            assert_eq!(span.parent_span_id, parent.span_id, "{name}");
            let waits = name == "config_agent.take" || name.ends_with(".configure");
            assert_eq!(has_number(span, "mailbox.wait_us"), waits, "{name}");
        }
        let whole = named(&spans, "profile.take");
        assert_eq!(whole.parent_span_id, write.parent_id);
        let status = attribute(whole, "weir.profile.status");
        assert_eq!(status.as_deref(), Some("applied"), "{whole:?}");
        let is_of_write = |span: &Span| span.trace_id == write.trace_id;
        assert!(spans.iter().all(is_of_write) && spans.len() == 10);

        let spans = take(&[(WINDOW, "1MiB")], write.to_text()).await;
        for name in ["config_agent.take", "profile.take"] {
            let status = named(&spans, name).status.as_ref().unwrap();
            assert!(status.message.contains(WINDOW), "{spans:?}");
        }
        assert!(take(&[(TIMEOUT, "8s")], String::new()).await.is_empty());
    })
    .await;
}
