//! The way to the control plane, and what the node says of itself.

use super::{accepts, check};
use crate::config::{Config, Environment, Given, Invalid};

/// Of a node that has a name.
fn parse(text: &str) -> Result<Config, Invalid> {
    let name = ("WEIR_NODE__NAME".to_owned(), "n".to_owned());
    Config::parse(text, &Environment::from([name]), &Given::default())
}

fn config(text: &str) -> Config {
    parse(text).unwrap()
}

fn problems(text: &str) -> Vec<String> {
    match parse(text) {
        Ok(_) => Vec::new(),
        Err(invalid) => invalid.to_string().lines().map(str::to_owned).collect(),
    }
}

#[test]
fn a_node_of_a_control_plane_must_have_a_name() {
    let endpoints = "[control_plane]\nendpoints = \"localhost:7500\"\n";
    assert_eq!(
        super::problems(endpoints),
        ["node.name: is required with control_plane.endpoints: it is the node's id there"]
    );
    let named = format!("[node]\nname = \"edge-1\"\n{endpoints}");
    assert_eq!(super::problems(&named), [""; 0]);
    assert_eq!(problems(endpoints), [""; 0]);
}

#[test]
fn without_a_word_there_is_no_control_plane_and_nothing_is_kept() {
    let config = config("");
    assert_eq!(config.control_plane.endpoints, [""; 0]);
    assert_eq!(config.control_plane.token, None);
    assert_eq!(config.node.data_dir, None);
    assert!(config.node.labels.is_empty());
}

#[test]
fn control_plane() {
    let endpoints_17 = format!("endpoints = {:?}", vec!["a:1"; 17]);
    check(
        "control_plane",
        &[
            (&endpoints_17, "17 of them, at most 16"),
            ("ca = \"\"", "is empty"),
            ("token = \"hunter2\"", "must be file:/path or env:NAME"),
            ("adress = \"x\"", "unknown key"),
        ],
    );
    accepts(
        "control_plane",
        &[
            "endpoints = []",
            "token = \"env:WEIR_TOKEN\"",
            "token = \"file:/run/secrets/token\"",
            "ca = \"/ca\"",
            "ca = \"/ca\"\ncert = \"/c\"\nkey = \"/k\"",
        ],
    );
}

#[test]
fn a_certificate_needs_its_key_and_an_authority_to_trust() {
    let found = |lines: &str| problems(&format!("[control_plane]\n{lines}\n"));
    let needs_key = "control_plane.cert: needs key";
    let needs_ca = "control_plane.cert: needs ca";
    assert_eq!(found("cert = \"/c\""), [needs_key, needs_ca]);
    assert_eq!(found("cert = \"/c\"\nkey = \"/k\""), [needs_ca]);
    assert_eq!(found("key = \"/k\""), ["control_plane.key: needs cert"]);
}

#[test]
fn an_endpoint_is_a_host_and_a_port() {
    for wrong in [
        "localhost",
        "http://x",
        "x:0",
        "x:70000",
        ":1",
        "http://x:1/a",
        "x:1?q",
        "ftp://x:1",
        "",
        "a b:1",
    ] {
        let found = problems(&format!(
            "[control_plane]\nendpoints = [\"a:1\", \"{wrong}\"]\n"
        ));
        let expected = format!("control_plane.endpoints[1]: `{wrong}` must be host:port");
        assert!(
            found.len() == 1 && found[0].starts_with(&expected),
            "{wrong}: {found:?}"
        );
    }
}

#[test]
fn an_endpoint_without_a_scheme_is_spoken_to_as_ca_says() {
    let endpoints = "endpoints = [\"cp-1:7500\", \"[::1]:7500\"]";
    let plain = config(&format!("[control_plane]\n{endpoints}\n"));
    let urls = ["http://cp-1:7500", "http://[::1]:7500"];
    assert_eq!(plain.control_plane.endpoints, urls);
    let tls = config(&format!("[control_plane]\nca = \"/ca\"\n{endpoints}\n"));
    let urls = ["https://cp-1:7500", "https://[::1]:7500"];
    assert_eq!(tls.control_plane.endpoints, urls);
    let spelled_out = config("[control_plane]\nendpoints = \"http://cp-1:7500/\"\n");
    assert_eq!(spelled_out.control_plane.endpoints, ["http://cp-1:7500"]);
}

