//! A VPN that is back, and one that never was there.

use tokio::time::sleep;
use weir_proto::node::v1::provision_client::ProvisionClient;
use weir_proto::node::v1::{GetProvisioningRequest, ProvisionRequest, provision_response};

use super::engines::{forwarded, node_with, pids, ready};
use super::{HEALTH_ROUTE, LOOK_INTERVAL, PATIENCE, gluetun};
use crate::common::{Backend, Weir};

#[tokio::test]
async fn every_engine_is_replaced_once_when_its_vpn_is_back_where_that_is_wanted() {
    let fake = gluetun(&[]);
    let keys = "min = 3\nmax = 6\nreplacement_cooldown = \"0s\"";
    let mesh = node_with(&[("v1", &fake)], "replace_on_reconnect = true", keys).await;
    let weir = &mesh.weir;
    let all_there = |engines: &[_]| {
        engines.len() == 3 && ready(engines) == 3 && forwarded(engines, "v1").is_some()
    };
    let before = weir.runs("three, one with the port", all_there).await;
    fake.set("status", "crashed").unwrap();
    let hidden = weir
        .runs("all are hidden", |engines| {
            engines.iter().all(|engine| engine.state == "hidden")
        })
        .await;
    assert_eq!(
        pids(&hidden),
        pids(&before),
        "an outage alone replaces none"
    );
    fake.set("status", "running").unwrap();
    let after = weir
        .runs("three others, one with the port", |engines| {
            let now = pids(engines);
            all_there(engines) && pids(&before).iter().all(|one| !now.contains(one))
        })
        .await;
    assert_eq!(forwarded(&after, "v1").unwrap().p2p_port, 5914);
    // Once a recovery.
    weir.asks(&fake, 4).await;
    assert_eq!(pids(&weir.engines().await), pids(&after), "{}", weir.log());
}

/// Files that the node has open.
fn open_files(weir: &Weir) -> usize {
    let folder = format!("/proc/{}/fd", weir.child.id().unwrap());
    std::fs::read_dir(folder).unwrap().count()
}

#[tokio::test]
async fn a_node_whose_vpn_never_answers_serves_everything_else_and_says_why_there_are_no_engines() {
    let fake = gluetun(&[("fault", "hang")]);
    let backend = Backend::start("web").await;
    let keys = format!(
        "min = 2\nmax = 4\n[services.web]\nbackends = [\"{}\"]\n\
         [[routes]]\nservice = \"web\"\nhost = \"web\"",
        backend.address
    );
    let mesh = node_with(&[("v1", &fake)], "", &keys).await;
    let weir = &mesh.weir;
    let request = b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n";
    assert!(weir.exchange(request).await.starts_with("HTTP/1.1 200"));

    let out = weir
        .knows("v1", "that it does not answer", |port| {
            port.state == "unreachable"
        })
        .await;
    assert!(out.alarms[0].contains("did not answer"), "{out:#?}");
    let mut client = ProvisionClient::new(weir.channel());
    let wish = ProvisionRequest {
        service: "tv".to_owned(),
        ..ProvisionRequest::default()
    };
    let answer = client.provision(wish).await.unwrap().into_inner();
    let Some(provision_response::Outcome::Refusal(refused)) = answer.outcome else {
        panic!("{answer:?}");
    };
    assert_eq!(refused.code, "vpn_disconnected");
    assert!(refused.should_wait && refused.can_retry, "{refused:?}");
    assert!(refused.message.contains("v1"), "{refused:?}");

    // However often it is asked, nothing piles up.
    let files = open_files(weir);
    let looks = fake.calls(HEALTH_ROUTE) + 10;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while fake.calls(HEALTH_ROUTE) < looks {
        assert!(tokio::time::Instant::now() < deadline, "{}", weir.log());
        sleep(LOOK_INTERVAL).await;
    }
    let files_now = open_files(weir);
    assert!(files_now <= files + 3, "{files} files, then {files_now}");
    let told = client.get_provisioning(GetProvisioningRequest {}).await;
    let told = told.unwrap().into_inner();
    assert_eq!((told.in_flight, told.waiting), (0, 0), "{told:?}");
    assert_eq!(weir.engines().await, []);
    assert!(weir.exchange(request).await.starts_with("HTTP/1.1 200"));

    fake.set("fault", "none").unwrap();
    weir.runs("two engines, one with the port", |engines| {
        ready(engines) == 2 && forwarded(engines, "v1").is_some()
    })
    .await;
}
