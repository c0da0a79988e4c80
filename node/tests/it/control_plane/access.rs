//! A control plane that asks who calls: nodes with a token or a certificate of their own, and nobody else.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::plane::ControlPlane;
use super::{Node, service};
use crate::client::Load;
use crate::common::PATIENCE;
use crate::control_cli::Ended;
use crate::steered::Steered;

/// An authority, and a folder for what it signs.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: tempfile::TempDir,
    ca: PathBuf,
}

impl Authority {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let ca = write(
            folder.path(),
            "ca.pem",
            &params.self_signed(&key).unwrap().pem(),
        );
        let issuer = Issuer::new(params, key);
        Self { issuer, folder, ca }
    }

    /// Certificate and key of a server on loopback, or of a client with a URI.
    pub(super) fn sign(&self, name: &str, uri: Option<&str>) -> [String; 2] {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        let usage = match uri {
            None => ExtendedKeyUsagePurpose::ServerAuth,
            Some(_) => ExtendedKeyUsagePurpose::ClientAuth,
        };
        params.extended_key_usages.push(usage);
        let uri = uri.map(|uri| SanType::URI(uri.try_into().unwrap()));
        params.subject_alt_names.extend(uri);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let folder = self.folder.path();
        [
            write(folder, &format!("{name}.pem"), &certificate.pem()),
            write(folder, &format!("{name}.key"), &key.serialize_pem()),
        ]
        .map(|path| path.to_str().unwrap().to_owned())
    }

    /// Certificate and key of a server, in a folder that is a link.
    fn serve(&self) -> [String; 2] {
        let folder = self.folder.path().join("first");
        std::fs::create_dir(&folder).unwrap();
        for (from, to) in self
            .sign("server", None)
            .iter()
            .zip(["cert.pem", "key.pem"])
        {
            std::fs::rename(from, folder.join(to)).unwrap();
        }
        self.link("live", &folder);
        ["cert.pem", "key.pem"].map(|name| self.path(&format!("live/{name}")))
    }

    /// Makes a link, or moves it, in one step.
    pub(super) fn link(&self, name: &str, to: &Path) {
        let next = self.folder.path().join("next");
        std::os::unix::fs::symlink(to, &next).unwrap();
        std::fs::rename(next, self.folder.path().join(name)).unwrap();
    }

    pub(super) fn ca(&self) -> &str {
        self.ca.to_str().unwrap()
    }

    /// A file in its folder.
    pub(super) fn path(&self, name: &str) -> String {
        let path = self.folder.path().join(name);
        path.to_str().unwrap().to_owned()
    }

    /// A file for a token.
    pub(super) fn token(&self, name: &str, token: &str) -> String {
        let path = write(self.folder.path(), name, token);
        path.to_str().unwrap().to_owned()
    }
}

