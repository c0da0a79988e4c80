//! Tasks of connections beside the task of their shard.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{LocalSet, spawn_local, yield_now};
use tokio::time::{Instant, advance, sleep};
use weir_broadcast::{
    Connection, ConnectionId, Control, Count, Encoding, Shard, Since, Topics, Writing,
};
use weir_core::broadcast::{Class, CutReason, DrainPlan, Limits};
use weir_core::cache::UnixMs;
use weir_proto::node::v1::delivery::What;

use crate::client::{Client, node, publish, topic};

/// Runs a shard by tokio's clock.
fn run(shard: &Rc<Shard>) -> impl Fn() -> UnixMs + Copy + 'static {
    let began = Instant::now();
    let now = move || UnixMs(u64::try_from(began.elapsed().as_millis()).unwrap());
    let shard = Rc::clone(shard);
    spawn_local(async move { shard.run(now).await });
    now
}

fn stage() -> (Arc<Topics>, Rc<Shard>, Client) {
    let (topics, mut shards) = node(Limits::default(), 1);
    let shard = shards.remove(0);
    let mut client = Client::new(&shard);
    client.subscribe("a", Since::Now, 0);
    (topics, shard, client)
}

#[tokio::test(start_paused = true)]
async fn a_message_wakes_its_shard_and_that_its_connection() {
    let local = LocalSet::new();
    local
        .run_until(async {
            let (topics, shard, mut client) = stage();
            let now = run(&shard);
            yield_now().await;
            publish(&topics, "a", Class::Stream, 10, now().0);
            client.connection.ready().await;
            client.drain(now().0).unwrap();
            assert_eq!((client.offsets("a"), now().0), (vec![1], 0));
            // The next two go together, as soon as they may.
            publish(&topics, "a", Class::Stream, 10, now().0);
            publish(&topics, "a", Class::Stream, 10, now().0);
            client.connection.ready().await;
            client.drain(now().0).unwrap();
            assert_eq!(
                (client.offsets("a"), client.batches.len()),
                (vec![1, 2, 3], 2)
            );
            assert!((10..=11).contains(&now().0), "{}", now().0);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_woken_once_however_much_comes_while_it_does_not_look() {
    let local = LocalSet::new();
    local
        .run_until(async {
            let (topics, shard, client) = stage();
            let now = run(&shard);
            let wakes = Rc::new(std::cell::Cell::new(0));
            let task = {
                let wakes = Rc::clone(&wakes);
                spawn_local(async move {
                    loop {
                        client.connection.ready().await;
                        wakes.set(wakes.get() + 1);
                        sleep(Duration::from_millis(500)).await;
                        let mut writing = Writing::new();
                        client.connection.take(&mut writing, now).unwrap();
                    }
                })
            };
            for _ in 0..50 {
                publish(&topics, "a", Class::Stream, 10, now().0);
                advance(Duration::from_millis(1)).await;
            }
            sleep(Duration::from_millis(300)).await;
            assert_eq!(wakes.get(), 1);
            task.abort();
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn clients_are_sent_away_before_anything_else_that_waits() {
    let (topics, shard, mut client) = stage();
    publish(&topics, "a", Class::Critical, 10, 0);
    while shard.work(UnixMs(0)).more {}
    let plan = DrainPlan::default();
    shard.tell_all(UnixMs(0), |number, _| {
        let leave = plan.leave(number, 1_234);
        leave.told_after.is_zero().then(|| Control::Reconnect {
            after: leave.reconnect_after,
            alternative: "".into(),
        })
    });
    client.drain(0).unwrap();
    let Some(What::Reconnect(reconnect)) = client.controls.first() else {
        panic!("{:?}", client.controls);
    };
    assert_eq!((reconnect.after_ms, client.got.len()), (1_234, 1));
}

#[tokio::test(start_paused = true)]
async fn an_operator_ends_a_connection_from_another_thread() {
    let local = LocalSet::new();
    local
        .run_until(async {
            let (topics, shard, mut client) = stage();
            let _now = run(&shard);
            let id: ConnectionId = client.connection.id();
            let elsewhere = Arc::clone(&topics);
            let asked = std::thread::scope(|scope| {
                let ask = move || {
                    elsewhere.run_on(0, move |shard| {
                        assert!(shard.cut(id, CutReason::Operator));
                    })
                };
                scope.spawn(ask).join()
            });
            assert!(asked.unwrap() && !topics.run_on(1, |_| ()));
            client.connection.ready().await;
            assert_eq!(client.take(0), Err(CutReason::Operator));
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_shard_gives_its_thread_away_between_parts_of_a_large_audience() {
    let (topics, shards) = node(Limits::default(), 1);
    let connections: Vec<Connection> = (0..10_000)
        .map(|_| shards[0].connect("", Encoding::Grpc))
        .collect();
    for connection in &connections {
        connection
            .subscribe(&topic("a"), Since::Now, UnixMs(0))
            .unwrap();
    }
    publish(&topics, "a", Class::Stream, 10, 0);
    let mut rounds = 1;
    while shards[0].work(UnixMs(0)).more {
        rounds += 1;
    }
    assert_eq!(
        (rounds, topics.counters(0).unwrap().get(Count::Deliveries)),
        (10_000_usize.div_ceil(128), 10_000)
    );
}

#[test]
fn who_leaves_while_a_message_is_given_out_takes_it_from_nobody() {
    let (topics, shards) = node(Limits::default(), 1);
    let mut clients: Vec<Client> = (0..300).map(|_| Client::new(&shards[0])).collect();
    for client in &mut clients {
        client.subscribe("a", Since::Now, 0);
    }
    publish(&topics, "a", Class::Ephemeral, 10, 0);
    assert!(shards[0].work(UnixMs(0)).more);
    // One that has the message and one that has not; whoever was last takes their places.
    for leaves in [5, 200] {
        clients.remove(leaves);
    }
    while shards[0].work(UnixMs(0)).more {}
    for (number, client) in clients.iter_mut().enumerate() {
        client.drain(0).unwrap();
        assert_eq!(client.got.len(), 1, "client {number}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_leaves_is_forgotten_with_all_that_it_wanted() {
    let (topics, shard, mut client) = stage();
    client.subscribe_pattern("a.*");
    publish(&topics, "a.b", Class::Stream, 10, 0);
    while shard.work(UnixMs(0)).more {}
    drop(client);
    publish(&topics, "a", Class::Stream, 10, 0);
    publish(&topics, "a.b", Class::Stream, 10, 0);
    publish(&topics, "a.c", Class::Stream, 10, 0);
    while shard.work(UnixMs(1)).more {}
    assert_eq!(
        topics.counters(0).unwrap().get(Count::Messages),
        1,
        "nothing comes to the shard any more"
    );
    assert!(shard.connections(UnixMs(1)).is_empty());
}
