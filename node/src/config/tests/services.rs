//! Services with all that belongs to them, and routes.

use super::{accepts, check, problems};

#[test]
fn services() {
    check(
        "services.web",
        &[
            (
                "protocol = \"http3\"",
                "`http3` is none of http1, http2, grpc",
            ),
            ("panic_percent = 101", "101 is out of bounds (0 to 100)"),
            (
                "drain_timeout = \"25h\"",
                "`25h` is out of bounds (0ms to 1d)",
            ),
            (
                "failure_statuses = [200]",
                "`200` is no status from 400 to 599",
            ),
            (
                "backends = \"127.0.0.1:1\"",
                "expected a list, found string",
            ),
        ],
    );
    check(
        "services.web.balance",
        &[
            ("policy = \"magic\"", "`magic`: "),
            (
                "bounded_load_percent = 100",
                "100 is out of bounds (101 to 1000)",
            ),
            (
                "hash_on = \"mood\"",
                "`mood` is none of client_address, path",
            ),
            ("hash_on = \"header:a b\"", "`a b` is no header name"),
            ("hash_on = \"cookie:a b\"", "`cookie:a b` is none of"),
        ],
    );
    check(
        "services.web.sticky",
        &[
            ("cookie = \"a b\"", "`a b` is no cookie name"),
            ("ttl = \"31d\"", "`31d` is out of bounds (1s to 30d)"),
        ],
    );
    let name = problems("[services.\"a b\"]\n");
    assert!(name[0].contains("` must be 1 to 63 letters"), "{name:?}");
}

#[test]
fn health() {
    check(
        "services.web.health",
        &[
            ("check = \"ping\"", "`ping` is none of tcp, http, grpc"),
            ("interval = \"1ms\"", "`1ms` is out of bounds (10ms to 1h)"),
            ("timeout = \"2h\"", "`2h` is out of bounds (10ms to 1h)"),
            ("rise = 0", "0 is out of bounds (1 to 100)"),
            ("fall = 101", "101 is out of bounds (1 to 100)"),
        ],
    );
    check(
        "services.web.ejection",
        &[
            (
                "consecutive_failures = 10001",
                "10001 is out of bounds (0 to 10000)",
            ),
            ("base_time = \"1ms\"", "`1ms` is out of bounds (10ms to 1d)"),
            ("max_time = \"1s\"", "is less than base_time"),
            (
                "ejected_percent_max = 101",
                "101 is out of bounds (0 to 100)",
            ),
        ],
    );
    check(
        "services.web.slow_start",
        &[
            ("window = \"2h\"", "`2h` is out of bounds (0ms to 1h)"),
            ("min_percent = 0", "0 is out of bounds (1 to 100)"),
        ],
    );
}

#[test]
fn keys_of_a_check_of_another_kind_are_told_with_their_kind() {
    let told = |keys: &str| problems(&format!("[services.web.health]\n{keys}"));
    let path = "services.web.health";
    assert_eq!(
        told("path = \"/\"\ngrpc_service = \"a\"\n"),
        [
            format!("{path}.path: needs check = \"http\""),
            format!("{path}.grpc_service: needs check = \"grpc\""),
        ]
    );
    assert_eq!(
        told("check = \"tcp\"\nhost = \"a\"\n"),
        [format!("{path}.host: needs check = \"http\"")]
    );
    // What follows from another fault is none by itself.
    let keys = "path = \"/\"\nexpect_status = 204\n";
    assert_eq!(
        told(&format!("chek = \"http\"\n{keys}")),
        [format!("{path}.chek: unknown key; did you mean `check`?")]
    );
    assert_eq!(
        told(&format!("check = \"htpp\"\n{keys}")),
        [format!("{path}.check: `htpp` is none of tcp, http, grpc")]
    );
}

#[test]
fn time_outs_and_pools() {
    for section in ["services.web.timeouts", "services.web.pool"] {
        check(section, &[("patience = 1", "unknown key")]);
    }
    let zero = "`0s` is out of bounds (1ms to 1d)";
    check(
        "services.web.timeouts",
        &[
            ("connect = \"0s\"", zero),
            ("send = \"0s\"", zero),
            ("read = \"0s\"", zero),
            ("idle = \"0s\"", zero),
            ("total = \"0s\"", zero),
        ],
    );
    accepts(
        "services.web.timeouts",
        &["total = \"off\"", "connect = \"1ms\""],
    );
    check(
        "services.web.pool",
        &[
            ("connections_max = 0", "0 is out of bounds (1 to 1000000)"),
            ("idle_min = 1001", "1001 is more than idle_max (1000)"),
            ("idle_min = 10001", "10001 is out of bounds (0 to 10000)"),
            ("idle_max = 100001", "100001 is out of bounds (0 to 100000)"),
            (
                "idle_timeout = \"1ms\"",
                "`1ms` is out of bounds (100ms to 1d)",
            ),
            ("h2_connections_max = 0", "0 is out of bounds (1 to 1000)"),
            ("h2_streams_max = 0", "0 is out of bounds (1 to 65536)"),
        ],
    );
}

