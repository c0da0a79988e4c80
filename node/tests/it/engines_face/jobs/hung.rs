//! A node that hangs in the middle of a job and goes on later.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::sleep;

use super::super::{is_ready, seen};
use super::{ask, by_http, json, ports, serve, shell};
use crate::control_plane::Node;
use crate::control_plane::plane::ControlPlane;
use crate::operator::wait_until;

/// One engine of `tv` at most, which this script is.
fn service(ports: &str, script: &str) -> String {
    format!(
        "[provision]\nhost_ports = \"{ports}\"\n[services.tv.engines]\nmin = 0\nmax = 1\n{}\
         [services.tv.engines.probe]\ncheck = \"http\"\ninterval = \"100ms\"\nready_timeout = \"10m\"\n\
         [[routes]]\nservice = \"tv\"\n",
        shell(script),
    )
}

async fn done(node: &Node, kinds: &str) -> usize {
    let path = format!("/api/events?kind={kinds}");
    let told = json(&ask(node, "GET", &path, "", "").await);
    told["events"].as_array().unwrap().len()
}

fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn a_node_that_hangs_in_a_job_is_fenced_when_it_goes_on_and_the_job_is_done_once() {
    let plane = ControlPlane::start().await;
    let keys = format!("endpoints = [\"{}\"]\n", plane.address);
    let (folder, ports) = (tempfile::tempdir().unwrap(), ports());
    let first: u32 = ports.split_once('-').unwrap().0.parse().unwrap();
    let go = folder.path().join("go");
    // It serves as soon as its node goes on.
    let waits = format!(
        "until [ -e {} ]; do sleep 0.05; done; {}",
        go.display(),
        serve()
    );
    let of_a = service(&format!("{first}-{}", first + 6), &waits);
    let of_b = service(&format!("{}-{}", first + 7, first + 14), &serve());
    let a = Node::start_as("node-a", &keys, &of_a).await;
    plane.sees_connected(&a.id).await;
    let wished = by_http(&a, "tv").await;
    assert_eq!(wished.status, 202, "{wished:?}");
    let job = json(&wished)["job_id"].as_str().unwrap().to_owned();
    let list = seen(&a, false, "it is probed", |list| {
        list.engines.iter().any(|engine| engine.state == "probing")
    })
    .await;
    let hers = list.engines[0].pid;
    let b = Node::start_as("node-b", &keys, &of_b).await;
    plane.sees_connected(&b.id).await;

    a.signal(Signal::STOP);
    // Its claim and its slot outlive it by 15 s.
    let ready_on_b = async || {
        let list = json(&ask(&b, "GET", "/api/engines", "", "").await);
        list["engines"][0]["state"] == "ready"
    };
    for _ in 0..3 {
        sleep(Duration::from_secs(5)).await;
    }
    wait_until(&b, "the job is done there", ready_on_b).await;
    assert!(is_alive(hers), "nobody could stop it");
    std::fs::write(&go, "").unwrap();
    a.signal(Signal::CONT);

    wait_until(&a, "its engine is stopped", async || !is_alive(hers)).await;
    wait_until(&a, "it holds nothing", async || {
        let list = json(&ask(&a, "GET", "/api/engines", "", "").await);
        list["engines"].as_array().unwrap().is_empty()
    })
    .await;
    let list = seen(&a, true, "there is one", |list| {
        list.engines.iter().filter(is_ready).count() == 1 && list.engines.len() == 1
    });
    assert_eq!(list.await.engines[0].node, "node-b");
    wait_until(&b, "the job is done in its second try", async || {
        let told = plane.weir(&["jobs", "get", &job, "-o", "json"]).await;
        let told = told.json();
        told["state"] == "done" && told["attempt"] == 2
    })
    .await;
    wait_until(&b, "that is told there", async || {
        done(&b, "job.done").await == 1
    })
    .await;
    assert_eq!(done(&a, "job.done").await, 0);
    assert!(b.get("/").await.contains("hello from tv-1"));
}
