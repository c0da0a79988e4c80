use weir_broadcast::Read;
use weir_core::broadcast::Position;

use super::*;
use crate::config::{Config, Environment, Given};
use crate::ports::clock::WallClock;

#[tokio::test(start_paused = true)]
async fn what_happens_is_published_once_in_order_also_by_the_next_life() {
    tokio::task::LocalSet::new()
        .run_until(async {
            let config = Config::parse("", &Environment::default(), &Given::default()).unwrap();
            let clock = WallClock::system();
            let broadcast = Broadcast::new(&config, clock, 1);
            let events = Events::new("node-1", "e1".to_owned(), clock);
            let parts = Parts {
                broadcast: broadcast.clone(),
                events: events.clone(),
                published: Snapshot::new(None),
            };
            let first = Broadcaster::new(parts.clone()).start();
            for vpn in ["a", "b"] {
                events.record(Kind::VpnLost, vpn, []);
            }
            events.record(Kind::PortHit, "a", []);
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(first);
            events.record(Kind::VpnLost, "c", []);
            let _second = Broadcaster::new(parts).start();
            tokio::time::sleep(Duration::from_secs(1)).await;
            let topic = TopicName::any("_weir.vpn.lost").unwrap();
            let start = broadcast.topics().start(&topic).unwrap();
            let Read::Batch(batch) = broadcast.topics().read(&topic, start) else {
                panic!("nothing was published");
            };
            let subjects = batch.messages().iter().map(|message| {
                let told: serde_json::Value = serde_json::from_slice(message.data()).unwrap();
                told["subject"].as_str().unwrap().to_owned()
            });
            assert_eq!(subjects.collect::<Vec<_>>(), ["a", "b", "c"]);
            let hits = TopicName::any("_weir.port_cache.hit").unwrap();
            assert_eq!(broadcast.topics().position(&hits), None::<Position>);
        })
        .await;
}
