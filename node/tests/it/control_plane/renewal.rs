//! Certificates, keys and authorities are renewed in their files, and nothing is started again.

use std::fs;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::access::{Authority, Guarded};
use super::{Node, service};
use crate::common::PATIENCE;
use crate::operator::wait_until;

const REFUSED: &str = "new TLS files cannot be used, the old ones stay in force";

impl Guarded {
    /// What an operator who trusts this authority is told.
    async fn exit_code(&self, trusted: &Authority) -> i32 {
        let token = self.authority.path("bootstrap");
        let nodes = ["nodes", "--ca", trusted.ca(), "--token-file", &token];
        self.plane.weir(&nodes).await.code
    }

    /// Puts other files in the place of the control plane's certificate and key, both at once.
    fn put(&self, [cert, key]: &[&String; 2]) {
        let folder = tempfile::tempdir_in(self.authority.path(""))
            .unwrap()
            .keep();
        fs::copy(cert, folder.join("cert.pem")).unwrap();
        fs::copy(key, folder.join("key.pem")).unwrap();
        self.authority.link("live", &folder);
    }

    async fn logs(&self, what: &str, times: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.plane.log().matches(what).count() < times {
            assert!(Instant::now() < deadline, "{}", self.plane.log());
            sleep(Duration::from_millis(20)).await;
        }
    }
}

fn keys(guarded: &Guarded, [cert, key]: &[String; 2]) -> String {
    format!(
        "endpoints = [\"{}\"]\nca = \"{}\"\ncert = \"{cert}\"\nkey = \"{key}\"\n",
        guarded.plane.address,
        guarded.authority.ca()
    )
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_to_new_connections_and_open_streams_go_on() {
    let guarded = Guarded::start().await;
    let token = guarded.node_token("edge", "node-a").await;
    let node = Node::start_as("node-a", &guarded.keys(&token), &service(&[])).await;
    guarded.sees("node-a", "connected").await;

    let renewed = Authority::new();
    assert_ne!(guarded.exit_code(&renewed).await, 0);
    guarded.put(&renewed.sign("server", None).each_ref());
    guarded.logs("new TLS files are in force", 1).await;
    assert_eq!(guarded.exit_code(&renewed).await, 0);
    assert_ne!(guarded.exit_code(&guarded.authority).await, 0);

    // The node trusts the old authority only: its stream is the one that it had.
    let token = guarded.authority.path("bootstrap");
    let set = ["profile", "set", "ingress.header_timeout=7s", "--ca"];
    let set = [&set[..], &[renewed.ca(), "--token-file", &token]].concat();
    let out = guarded.plane.weir(&set).await.done();
    assert!(out.contains("in force on 1 of 1 node"), "{out}");
    let connected = node.log().matches("connected to the control plane").count();
    assert_eq!(connected, 1, "{}", node.log());
}

#[tokio::test]
async fn files_that_cannot_be_used_are_told_once_and_change_nothing() {
    let guarded = Guarded::start().await;
    let renewed = Authority::new();
    let [cert, key] = renewed.sign("server", None);
    let [_, of_other] = renewed.sign("other", None);
    let cut = fs::read_to_string(&cert).unwrap();
    let cut = renewed.token("cut.pem", &cut[..cut.len() / 2]);
    for (told, (pair, why)) in [
        ([&cut, &key], "cert.pem holds no certificate"),
        ([&cert, &of_other], "do not belong together"),
        ([&cert, &cert], "key.pem holds no private key"),
    ]
    .into_iter()
    .enumerate()
    {
        guarded.put(&pair);
        guarded.logs(REFUSED, told + 1).await;
        assert!(guarded.plane.log().contains(why), "{}", guarded.plane.log());
        assert_eq!(guarded.exit_code(&guarded.authority).await, 0);
        assert_ne!(guarded.exit_code(&renewed).await, 0);
    }
    guarded.put(&[&cert, &key]);
    guarded.logs("new TLS files are in force", 1).await;
    assert_eq!(guarded.exit_code(&renewed).await, 0);
    let told = guarded.plane.log().matches(REFUSED).count();
    assert_eq!(told, 3, "{}", guarded.plane.log());
}

#[tokio::test]
async fn an_authority_of_clients_counts_when_it_is_added() {
    let guarded = Guarded::start().await;
    let other = Authority::new();
    let own = other.sign("node-a", Some("weir://default/node/node-a"));
    let node = Node::start_as("node-a", &keys(&guarded, &own), &service(&[])).await;
    node.says("no control plane").await;

    let both = [guarded.authority.ca(), other.ca()].map(|ca| fs::read_to_string(ca).unwrap());
    fs::write(guarded.authority.ca(), both.concat()).unwrap();
    guarded.sees("node-a", "connected").await;
}

#[tokio::test]
async fn a_node_shows_its_renewed_certificate_and_keeps_the_old_one_when_the_new_one_is_broken() {
    let mut guarded = Guarded::start().await;
    let uri = Some("weir://default/node/node-a");
    let stranger = Authority::new();
    let strange = stranger.sign("node-a", uri);
    let own = guarded.authority.sign("own", uri);
    let sound = own.each_ref().map(|path| fs::read(path).unwrap());
    for (from, to) in strange.iter().zip(&own) {
        fs::copy(from, to).unwrap();
    }
    let node = Node::start_as("node-a", &keys(&guarded, &own), &service(&[])).await;
    node.says("no control plane").await;
    for (bytes, to) in sound.iter().zip(&own) {
        fs::write(to, bytes).unwrap();
    }
    guarded.sees("node-a", "connected").await;

    fs::write(&own[1], "no key").unwrap();
    guarded.plane.crash().await;
    let before = node.log().len();
    guarded.plane.spawn_again();
    let since = || node.log()[before..].to_owned();
    wait_until(&node, "it is connected again", async || {
        since().contains("connected to the control plane")
    })
    .await;
    assert_eq!(since().matches(REFUSED).count(), 1, "{}", node.log());
}
