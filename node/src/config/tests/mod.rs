//! What a configuration may say: one table for each section, every problem with its path and bound.

mod control_plane;
mod defaults;
mod engines;
mod env_names;
mod files;
mod given;
mod logs;
mod provisioning;
mod services;
mod warming;

use super::{Config, Environment, Given};

/// Every problem of `text`, one in a line.
fn problems(text: &str) -> Vec<String> {
    match Config::parse(text, &Environment::default(), &Given::default()) {
        Ok(_) => Vec::new(),
        Err(invalid) => invalid.to_string().lines().map(str::to_owned).collect(),
    }
}

/// Checks lines of `key = value` in `section`, each against what must be said of `section.key`.
///
/// Every line is tried alone and all of them at once: no problem may hide another.
fn check(section: &str, cases: &[(&str, &str)]) {
    let mut all = format!("[{section}]\n");
    let mut wanted = Vec::new();
    for (line, what) in cases {
        let path = path_of(section, line);
        let expected = format!("{path}: {what}");
        let alone = problems(&format!("[{section}]\n{line}\n"));
        assert!(
            alone.iter().any(|problem| problem.starts_with(&expected)),
            "{line}: {alone:?} lacks {expected:?}"
        );
        if !wanted.iter().any(|(other, _)| *other == path) {
            all.push_str(line);
            all.push('\n');
            wanted.push((path, expected));
        }
    }
    let together = problems(&all);
    for (_, expected) in wanted {
        assert!(
            together
                .iter()
                .any(|problem| problem.starts_with(&expected)),
            "{together:#?} lacks {expected:?}"
        );
    }
}

fn path_of(section: &str, line: &str) -> String {
    format!("{section}.{}", line.split(" =").next().unwrap())
}

/// Lines that must be accepted: the bounds themselves.
fn accepts(section: &str, lines: &[&str]) {
    for line in lines {
        let found = problems(&format!("[{section}]\n{line}\n"));
        assert_eq!(found, Vec::<String>::new(), "[{section}] {line}");
    }
}

#[test]
fn an_empty_file_is_a_configuration() {
    assert_eq!(problems(""), Vec::<String>::new());
}

#[test]
fn broken_toml_is_named_with_its_line() {
    let found = problems("[node]\nname = \"a\"\n\nname = [\n");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("line 4: "), "{found:?}");
}

#[test]
fn node_and_mesh() {
    check(
        "node",
        &[
            (
                "name = \"two words\"",
                "`two words` must be 1 to 63 letters",
            ),
            ("name = \"\"", "`` must be 1 to 63 letters, digits"),
            ("name = 7", "expected a text, found integer (7)"),
            ("zone = true", "expected a text, found boolean (true)"),
            ("cores = 0", "0 is out of bounds (1 to 1024)"),
            ("cores = 1025", "1025 is out of bounds (1 to 1024)"),
            ("cores = -1", "-1 is out of bounds (1 to 1024)"),
            ("cores = 1.5", "expected a whole number, found float (1.5)"),
            (
                "drain_timeout = \"61m\"",
                "`61m` is out of bounds (0ms to 1h)",
            ),
            (
                "drain_timeout = \"soon\"",
                "`soon`: expected a number and a unit",
            ),
            ("colour = \"red\"", "unknown key"),
        ],
    );
    accepts(
        "node",
        &[
            "name = \"a.B-9_\"",
            "cores = 1024",
            "drain_timeout = \"0s\"",
            "drain_timeout = \"1h\"",
        ],
    );
    check("mesh", &[("nodes = 17", "17 is out of bounds (1 to 16)")]);
}

#[test]
fn a_misspelt_key_is_told_with_the_one_that_was_meant() {
    let found = problems("[servces.web]\nbackends = []\n[node]\nnmae = \"a\"\ncolour = 1\n");
    let expected = [
        "node.colour: unknown key",
        "node.nmae: unknown key; did you mean `name`?",
        "servces: unknown key; did you mean `services`?",
    ];
    assert_eq!(found, expected);
    // Also one that is only looked at when it is there.
    let found = problems("[services.web]\nenignes = { min = 1 }\n");
    let expected = "services.web.enignes: unknown key; did you mean `engines`?";
    assert_eq!(found, [expected]);
}

#[test]
fn a_value_that_is_refused_is_told_once() {
    let found = problems("[access_log]\noutput = \"stdout\"\nformat = \"xml\"\n");
    assert_eq!(
        found,
        ["access_log.format: `xml` is neither json nor combined"]
    );
}

#[test]
fn a_url_of_redis_is_told_by_its_scheme_alone() {
    let told = |url: &str| problems(&format!("[redis]\nurl = \"{url}\"\n")).join("\n");
    let form = "is not redis://";
    for (url, what) in [
        ("http://:hunter2@cache", "redis.url: `http://...` is not"),
        ("hunter2", "redis.url: has no `://`; it is not"),
        ("hunter2://cache", "redis.url: is not"),
    ] {
        let found = told(url);
        assert!(found.starts_with(what) && found.contains(form), "{found}");
        assert!(!found.contains("hunter2"), "{found}");
    }
}

