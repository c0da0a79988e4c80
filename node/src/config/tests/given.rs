//! What the control plane gives beside the file: who wins, what is refused, what is only noted.

use std::time::Duration;

use weir_core::tuning::{Code, Edit, Profile, Value, all, apply_edits};

use super::super::{
    Config, Effective, Environment, Give, Given, Invalid, RegisteredBackend, Source, supported,
};

const SECOND: Duration = Duration::from_secs(1);

fn profile(settings: &[(&str, &str)]) -> Given {
    let edits: Vec<Edit> = settings
        .iter()
        .map(|(path, value)| Edit::Set((*path).to_owned(), (*value).to_owned()))
        .collect();
    Given::default().with(Give::Profile(apply_edits(&Profile::new(), &edits).unwrap()))
}

fn parse(text: &str, settings: &[(&str, &str)]) -> Result<Config, Invalid> {
    Config::parse(text, &Environment::new(), &profile(settings))
}

fn effective(config: &Config, path: &str) -> Effective {
    let all = config.effective();
    all.into_iter().find(|e| e.knob.path == path).unwrap()
}

#[test]
fn for_the_node_the_profile_wins_over_the_file() {
    let text = "[node]\ncores = 3\ndrain_timeout = \"3s\"\n[ingress]\nheader_timeout = \"3s\"\n\
                write_timeout = \"4s\"\n[telemetry]\nstatus_cache_ttl = \"3s\"\n";
    let settings = [
        ("ingress.workers", "5"),
        ("ingress.drain_timeout", "5s"),
        ("ingress.header_timeout", "5s"),
        ("telemetry.status_cache_ttl", "5s"),
    ];
    let config = parse(text, &settings).unwrap();
    assert_eq!(config.node.cores, 5);
    assert_eq!(config.node.drain_timeout, 5 * SECOND);
    assert_eq!(config.ingress.header_timeout, 5 * SECOND);
    assert_eq!(config.telemetry.status_cache_ttl, 5 * SECOND);
    let source = |path| effective(&config, path).source;
    assert_eq!(source("ingress.header_timeout"), Source::Profile);
    assert_eq!(source("ingress.write_timeout"), Source::File);
    assert_eq!(source("ingress.keep_alive_timeout"), Source::Default);
}

#[test]
fn for_a_service_its_own_section_wins_over_the_profile() {
    let text = "[services.web]\n[services.db.timeouts]\nread = \"3s\"\n\
                [services.db.balance]\npolicy = \"random\"\n\
                [[routes]]\nservice = \"db\"\ntimeouts = { send = \"4s\" }\n";
    let settings = [
        ("upstream.read_timeout", "5s"),
        ("upstream.send_timeout", "6s"),
        ("balancer.policy", "round_robin"),
    ];
    let config = parse(text, &settings).unwrap();
    let (db, web) = (&config.services[0], &config.services[1]);
    assert_eq!(db.timeouts.read, 3 * SECOND);
    assert_eq!(db.timeouts.send, 6 * SECOND);
    assert_eq!(db.policy.name(), "random");
    assert_eq!(web.timeouts.read, 5 * SECOND);
    assert_eq!(web.policy.name(), "round_robin");
    let of_route = config.route_settings[0].timeouts.unwrap();
    assert_eq!(of_route.send, 4 * SECOND);
    assert_eq!(of_route.read, 5 * SECOND);

    let read = effective(&config, "upstream.read_timeout");
    assert_eq!(read.value, Value::Duration(5 * SECOND));
    assert_eq!(read.source, Source::Profile);
    assert_eq!(read.overridden_by, ["db".into()]);
    assert_eq!(
        effective(&config, "upstream.send_timeout").overridden_by,
        []
    );
}

#[test]
fn an_environment_variable_counts_as_the_file() {
    let variable = ("WEIR_INGRESS__HEADER_TIMEOUT".to_owned(), "3s".to_owned());
    let environment = Environment::from([variable]);
    let parsed = |given: &Given| Config::parse("", &environment, given).unwrap();
    let alone = parsed(&Given::default());
    assert_eq!(
        effective(&alone, "ingress.header_timeout").source,
        Source::File
    );
    let tuned = parsed(&profile(&[("ingress.header_timeout", "5s")]));
    assert_eq!(tuned.ingress.header_timeout, 5 * SECOND);
}

