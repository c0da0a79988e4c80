//! Engines and ports in the words of `weir.node.v1`.

use std::time::Duration;

use tokio::time::Instant;
use weir_core::port_cache::{Counters, Failure, State};
use weir_core::provision::{Refusal, Wrong};
use weir_proto::node::v1 as pb;

use crate::actors::port_cache::VpnView;
use crate::actors::provision_supervisor::{EngineView, Picture, ServiceView};

/// Engines behind a VPN.
#[derive(Debug, Default)]
pub(super) struct Behind {
    pub(super) engines: u32,
    /// The one that has its port; empty for none.
    pub(super) forwarded: String,
}

/// An engine of `node`.
pub(super) fn engine(view: &EngineView, node: &str) -> pb::Engine {
    pb::Engine {
        id: view.id.clone(),
        service: view.service.clone(),
        node: node.to_owned(),
        state: view.state.to_owned(),
        address: view.address.clone(),
        driver: view.driver.to_owned(),
        pid: view.pid.unwrap_or_default(),
        container_id: view.container_id.clone().unwrap_or_default(),
        vpn: view.vpn.clone().unwrap_or_default(),
        port: view.port.into(),
        p2p_port: view.p2p_port.map_or(0, u32::from),
        forwarded: view.is_forwarded,
        since_unix_ms: view.since_unix_ms,
        restarts: view.restarts,
        uses: view.uses,
        in_flight: view.in_flight,
        image: view.image.clone(),
        image_digest: view.image_digest.clone().unwrap_or_default(),
        image_drifted: view.image_drifted,
        reason: view.reason.clone(),
        outdated: view.outdated,
        extra_ports: view
            .extra_ports
            .iter()
            .map(|(name, port)| (name.clone(), u32::from(*port)))
            .collect(),
    }
}

/// Why nothing is provisioned.
pub fn refusal(refusal: &Refusal) -> pb::Refusal {
    let wrong = refusal.wrong.as_deref();
    let text = |pick: fn(&Wrong) -> &str| wrong.map(pick).unwrap_or_default().to_owned();
    pb::Refusal {
        code: refusal.code.as_str().to_owned(),
        message: refusal.message.clone(),
        // 0 is for what nobody knows.
        recovery_eta_ms: refusal.recovery_eta.map_or(0, |eta| ms(eta).max(1)),
        can_retry: refusal.can_retry(),
        should_wait: refusal.should_wait(),
        field: text(|wrong| wrong.field),
        value: text(|wrong| &wrong.value),
        bound: text(|wrong| &wrong.bound),
    }
}

pub(super) fn provisioning(picture: &Picture) -> pb::Provisioning {
    pb::Provisioning {
        can_provision: picture.blocked.is_none(),
        blocked: picture.blocked.as_ref().map(refusal),
        in_flight: count(picture.in_flight),
        waiting: count(picture.waiting),
        breaker: picture.breaker.to_owned(),
        last_failure: picture.last_failure.clone().unwrap_or_default(),
        services: picture
            .services
            .iter()
            .map(|service| service_engines(service, picture))
            .collect(),
    }
}

fn service_engines(view: &ServiceView, picture: &Picture) -> pb::ServiceEngines {
    let own = picture.engines.iter();
    let starting = own
        .filter(|engine| engine.service == view.service)
        .filter(|engine| matches!(engine.state, "starting" | "probing"))
        .count();
    let wanted = view.ready.saturating_add(count(starting));
    pb::ServiceEngines {
        service: view.service.clone(),
        wanted: wanted.max(view.min),
        ready: view.ready,
        min: view.min,
        max: view.max,
        owner: view.owner.clone(),
        breaker: view.breaker.to_owned(),
        blocked: view.blocked.as_ref().map(refusal),
        refused: view.refused.as_ref().map(refusal),
    }
}

/// A VPN whose ports are believed for `ttl`.
pub(super) fn port(view: &VpnView, ttl: Duration, now: Instant, behind: Behind) -> pb::VpnPort {
    let age = view.good.map(|(_, asked)| age(now, asked));
    pb::VpnPort {
        vpn: view.name.clone(),
        state: view.port_state.name().to_owned(),
        port: view.good.map_or(0, |(port, _)| port.get().into()),
        stale: age.is_some_and(|age| age >= ttl),
        age_ms: age.map_or(0, ms),
        epoch: view.epoch,
        owner: view.owner.clone(),
        health: view.health.name().to_owned(),
        public_ip: view.public_ip.clone().unwrap_or_default(),
        alarms: view.alarms.clone(),
        counters: Some(counters(view)),
        engines: behind.engines,
        forwarded_engine: behind.forwarded,
        picture: Some(picture(view, now)),
    }
}

