//! Engines of a service, and what holds for all of them.

use super::super::{DriverKind, EngineSettings};
use super::{Config, Environment, Given, accepts, check, problems};

const BOTH: [&str; 2] = ["services.tv.engines", "engines"];

fn engines(text: &str) -> EngineSettings {
    let config = Config::parse(text, &Environment::new(), &Given::default()).unwrap();
    let mut services = config.services.iter();
    services
        .find_map(|service| service.engines.clone())
        .unwrap()
}

#[test]
fn how_an_engine_is_started() {
    for section in BOTH {
        check(
            section,
            &[
                ("driver = \"podman\"", "`podman` is none of process, docker"),
                ("driver = 1", "expected a text, found integer (1)"),
                ("image = 7", "expected a text, found integer (7)"),
                (
                    "command = true",
                    "expected a text or a list of texts, found boolean (true)",
                ),
                ("env = \"A=1\"", "expected a table, found string"),
                ("labels = [\"a=b\"]", "expected a table, found array"),
                (
                    "network = \"container:\"",
                    "`container:` is none of default, host, none, NAME, container:NAME",
                ),
                ("network = \"\"", "`` is none of default, host"),
                ("host = \"\"", "`` is no host name or address"),
                ("host = \"a:80\"", "`a:80` is no host name or address"),
                ("container_port = 0", "0 is out of bounds (1 to 65535)"),
                (
                    "container_port = 65536",
                    "65536 is out of bounds (1 to 65535)",
                ),
                ("vpns = 1", "expected a text or a list of texts"),
                (
                    "memory = \"1KiB\"",
                    "`1KiB` is out of bounds (1MiB to 1024GiB)",
                ),
                ("memory = 1048576", "expected a text, found integer"),
                ("cpus = 0", "`0` is out of bounds (0.01 to 1024)"),
                ("cpus = \"two\"", "`two` is out of bounds (0.01 to 1024)"),
                (
                    "start_timeout = \"50ms\"",
                    "`50ms` is out of bounds (100ms to 1h)",
                ),
                ("stop_timeout = \"2h\"", "`2h` is out of bounds (1ms to 1h)"),
                ("colour = 1", "unknown key"),
            ],
        );
    }
    let same = "image = \"x\"\n";
    accepts(
        "services.tv.engines",
        &[
            &format!("{same}memory = \"1MiB\"\ncpus = 0.01"),
            &format!("{same}memory = \"1024GiB\"\ncpus = 1024"),
            &format!("{same}network = \"container:vpn\"\ncontainer_port = 65535"),
            &format!("{same}start_timeout = \"100ms\"\nstop_timeout = \"1h\"\nhost = \"::1\""),
            "command = [\"/bin/engine\", \"--port={port}\"]\nenv = { A = \"1\" }",
        ],
    );
    accepts("engines", &["memory = \"1MiB\"", "driver = \"process\""]);
}

