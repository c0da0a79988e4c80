//! A Docker, and a node that has its engines there.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use weir_fakes::containers::{self, Docker};
use weir_proto::control::v1 as control;
use weir_proto::control::v1::jobs_client::JobsClient;
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::provision_client::ProvisionClient;

use crate::common::{Weir, free_ports};
use crate::control_plane::plane::ControlPlane;
use crate::grpc::channel;

/// For what takes seconds, on a machine that is busy.
pub const EVENTUALLY: Duration = Duration::from_secs(45);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Ports that the engines of one test may have.
const PORTS: usize = 40;

/// What a test runs on; removes every container that it made.
pub struct Stage {
    pub docker: Arc<Docker>,
    pub image: String,
    /// Unique on the Docker, because containers are named after it.
    pub service: String,
    /// Ports for engines.
    pub ports: (u16, u16),
    pub data: tempfile::TempDir,
}

/// A container of the test.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    pub name: String,
    pub id: String,
    pub runs: bool,
}

impl Stage {
    pub fn new(test: &str) -> Self {
        Self::on(containers::docker().unwrap(), test)
    }

    /// On this Docker.
    pub fn on(docker: Arc<Docker>, test: &str) -> Self {
        let image = docker.image_of("fake-engine").unwrap();
        Self {
            docker,
            image,
            service: format!("{test}{}", std::process::id()),
            ports: range_of_ports(),
            data: tempfile::tempdir().unwrap(),
        }
    }

    /// A node of its own with quick tries, whose Docker is behind `socket`.
    pub fn node(&self, socket: &Path) -> String {
        format!(
            "[node]\nname = \"{}\"\ndata_dir = \"{}\"\ndrain_timeout = \"1s\"\n{}",
            self.service,
            self.data.path().display(),
            self.provision(socket, self.ports),
        )
    }

    /// How a node provisions, with these ports for its engines.
    pub fn provision(&self, socket: &Path, (first, last): (u16, u16)) -> String {
        format!(
            "[provision]\ndocker_socket = \"unix://{}\"\nhost_ports = \"{first}-{last}\"\n\
             interval_min = \"0s\"\nretry_delay = \"500ms\"\nretry_delay_max = \"1s\"\n",
            socket.display(),
        )
    }

    /// The service with these further keys of its engines, and a route for everything.
    pub fn service(&self, engines: &str) -> String {
        let route = format!("[[routes]]\nservice = \"{}\"\n", self.service);
        self.unrouted(engines) + &route
    }

    /// The same without a route.
    pub fn unrouted(&self, engines: &str) -> String {
        format!(
            "[services.{0}]\ndrain_timeout = \"1s\"\n[services.{0}.engines]\nimage = \"{1}\"\n\
             stop_timeout = \"1s\"\n{engines}\n[services.{0}.engines.probe]\ncheck = \"http\"\n\
             path = \"/server/api?method=get_status\"\ninterval = \"200ms\"\ntimeout = \"500ms\"\n\
             ready_timeout = \"10s\"\n",
            self.service, self.image,
        )
    }

    /// A node with at least two engines on the network of this machine.
    pub fn two_engines(&self) -> String {
        self.node(self.docker.socket()) + &self.service("network = \"host\"\nmin = 2\nmax = 8")
    }

    /// Containers of engines, by name.
    pub fn engines(&self) -> Vec<Seen> {
        let all = self.ask("GET", "/containers/json?all=1", &Value::Null);
        let ours = all.as_array().unwrap().iter().filter(|container| {
            let labels = &container["Labels"];
            labels["weir.engine"] == "1" && labels["weir.service"] == self.service.as_str()
        });
        let mut seen: Vec<Seen> = ours.map(seen).collect();
        seen.sort();
        seen
    }

    /// Waits until exactly these many engines are in traffic, and nothing else is left of others.
    pub async fn until_ready(&self, weir: &Weir, count: usize) -> Vec<pb::Engine> {
        let what = format!("{count} engines are ready, and no more containers are there");
        eventually(weir, &what, async || {
            let engines = engines_of(weir).await?;
            let ready = engines
                .iter()
                .filter(|engine| engine.state == "ready")
                .count();
            let here = self.engines();
            let runs = here.iter().all(|container| container.runs);
            let exact = [ready, engines.len(), here.len()] == [count; 3];
            (exact && runs).then_some(engines)
        })
        .await
    }

