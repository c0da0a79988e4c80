//! Engines under a load that grows, stays and ends.

use std::time::Duration;

use tokio::time::sleep;

use super::Stream;
use crate::common::Weir;
use crate::engines_face::{engines, ready};

const STREAMS_MAX: u64 = 8;
const STREAMS: usize = 12;

fn count(events: &[String], kind: &str) -> usize {
    events.iter().filter(|event| *event == kind).count()
}

#[tokio::test]
async fn engines_come_before_all_are_full_and_none_comes_or_goes_while_the_load_stays() {
    let keys = format!(
        "min = 1\nfree = 1\nstreams_max = {STREAMS_MAX}\nidle_grace = \"4s\"\ndown_cooldown = \"4s\""
    );
    let config = engines(1, 4).replace("min = 1", &keys);
    let config = format!("{config}[services.web.balance]\npolicy = \"least_connections\"\n");
    let weir = Weir::start(&config).await;
    ready(&weir, 1).await;
    let mut streams: Vec<Stream> = Vec::new();
    // Growing: one a second, where an engine takes a few seconds to come.
    for _ in 0..STREAMS {
        streams.push(weir.running_stream("web").await);
        let in_flight = weir.in_flight("web").await;
        let is_saturated = in_flight.values().all(|streams| *streams >= STREAMS_MAX);
        assert!(!is_saturated, "{in_flight:?}\n{}", weir.log());
        sleep(Duration::from_secs(1)).await;
    }
    ready(&weir, 4).await;
    let grown = weir.engine_events().await;
    assert_eq!(count(&grown, "engine.gone"), 0, "{grown:?}");
    assert_eq!(count(&grown, "engine.started"), 4, "{grown:?}");
    // Staying, but for moments that are shorter than the grace; all of it is longer.
    for _ in 0..4 {
        streams.clear();
        sleep(Duration::from_millis(1_500)).await;
        for _ in 0..STREAMS {
            streams.push(weir.stream().await);
        }
        sleep(Duration::from_millis(1_500)).await;
    }
    assert_eq!(weir.engine_events().await, grown);
    // Ending: down to the minimum, and nothing comes again.
    streams.clear();
    ready(&weir, 1).await;
    let ended = weir.engine_events().await;
    assert_eq!(count(&ended, "engine.gone"), 3, "{ended:?}");
    assert_eq!(count(&ended, "engine.started"), 4, "{ended:?}");
    sleep(Duration::from_secs(5)).await;
    assert_eq!(weir.engine_events().await, ended);
}