#[test]
fn ingress() {
    check(
        "ingress",
        &[
            ("listen = \"nowhere\"", "`nowhere`: expected IP:PORT"),
            ("listen = [\"127.0.0.1:1\", \"x\"]", "`x`: "),
            ("connections_max = 0", "0 is out of bounds (1 to 10000000)"),
            (
                "compression = [\"gzip\", \"identity\"]",
                "`identity` is none of br, gzip, zstd",
            ),
            ("compression_level = 12", "12 is out of bounds (0 to 11)"),
            (
                "compression_bytes_max = \"999B\"",
                "999 is less than compression_bytes_min (1000)",
            ),
            (
                "header_timeout = \"9ms\"",
                "`9ms` is out of bounds (10ms to 1h)",
            ),
            (
                "keep_alive_timeout = \"2d\"",
                "`2d` is out of bounds (10ms to 1d)",
            ),
            (
                "body_idle_timeout = \"2h\"",
                "`2h` is out of bounds (10ms to 1h)",
            ),
            ("write_timeout = 5", "expected a text, found integer (5)"),
            (
                "head_bytes_max = \"1023B\"",
                "`1023B` is out of bounds (1KiB to 1MiB)",
            ),
            ("headers_max = 101", "101 is out of bounds (1 to 100)"),
            (
                "h2_streams_max = 65537",
                "65537 is out of bounds (1 to 65536)",
            ),
            (
                "h2_stream_window = \"1KiB\"",
                "`1KiB` is out of bounds (65535B to 1GiB)",
            ),
            (
                "h2_connection_window = \"100KiB\"",
                "102400 is less than h2_stream_window",
            ),
            ("trusted_proxies = [\"10.0.0.0/33\"]", "`10.0.0.0/33`: "),
            (
                "forwarded = \"maybe\"",
                "expected true or false, found string",
            ),
            ("slow_request = \"2d\"", "`2d` is out of bounds (1ms to 1d)"),
        ],
    );
    accepts(
        "ingress",
        &[
            "listen = [\"127.0.0.1:1\", \"[::1]:2\"]",
            "header_timeout = \"10ms\"",
            "slow_request = \"off\"",
            "compression = []",
            "compression_bytes_max = 1000",
            "trusted_proxies = \"10.0.0.0/8\"",
        ],
    );
}

#[test]
fn the_http_api_is_called_by_names_without_ports() {
    check(
        "http_api",
        &[
            (
                "hosts = [\"weir:80\"]",
                "`weir:80` is no host name, without port",
            ),
            ("hosts = \"\"", "`` is no host name, without port"),
        ],
    );
    accepts("http_api", &["hosts = [\"weir\", \"Weir.example.com\"]"]);
}

#[test]
fn other_nodes_are_told_what_is_advertised_else_where_the_node_listens() {
    check(
        "grpc",
        &[("advertise = \"node-1\"", "`node-1`: expected host:port")],
    );
    check(
        "ingress",
        &[(
            "advertise = \"node-1:8080\"",
            "`node-1:8080`: expected IP:PORT",
        )],
    );
    let told = |text: &str| {
        let config = Config::parse(text, &Environment::default(), &Given::default()).unwrap();
        let (grpc, ingress) = (&config.grpc, &config.ingress);
        (
            grpc.address_for_others(),
            ingress
                .addresses_for_others()
                .iter()
                .map(ToString::to_string)
                .collect(),
        )
    };
    let listens = (
        "127.0.0.1:7400".to_owned(),
        vec!["127.0.0.1:8080".to_owned()],
    );
    assert_eq!(told(""), listens);
    let text = "[grpc]\nadvertise = \"node-1:7400\"\n[ingress]\nadvertise = \"10.0.0.7:80\"\n";
    let advertises = ("node-1:7400".to_owned(), vec!["10.0.0.7:80".to_owned()]);
    assert_eq!(told(text), advertises);
}

#[test]
fn listeners_beyond_loopback_must_be_meant() {
    for section in ["grpc", "http_api"] {
        check(
            section,
            &[
                (
                    "listen = \"0.0.0.0:7400\"",
                    "0.0.0.0:7400 is reachable from outside",
                ),
                ("insecure = 1", "expected true or false, found integer (1)"),
            ],
        );
        accepts(
            section,
            &[
                "listen = \"0.0.0.0:7400\"\ninsecure = true",
                "listen = \"[::1]:1\"",
            ],
        );
    }
}

#[test]
fn telemetry() {
    check(
        "telemetry",
        &[
            (
                "otlp = \"127.0.0.1:4317\"",
                "`127.0.0.1:4317` must start with http://",
            ),
            ("sample_ratio = 1.1", "1.1 is out of bounds (0 to 1)"),
            ("sample_ratio = -1", "-1 is out of bounds (0 to 1)"),
            ("sample_ratio = \"x\"", "NaN is out of bounds (0 to 1)"),
            (
                "status_cache_ttl = \"2m\"",
                "`2m` is out of bounds (0ms to 1m)",
            ),
        ],
    );
    accepts(
        "telemetry",
        &[
            "sample_ratio = 0",
            "sample_ratio = 1",
            "otlp = \"http://x:1\"",
        ],
    );
}

#[test]
fn problems_of_all_sections_are_told_at_once() {
    let found = problems(
        "colour = 1\n[node]\ncores = 0\n[ingress]\nlisten = \"x\"\n[grpc]\nlisten = \"y\"\n\
         [telemetry]\nsample_ratio = 2\n[services.web]\nprotocol = \"z\"\n\
         [[routes]]\nservice = \"db\"\nname = \"${UNSET}\"\n",
    );
    let paths: Vec<&str> = found.iter().filter_map(|p| p.split(": ").next()).collect();
    assert_eq!(
        paths,
        [
            "routes[0].name",
            "node.cores",
            "ingress.listen",
            "grpc.listen",
            "telemetry.sample_ratio",
            "services.web.protocol",
            "routes[0].service",
            "colour",
        ]
    );
}