    pub fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = match body {
            Value::Null => Vec::new(),
            body => body.to_string().into_bytes(),
        };
        let answer = self.docker.ask(method, path, &body).unwrap();
        assert!(answer.status < 400, "{method} {path}: {answer:?}");
        serde_json::from_str(&answer.body).unwrap_or(Value::Null)
    }

    /// Ends a container as a crash would.
    pub fn kill(&self, id: &str) {
        self.ask("POST", &format!("/containers/{id}/kill"), &Value::Null);
    }

    pub fn inspect(&self, id: &str) -> Value {
        self.ask("GET", &format!("/containers/{id}/json"), &Value::Null)
    }

    /// Starts a container that is no engine of Weir's.
    pub fn run(&self, name: &str, more: Value) -> String {
        let mut body = json!({ "Labels": { "weir.test": self.service } });
        let Value::Object(more) = more else {
            panic!("members of an object");
        };
        body.as_object_mut().unwrap().extend(more);
        let made = self.ask("POST", &format!("/containers/create?name={name}"), &body);
        let id = made["Id"].as_str().unwrap().to_owned();
        self.ask("POST", &format!("/containers/{id}/start"), &Value::Null);
        id
    }

    pub fn remove(&self, id: &str) {
        self.ask(
            "DELETE",
            &format!("/containers/{id}?force=true"),
            &Value::Null,
        );
    }
}

impl Stage {
    /// Removes every container of the test.
    pub fn clear(&self) {
        let Ok(answer) = self.docker.ask("GET", "/containers/json?all=1", &[]) else {
            return;
        };
        let all: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        for container in all.as_array().into_iter().flatten() {
            let labels = &container["Labels"];
            let service = self.service.as_str();
            if labels["weir.service"] == service || labels["weir.test"] == service {
                let id = container["Id"].as_str().unwrap_or_default();
                let _ = self
                    .docker
                    .ask("DELETE", &format!("/containers/{id}?force=true"), &[]);
            }
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Ports that no other test of this process has.
pub fn range_of_ports() -> (u16, u16) {
    loop {
        let ports = free_ports::<PORTS>().map(|address| address.port());
        let (first, last) = (ports[0], ports[PORTS - 1]);
        // They begin anew at the end of what there is.
        if first < last && usize::from(last - first) < 2 * PORTS {
            return (first, last);
        }
    }
}

fn seen(container: &Value) -> Seen {
    let name = container["Names"][0].as_str().unwrap_or_default();
    Seen {
        name: name.trim_start_matches('/').to_owned(),
        id: container["Id"].as_str().unwrap().to_owned(),
        runs: container["State"] == "running",
    }
}

/// What the node says of its engines; `None` when it does not answer.
pub async fn engines_of(weir: &Weir) -> Option<Vec<pb::Engine>> {
    let mut client = ProvisionClient::new(channel(weir.grpc).await);
    let asked = client.list_engines(pb::ListEnginesRequest { mesh: false });
    Some(asked.await.ok()?.into_inner().engines)
}

pub async fn provisioning(weir: &Weir) -> pb::Provisioning {
    let mut client = ProvisionClient::new(channel(weir.grpc).await);
    let asked = client.get_provisioning(pb::GetProvisioningRequest {});
    asked.await.unwrap().into_inner()
}

/// Waits until no job is under way: a job is until it is kept as done.
pub async fn until_jobs_are_done(weir: &Weir) {
    eventually(weir, "no job is open", async || {
        let told = provisioning(weir).await;
        (told.in_flight + told.waiting == 0).then_some(())
    })
    .await;
}

pub async fn stop_engine(weir: &Weir, engine: &str) {
    let mut client = ProvisionClient::new(channel(weir.grpc).await);
    let request = pb::StopEngineRequest {
        engine_id: engine.to_owned(),
        now: false,
    };
    client.stop_engine(request).await.unwrap();
}

/// Every job of this service that the control plane knows, in whatever state.
pub async fn all_jobs(plane: &ControlPlane, service: &str) -> Vec<control::Job> {
    let mut client = JobsClient::new(plane.channel());
    // One that ends between two pages is on both of them.
    let (mut jobs, mut after) = (BTreeMap::new(), String::new());
    loop {
        let list = control::ListJobsRequest {
            queue: "engines".to_owned(),
            after,
            ..control::ListJobsRequest::default()
        };
        let page = client.list(list).await.unwrap().into_inner();
        let ours = |job: &control::Job| {
            job.spec
                .as_ref()
                .is_some_and(|spec| spec.service == service)
        };
        let found = page.jobs.into_iter().filter(ours);
        jobs.extend(found.map(|job| (job.job_id.clone(), job)));
        after = page.next;
        if after.is_empty() {
            return jobs.into_values().collect();
        }
    }
}

pub fn ids(engines: &[pb::Engine]) -> Vec<String> {
    let mut ids: Vec<String> = engines.iter().map(|one| one.container_id.clone()).collect();
    ids.sort();
    ids
}

/// Asks until it is so.
pub async fn eventually<T>(weir: &Weir, what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + EVENTUALLY;
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        if Instant::now() >= deadline {
            let engines = engines_of(weir).await;
            panic!("not so: {what}; engines {engines:#?}; log:\n{}", weir.log());
        }
        sleep(LOOK_INTERVAL).await;
    }
}
