//! What an engine may do.

use std::collections::BTreeMap;

use weir_engines::driver::{Driver, EngineSpec};

use crate::stage::Stage;

#[tokio::test]
async fn limits_and_safeguards_are_what_docker_was_told() {
    let stage = Stage::new("limits");
    let spec = EngineSpec {
        memory_bytes_max: Some(64 * 1024 * 1024),
        cpu_millis_max: Some(250),
        env: BTreeMap::from([("P2P_PORT".to_owned(), "4711".to_owned())]),
        ..stage.spec("a", 1)
    };
    stage.driver.start(spec.clone()).await.unwrap();
    let inspected = stage.inspect(&spec.name);
    let host = &inspected["HostConfig"];
    assert_eq!(host["Memory"], 64 * 1024 * 1024);
    assert_eq!(host["MemorySwap"], 64 * 1024 * 1024);
    assert_eq!(host["NanoCpus"], 250_000_000);
    assert_eq!(host["PidsLimit"], 4096);
    assert_eq!(host["Init"], true);
    assert_eq!(host["AutoRemove"], false);
    assert_eq!(host["Privileged"], false);
    assert_eq!(host["RestartPolicy"]["Name"], "no");
    assert_eq!(
        host["SecurityOpt"],
        serde_json::json!(["no-new-privileges:true"])
    );
    let log =
        serde_json::json!({ "Type": "json-file", "Config": { "max-size": "1m", "max-file": "2" } });
    assert_eq!(host["LogConfig"], log);
    let env = inspected["Config"]["Env"].as_array().unwrap();
    assert!(env.contains(&"P2P_PORT=4711".into()), "{env:?}");
    let labels = serde_json::json!({
        "service": "tv", "weir.engine": "1", "weir.owner": stage.owner, "weir.fence": "1",
    });
    assert_eq!(inspected["Config"]["Labels"], labels);
}

#[tokio::test]
async fn nobody_passes_for_somebody_else_by_labels() {
    let stage = Stage::new("forged");
    let forged = [("weir.owner", "somebody"), ("weir.fence", "99")];
    let spec = EngineSpec {
        labels: forged
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..stage.spec("a", 1)
    };
    let started = stage.driver.start(spec).await.unwrap();
    assert_eq!((started.fence, started.labels.len()), (1, 0));
    assert_eq!(stage.only().await, started);
}