#[test]
fn an_endpoint_that_contradicts_ca_is_named() {
    let plain = problems("[control_plane]\nca = \"/ca\"\nendpoints = \"http://x:1\"\n");
    assert_eq!(
        plain,
        ["control_plane.endpoints[0]: `http://x:1` is http://, and ca asks for TLS"]
    );
    let tls = problems("[control_plane]\nendpoints = \"https://x:1\"\n");
    assert_eq!(
        tls,
        ["control_plane.endpoints[0]: `https://x:1` is https://, which needs ca"]
    );
}

#[test]
fn what_may_be_a_secret_is_not_told() {
    for text in [
        "token = \"73217321\"",
        "token = 73217321",
        "token = [\"73217321\"]",
        "endpoints = \"http://me:73217321@x:1\"",
        "endpoints = \"73217321@x:1\"",
    ] {
        let found = problems(&format!("[control_plane]\n{text}\n"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(!found[0].contains("7321"), "{found:?}");
    }
    // As a number, which is what the environment makes of it.
    let set = (
        "WEIR_CONTROL_PLANE__TOKEN".to_owned(),
        "73217321".to_owned(),
    );
    let refused = Config::parse("", &Environment::from([set]), &Given::default()).unwrap_err();
    assert!(!refused.to_string().contains("7321"), "{refused}");
}

#[test]
fn labels_and_data_dir() {
    check(
        "node",
        &[
            ("data_dir = \"\"", "is empty"),
            ("data_dir = 1", "expected a text, found integer (1)"),
            ("labels = \"a\"", "expected a table, found string (\"a\")"),
            ("labels = { \"\" = \"a\" }", "name `` has 0 bytes (1 to 63)"),
        ],
    );
    let (name, value) = ("n".repeat(64), "v".repeat(256));
    let found = problems(&format!(
        "[node.labels]\n{name} = \"\"\nzone = \"{value}\"\nrack = 7\n"
    ));
    let expected = [
        "node.labels.rack: expected a text, found integer (7)".to_owned(),
        format!("node.labels: name `{name}` has 64 bytes (1 to 63)"),
        "node.labels.zone: has 256 bytes (0 to 255)".to_owned(),
    ];
    assert_eq!(found, expected);
    let many = |count: usize| {
        let labels: String = (0..count).map(|n| format!("l{n} = \"\"\n")).collect();
        problems(&format!("[node.labels]\n{labels}"))
    };
    assert_eq!(many(32), [""; 0]);
    assert_eq!(many(33), ["node.labels: 33 of them, at most 32"]);
    let text = format!(
        "[node]\ndata_dir = \"/var/lib/weir\"\n[node.labels]\n{} = \"{}\"\n",
        &name[1..],
        &value[1..]
    );
    let config = config(&text);
    assert_eq!(config.node.data_dir, Some("/var/lib/weir".into()));
    assert_eq!(config.node.labels[&name[1..]], value[1..]);
}

#[test]
fn each_of_these_keys_needs_a_restart() {
    let running = config("[control_plane]\nendpoints = \"a:1\"\nca = \"/ca\"\n");
    for (key, line) in [
        ("node.data_dir", "node.data_dir = \"/d\""),
        ("node.labels", "node.labels.a = \"b\""),
        (
            "control_plane.endpoints",
            "control_plane.endpoints = \"a:2\"",
        ),
        ("control_plane.token", "control_plane.token = \"env:T\""),
        ("control_plane.ca", "control_plane.ca = \"/other\""),
    ] {
        let mut text = format!("{line}\n");
        for (other, kept) in [
            (
                "control_plane.endpoints",
                "control_plane.endpoints = \"a:1\"\n",
            ),
            ("control_plane.ca", "control_plane.ca = \"/ca\"\n"),
        ] {
            if key != other {
                text.push_str(kept);
            }
        }
        let found = config(&text).needs_restart(&running);
        let paths: Vec<&str> = found.iter().map(|problem| &*problem.path).collect();
        assert_eq!(paths, [key]);
    }
    let tls = "[control_plane]\nendpoints = \"a:1\"\nca = \"/ca\"\ncert = \"/c\"\nkey = \"/k\"\n";
    let found = config(tls).needs_restart(&running);
    let told: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "control_plane.cert: \"/c\" needs a restart of the node (running with none)",
            "control_plane.key: \"/k\" needs a restart of the node (running with none)",
        ]
    );
}