fn picture(view: &VpnView, now: Instant) -> pb::PortPicture {
    let latest = match view.port_state {
        State::Ready(port) => port.get(),
        _ => 0,
    };
    // As long as it answers, its own word counts.
    let is_out = view.port_state == State::Failed(Failure::Unreachable);
    let fallback = view.good.filter(|_| is_out);
    let network = view.network.as_ref();
    pb::PortPicture {
        incarnation: view.incarnation,
        asked_age_ms: view.asked_at.map(|(asked, _)| ms(age(now, asked))),
        told_age_ms: view.asked_at.map_or(0, |(_, told)| ms(age(now, told))),
        port: latest.into(),
        fallback_port: fallback.map_or(0, |(port, _)| port.get().into()),
        fallback_age_ms: fallback.map_or(0, |(_, asked)| ms(age(now, asked))),
        settled_port: view.settled.map_or(0, |port| port.get().into()),
        networks: view.networks,
        tunnels: view.tunnels,
        // 0 is for ports that do not take turns.
        calm_in_ms: view
            .calm_at
            .map_or(0, |at| ms(at.saturating_duration_since(now)).max(1)),
        container_id: network.map(|one| one.id.clone()).unwrap_or_default(),
        container_started_unix_ms: network.map_or(0, |one| one.started_unix_ms),
    }
}

/// Look-ups that the table alone answered are hits like others.
pub(super) fn counters(view: &VpnView) -> pb::PortCounters {
    let all = Counters {
        hits: view.counters.hits.saturating_add(view.counts.hits()),
        ..view.counters
    };
    pb::PortCounters {
        hits: all.hits,
        misses: all.misses,
        coalesced: all.coalesced,
        upstream_calls: all.upstream_calls,
        calls_saved: all.calls_saved(),
        stale_replies_dropped: all.stale_replies_dropped,
        stale_served: all.stale_served,
    }
}

fn age(now: Instant, then: Instant) -> Duration {
    now.saturating_duration_since(then)
}

/// Rounded up: nothing is told younger than it is.
fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;
    use std::sync::Arc;

    use weir_core::provision::RefusalCode;
    use weir_core::vpn;

    use super::*;
    use crate::actors::port_cache::Counts;

    const TTL: Duration = Duration::from_secs(60);
    const MS: Duration = Duration::from_millis(1);

    fn view(port_state: State, good: Option<(u16, Instant)>, told: Instant) -> VpnView {
        VpnView {
            name: "nl".to_owned(),
            port_state,
            good: good.map(|(port, asked)| (NonZeroU16::new(port).unwrap(), asked)),
            settled: NonZeroU16::new(5_000),
            calm_at: None,
            asked_at: Some((told, told)),
            epoch: 3,
            incarnation: 7,
            health: vpn::State::Stable,
            owner: "a".to_owned(),
            public_ip: None,
            alarms: Vec::new(),
            network: None,
            networks: 1,
            tunnels: 2,
            counters: Counters {
                misses: 2,
                upstream_calls: 1,
                ..Counters::default()
            },
            counts: Arc::new(Counts::default()),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn ages_are_rounded_up_and_a_port_past_its_time_is_stale() {
        let asked = Instant::now();
        let ready = view(
            State::Ready(NonZeroU16::new(5_000).unwrap()),
            Some((5_000, asked)),
            asked,
        );
        let at = |age: Duration| port(&ready, TTL, asked + age, Behind::default());
        assert_eq!(at(Duration::from_micros(1_001)).age_ms, 2);
        assert!(!at(TTL - MS).stale);
        assert!(at(TTL).stale);
        let told = at(5 * MS);
        let picture = told.picture.unwrap();
        assert_eq!((picture.port, picture.fallback_port), (5_000, 0));
        assert_eq!((picture.asked_age_ms, picture.told_age_ms), (Some(5), 5));
        assert_eq!((picture.incarnation, told.epoch), (7, 3));
        assert_eq!((picture.networks, picture.tunnels), (1, 2));
        assert_eq!((&*told.state, &*told.health), ("ready", "stable"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_good_port_is_a_fallback_only_while_nobody_answers() {
        let asked = Instant::now();
        let told = |state| {
            let view = view(state, Some((5_000, asked)), asked + 3 * MS);
            port(&view, TTL, asked + 10 * MS, Behind::default())
        };
        let out = told(State::Failed(Failure::Unreachable));
        let picture = out.picture.unwrap();
        assert_eq!((out.port, picture.port), (5_000, 0));
        assert_eq!(
            (picture.fallback_port, picture.fallback_age_ms),
            (5_000, 10)
        );
        assert_eq!(picture.asked_age_ms, Some(7));
        let refused = told(State::Failed(Failure::AuthRequired)).picture.unwrap();
        assert_eq!((refused.port, refused.fallback_port), (0, 0));
    }

    #[test]
    fn an_end_that_nobody_knows_is_no_end_that_is_near() {
        let open = Refusal::new(RefusalCode::CircuitBreaker, "failures");
        assert_eq!(refusal(&open).recovery_eta_ms, 0);
        let now = open.with_eta(Duration::ZERO);
        assert_eq!(refusal(&now).recovery_eta_ms, 1);
        assert!(refusal(&now).can_retry && refusal(&now).should_wait);
    }

    #[test]
    fn engines_that_start_are_wanted() {
        let engine = |state| EngineView {
            service: "tv".to_owned(),
            state,
            ..EngineView::default()
        };
        let service = ServiceView {
            service: "tv".to_owned(),
            ready: 2,
            min: 1,
            max: 9,
            ..ServiceView::default()
        };
        let picture = Picture {
            engines: vec![engine("ready"), engine("starting"), engine("draining")],
            services: vec![service],
            ..Picture::default()
        };
        let told = provisioning(&picture);
        assert!(told.can_provision);
        assert_eq!((told.services[0].wanted, told.services[0].ready), (3, 2));
    }
}