fn write(folder: &Path, name: &str, content: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

/// A control plane that asks for tokens or certificates, its authority, and what proves an administrator.
pub(super) struct Guarded {
    pub(super) plane: ControlPlane,
    pub(super) authority: Authority,
    admin: Vec<String>,
}

impl Guarded {
    pub(super) async fn start() -> Self {
        let authority = Authority::new();
        let [cert, key] = authority.serve();
        let bootstrap = authority.folder.path().join("bootstrap");
        let bootstrap = bootstrap.to_str().unwrap();
        let ca = authority.ca();
        let plane = ControlPlane::spawn(&[
            "--access",
            "tokens-or-mtls",
            "--tls-cert",
            &cert,
            "--tls-key",
            &key,
            "--client-ca",
            ca,
            "--bootstrap-token-file",
            bootstrap,
        ]);
        let admin = ["--ca", ca, "--token-file", bootstrap];
        let guarded = Self {
            admin: admin.map(str::to_owned).to_vec(),
            plane,
            authority,
        };
        let deadline = Instant::now() + PATIENCE;
        while guarded.weir(&["nodes"]).await.code != 0 {
            assert!(Instant::now() < deadline, "{}", guarded.plane.log());
            sleep(std::time::Duration::from_millis(50)).await;
        }
        guarded
    }

    /// Runs a command as the administrator.
    async fn weir(&self, arguments: &[&str]) -> Ended {
        let admin: Vec<&str> = self.admin.iter().map(String::as_str).collect();
        self.plane.weir(&[arguments, &admin].concat()).await
    }

    /// Makes a token of a node and returns its file.
    pub(super) async fn node_token(&self, name: &str, node: &str) -> String {
        let create = [
            "control-plane",
            "token",
            "create",
            name,
            "--role",
            "node",
            "--subject",
            node,
        ];
        let token = self.weir(&create).await.done();
        self.authority.token(name, token.trim())
    }

    /// Keys of `[control_plane]` of a node with this token.
    pub(super) fn keys(&self, token: &str) -> String {
        format!(
            "endpoints = [\"{}\"]\nca = \"{}\"\ntoken = \"file:{token}\"\n",
            self.plane.address,
            self.authority.ca()
        )
    }

    async fn node(&self, id: &str) -> Value {
        let out = self.weir(&["nodes", "get", id, "-o", "json"]).await;
        if out.code == 0 {
            out.json()
        } else {
            Value::Null
        }
    }

    pub(super) async fn sees(&self, id: &str, presence: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let node = self.node(id).await;
            if node["presence"] == presence {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{id} is not {presence}: {node}\n{}",
                self.plane.log()
            );
            sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn a_node_with_its_token_is_let_in_until_the_token_is_revoked() {
    let guarded = Guarded::start().await;
    let backend = Steered::start("one").await;
    let token = guarded.node_token("edge", "node-a").await;
    let config = service(&[backend.address]);
    let node = Node::start_as("node-a", &guarded.keys(&token), &config).await;
    guarded.sees("node-a", "connected").await;
    let set = ["profile", "set", "ingress.header_timeout=7s"];
    let out = guarded.weir(&set).await.done();
    assert!(out.contains("in force on 1 of 1 node"), "{out}");

    let load = Load::start(node.ingress, 2);
    let revoked_at = Instant::now();
    guarded
        .weir(&["control-plane", "token", "revoke", "edge"])
        .await
        .done();
    node.says("no control plane; the node goes on with what it has")
        .await;
    assert!(
        revoked_at.elapsed() < std::time::Duration::from_secs(2),
        "{:?}",
        revoked_at.elapsed()
    );
    guarded.sees("node-a", "suspect").await;
    load.passes(50).await;

    // Another token in the file counts without a restart.
    let other = guarded.node_token("edge-2", "node-a").await;
    std::fs::copy(other, token).unwrap();
    guarded.sees("node-a", "connected").await;
    assert_eq!(load.stop().await.bad, [""; 0]);
    for secret in [guarded.plane.log(), node.log()] {
        assert!(
            !secret.contains("weir_0") && !secret.contains("Bearer"),
            "{secret}"
        );
    }
}

#[tokio::test]
async fn a_token_that_is_wrong_or_another_nodes_is_refused_and_the_log_says_so() {
    let guarded = Guarded::start().await;
    let backend = Steered::start("one").await;
    let config = service(&[backend.address]);
    let wrong = guarded
        .authority
        .token("wrong", &format!("weir_{}", "0".repeat(64)));
    let node = Node::start_as("node-a", &guarded.keys(&wrong), &config).await;
    node.says("no control plane").await;
    node.says("token").await;
    assert!(node.get("/").await.ends_with("one"));

    let of_other = guarded.node_token("edge", "node-b").await;
    let node = Node::start_as("node-a", &guarded.keys(&of_other), &config).await;
    node.says("no control plane").await;
    node.says("node-b").await;
    assert!(node.get("/").await.ends_with("one"));
    assert_eq!(guarded.node("node-a").await, Value::Null);

    // Who speaks no TLS, or trusts another authority, is not connected either.
    let plain = format!("endpoints = [\"{}\"]\n", guarded.plane.address);
    let node = Node::start_as("node-a", &plain, &config).await;
    node.says("no control plane").await;
    let strange = Authority::new();
    let keys = guarded
        .keys(&of_other)
        .replace(guarded.authority.ca(), strange.ca());
    let node = Node::start_as("node-b", &keys, &config).await;
    node.says("no control plane").await;
    assert_eq!(guarded.node("node-b").await, Value::Null);
}

#[tokio::test]
async fn a_node_is_who_its_certificate_says() {
    let guarded = Guarded::start().await;
    let config = service(&[]);
    let [cert, key] = guarded
        .authority
        .sign("node-a", Some("weir://default/node/node-a"));
    let keys = format!(
        "endpoints = [\"{}\"]\nca = \"{}\"\ncert = \"{cert}\"\nkey = \"{key}\"\n",
        guarded.plane.address,
        guarded.authority.ca()
    );
    let _node = Node::start_as("node-a", &keys, &config).await;
    guarded.sees("node-a", "connected").await;
    let other = Node::start_as("node-z", &keys, &config).await;
    other.says("no control plane").await;
    other.says("node-a").await;
    assert_eq!(guarded.node("node-z").await, Value::Null);
}