#[test]
fn bounds_that_contradict_each_other_are_told() {
    let found = problems("[services.web.pool]\nidle_min = 6\nidle_max = 5\n");
    let wanted = "services.web.pool.idle_min: 6 is more than idle_max (5)";
    assert_eq!(found, [wanted]);
}

#[test]
fn backends_are_named_by_their_place() {
    let found = problems(
        "[services.web]\nbackends = [\"10.0.0.1\", { weight = 1 }, 7,\n\
         { address = \"a:1\", weight = 65536, priority = 16, id = \"\" },\n\
         { address = \"b:1\", id = \"x\" }, { address = \"c:1\", id = \"x\", colour = 1 }]\n",
    );
    let expected = [
        "[2]: expected a table, found integer (7)",
        "[0].address: `10.0.0.1`: expected host:port",
        "[1].address: is required",
        "[3].weight: 65536 is out of bounds (0 to 65535)",
        "[3].priority: 16 is out of bounds (0 to 15)",
        "[3].id: must have 1 to 255 characters",
        "[5].id: `x` is used twice in this service",
        "[5].colour: unknown key",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (problem, wanted) in found.iter().zip(expected) {
        let wanted = format!("services.web.backends{wanted}");
        assert!(problem.starts_with(&wanted), "{problem} is not {wanted}");
    }
}

#[test]
fn routes_are_named_by_their_place() {
    let web = "[services.web]\nbackends = [\"a:1\"]\n";
    for (keys, wanted) in [
        ("", ".service: is required"),
        (
            "service = \"db\"",
            ".service: `db` is no configured service",
        ),
        (
            "service = \"web\"\nsplit = [\"web\"]",
            ".split: a route has either",
        ),
        ("split = []", ".split: "),
        (
            "service = \"web\"\npath = \"/a\"\npath_exact = \"/b\"",
            ".path_exact: a route has one of",
        ),
        ("service = \"web\"\npath_regex = \"(\"", ": "),
        (
            "service = \"web\"\nmethods = [\"G T\"]",
            ".methods: `G T`: ",
        ),
        (
            "service = \"web\"\nheaders = { x = \"~(\" }",
            ".headers.x: ",
        ),
        ("service = \"web\"\nhost = \"a.*.b\"", ".host: "),
        (
            "service = \"web\"\nrewrite = { prefix = \"/x\", path = \"/y\" }",
            ".rewrite.path: a rewrite",
        ),
        (
            "service = \"web\"\nrequest_headers = { set = { \"a b\" = \"c\" } }",
            ".request_headers",
        ),
        (
            "service = \"web\"\ntimeouts = { read = \"0s\" }",
            ".timeouts.read: `0s` is out of",
        ),
        (
            "service = \"web\"\ncompress = 1",
            ".compress: expected true or false",
        ),
        (
            "service = \"web\"\ncompress.types = [\"text/html\", \"html\"]",
            ".compress.types: `html`: is no media type",
        ),
        ("service = \"web\"\ncolour = 1", ".colour: unknown key"),
    ] {
        let good = "[[routes]]\nservice = \"web\"\n";
        let found = problems(&format!("{web}{good}[[routes]]\n{keys}\n"));
        let wanted = format!("routes[1]{wanted}");
        assert!(
            found.iter().any(|problem| problem.starts_with(&wanted)),
            "{keys}: {found:?} lacks {wanted}"
        );
    }
}

#[test]
fn a_route_for_messages_has_no_service() {
    let route = |keys: &str| problems(&format!("[[routes]]\nbroadcast = true\n{keys}\n"));
    assert_eq!(route("path_exact = \"/live\""), Vec::<String>::new());
    for (keys, key) in [
        ("service = \"web\"", "service"),
        ("cache = {}", "cache"),
        ("rewrite = { prefix = \"/\" }", "rewrite"),
    ] {
        let found = route(keys);
        let expected = format!("routes[0].{key}: does not go with `broadcast`");
        assert!(found[0].starts_with(&expected), "{found:?}");
        assert!(
            !found
                .iter()
                .any(|problem| problem.contains("service: is required"))
        );
    }
    let wrong = problems("[[routes]]\nbroadcast = \"yes\"\n");
    assert!(wrong[0].starts_with("routes[0].broadcast: "), "{wrong:?}");
}
