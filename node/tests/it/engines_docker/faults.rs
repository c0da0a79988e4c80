//! What keeps containers from coming up: it is told, nothing of it stays, and it heals.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::provision_client::ProvisionClient;

use super::life::served_by;
use super::stage::{Stage, eventually, provisioning};
use crate::common::Weir;
use crate::grpc::channel;

/// A way to Docker that can hang: nobody answers, and nothing is refused.
struct Way {
    folder: tempfile::TempDir,
    hangs: Arc<watch::Sender<bool>>,
}

impl Way {
    fn new(stage: &Stage, hangs: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("docker.sock")).unwrap();
        let hangs = Arc::new(watch::Sender::new(hangs));
        let (docker, told) = (stage.docker.socket().to_owned(), hangs.subscribe());
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (docker, mut told) = (docker.clone(), told.clone());
                tokio::spawn(async move {
                    let passing = async {
                        let mut server = UnixStream::connect(docker).await?;
                        tokio::io::copy_bidirectional(&mut client, &mut server).await
                    };
                    tokio::select! {
                        biased;
                        _ = told.wait_for(|hangs| *hangs) => {}
                        _ = passing => return,
                    }
                    let _ = told.wait_for(|hangs| !*hangs).await;
                    drop(client);
                });
            }
        });
        Self { folder, hangs }
    }

    fn socket(&self) -> std::path::PathBuf {
        self.folder.path().join("docker.sock")
    }
}

/// Waits until the node tells this as what went wrong last.
async fn is_told(weir: &Weir, what: &str) {
    eventually(weir, what, async || {
        let told = provisioning(weir).await.last_failure;
        told.contains(what).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_does_not_come_up_is_told_tried_again_and_leaves_no_container() {
    let stage = Stage::new("bad");
    let node = stage.node(stage.docker.socket()) + "breaker_failures = 1000\n";
    let engines = |keys: &str| {
        let host = format!("network = \"host\"\nmin = 1\n{keys}");
        let text = node.clone() + &stage.service(&host);
        text.replace("ready_timeout = \"10s\"", "ready_timeout = \"1s\"")
    };
    let image = format!("image = \"{}\"", stage.image);
    let no_image = engines("").replace(&image, "image = \"weir-test/nothing:1\"");
    let cases = [
        (
            no_image,
            "docker: image `weir-test/nothing:1` is not on this machine; pull it first",
        ),
        (
            engines("command = [\"--fake-exit-at-once=3\"]"),
            "docker: it ended at once with code 3",
        ),
        (
            engines("command = [\"--fake-status-hangs=true\"]"),
            "not ready after 1s",
        ),
    ];
    let weir = Weir::start(&cases[0].0).await;
    for (config, told) in &cases {
        weir.edit(config);
        is_told(&weir, told).await;
        let failures = || weir.log().matches("engine not provisioned").count();
        let before = failures();
        eventually(&weir, "it is tried again", async || {
            (failures() > before).then_some(())
        })
        .await;
        weir.edit(&node);
        eventually(&weir, "nothing is left", async || {
            let idle = provisioning(&weir).await.in_flight == 0;
            (idle && stage.engines().is_empty()).then_some(())
        })
        .await;
    }
    weir.edit(&engines(""));
    stage.until_ready(&weir, 1).await;
}

#[tokio::test]
async fn a_container_that_somebody_else_called_so_costs_one_try_and_no_engine() {
    let stage = Stage::new("name");
    let name = format!("weir-{}-1", stage.service);
    let foreign = stage.run(&name, serde_json::json!({ "Image": stage.image }));
    let service = stage.service("network = \"host\"\nmin = 1\nmax = 1");
    let weir = Weir::start(&(stage.node(stage.docker.socket()) + &service)).await;
    is_told(&weir, &name).await;
    let engines = stage.until_ready(&weir, 1).await;
    assert_eq!(engines[0].id, format!("{}-2", stage.service));
    assert_eq!(stage.inspect(&foreign)["State"]["Running"], true);
}

#[tokio::test]
async fn a_docker_that_hangs_holds_up_starts_and_nothing_else() {
    let stage = Stage::new("hang");
    let way = Way::new(&stage, true);
    let service = stage.service("network = \"host\"\nmin = 1\nmax = 3\nstart_timeout = \"1s\"");
    let node = stage.node(&way.socket()) + "attempts_max = 100\n";
    let weir = Weir::start(&(node + &service)).await;
    is_told(&weir, "docker: listing containers took longer than").await;
    way.hangs.send_replace(false);
    stage.until_ready(&weir, 1).await;

    way.hangs.send_replace(true);
    let mut client = ProvisionClient::new(channel(weir.grpc).await);
    let request = pb::ProvisionRequest {
        service: stage.service.clone(),
        idempotency_key: String::new(),
    };
    let asked = client.provision(request).await.unwrap().into_inner();
    assert!(
        matches!(asked.outcome, Some(pb::provision_response::Outcome::Job(_))),
        "{asked:?}"
    );
    is_told(&weir, "docker: starting a container took longer than 1s").await;
    let quick = tokio::time::timeout(Duration::from_secs(2), served_by(&weir)).await;
    assert!(quick.unwrap().is_some(), "{}", weir.log());
    way.hangs.send_replace(false);
    stage.until_ready(&weir, 2).await;
}
