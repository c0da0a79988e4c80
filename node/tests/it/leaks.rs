//! Faults leave nothing behind: no socket, no memory, no request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::client::{Broken, Client};
use crate::common::{PATIENCE, Weir};
use crate::faulty::{Fault, Refusing};

const FAULTS: &[Fault] = &[
    Fault::Reset,
    Fault::Close,
    Fault::ResetAfterHead,
    Fault::CutHead,
    Fault::Garbage,
    Fault::TwoLengths,
    Fault::EndlessHeader,
    Fault::Switch,
    Fault::Short,
    Fault::CutChunk,
    Fault::BadChunk,
    Fault::Hang,
    Fault::Stall,
];
const WARM_UP: usize = 1_000;
const REQUESTS: usize = 10_000;
const CLIENTS: usize = 64;
const GROWTH_MAX: u64 = 32 << 20;

/// Services named by their place in [`FAULTS`]; the last one is refused.
fn config(backends: &[SocketAddr]) -> String {
    let service = |(at, address): (usize, &SocketAddr)| {
        format!(
            "[services.s{at}]\nbackends = [\"{address}\"]\ntimeouts = {{ read = \"20ms\" }}\n\
             [[routes]]\nservice = \"s{at}\"\npath = \"/s{at}\"\n"
        )
    };
    backends.iter().enumerate().map(service).collect()
}

fn open_sockets(weir: &Weir) -> usize {
    let fds = std::fs::read_dir(format!("/proc/{}/fd", weir.pid().as_raw_pid())).unwrap();
    fds.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok())
        .filter(|target| target.to_string_lossy().starts_with("socket:"))
        .count()
}

pub fn resident_bytes(weir: &Weir) -> u64 {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", weir.pid().as_raw_pid())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}

/// Sends `requests` to the faulty services, a few at a time; panics when one is not answered rightly.
async fn suffer(ingress: SocketAddr, services: usize, requests: usize) {
    let next = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let next = Arc::clone(&next);
        clients.spawn(async move {
            let mut client = Client::connect(ingress).await;
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= requests {
                    return;
                }
                match client.get(&format!("/s{}", at % services)).await {
                    Ok(answer) => assert!((502..=504).contains(&answer.status), "{answer:?}"),
                    Err(Broken::Cut(_)) => client = Client::connect(ingress).await,
                    Err(Broken::Unanswered) => panic!("request {at} has no answer"),
                }
            }
        });
    }
    clients.join_all().await;
}

#[tokio::test]
async fn ten_thousand_faults_leave_no_socket_no_memory_and_no_request_behind() {
    let refusing = Refusing::new();
    let mut backends = Vec::new();
    for fault in FAULTS {
        backends.push(fault.listen().await);
    }
    backends.push(refusing.address());
    let weir = Weir::start(&config(&backends)).await;
    let sockets = open_sockets(&weir);
    suffer(weir.ingress, backends.len(), WARM_UP).await;
    let resident = resident_bytes(&weir);

    suffer(weir.ingress, backends.len(), REQUESTS).await;

    weir.wait_for_metric("weir_requests_in_flight", |running| running == 0.0)
        .await;
    let deadline = Instant::now() + PATIENCE;
    while open_sockets(&weir) > sockets {
        let open = open_sockets(&weir);
        assert!(
            Instant::now() < deadline,
            "{open} sockets, {sockets} before"
        );
        sleep(std::time::Duration::from_millis(20)).await;
    }
    let grown = resident_bytes(&weir).saturating_sub(resident);
    assert!(grown < GROWTH_MAX, "{grown} bytes more");
    let answers = weir.metric("weir_own_answers_total").await;
    assert_eq!(answers, (WARM_UP + REQUESTS) as f64);
}
