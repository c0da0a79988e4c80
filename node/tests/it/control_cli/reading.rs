//! What there is: as tables, and as JSON whose shape scripts may count on.

use serde_json::{Value, json};

use super::fake::Fake;
use super::weir;

async fn with_two_revisions() -> (Fake, String) {
    let (fake, address) = Fake::with_nodes().await;
    let address = address.to_string();
    for (setting, why) in [
        ("balancer.policy=random", "try"),
        ("balancer.health_rise=3", "calmer"),
    ] {
        weir(&address, &["profile", "set", setting, "-m", why])
            .await
            .done();
    }
    (fake, address)
}

#[tokio::test]
async fn a_profile_is_shown_with_its_history() {
    let (_fake, address) = with_two_revisions().await;
    let list = weir(&address, &["profile", "list"]).await.done();
    assert_eq!(
        list,
        "SCOPE  REVISION  SETTINGS  WRITTEN               AUTHOR  MESSAGE\n\
         fleet  2         2         2026-03-01T12:00:00Z  alice   calmer\n"
    );
    let get = weir(&address, &["profile", "get"]).await.done();
    assert!(
        get.starts_with("fleet revision 2, 2026-03-01T12:00:00Z by alice: calmer\nKNOB"),
        "{get}"
    );
    let history = weir(&address, &["profile", "history", "--limit", "1"])
        .await
        .done();
    assert_eq!(history.lines().count(), 2);
    let diff = weir(&address, &["profile", "diff"]).await.done();
    assert_eq!(diff, "balancer.health_rise: not set -> 3 (hot)\n");
    let diff = weir(&address, &["profile", "diff", "0", "1"]).await.done();
    assert_eq!(diff, "balancer.policy: not set -> random (hot)\n");
    let same = weir(&address, &["profile", "diff", "2", "2"]).await.done();
    assert_eq!(same, "no differences\n");
    let none = weir(&address, &["profile", "get", "--node", "node-1"])
        .await
        .done();
    assert_eq!(none, "nothing set for node node-1\n");
}

#[tokio::test]
async fn a_group_in_which_nothing_is_set_says_so_whatever_is_asked() {
    let (_fake, address) = with_two_revisions().await;
    for (asked, told) in [
        ("get", "nothing set in group eu\n"),
        ("history", "nothing set in group eu\n"),
        (
            "unset --all",
            "nothing set in group eu; nothing to change\n",
        ),
        (
            "unset balancer.policy",
            "nothing set in group eu; nothing to change\n",
        ),
    ] {
        let words = asked.split(' ').chain(["--group", "eu"]);
        let words: Vec<&str> = ["profile"].into_iter().chain(words).collect();
        assert_eq!(weir(&address, &words).await.done(), told, "{asked}");
    }
}

#[tokio::test]
async fn a_file_is_compared_with_what_there_is() {
    let (fake, address) = with_two_revisions().await;
    let folder = tempfile::tempdir().unwrap();
    let path = super::file(
        &folder,
        "[balancer]\npolicy = \"random\"\nhealth_rise = 4\n",
    );
    let diff = weir(&address, &["profile", "diff", "-f", &path])
        .await
        .done();
    assert!(diff.starts_with("balancer.health_rise: 3 -> 4 (hot)\nnode-1, node-2, node-3:\n"));
    let valid = weir(&address, &["profile", "validate", "-f", &path])
        .await
        .done();
    assert_eq!(valid, format!("{path}: no problems, 2 settings\n"));
    assert_eq!(fake.state().await.profiles["fleet"].len(), 2);
}

#[tokio::test]
async fn json_has_hexadecimal_hashes_named_enums_and_rfc_3339_times() {
    let (_fake, address) = with_two_revisions().await;
    let shown = weir(&address, &["profile", "show", "2", "-o", "json"])
        .await
        .json();
    assert_eq!(
        shown,
        json!({
            "scope": "fleet", "revision": 2, "author": "alice", "message": "calmer",
            "settings": { "balancer.health_rise": "3", "balancer.policy": "random" },
            "written_at": "2026-03-01T12:00:00.000Z", "rollback_of": null, "group": null,
            "until": null, "hash": "01".repeat(16),
        })
    );
    let set = ["profile", "set", "ingress.workers=4", "-o", "json"];
    let written = weir(&address, &set).await.json();
    assert_eq!(
        written["changes"],
        json!([{ "path": "ingress.workers", "before": null, "after": "4", "apply": "restart", "default": "0" }])
    );
    let rollout = &written["rollout"];
    assert_eq!(
        (
            &rollout["settled"],
            &rollout["connected"],
            &rollout["effective"]
        ),
        (&json!(true), &json!(3), &json!(3))
    );
    let node = weir(&address, &["nodes", "get", "node-1", "-o", "json"])
        .await
        .json();
    let profile = &node["profile"];
    assert_eq!(
        (&node["presence"], &profile["state"]),
        (&json!("connected"), &json!("in sync"))
    );
    assert_eq!(profile["last_attempt"], "applied");
    assert_eq!(profile["effective"].as_str().map(str::len), Some(32));
    assert_eq!(profile["effective"], profile["wanted"]);
    assert_eq!(node["since"], "2026-03-01T12:00:00.000Z");
}

#[tokio::test]
async fn effective_tells_value_source_and_consumer() {
    let (_fake, address) = with_two_revisions().await;
    let arguments = ["profile", "effective", "node-1", "--changed"];
    let out = weir(&address, &arguments).await.done();
    assert_eq!(
        out,
        "KNOB                  VALUE   SOURCE   APPLY  CONSUMER  NOTE\n\
         balancer.policy       random  fleet@2  hot    balancer\n\
         balancer.health_rise  3       fleet@2  hot    balancer\n"
    );
    let all = weir(&address, &["profile", "effective", "node-1", "-o", "json"])
        .await
        .json();
    assert_eq!(
        all["knobs"].as_array().map(Vec::len),
        Some(weir_core::tuning::all().count())
    );
    let ended = weir(&address, &["profile", "effective", "node-9"]).await;
    assert_eq!(
        (ended.code, ended.err.as_str()),
        (4, "weir: no node `node-9`\n")
    );
}

#[tokio::test]
async fn knobs_and_presets_are_told_without_a_control_plane() {
    let nobody = "127.0.0.1:1";
    let all = weir(nobody, &["profile", "knobs", "-o", "json"])
        .await
        .json();
    assert_eq!(
        all.as_array().map(Vec::len),
        Some(weir_core::tuning::all().count())
    );
    let section = weir(nobody, &["profile", "knobs", "port_cache"])
        .await
        .done();
    assert!(
        section
            .lines()
            .skip(1)
            .all(|line| line.starts_with("port_cache.")),
        "{section}"
    );
    let ended = weir(nobody, &["profile", "knobs", "warp"]).await;
    assert!(
        ended.code == 2 && ended.err.contains("allowed: ingress, upstream"),
        "{}",
        ended.err
    );
    let presets = weir(nobody, &["profile", "presets"]).await.done();
    assert_eq!(
        presets.lines().count(),
        1 + weir_core::tuning::PRESETS.len()
    );
    let strict = weir(nobody, &["profile", "presets", "strict", "-o", "json"])
        .await
        .json();
    assert_eq!(
        strict[0]["settings"]["ingress.rate_limit"],
        Value::from("true")
    );
}
