//! Nodes that are killed at each step of a job.

use futures::stream::{self, StreamExt as _};
use weir_fakes::gluetun::{FakeGluetun, Listen, Settings};
use weir_proto::control::v1 as control;
use weir_proto::control::v1::jobs_client::JobsClient;
use weir_proto::node::v1 as pb;

use super::stage::{Stage, all_jobs, eventually};
use super::tap::{At, Point, Tap};
use crate::control_plane::Node;
use crate::control_plane::plane::ControlPlane;

const QUEUE: &str = "engines";
const FORWARDED: u32 = 50_505;
/// Ports of each VPN: few, so that all of them can be looked at.
const VPN_PORTS: u16 = 4;
/// Nodes that are killed at a time: most of what each takes is the wait for its leases to end.
const AT_ONCE: usize = 8;
/// The slot, a port of the VPN, the port that the VPN forwards.
const HOLDS: u32 = 3;
/// Whatever a job does outside of its node, in its order.
const CALLS: [&str; 7] = [
    "Jobs/Claim",
    "Jobs/Hold",
    "POST /containers/create",
    "POST /containers/start",
    "POST /containers/wait",
    "Registry/Register",
    "Jobs/Complete",
];

/// Before and after each.
fn points() -> Vec<Point> {
    let numbers = |call: &&'static str| match *call {
        "Jobs/Hold" => HOLDS,
        _ => 1,
    };
    let calls = CALLS
        .iter()
        .flat_map(|call| (1..=numbers(call)).map(move |n| (*call, n)));
    let both =
        calls.flat_map(|(call, number)| [At::Asked, At::Done].map(|at| Point { call, number, at }));
    // Who waits for an end is told at once; that a claim was asked for is no step yet.
    both.filter(|point| match point.call {
        "Jobs/Claim" => point.at == At::Done,
        "POST /containers/wait" => point.at == At::Asked,
        _ => true,
    })
    .collect()
}

/// What one node runs on.
struct Scene<'a> {
    plane: &'a ControlPlane,
    stage: Stage,
    gluetun: FakeGluetun,
    jobs: JobsClient<tonic::transport::Channel>,
}

impl<'a> Scene<'a> {
    fn new(number: usize, plane: &'a ControlPlane) -> Self {
        let mut settings = Settings::default();
        settings.set("ports", &FORWARDED.to_string()).unwrap();
        Self {
            plane,
            stage: Stage::new(&format!(
                "cut{}x",
                (b'a' + u8::try_from(number).unwrap()) as char
            )),
            gluetun: FakeGluetun::start(&Listen::default(), settings).unwrap(),
            jobs: JobsClient::new(plane.channel()),
        }
    }

    /// A service that wants one engine and may have two, behind a VPN of its own.
    fn config(&self, tap: &Tap) -> String {
        let Stage { service, ports, .. } = &self.stage;
        format!(
            "{}[vpns.{service}]\ncontrol_url = \"http://{}\"\nports = \"{}-{}\"\n{}",
            self.stage.provision(&tap.docker(), *ports),
            self.gluetun.control(),
            ports.0,
            ports.0 + VPN_PORTS - 1,
            self.stage.service(&format!(
                "network = \"host\"\nvpns = [\"{service}\"]\nmin = 1\nmax = 2"
            )),
        )
    }

    /// The job is there before its node, so the first claim is of it.
    async fn enqueue(&self) {
        let job = control::EnqueueJobRequest {
            queue: QUEUE.to_owned(),
            job_id: format!("{:028x}", fastrand::u128(..) >> 16),
            idempotency_key: self.stage.service.clone(),
            spec: Some(control::JobSpec {
                service: self.stage.service.clone(),
                ..control::JobSpec::default()
            }),
            ..control::EnqueueJobRequest::default()
        };
        self.jobs.clone().enqueue(job).await.unwrap();
    }

