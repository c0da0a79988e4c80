//! Images that are out of date.

use super::super::watch_images;
use super::*;
use crate::events::{Kind, Wanted};

const CONFIG: &str = "[provision]\nhost_ports = \"21900-21999\"\n[services.tv.engines]\nimage = \"tv:1\"\nmin = 2\n\
                      max = 2\n[services.tv.engines.probe]\ninterval = \"5s\"\n";

fn drifted(node: &Node) -> Vec<String> {
    let picture = node.picture();
    let drifted = picture.engines.iter().filter(|engine| engine.image_drifted);
    drifted.map(|engine| engine.id.clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_out_of_date_is_shown_soon_after_a_start_and_within_ten_minutes() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", CONFIG);
    let parts = &node.parts;
    let (outlet, drivers) = (parts.outlet.clone(), parts.drivers.clone());
    life.spawn_local(watch_images(outlet, drivers, parts.links.clone()));
    world.machine.drifts("tv-1");
    let test = async {
        node.scale();
        until("ready", seconds(30), || node.engines("ready").len() == 2).await;
        until("it is shown", seconds(11), || drifted(&node) == ["tv-1"]).await;
        world.machine.drifts("tv-2");
        sleep(seconds(300)).await;
        assert_eq!(drifted(&node), ["tv-1"], "it is not asked for all the time");
        until("it is shown", seconds(311), || drifted(&node).len() == 2).await;
        let wanted = Wanted::parse(["engine.image_drifted"]).unwrap();
        let page = node.parts.events.read(None, &wanted, 10).await;
        let told: Vec<_> = page.events.iter().map(|e| (e.kind, &*e.subject)).collect();
        let drifted = Kind::EngineImageDrifted;
        assert_eq!(told, [(drifted, "tv-1"), (drifted, "tv-2")]);
        assert_eq!(page.events[0].attributes, [("image", "tv:1".to_owned())]);
    };
    live(&mut [&mut life], test).await;
}
