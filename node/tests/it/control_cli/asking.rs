//! Which instance is asked, and what happens when one does not answer.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use super::fake::Fake;
use super::weir;
use crate::common::{free_ports, scripted_backend};

#[tokio::test]
async fn the_next_address_is_tried_when_one_is_away() {
    let (_fake, address) = Fake::with_nodes().await;
    let [nobody] = free_ports();
    let addresses = format!("{nobody},{address}");
    weir(&addresses, &["profile", "set", "balancer.policy=random"])
        .await
        .done();
    weir(&addresses, &["nodes", "get", "node-1"]).await.done();
}

#[tokio::test]
async fn a_connection_that_breaks_is_one_that_is_away() {
    let (_fake, address) = Fake::with_nodes().await;
    let breaks = scripted_backend(|stream| async move { drop(stream) }).await;
    let addresses = format!("{breaks},{address}");
    weir(&addresses, &["profile", "list"]).await.done();
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_made_once() {
    let (fake, address) = Fake::with_nodes().await;
    let other = fake.listen().await;
    fake.state().await.lose_answer = true;
    let addresses = format!("{address},{other}");
    let out = weir(&addresses, &["profile", "set", "balancer.policy=random"])
        .await
        .done();
    assert!(out.starts_with("fleet: revision 1\n"), "{out}");
    assert_eq!(fake.state().await.profiles["fleet"].len(), 1);
}

#[tokio::test]
async fn what_must_not_be_made_twice_is_not_tried_twice() {
    let (fake, address) = Fake::with_nodes().await;
    let other = fake.listen().await;
    fake.state().await.lose_answer = true;
    let addresses = format!("{address},{other}");
    let create = ["control-plane", "token", "create", "ci", "--role", "viewer"];
    let ended = weir(&addresses, &create).await;
    assert_eq!(ended.code, 3);
    assert!(
        ended.err.contains("look whether it was done"),
        "{}",
        ended.err
    );
    assert_eq!(fake.state().await.tokens.len(), 1);
}

#[tokio::test]
async fn a_control_plane_that_cannot_now_is_one_that_answers() {
    let (fake, address) = Fake::with_nodes().await;
    fake.state().await.lose_answer = true;
    let set = ["profile", "set", "balancer.policy=random"];
    let ended = weir(&address.to_string(), &set).await;
    assert_eq!(
        (ended.code, ended.err.as_str()),
        (
            1,
            "weir: the control plane cannot do it now: the answer is lost\n"
        )
    );
}

#[tokio::test]
async fn nobody_at_any_address_is_told_with_each_reason() {
    let [one, other] = free_ports();
    let ended = weir(&format!("{one},{other}"), &["nodes"]).await;
    assert_eq!(ended.code, 3);
    for address in [one, other] {
        let named = format!("{address}: Connection refused");
        assert!(ended.err.contains(&named), "{}", ended.err);
    }
}

#[tokio::test]
async fn a_server_of_another_kind_is_told_from_a_control_plane() {
    let node = crate::common::Weir::start("").await;
    let grpc = node.grpc.to_string();
    let ended = weir(&grpc, &["nodes"]).await;
    assert!(ended.err.contains("is no control plane"), "{}", ended.err);
    let api = node.api.to_string();
    let ended = weir(&api, &["nodes"]).await;
    assert!(ended.err.contains("speaks no gRPC"), "{}", ended.err);
}

/// What a control plane with TLS and its callers have: who signs, and a pair for each side.
fn certificates() -> (String, [(String, String); 2]) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let pair = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        (certificate.pem(), key.serialize_pem())
    };
    (authority.pem(), [pair("127.0.0.1"), pair("alice")])
}

#[tokio::test]
async fn both_sides_show_certificates_over_tls() {
    let (authority, [(cert, key), caller]) = certificates();
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(cert, key))
        .client_ca_root(Certificate::from_pem(&authority));
    let (fake, _) = Fake::with_nodes().await;
    let address = fake.listen_with_tls(tls).await.to_string();
    let folder = tempfile::tempdir().unwrap();
    let [ca, cert, key, other_ca] = ["ca", "cert", "key", "other"].map(|name| {
        let path = folder.path().join(name);
        path.to_str().unwrap().to_owned()
    });
    std::fs::write(&ca, authority).unwrap();
    std::fs::write(&cert, caller.0).unwrap();
    std::fs::write(&key, caller.1).unwrap();
    std::fs::write(&other_ca, certificates().0).unwrap();

    let nodes = ["nodes", "--ca", &ca, "--cert", &cert, "--key", &key];
    weir(&address, &nodes).await.done();
    let stranger = weir(&address, &["nodes", "--ca", &other_ca]).await;
    assert_eq!(stranger.code, 3);
    let unsigned = "its certificate is not signed by --ca";
    assert!(stranger.err.contains(unsigned), "{}", stranger.err);
    let nameless = weir(&address, &["nodes", "--ca", &ca]).await;
    assert_eq!(nameless.code, 3);
    let asks = "certificate, give --cert and --key";
    assert!(nameless.err.contains(asks), "{}", nameless.err);
    let plain = weir(&address, &["nodes"]).await;
    assert_eq!(plain.code, 3);
    let is_tls = "if it speaks TLS, give --ca";
    assert!(plain.err.contains(is_tls), "{}", plain.err);
    let half = weir(&address, &["nodes", "--ca", &ca, "--cert", &cert]).await;
    assert_eq!(half.code, 2);
    let not_pem = weir(
        &address,
        &["nodes", "--ca", &ca, "--cert", &cert, "--key", &ca],
    )
    .await;
    assert_eq!(not_pem.code, 2, "{}", not_pem.err);
}

#[tokio::test]
async fn a_watch_that_breaks_is_opened_again_and_tells_only_what_is_new() {
    let (fake, address) = Fake::with_nodes().await;
    let other = fake.listen().await;
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["nodes", "watch"])
        .env("WEIR_CONTROL_PLANE", format!("{address},{other}"))
        .env_remove("WEIR_TOKEN")
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let stdout = tokio::io::BufReader::new(child.stdout.take().unwrap());
    let mut lines = tokio::io::AsyncBufReadExt::lines(stdout);
    let mut next = async || {
        let line = tokio::time::timeout(crate::common::PATIENCE, lines.next_line()).await;
        let line = line.unwrap().unwrap().expect("it goes on");
        line.split_whitespace().next().unwrap().to_owned()
    };
    let mut told = Vec::new();
    for _ in 0..4 {
        told.push(next().await);
    }
    assert_eq!(told, ["NODE", "node-1", "node-2", "node-3"]);
    // The stream broke after its first list. What the next one has that is not the same:
    fake.state().await.nodes[1].zone = "other".to_owned();
    assert_eq!(next().await, "node-2");
    fake.state().await.nodes[2].zone = "other".to_owned();
    assert_eq!(next().await, "node-3");
}
