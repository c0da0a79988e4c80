//! A driver with an owner of its own on a Docker for tests; what it leaves is removed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use weir_engines::docker::{Docker, Settings};
use weir_engines::driver::{Driver, EngineSpec, Network, Running};
use weir_fakes::containers;

pub(crate) const START_TIMEOUT: Duration = Duration::from_secs(20);
pub(crate) const GRACE: Duration = Duration::from_secs(5);
/// For what takes milliseconds, on a machine that is busy.
const EVENTUALLY: Duration = Duration::from_secs(20);

pub(crate) struct Stage {
    pub(crate) docker: Arc<containers::Docker>,
    pub(crate) owner: String,
    pub(crate) image: String,
    pub(crate) driver: Docker,
}

impl Stage {
    pub(crate) fn new(test: &str) -> Self {
        let docker = containers::docker().unwrap();
        let image = docker.image_of("fake-engine").unwrap();
        let owner = format!("{test}-{}", process::id());
        let driver = Docker::new(Self::settings(docker.socket().into(), &owner));
        Self {
            docker,
            owner,
            image,
            driver,
        }
    }

    pub(crate) fn settings(socket: PathBuf, owner: &str) -> Settings {
        Settings {
            socket,
            ..Settings::of(owner)
        }
    }

    /// Another life of the same node.
    pub(crate) fn another(&self) -> Docker {
        Docker::new(Self::settings(self.docker.socket().into(), &self.owner))
    }

    /// Names are one space on a Docker.
    pub(crate) fn name(&self, of: &str) -> String {
        format!("{}-{of}", self.owner)
    }

    pub(crate) fn spec(&self, of: &str, fence: u64) -> EngineSpec {
        EngineSpec {
            name: self.name(of),
            fence,
            labels: BTreeMap::from([("service".to_owned(), "tv".to_owned())]),
            image: self.image.clone(),
            command: vec!["--http-port=0".to_owned()],
            env: BTreeMap::new(),
            network: Network::None,
            published: Vec::new(),
            memory_bytes_max: None,
            cpu_millis_max: None,
            start_timeout: START_TIMEOUT,
        }
    }

    /// One that ends with this code at once.
    pub(crate) fn broken(&self, of: &str, fence: u64, code: u8) -> EngineSpec {
        EngineSpec {
            command: vec![format!("--fake-exit-at-once={code}")],
            ..self.spec(of, fence)
        }
    }

    pub(crate) async fn only(&self) -> Running {
        let mut all = self.driver.list().await.unwrap();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    /// Made by somebody else.
    pub(crate) fn foreign(&self, of: &str, more: &Value) -> String {
        let mut body = serde_json::json!({
            "Image": self.image,
            "Cmd": ["--http-port=0"],
            "Labels": { "weir.test": self.owner },
            "HostConfig": { "NetworkMode": "none", "Init": true },
        });
        let members = more.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(members);
        let name = self.name(of);
        let created = self.ask("POST", &format!("/containers/create?name={name}"), &body);
        let id = created["Id"].as_str().unwrap().to_owned();
        self.ask("POST", &format!("/containers/{id}/start"), &Value::Null);
        id
    }

    pub(crate) fn remove(&self, name: &str) {
        self.ask(
            "DELETE",
            &format!("/containers/{name}?force=true"),
            &Value::Null,
        );
    }

    pub(crate) fn inspect(&self, name: &str) -> Value {
        self.ask("GET", &format!("/containers/{name}/json"), &Value::Null)
    }

    pub(crate) fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        let answer = self.docker.ask(method, path, &body).unwrap();
        assert!(answer.status < 400, "{method} {path}: {answer:?}");
        serde_json::from_str(&answer.body).unwrap_or(Value::Null)
    }

    /// Ids of all containers that this test has made, in whatever state.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let labels = ["weir.owner", "weir.test"].map(|label| format!("{label}={}", self.owner));
        let ids = |label: &String| {
            // Written as a URL has it: {"label":["..."]}
            let path =
                format!("/containers/json?all=1&filters=%7B%22label%22%3A%5B%22{label}%22%5D%7D");
            let answer = self.docker.ask("GET", &path, &[]).unwrap();
            let listed: Value = serde_json::from_str(&answer.body).unwrap();
            let each = listed.as_array().unwrap().iter();
            each.map(|container| container["Id"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        labels.iter().flat_map(ids).collect()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for id in self.leftovers() {
            let _ = self
                .docker
                .ask("DELETE", &format!("/containers/{id}?force=true"), &[]);
        }
    }
}

/// Asks until it is so.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let found = tokio::time::timeout(EVENTUALLY, asking).await;
    found.unwrap_or_else(|_| panic!("not within {EVENTUALLY:?}: {what}"))
}
