use tokio::time::Instant;
use weir_core::trace::Sampling;

use super::*;
use crate::telemetry::recent::Recent;

const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

fn tracer(ratio: f64, per_second: u32) -> (Tracer, Recent) {
    let recent = Recent::new(1, 1 << 20);
    let tracer = Tracer::off().with_recent(recent.clone(), WallClock::system());
    tracer.set_sampling(Sampling {
        slow: Some(Duration::from_secs(1)),
        tail_per_second_max: per_second,
        ..Sampling::head_only(Sampler::new(ratio).unwrap())
    });
    (tracer, recent)
}

fn under_caller() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(TRACEPARENT, HeaderValue::from_static(CALLER));
    headers
}

fn told(recent: &Recent) -> Vec<String> {
    let trace = TraceContext::parse(&HeaderValue::from_static(CALLER)).unwrap();
    let batches = recent.of_trace(u128::from_be_bytes(trace.trace_id));
    batches
        .iter()
        .flat_map(|batch| batch.spans.decode())
        .map(|span| span.name)
        .collect()
}

fn begin(core: &Rc<CoreTracer>, headers: &mut HeaderMap) -> Option<RequestTrace> {
    core.begin("ingress", headers, Instant::now(), |_| false)
}

/// A request with two steps, one of them a branch, that ends so.
fn run(core: &Rc<CoreTracer>, status: u16, took: Duration) {
    let now = Instant::now();
    let trace = begin(core, &mut under_caller()).unwrap();
    trace.step("pick", now);
    let branch = trace.branch("cache.fetch", now);
    let status = StatusCode::from_u16(status).ok();
    trace.ended((status, None), (now, took));
    drop(trace);
    branch.step("cache.redis", now);
}

#[tokio::test]
async fn an_unsampled_request_is_told_whole_when_it_failed_or_was_slow_and_else_forgotten() {
    let (tracer, recent) = tracer(0.0, 10);
    let core = CoreTracer::new(0, &tracer, WallClock::system(), 1);
    let second = Duration::from_secs(1);
    run(&core, 200, second);
    run(&core, 404, second);
    assert_eq!(told(&recent).len(), 0);
    run(&core, 200, second * 2);
    let tree = ["cache.redis", "cache.fetch", "pick", "ingress"];
    assert_eq!(told(&recent), tree, "what ends after the request is in it");
    run(&core, 503, Duration::ZERO);
    assert_eq!(told(&recent).len(), 8);
    assert_eq!(core.held.get(), 0);
    assert_eq!(core.spare.borrow().len(), 1, "one trail served all");
}

#[tokio::test]
async fn a_tunnel_is_not_slow_for_being_long() {
    let (tracer, recent) = tracer(0.0, 10);
    let core = CoreTracer::new(0, &tracer, WallClock::system(), 1);
    run(&core, 101, Duration::from_secs(9));
    assert_eq!(told(&recent).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_streams_is_as_slow_as_its_head() {
    let (tracer, recent) = tracer(0.0, 10);
    let core = CoreTracer::new(0, &tracer, WallClock::system(), 1);
    for (head_s, told_spans) in [(1, 0), (2, 1)] {
        let trace = begin(&core, &mut under_caller()).unwrap();
        tokio::time::advance(Duration::from_secs(head_s)).await;
        trace.judge_by_head();
        let hour = Duration::from_secs(3_600);
        trace.ended((Some(StatusCode::OK), None), (Instant::now(), hour));
        drop(trace);
        assert_eq!(told(&recent).len(), told_spans);
    }
}

#[tokio::test(start_paused = true)]
async fn callers_that_have_everything_sampled_are_bounded_unless_somebody_vouches_for_them() {
    let (tracer, _recent) = tracer(0.0, 10);
    let core = CoreTracer::new(0, &tracer, WallClock::system(), 1);
    let sampled = |is_trusted: bool| {
        let mut headers = HeaderMap::new();
        let asked = CALLER.replace("b7-00", "b7-01");
        headers.insert(TRACEPARENT, HeaderValue::from_str(&asked).unwrap());
        let trace = core.begin("ingress", &mut headers, Instant::now(), |_| is_trusted);
        let sampled = trace.unwrap().context_of(At::WHOLE).sampled;
        assert_eq!(parent_of(&headers).unwrap().sampled, sampled);
        sampled
    };
    let bound = FORCED_PER_SECOND_MAX as usize;
    assert_eq!((0..bound + 5).filter(|_| sampled(false)).count(), bound);
    assert!(sampled(true));
    let over = &tracer.counts().requests_over_budget;
    assert_eq!(over.load(std::sync::atomic::Ordering::Relaxed), 5);
}

#[tokio::test]
async fn a_flood_of_failures_is_bounded_and_what_is_not_told_counted() {
    let (tracer, recent) = tracer(0.0, 3);
    let core = CoreTracer::new(0, &tracer, WallClock::system(), 1);
    for _ in 0..10 {
        run(&core, 502, Duration::ZERO);
    }
    assert_eq!(told(&recent).len(), 3 * 4);
    let over = &tracer.counts().requests_over_budget;
    assert_eq!(over.load(std::sync::atomic::Ordering::Relaxed), 7);
}

#[tokio::test]
async fn trails_that_are_held_are_bounded() {
    let (tracer, _recent) = tracer(1.0, 3);
    let core = CoreTracer::new(0, &tracer, WallClock::system(), 1);
    let begin = || begin(&core, &mut HeaderMap::new());
    let held: Vec<_> = (0..HELD_MAX).map(|_| begin().unwrap()).collect();
    assert!(begin().is_none());
    drop(held);
    assert!(begin().is_some());
    assert_eq!(core.spare.borrow().len(), SPARE_MAX);
}

#[tokio::test]
async fn a_routes_share_rules_over_the_nodes_and_a_callers_word_over_both() {
    let (tracer, _recent) = tracer(0.0, 3);
    let core = CoreTracer::new(0, &tracer, WallClock::system(), 1);
    let always = Sampler::new(1.0).ok();
    let sampled = |mut headers| {
        let trace = begin(&core, &mut headers).unwrap();
        trace.routed(always);
        trace.context_of(At::WHOLE).sampled
    };
    assert!(sampled(HeaderMap::new()));
    assert!(!sampled(under_caller()));
}

#[tokio::test]
async fn without_anything_that_looks_back_an_unsampled_request_holds_nothing() {
    let (tracer, _recent) = tracer(0.0, 0);
    let core = CoreTracer::new(0, &tracer, WallClock::system(), 1);
    assert!(begin(&core, &mut under_caller()).is_none());
}

#[tokio::test]
async fn a_clients_name_for_a_request_is_taken_when_it_is_one() {
    let (tracer, _recent) = tracer(1.0, 3);
    let core = CoreTracer::new(0, &tracer, WallClock::system(), 1);
    let named = |id: &str| {
        let trace = begin(&core, &mut under_caller()).unwrap();
        trace.named(HeaderValue::from_str(id).ok().as_ref());
        trace.request_id()
    };
    assert_eq!(named("mine-1"), "mine-1");
    let of_trace = &CALLER[3..35];
    for id in ["", "two words", &"x".repeat(129)] {
        assert_eq!(named(id), of_trace);
    }
}