    /// Whether somebody has this, asked for by a stranger.
    async fn is_held(&self, name: String) -> bool {
        let holder = control::JobHolder {
            node_id: "stranger".to_owned(),
            boot_id: "1".to_owned(),
        };
        let request = control::HoldRequest {
            queue: QUEUE.to_owned(),
            name,
            holder: Some(holder),
        };
        match self.jobs.clone().hold(request).await {
            Ok(hold) => {
                let hold = Some(hold.into_inner());
                let request = control::ReleaseHoldRequest { hold };
                // What is not given back ends by itself.
                drop(self.jobs.clone().release_hold(request).await);
                false
            }
            // Whoever has it, or a store that is too busy to tell: it is looked at again.
            Err(_) => true,
        }
    }

    /// What is held of all that its service could hold.
    async fn held(&self) -> Vec<String> {
        let Stage { service, ports, .. } = &self.stage;
        let slots = (1..=3).map(|slot| format!("engine:{service}-{slot}"));
        let ports = (ports.0..ports.0 + VPN_PORTS).map(|port| format!("port:{service}:{port}"));
        let all: Vec<String> = slots
            .chain(ports)
            .chain([format!("forwarded:{service}")])
            .collect();
        let asked = stream::iter(all).map(async |name| {
            let is_held = self.is_held(name.clone()).await;
            is_held.then_some(name)
        });
        let mut held: Vec<String> = asked
            .buffered(2)
            .filter_map(async |held| held)
            .collect()
            .await;
        held.sort();
        held
    }

    /// Exactly one engine, its job done once, and nothing held beside what it needs.
    async fn one_engine_is_left(&self, node: &Node, point: Point) {
        let told = format!("killed at {point:?}");
        let job = eventually(node, &format!("{told}: the job is done"), async || {
            let here = self.stage.engines();
            let running = here.iter().filter(|container| container.runs);
            assert!(running.count() <= 1, "{told}: {here:?}\n{}", node.log());
            let jobs = all_jobs(self.plane, &self.stage.service).await;
            assert_eq!(jobs.len(), 1, "{told}: {jobs:#?}\n{}", node.log());
            jobs.into_iter()
                .find(|job| job.state() == control::JobState::Done)
        })
        .await;
        let engines = self.stage.until_ready(node, 1).await;
        let engine = &engines[0];
        assert_eq!(job.result, engine.id, "{told}");
        assert!(
            engine.forwarded && engine.p2p_port == FORWARDED,
            "{told}: {engine:?}"
        );
        let mut needed = [
            format!("engine:{}", engine.id),
            format!("forwarded:{}", self.stage.service),
            format!("port:{}:{}", self.stage.service, engine.port),
        ];
        needed.sort();
        eventually(
            node,
            &format!("{told}: only what it needs is held"),
            async || (self.held().await == needed).then_some(()),
        )
        .await;
        self.is_the_same_after_all(node, engine, &told).await;
    }

    /// Nothing was begun beside it while its holds were looked at.
    async fn is_the_same_after_all(&self, node: &Node, engine: &pb::Engine, told: &str) {
        let after = self.stage.until_ready(node, 1).await;
        assert_eq!(after[0].container_id, engine.container_id, "{told}");
        assert_eq!(
            all_jobs(self.plane, &self.stage.service).await.len(),
            1,
            "{told}: {}",
            node.log()
        );
    }
}

async fn killed_at(number: usize, point: Point, plane: &ControlPlane) {
    let scene = Scene::new(number, plane);
    let tap = Tap::new(plane.address, scene.stage.docker.socket(), point).await;
    scene.enqueue().await;
    let keys = format!("endpoints = [\"{}\"]\n", tap.plane);
    let mut node = Node::start_as(&scene.stage.service, &keys, &scene.config(&tap)).await;
    tap.reached().await;
    node.crash().await;
    tap.open();
    node.start_again().await;
    scene.one_engine_is_left(&node, point).await;
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_killed_at_any_step_of_a_job_leaves_one_engine_and_nothing_else() {
    let plane = &ControlPlane::start().await;
    let points = points();
    assert!(points.len() >= 16, "{points:?}");
    let cases = stream::iter(points.into_iter().enumerate());
    cases
        .for_each_concurrent(AT_ONCE, async |(number, point)| {
            killed_at(number, point, plane).await
        })
        .await;
}
