//! Where engines are reached, and whom they reach.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};

use weir_engines::driver::{Driver, EngineSpec, Error, Network, Protocol, PublishedPort};

use crate::stage::{GRACE, Stage, eventually};

fn engine(stage: &Stage, of: &str, arguments: &[&str]) -> EngineSpec {
    EngineSpec {
        command: arguments.iter().map(ToString::to_string).collect(),
        network: Network::Container(stage.name("vpn")),
        ..stage.spec(of, 1)
    }
}

#[tokio::test]
async fn engines_in_the_network_of_a_container_share_its_localhost_and_ports() {
    let stage = Stage::new("joined");
    let vpn = stage.foreign("vpn", &serde_json::json!({ "Cmd": ["--http-port=8000"] }));
    let visit = |of: &str, own: &str, other: &str| {
        engine(
            &stage,
            of,
            &[own, &format!("--fake-visit=127.0.0.1:{other}/admin/state")],
        )
    };
    let one = stage
        .driver
        .start(visit("one", "--http-port=19001", "19002"))
        .await
        .unwrap();
    let two = stage
        .driver
        .start(visit("two", "--http-port=19002", "8000"))
        .await
        .unwrap();
    for running in [&one, &two] {
        assert_eq!(running.network_container_id.as_deref(), Some(vpn.as_str()));
    }
    for (running, port) in [(&one, 19002), (&two, 8000)] {
        let line = eventually("it says whom it visited", async || {
            stage
                .driver
                .logs(&running.name, 10)
                .await
                .unwrap()
                .into_iter()
                .nth(1)
        });
        let expected = format!("visited 127.0.0.1:{port}/admin/state: HTTP/1.1 200 OK");
        assert_eq!(line.await, expected);
    }
    let third = stage
        .driver
        .start(engine(&stage, "three", &["--http-port=19001"]))
        .await
        .unwrap_err();
    let in_use = "http port 19001: Address already in use (os error 98)";
    assert!(
        matches!(&third, Error::EndedAtOnce { code: 98, last_line } if last_line == in_use),
        "{third:?}"
    );
}

#[tokio::test]
async fn a_container_without_which_there_is_no_network_is_told_when_it_is_not_there_or_does_not_run()
 {
    let stage = Stage::new("nonet");
    let vpn = stage.name("vpn");
    let is_missing =
        |error: &Error| matches!(error, Error::Missing { what: "container", name } if *name == vpn);
    let error = stage
        .driver
        .start(engine(&stage, "a", &[]))
        .await
        .unwrap_err();
    assert!(is_missing(&error), "{error:?}");
    stage.foreign("vpn", &serde_json::json!({}));
    stage.ask(
        "POST",
        &format!("/containers/{vpn}/kill"),
        &serde_json::Value::Null,
    );
    let error = stage
        .driver
        .start(engine(&stage, "a", &[]))
        .await
        .unwrap_err();
    assert!(is_missing(&error), "{error:?}");
    assert_eq!(stage.leftovers().len(), 1);
}

#[tokio::test]
async fn a_network_that_is_not_there_is_told_by_name() {
    let stage = Stage::new("nowhere");
    let spec = EngineSpec {
        network: Network::Named("weir-nowhere".to_owned()),
        ..stage.spec("a", 1)
    };
    let error = stage.driver.start(spec).await.unwrap_err();
    assert!(
        matches!(&error, Error::Missing { what: "network", name } if name == "weir-nowhere"),
        "{error:?}"
    );
    assert_eq!(stage.leftovers(), [""; 0]);
}

#[tokio::test]
async fn an_engine_on_the_network_of_this_machine_is_reached_on_loopback() {
    let stage = Stage::new("host");
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let flags = format!("--http-port={free}\n--port=4711");
    let spec = EngineSpec {
        command: Vec::new(),
        env: BTreeMap::from([("CONF".to_owned(), flags)]),
        network: Network::Host,
        ..stage.spec("a", 1)
    };
    stage.driver.start(spec).await.unwrap();
    let target = format!("127.0.0.1:{free}/admin/state");
    let state = eventually("it answers", async || weir_fakes::get(&target).ok()).await;
    assert!(state.contains("\"p2p_port\":4711"), "{state}");
}

/// A network of Docker's, removed at the end: it is an interface of this machine.
struct Bridge<'a>(&'a Stage, String);

impl Drop for Bridge<'_> {
    fn drop(&mut self) {
        for id in self.0.leftovers() {
            let _ = self
                .0
                .docker
                .ask("DELETE", &format!("/containers/{id}?force=true"), &[]);
        }
        let _ = self
            .0
            .docker
            .ask("DELETE", &format!("/networks/{}", self.1), &[]);
    }
}

#[tokio::test]
async fn a_published_port_is_reached_and_one_that_is_in_use_is_told() {
    let stage = Stage::new("published");
    let name = stage.name("bridge");
    stage.ask(
        "POST",
        "/networks/create",
        &serde_json::json!({ "Name": name, "CheckDuplicate": true }),
    );
    let bridge = Bridge(&stage, name);
    let held = TcpListener::bind("0.0.0.0:0").unwrap();
    let host = held.local_addr().unwrap().port();
    let spec = EngineSpec {
        command: ["--http-port=6878", "--bind-all"].map(str::to_owned).into(),
        network: Network::Named(bridge.1.clone()),
        published: vec![PublishedPort {
            container: 6878,
            host,
            address: Some(Ipv4Addr::LOCALHOST.into()),
            protocol: Protocol::Tcp,
        }],
        ..stage.spec("a", 1)
    };
    let error = stage.driver.start(spec.clone()).await.unwrap_err();
    assert!(
        matches!(error, Error::PortInUse(port) if port == host),
        "{error:?}"
    );
    assert_eq!(stage.leftovers(), [""; 0]);

    drop(held);
    stage.driver.start(spec.clone()).await.unwrap();
    let target = format!("127.0.0.1:{host}/admin/state");
    eventually("it answers", async || {
        weir_fakes::get(&target)
            .ok()
            .filter(|got| got.contains("200"))
    })
    .await;
    let elsewhere = format!("127.0.0.2:{host}/admin/state");
    assert!(
        weir_fakes::get(&elsewhere).is_err(),
        "another address of this machine shows it"
    );
    stage.driver.stop(&spec.name, 1, GRACE).await.unwrap();
}