#[test]
fn a_word_in_braces_that_stands_for_nothing_is_refused() {
    let allowed = "allowed: {port}, {p2p_port}, {id}, {service}, {vpn}";
    check(
        "services.tv.engines",
        &[(
            "command = \"/bin/engine --port {port}\"",
            "`/bin/engine --port {port}` is no list; \
                 expected [\"/bin/engine\", \"--port\", \"{port}\"]",
        )],
    );
    for section in BOTH {
        let command = "image = \"x\"\ncommand = [\"/bin/echo\", \"{prt}\"]";
        let env = "env = { A = \"1\", B = \"{port}:{nmae}\" }";
        let found = problems(&format!("[{section}]\n{command}\n{env}\n"));
        assert_eq!(
            found,
            [
                format!(
                    "{section}.command[1]: `{{prt}}` stands for nothing; {allowed}; for the text itself `{{{{prt}}}}`"
                ),
                format!(
                    "{section}.env.B: `{{nmae}}` stands for nothing; {allowed}; for the text itself `{{{{nmae}}}}`"
                ),
            ]
        );
        accepts(
            section,
            &[
                "image = \"x\"\ncommand = \"serve\"",
                "image = \"x\"\nenv = { A = '{\"a\":1}', B = '{{prt}}', C = '$${home}', D = '[0-9]{3}' }",
            ],
        );
    }
    let ports =
        "image = \"x\"\nextra_ports = [\"api\"]\nenv = { A = \"{port.api}\", B = \"{port.apu}\" }";
    let found = problems(&format!("[services.tv.engines]\n{ports}\n"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("{vpn}, {port.api};"), "{found:?}");
    // Services that follow may have that port.
    accepts("engines", &["command = [\"a\", \"{port.api}\"]"]);
}

#[test]
fn texts_of_an_engine_are_bounded() {
    let many = format!("command = [{}]", "\"a\", ".repeat(257));
    let long = format!("env = {{ A = \"{}\" }}", "x".repeat(32_769));
    let vpns: Vec<String> = (0..17).map(|at| format!("\"v{at}\"")).collect();
    check(
        "services.tv.engines",
        &[
            (&many, "257 texts of 257 bytes, at most 256 of 32KiB"),
            (&long, "1 texts of 32769 bytes, at most 256 of 32KiB"),
            (
                &format!("vpns = [{}]", vpns.join(", ")),
                "17 of them, at most 16",
            ),
        ],
    );
    let found = problems("[engines]\nenv = { A = 1 }\nlabels = { b = true }\n");
    assert_eq!(
        found,
        [
            "engines.env.A: expected a text, found integer (1)",
            "engines.labels.b: expected a text, found boolean (true)",
        ]
    );
}

#[test]
fn how_many_engines_there_are() {
    for section in BOTH {
        check(
            section,
            &[
                ("min = 10001", "10001 is out of bounds (0 to 10000)"),
                ("min = \"some\"", "expected a whole number, found string"),
                ("max = 0", "0 is out of bounds (1 to 10000)"),
                ("max = 10001", "10001 is out of bounds (1 to 10000)"),
                ("free = -1", "-1 is out of bounds (0 to 10000)"),
                ("streams_max = 0", "0 is out of bounds (1 to 1000000)"),
                ("burst_max = 0", "0 is out of bounds (1 to 10000)"),
                ("idle_grace = \"25h\"", "`25h` is out of bounds (0ms to 1d)"),
                ("down_cooldown = 5", "expected a text, found integer (5)"),
            ],
        );
    }
    accepts(
        "engines",
        &[
            "min = 0\nmax = 1",
            "min = 10000",
            "max = 10000\nmin = 10000\nfree = 10000",
            "idle_grace = \"0s\"\ndown_cooldown = \"1d\"",
        ],
    );
}

#[test]
fn how_an_engine_is_cared_for() {
    for section in BOTH {
        check(
            section,
            &[
                (
                    "uses_max = 10000001",
                    "10000001 is out of bounds (0 to 10000000)",
                ),
                (
                    "replacement_cooldown = \"2d\"",
                    "`2d` is out of bounds (0ms to 1d)",
                ),
                (
                    "rebalance_after = \"2d\"",
                    "`2d` is out of bounds (0ms to 1d)",
                ),
                (
                    "rebalance_after = false",
                    "expected a text, found boolean (false)",
                ),
            ],
        );
        check(
            &format!("{section}.probe"),
            &[
                ("check = \"icmp\"", "`icmp` is none of tcp, http, grpc"),
                ("interval = \"1ms\"", "`1ms` is out of bounds (10ms to 1h)"),
                ("timeout = \"0s\"", "`0s` is out of bounds (1ms to 1h)"),
                (
                    "ready_timeout = \"2h\"",
                    "`2h` is out of bounds (10ms to 1h)",
                ),
                ("failures = 0", "0 is out of bounds (1 to 1000)"),
                ("in_use_patience = 101", "101 is out of bounds (1 to 100)"),
                ("grace = \"2d\"", "`2d` is out of bounds (0ms to 1d)"),
                ("colour = 1", "unknown key"),
            ],
        );
        let found = problems(&format!(
            "[{section}.probe]\ncheck = \"http\"\npath = \"a b\"\nexpect_status = \"9\"\n"
        ));
        for wanted in ["path: `a b` is no path", "expect_status: `9` is no status"] {
            let wanted = format!("{section}.probe.{wanted}");
            assert!(found.iter().any(|p| p.starts_with(&wanted)), "{found:?}");
        }
    }
}

#[test]
fn what_contradicts_itself_is_told() {
    for (keys, wanted) in [
        (
            "command = \"x\"\nfree = 3\nmax = 2",
            "free: 3 is more than max (2)",
        ),
        (
            "command = \"x\"\nmin = 3\nmax = 2",
            "min: 3 is more than max (2)",
        ),
        (
            "driver = \"docker\"",
            "image: is required for driver docker",
        ),
        ("", "command: is required for driver process"),
        ("command = \"\"", "command: is required for driver process"),
        (
            "driver = \"process\"",
            "command: is required for driver process",
        ),
        (
            "command = \"x\"\nvpns = \"nl\"",
            "vpns[0]: no VPN is called `nl`",
        ),
    ] {
        let found = problems(&format!("[services.tv.engines]\n{keys}\n"));
        assert_eq!(found, [format!("services.tv.engines.{wanted}")], "{keys}");
    }
    let twice = "[vpns.nl]\ncontrol_url = \"http://a:1\"\n\
                 [services.tv.engines]\ncommand = \"x\"\nvpns = [\"nl\", \"nl\"]\n";
    assert_eq!(
        problems(twice),
        ["services.tv.engines.vpns[1]: `nl` is there twice"]
    );
}

#[test]
fn a_process_refuses_what_only_containers_have() {
    for (key, value) in [
        ("image", "\"x\""),
        ("network", "\"host\""),
        ("container_port", "80"),
        ("memory", "\"1GiB\""),
        ("cpus", "2"),
    ] {
        let what = "is only for containers; leave it out or use driver docker";
        let process = "driver = \"process\"\ncommand = \"x\"";
        for section in BOTH {
            let found = problems(&format!("[{section}]\n{process}\n{key} = {value}\n"));
            assert_eq!(found, [format!("{section}.{key}: {what}")]);
        }
    }
}

#[test]
fn a_service_takes_what_it_does_not_say_from_the_defaults() {
    let text = "[engines]\nimage = \"all\"\nmin = 2\nmemory = \"1GiB\"\nenv = { A = \"1\", B = \"1\" }\n\
                [engines.probe]\ncheck = \"http\"\npath = \"/all\"\ninterval = \"1s\"\n";
    let own = "[services.tv.engines]\nmin = 3\nenv = { B = \"2\" }\n\
               [services.tv.engines.probe]\ncheck = \"tcp\"\nfailures = 7\n";
    let found = engines(&format!("{text}{own}"));
    assert_eq!(found.launch.image, "all");
    assert_eq!(found.launch.memory_bytes_max, Some(1 << 30));
    assert_eq!(found.scale.min, 3);
    let env: Vec<_> = found.launch.env.iter().map(|(k, v)| (&**k, &**v)).collect();
    assert_eq!(env, [("A", "1"), ("B", "2")]);
    // A check is one thing; what is beside it is taken key by key.
    assert_eq!(found.care.probe, weir_core::health::Check::Tcp);
    assert_eq!(found.care.interval.as_secs(), 1);
    assert_eq!(found.care.failures_max, 7);
}

#[test]
fn defaults_of_containers_do_not_concern_a_process() {
    let text = "[engines]\nimage = \"all\"\nmemory = \"1GiB\"\nnetwork = \"mine\"\nmin = 2\n\
                [services.tv.engines]\ndriver = \"process\"\ncommand = \"x\"\n";
    let found = engines(text);
    assert_eq!(found.launch.driver, DriverKind::Process);
    assert_eq!((found.launch.memory_bytes_max, found.scale.min), (None, 2));
}

#[test]
fn a_wrong_default_is_told_once() {
    let services = "[services.a.engines]\nimage = \"x\"\n[services.b.engines]\nimage = \"x\"\n";
    let wrong = "[engines]\nmin = -1\ncolour = 1\n[engines.probe]\nfailures = 0\n";
    let mut found = problems(&format!("{services}{wrong}"));
    found.sort();
    assert_eq!(
        found,
        [
            "engines.colour: unknown key",
            "engines.min: -1 is out of bounds (0 to 10000)",
            "engines.probe.failures: 0 is out of bounds (1 to 1000)",
        ]
    );
}

#[test]
fn requests_wait_for_engines_of_a_service_that_may_have_none() {
    let scale = |keys: &str| {
        let text = format!("[services.tv.engines]\ncommand = \"x\"\n{keys}\n");
        let scale = engines(&text).scale;
        (scale.wait_max, scale.wait_timeout.as_secs())
    };
    assert_eq!(scale(""), (0, 30));
    assert_eq!(scale("min = 0"), (1_000, 30));
    assert_eq!(
        scale("min = 0\nwait_max = 7\nwait_timeout = \"5s\""),
        (7, 5)
    );
    assert_eq!(scale("min = 2\nwait_max = 7"), (7, 30));
    let wrong = "[services.tv.engines]\ncommand = \"x\"\nwait_max = -1\nwait_timeout = \"2h\"\n";
    assert_eq!(problems(wrong).len(), 2);
}

#[test]
fn a_service_of_engines_needs_no_backends() {
    let text = "[services.tv.engines]\ncommand = \"x\"\n[[routes]]\nservice = \"tv\"\n";
    let config = Config::parse(text, &Environment::new(), &Given::default()).unwrap();
    assert_eq!(config.services[0].backends, []);
    let scale = &config.services[0].engines.as_ref().unwrap().scale;
    assert_eq!((scale.min, scale.max, scale.free), (1, 20, 0));
}

#[test]
fn further_ports_have_names_that_are_told_apart() {
    let read = |names: &str| {
        let file = format!("[services.tv.engines]\nimage = \"x\"\nextra_ports = {names}\n");
        let parsed = Config::parse(&file, &Environment::new(), &Given::default());
        parsed.map_err(|invalid| invalid.to_string())
    };
    let config = read("[\"https\", \"api\"]").unwrap();
    let engines = config.services[0].engines.as_ref().unwrap();
    assert_eq!(engines.launch.extra_ports, ["https", "api"]);
    for (names, what) in [
        ("[\"api\", \"api\"]", "extra_ports[1]: `api` is there twice"),
        ("[\"API\"]", "`API` is not 1 to 16 of a-z 0-9 _"),
        ("[\"\"]", "is not 1 to 16"),
        ("[\"http\"]", "`http` is a port that every engine has"),
        (
            "[\"a\", \"b\", \"c\", \"d\", \"e\"]",
            "5 of them, at most 4",
        ),
    ] {
        let refused = read(names).unwrap_err();
        assert!(refused.contains(what), "{names}: {refused}");
    }
}
