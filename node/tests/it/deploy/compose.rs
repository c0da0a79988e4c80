//! The cluster of `deploy/compose.yaml` on a Docker for tests. No image is pulled: that of Weir is made by
//! `deploy/image.sh`, and those of others of the programs of this machine, by the same script.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use serde_json::Value;
use weir_fakes::containers::{self, Docker};

use super::{done, file, run};

/// Programs that stand in for the images of others, each with the service that it is for.
const OTHERS: [(&str, &[&str]); 3] = [
    ("etcd", &["etcd", "etcdctl"]),
    ("redis", &["redis-server", "redis-cli"]),
    ("prometheus", &["prometheus"]),
];
const STARTED: [&str; 6] = [
    "node-1",
    "node-2",
    "node-3",
    "backend-1",
    "backend-2",
    "prometheus",
];

/// Ends with the test, with everything that it made.
pub(super) struct Cluster {
    docker: Arc<Docker>,
    /// A copy of `deploy/`, with secrets of its own.
    folder: tempfile::TempDir,
    project: String,
    /// An address of this machine where all ports of the cluster are published.
    bind: String,
    subnet: String,
}

impl Cluster {
    /// Builds the images and starts it, one after the other as the file says.
    pub(super) fn start() -> Self {
        let id = std::process::id();
        let (high, low) = (id / 250 % 250, id % 250 + 1);
        let folder = tempfile::tempdir().unwrap();
        let cluster = Self {
            docker: containers::docker().unwrap(),
            project: format!("weir-test-{id}"),
            bind: format!("127.88.{high}.{low}"),
            subnet: format!("10.88.{low}"),
            folder,
        };
        let copy = cluster.folder.path();
        done(&run(
            "cp",
            &["--recursive", path(&file("deploy/.")), path(copy)],
            copy,
        ));
        let _ = std::fs::remove_dir_all(copy.join("secrets"));
        done(&run("sh", &["secrets.sh"], copy));
        let weir = [cluster.image("weir"), env!("CARGO_BIN_EXE_weir").to_owned()];
        done(&cluster.docker_with(path(&file("deploy/image.sh")), &weir));
        let images = OTHERS.map(|(name, programs)| cluster.image_of(name, programs));
        std::fs::write(copy.join("images.yaml"), images.concat()).unwrap();
        let mut up = vec!["up", "--detach", "--no-build"];
        up.extend(STARTED);
        cluster.compose(&up);
        cluster
    }

    fn image(&self, name: &str) -> String {
        format!("{}/{name}:1", self.project)
    }

    /// Makes an image of programs of this machine; gives what stands in for the service in the file.
    fn image_of(&self, name: &str, programs: &[&str]) -> String {
        let context = tempfile::tempdir_in(self.folder.path()).unwrap();
        let found = programs.iter().map(|program| {
            let found = done(&run("which", &[program], context.path()));
            found.trim().to_owned()
        });
        let folder = context.path().join("image");
        let words: Vec<String> = [path(&folder).to_owned()]
            .into_iter()
            .chain(found)
            .collect();
        done(&self.docker_with(path(&file("deploy/rootfs.sh")), &words));
        let text = "FROM scratch\nCOPY image/root/ /\nENV PATH=/usr/bin\n";
        std::fs::write(context.path().join("Dockerfile"), text).unwrap();
        let image = self.image(name);
        let words = ["build", "--quiet", "--tag", &image, path(context.path())];
        done(&self.docker_with("docker", &words.map(str::to_owned)));
        let mut service = format!("  {name}:\n    image: {image}\n");
        if name == "prometheus" {
            // The image of others begins with its program, and has a shell's tools.
            service += "    entrypoint: [prometheus]\n    user: \"0\"\n";
            service += "    healthcheck: { test: [CMD, prometheus, --version] }\n";
        }
        match OTHERS[0].0 == name {
            true => format!("services:\n{service}"),
            false => service,
        }
    }

    fn docker_with(&self, program: &str, words: &[String]) -> std::process::Output {
        let ran = Command::new(program)
            .args(words)
            .current_dir(self.folder.path())
            .env(
                "DOCKER_HOST",
                format!("unix://{}", self.docker.socket().display()),
            )
            .env("WEIR_IMAGE", self.image("weir"))
            .env("WEIR_BIND", &self.bind)
            .env("WEIR_SUBNET", &self.subnet)
            .output();
        ran.unwrap_or_else(|error| panic!("{program}: {error}; `make setup-test` installs it"))
    }

    fn composed(&self, words: &[&str]) -> std::process::Output {
        let files = ["--file", "compose.yaml", "--file", "images.yaml"];
        let project = ["--project-name", &self.project];
        let words: Vec<String> = [&project[..], &files, words]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect();
        self.docker_with("docker-compose", &words)
    }

    /// What a command of compose says, which must succeed.
    pub(super) fn compose(&self, words: &[&str]) -> String {
        let ran = self.composed(words);
        if !ran.status.success() {
            let log = self.composed(&["logs", "--tail=20"]);
            panic!(
                "{words:?}: {ran:?}\n{}",
                String::from_utf8_lossy(&log.stdout)
            );
        }
        String::from_utf8(ran.stdout).unwrap()
    }

    /// What `weir` says inside a container.
    pub(super) fn weir(&self, service: &str, words: &[&str]) -> String {
        let inside = ["exec", "-T", service, "/usr/bin/weir"];
        self.compose(&[&inside[..], words].concat())
    }

    /// The same, as the administrator of the control plane.
    pub(super) fn administer(&self, service: &str, words: &[&str]) -> String {
        let as_whom = [
            "--ca=/run/secrets/ca.pem",
            "--token-file=/run/secrets/admin-token",
        ];
        self.weir(service, &[words, &as_whom[..]].concat())
    }

    /// The same where it is to fail: what it says of that.
    pub(super) fn weir_refused(&self, service: &str, words: &[&str]) -> String {
        let inside = ["exec", "-T", service, "/usr/bin/weir"];
        let ran = self.composed(&[&inside[..], words].concat());
        assert!(!ran.status.success(), "{ran:?}");
        String::from_utf8_lossy(&ran.stderr).into_owned()
    }

    pub(super) fn at(&self, port: u16) -> SocketAddr {
        format!("{}:{port}", self.bind).parse().unwrap()
    }

    /// What Docker tells of a container: `json`, `top`.
    pub(super) fn told(&self, service: &str, what: &str) -> Value {
        let container = self.compose(&["ps", "--quiet", service]);
        let asked = format!("/containers/{}/{what}", container.trim());
        let answer = self.docker.ask("GET", &asked, &[]).unwrap();
        serde_json::from_str(&answer.body).unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.composed(&["down", "--volumes", "--timeout", "1"]);
        for name in ["weir", "etcd", "redis", "prometheus"] {
            let image = self.image(name);
            self.docker_with("docker", &["rmi", &image].map(str::to_owned));
        }
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