#[test]
fn a_value_of_the_file_is_checked_although_the_profile_wins() {
    let refused = parse(
        "[ingress]\nheaders_max = 101\n",
        &[("ingress.headers_max", "50")],
    );
    let refused = refused.unwrap_err();
    assert_eq!(refused.infeasible, []);
    assert!(
        refused
            .to_string()
            .contains("101 is out of bounds (1 to 100)")
    );
}

#[test]
fn nothing_that_is_given_mends_a_file() {
    let text = "[ingress]\nh2_stream_window = \"2MiB\"\nh2_connection_window = \"1MiB\"\n";
    let refused = parse(text, &[("ingress.h2_connection_window", "3MiB")]).unwrap_err();
    assert_eq!(refused.infeasible, []);
    assert_eq!(refused.problems.len(), 1);
}

#[test]
fn what_the_profile_makes_impossible_is_told_with_the_knob_that_it_sets() {
    for (text, path, value, told) in [
        (
            "[ingress]\nh2_stream_window = \"4MiB\"\n",
            "ingress.h2_connection_window",
            "3MiB",
            "ingress.h2_connection_window 3145728 is less than h2_stream_window (4194304)",
        ),
        (
            "[ingress]\nh2_connection_window = \"1MiB\"\n",
            "ingress.h2_stream_window",
            "2MiB",
            "ingress.h2_connection_window 1048576 is less than h2_stream_window (2097152)",
        ),
        (
            "[services.web.pool]\nidle_min = 6\n",
            "upstream.idle_max",
            "5",
            "services.web.pool.idle_min 6 is more than idle_max (5)",
        ),
        (
            "[services.web.ejection]\nbase_time = \"2m\"\n",
            "balancer.ejection_max_time",
            "1m",
            "services.web.ejection.max_time is less than base_time",
        ),
    ] {
        let refused = parse(text, &[(path, value)]).unwrap_err();
        assert_eq!(refused.infeasible.len(), 1, "{refused}");
        let problem = &refused.infeasible[0];
        assert_eq!(
            (problem.path.as_str(), problem.code),
            (path, Code::Infeasible)
        );
        assert_eq!(problem.value, value);
        assert!(problem.message.contains(told), "{problem}");
        assert_eq!(refused.problems.len(), 1);
    }
}

#[test]
fn every_knob_is_told_and_those_that_nobody_reads_by_name() {
    let unread: Vec<_> = all()
        .filter(|knob| !supported().contains_key(knob.path))
        .collect();
    let mut settings = Profile::new();
    for knob in all() {
        settings.set(knob, knob.default_value()).unwrap();
    }
    let given = Given::default().with(Give::Profile(settings));
    let config = Config::parse("", &Environment::new(), &given).unwrap();
    let unsupported = config.unsupported();
    assert_eq!(unsupported.len(), unread.len());
    assert!(
        unsupported
            .iter()
            .all(|problem| problem.code == Code::Unsupported)
    );
    let all_effective = config.effective();
    assert_eq!(all_effective.len(), all().count());
    for effective in all_effective {
        let read = supported().contains_key(effective.knob.path);
        assert_eq!(
            !effective.consumer.is_empty(),
            read,
            "{}",
            effective.knob.path
        );
        let source = if read {
            Source::Profile
        } else {
            Source::Default
        };
        assert_eq!(effective.source, source, "{}", effective.knob.path);
    }
}

#[test]
fn no_workers_means_one_for_each_core() {
    let here = std::thread::available_parallelism().unwrap().get();
    let config = parse("[node]\ncores = 1000\n", &[("ingress.workers", "0")]).unwrap();
    assert_eq!(config.node.cores, here);
    let workers = effective(&config, "ingress.workers");
    assert_eq!(workers.value, Value::Count(u64::try_from(here).unwrap()));
    assert_eq!(workers.pending, None);
}

