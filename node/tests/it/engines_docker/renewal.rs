//! Another image in the configuration: containers are replaced one after the other, through an end of the node.

use serde_json::Value;
use weir_proto::node::v1 as pb;

use super::life::served_by;
use super::stage::{Stage, engines_of, eventually};
use crate::common::Weir;

/// Images of a test, removed with it.
struct Images<'a>(&'a Stage);

impl Images<'_> {
    /// One of this generation.
    fn make(&self, generation: u32) -> String {
        let program = weir_fakes::containers::static_program("fake-engine").unwrap();
        let program = std::fs::read(program).unwrap();
        let image = self.name(generation);
        let label = format!("LABEL generation={generation}");
        let docker = &self.0.docker;
        docker
            .import(&image, "fake-engine", &program, &[&label])
            .unwrap();
        image
    }

    fn name(&self, generation: u32) -> String {
        format!("weir-test/{}:{generation}", self.0.service)
    }
}

impl Drop for Images<'_> {
    fn drop(&mut self) {
        self.0.clear();
        for generation in 1..=2 {
            let path = format!("/images/{}?force=true", self.name(generation));
            let _ = self.0.docker.ask("DELETE", &path, &[]);
        }
    }
}

fn with_image(stage: &Stage, image: &str) -> String {
    let keys = "network = \"host\"\nmin = 3\nmax = 4\nreplacement_cooldown = \"0s\"";
    let text = stage.node(stage.docker.socket()) + &stage.service(keys);
    text.replace(
        &format!("image = \"{}\"", stage.image),
        &format!("image = \"{image}\""),
    )
}

/// What a container's image says.
fn generation(stage: &Stage, engine: &pb::Engine) -> Value {
    stage.inspect(&engine.container_id)["Config"]["Labels"]["generation"].clone()
}

#[tokio::test]
async fn another_image_replaces_all_containers_though_the_node_is_killed_meanwhile() {
    let stage = Stage::new("image");
    let images = Images(&stage);
    let (one, two) = (images.make(1), images.make(2));
    let mut weir = Weir::start(&with_image(&stage, &one)).await;
    let first = stage.until_ready(&weir, 3).await;
    assert!(
        first
            .iter()
            .all(|engine| engine.image == one && !engine.outdated)
    );

    weir.edit(&with_image(&stage, &two));
    let in_the_middle = eventually(&weir, "one is replaced", async || {
        let engines = engines_of(&weir).await?;
        let ready = engines.iter().filter(|engine| engine.state == "ready");
        assert!(ready.count() >= 3, "{engines:#?}");
        let is_new = |engine: &&pb::Engine| engine.image == two && engine.state == "ready";
        let is_old = |engine: &&pb::Engine| engine.image == one && engine.outdated;
        let news = engines.iter().filter(is_new).count();
        (news == 1 && engines.iter().filter(is_old).count() == 2).then_some(engines)
    })
    .await;
    // What runs is told, not what is wanted.
    for engine in in_the_middle
        .iter()
        .filter(|engine| engine.state == "ready")
    {
        let is_two = generation(&stage, engine) == "2";
        assert_eq!(is_two, engine.image == two, "{engine:#?}");
    }
    weir.crash().await;
    weir.start_again().await;
    eventually(&weir, "it serves again", async || served_by(&weir).await).await;
    let after = eventually(&weir, "all are replaced", async || {
        let engines = engines_of(&weir).await?;
        let is_good = |engine: &pb::Engine| engine.state == "ready" && engine.image == two;
        (engines.len() >= 3 && engines.iter().all(is_good)).then_some(engines)
    })
    .await;
    assert!(after.iter().all(|engine| generation(&stage, engine) == "2"));
}