#[test]
fn a_registered_backend_at_an_address_of_the_file_is_left_out_and_told() {
    let backend = |address: &str| RegisteredBackend {
        address: address.to_owned(),
        weight: 1,
        zone: String::new(),
        priority: 0,
        engine: None,
    };
    let registered = [("b1", "10.0.0.1:80"), ("b2", "10.0.0.2:80")]
        .map(|(id, address)| (id.into(), backend(address)));
    let endpoints = [("web".into(), registered.into())].into();
    let given = Given::default().with(Give::Endpoints(endpoints));
    let text = "[[services.web.backends]]\nid = \"a\"\naddress = \"10.0.0.1:80\"\n";
    let config = Config::parse(text, &Environment::new(), &given).unwrap();
    let ids: Vec<&str> = config.services[0]
        .backends
        .iter()
        .map(|b| b.id.as_str())
        .collect();
    assert_eq!(ids, ["a", "b2"]);
    let notes: Vec<String> = config.notes.iter().map(ToString::to_string).collect();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(
        notes[0].starts_with("endpoints.web.b1.address: ") && notes[0].contains("`a` in the file"),
        "{notes:?}"
    );
}

#[test]
fn backends_that_register_with_a_service_of_files_are_left_out_and_told() {
    let backend = RegisteredBackend {
        address: "10.0.0.1:80".into(),
        weight: 1,
        zone: String::new(),
        priority: 0,
        engine: None,
    };
    let endpoints = [("web".into(), [("one".into(), backend)].into())].into();
    let given = Given::default().with(Give::Endpoints(endpoints));
    let text = "[services.web.files]\nroot = \"/srv\"\n";
    let config = Config::parse(text, &Environment::new(), &given).unwrap();
    assert!(config.services[0].backends.is_empty());
    assert_eq!(config.notes.len(), 1);
    assert_eq!(config.notes[0].path, "endpoints.web");
}

#[test]
fn a_cache_larger_than_half_of_the_memory_is_refused_with_its_bound() {
    let Some(machine_bytes) = crate::ports::memory::limit_bytes() else {
        return;
    };
    let bound = format!("more than {} bytes", machine_bytes / 2);
    let given = profile(&[("cache.l1_bytes_max", "1024GiB")]);
    let refused = Config::parse("", &Environment::new(), &given).unwrap_err();
    assert_eq!(refused.infeasible[0].path, "cache.l1_bytes_max");
    assert_eq!(refused.infeasible[0].value, "1024GiB");
    let text = refused.to_string();
    assert!(
        text.contains("cache.l1_bytes_max: 1099511627776 is ") && text.contains(&bound),
        "{text}"
    );
    let file = "[cache]\nl1_bytes_max = \"1024GiB\"\n";
    let refused = Config::parse(file, &Environment::new(), &Given::default()).unwrap_err();
    assert!(refused.to_string().contains(&bound), "{refused}");
    let default = Config::parse("", &Environment::new(), &Given::default()).unwrap();
    assert!(default.cache.l1_bytes_max <= machine_bytes / 4);
}

#[test]
fn answers_longer_than_an_eighth_of_the_cache_are_refused_whoever_says_how_large_that_is() {
    let problem =
        "cache.l1_entry_bytes_max: 2MiB, at most an eighth of l1_bytes_max, which is 8MiB";
    let file =
        |l1: &str| format!("[cache]\nl1_entry_bytes_max = \"2MiB\"\nl1_bytes_max = \"{l1}\"\n");
    let parsed = |l1: &str, given: &Given| Config::parse(&file(l1), &Environment::new(), given);
    let kept = parsed("16MiB", &Given::default()).unwrap();
    assert_eq!(kept.cache.l1_entry_bytes_max, 2 << 20);
    let refused = parsed("8MiB", &Given::default()).unwrap_err();
    assert!(refused.to_string().contains(problem), "{refused}");
    let file = "[cache]\nl1_entry_bytes_max = \"2MiB\"\n";
    let given = profile(&[("cache.l1_bytes_max", "8MiB")]);
    let refused = Config::parse(file, &Environment::new(), &given).unwrap_err();
    assert!(refused.to_string().contains(problem), "{refused}");
    assert_eq!(refused.infeasible[0].path, "cache.l1_bytes_max");
}
