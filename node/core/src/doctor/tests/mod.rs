mod certificates;
mod local_ports;

use super::*;
use crate::tuning::{Profile, Value, knobs, preset};

const GB: u64 = 1 << 30;

/// A node of a small profile, and one that a profile was named for.
fn needs(client_connections: u64, has_profile: bool) -> Needs {
    Needs::new(client_connections, 40_000, 20_000, has_profile)
}

/// A host that has everything.
fn sound() -> Parameters {
    let values = [
        ("net.core.somaxconn", "65535"),
        ("net.ipv4.tcp_max_syn_backlog", "8192"),
        ("net.core.netdev_max_backlog", "5000"),
        ("net.ipv4.tcp_fin_timeout", "30"),
        ("net.ipv4.tcp_keepalive_time", "300"),
        ("net.ipv4.tcp_keepalive_probes", "5"),
        ("net.ipv4.tcp_keepalive_intvl", "15"),
        ("net.ipv4.tcp_fastopen", "1027"),
        ("net.ipv4.tcp_tw_reuse", "1"),
        ("net.core.rmem_max", "16777216"),
        ("net.core.wmem_max", "16777216"),
        ("net.netfilter.nf_conntrack_max", "1048576"),
        ("fs.file-max", "9223372036854775807"),
        ("fs.nr_open", "1048576"),
        ("net.ipv4.ip_local_port_range", "1024\t65535"),
        ("vm.swappiness", "10"),
        ("vm.dirty_ratio", "15"),
        ("vm.dirty_background_ratio", "5"),
        ("net.ipv4.ip_local_reserved_ports", ""),
    ];
    let said = |(name, value): (&'static str, &str)| (name, Read::Said(format!("{value}\n")));
    values.map(said).into()
}

fn with(parameter: &'static str, read: Read) -> Parameters {
    let mut all = sound();
    all.insert(parameter, read);
    all
}

fn kernel_of(parameters: Parameters, needs: &Needs) -> Vec<Finding> {
    let facts = Facts {
        parameters,
        ..Facts::default()
    };
    let mut findings = examine(&facts, &Profile::new(), needs);
    findings.retain(|finding| finding.area == Area::Kernel && finding.severity > Severity::Ok);
    findings
}

fn only(findings: Vec<Finding>) -> Finding {
    let [only] = <[Finding; 1]>::try_from(findings).expect("one finding");
    only
}

#[test]
fn a_host_that_has_everything_has_no_findings() {
    assert_eq!(parameters().count(), sound().len());
    assert_eq!(kernel_of(sound(), &needs(250_000, true)), []);
}

/// Parameters, what falls short, and the command that mends it.
const SHORT: [(&str, &str, &str); 18] = [
    (
        "net.core.somaxconn",
        "4096",
        "sysctl -w net.core.somaxconn=65535",
    ),
    (
        "net.ipv4.tcp_max_syn_backlog",
        "512",
        "net.ipv4.tcp_max_syn_backlog=8192",
    ),
    (
        "net.core.netdev_max_backlog",
        "1000",
        "net.core.netdev_max_backlog=5000",
    ),
    (
        "net.ipv4.tcp_fin_timeout",
        "60",
        "net.ipv4.tcp_fin_timeout=30",
    ),
    (
        "net.ipv4.tcp_keepalive_time",
        "7200",
        "net.ipv4.tcp_keepalive_time=300",
    ),
    (
        "net.ipv4.tcp_keepalive_probes",
        "9",
        "net.ipv4.tcp_keepalive_probes=5",
    ),
    (
        "net.ipv4.tcp_keepalive_intvl",
        "75",
        "net.ipv4.tcp_keepalive_intvl=15",
    ),
    (
        "net.ipv4.tcp_fastopen",
        "1025",
        "net.ipv4.tcp_fastopen=1027",
    ),
    ("net.ipv4.tcp_tw_reuse", "2", "net.ipv4.tcp_tw_reuse=1"),
    ("net.core.rmem_max", "212992", "net.core.rmem_max=16777216"),
    ("net.core.wmem_max", "212992", "net.core.wmem_max=16777216"),
    (
        "net.netfilter.nf_conntrack_max",
        "65536",
        "net.netfilter.nf_conntrack_max=1048576",
    ),
    ("fs.file-max", "100000", "fs.file-max=2097152"),
    ("fs.nr_open", "65536", "fs.nr_open=1048576"),
    (
        "net.ipv4.ip_local_port_range",
        "32768\t60999",
        "sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"",
    ),
    ("vm.swappiness", "60", "vm.swappiness=10"),
    ("vm.dirty_ratio", "20", "vm.dirty_ratio=15"),
    (
        "vm.dirty_background_ratio",
        "10",
        "vm.dirty_background_ratio=5",
    ),
];

#[test]
fn each_parameter_that_falls_short_is_named_with_the_command_that_mends_it() {
    for (parameter, said, fix) in SHORT {
        let found = kernel_of(
            with(parameter, Read::Said(said.to_owned())),
            &needs(1_000, false),
        );
        let finding = only(found);
        assert_eq!((&*finding.check, &*finding.found), (parameter, said));
        assert!(finding.fix.contains(fix), "{}", finding.fix);
        assert!(!finding.effect.is_empty());
    }
}

#[test]
fn what_is_only_asked_for_is_advice_until_a_profile_is_named() {
    let short = with("net.core.somaxconn", Read::Said("4096".to_owned()));
    let severity =
        |has_profile| only(kernel_of(short.clone(), &needs(1_000, has_profile))).severity;
    assert_eq!(
        (severity(false), severity(true)),
        (Severity::Info, Severity::Warning)
    );
    let tunes = with("vm.swappiness", Read::Said("60".to_owned()));
    assert_eq!(
        only(kernel_of(tunes, &needs(1_000, true))).severity,
        Severity::Info
    );
}

#[test]
fn what_the_configuration_needs_is_a_warning_and_more_than_the_knob_if_it_must() {
    let tracked = |max: &str, clients| {
        let read = Read::Said(max.to_owned());
        kernel_of(
            with("net.netfilter.nf_conntrack_max", read),
            &needs(clients, false),
        )
    };
    assert_eq!(only(tracked("100000", 80_000)).severity, Severity::Warning);
    let mut more = tracked("1048576", 2_000_000);
    more.retain(|finding| finding.check.ends_with("conntrack_max"));
    let finding = only(more);
    assert!(
        finding.fix.ends_with("nf_conntrack_max=2040000`"),
        "{}",
        finding.fix
    );
    let narrow = with(
        "net.ipv4.ip_local_port_range",
        Read::Said("50000 60999".to_owned()),
    );
    assert_eq!(
        only(kernel_of(narrow, &needs(20_000, false))).severity,
        Severity::Warning
    );
}

#[test]
fn a_knob_of_the_profile_is_what_the_host_is_compared_with() {
    let mut profile = Profile::new();
    profile
        .set(&knobs::host::SOMAXCONN, Value::Count(4_096))
        .unwrap();
    let facts = Facts {
        parameters: with("net.core.somaxconn", Read::Said("4096".to_owned())),
        ..Facts::default()
    };
    let findings = examine(&facts, &profile, &needs(1, true));
    assert!(
        findings
            .iter()
            .all(|finding| finding.area != Area::Kernel || finding.severity == Severity::Ok)
    );
}

#[test]
fn a_parameter_that_cannot_be_read_is_told_and_not_changed() {
    let odd = ["", "many", "-1", "18446744073709551616"].map(|text| Read::Said(text.to_owned()));
    for read in odd
        .into_iter()
        .chain([Read::Absent, Read::Failed("permission denied".to_owned())])
    {
        let finding = only(kernel_of(with("net.core.rmem_max", read), &needs(1, true)));
        assert_eq!((finding.severity, finding.change), (Severity::Info, None));
    }
    for text in ["1024", "1024 x", "1 2 3", "60999 1024"] {
        let read = Read::Said(text.to_owned());
        assert_eq!(
            kernel_of(with("net.ipv4.ip_local_port_range", read), &needs(1, true)).len(),
            1
        );
    }
    let unloaded = with("net.netfilter.nf_conntrack_max", Read::Absent);
    assert_eq!(kernel_of(unloaded, &needs(1, true)), []);
}

#[test]
fn a_port_that_a_connection_may_take_is_reserved_beside_those_that_are() {
    let told = |reserved: &str, range: &str| {
        let mut parameters = with(
            "net.ipv4.ip_local_reserved_ports",
            Read::Said(reserved.to_owned()),
        );
        parameters.insert("net.ipv4.ip_local_port_range", Read::Said(range.to_owned()));
        let facts = Facts {
            parameters,
            listen_ports: vec![8080, 443, 7400, 7400],
            ..Facts::default()
        };
        let findings = examine(&facts, &Profile::new(), &needs(1, false));
        let mut all = findings.into_iter().filter_map(|finding| finding.change);
        all.find(|change| change.parameter.ends_with("reserved_ports"))
            .map(|change| change.value)
    };
    assert_eq!(told("\n", "1024 65535").as_deref(), Some("7400,8080"));
    // The range that is asked for has them, too.
    assert_eq!(
        told("9000-9099\n", "32768 60999").as_deref(),
        Some("9000-9099,7400,8080")
    );
    assert_eq!(told("7000-8079,8080", "1024 65535"), None);
    assert_eq!(told("", "odd"), None);
}

#[test]
fn the_file_for_sysctl_holds_the_changes_and_nothing_else() {
    let mut short = with("net.core.somaxconn", Read::Said("128".to_owned()));
    short.insert(
        "net.ipv4.ip_local_port_range",
        Read::Said("32768\t60999\n".to_owned()),
    );
    short.insert("net.core.rmem_max", Read::Absent);
    let text = sysctl_file(&kernel_of(short, &needs(1_000, true)));
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .collect();
    assert_eq!(
        lines,
        [
            "net.core.somaxconn = 65535",
            "net.ipv4.ip_local_port_range = 1024 65535"
        ]
    );
    assert!(text.contains("# was 32768 60999: "), "{text}");
    assert!(sysctl_file(&[]).contains("Nothing needs to change"));
}

fn files(hard: Option<u64>, needs: &Needs) -> Severity {
    let facts = Facts {
        open_files: Some(OpenFiles {
            soft: Some(1_024),
            hard,
        }),
        ..Facts::default()
    };
    let findings = examine(&facts, &Profile::new(), needs);
    let of_files = findings.iter().find(|finding| finding.area == Area::Limit);
    of_files.expect("a finding of files").severity
}

#[test]
fn files_are_compared_with_the_connections_that_may_be_open() {
    let small = needs(1_000, false);
    assert_eq!(files(None, &small), Severity::Ok);
    assert_eq!(files(Some(1_048_576), &small), Severity::Ok);
    assert_eq!(files(Some(3_024), &small), Severity::Info);
    assert_eq!(files(Some(3_023), &small), Severity::Warning);
    assert_eq!(files(Some(1_000), &small), Severity::Error);
    assert_eq!(files(Some(3_024), &needs(1_000, true)), Severity::Warning);
    let high = preset("high-traffic").unwrap().profile();
    let clients = high.get(&knobs::ingress::CONNECTIONS_MAX);
    assert_eq!(clients, Some(&Value::Count(250_000)));
    assert_eq!(
        files(Some(250_000), &needs(250_000, true)),
        Severity::Warning
    );
}

fn clock(daemon: Daemon, ahead_ms: i64, doubt_ms: u64) -> Severity {
    let of = "redis".to_owned();
    let facts = Facts {
        clock: Clock {
            daemon,
            offsets: vec![Offset {
                of,
                ahead_ms,
                doubt_ms,
            }],
        },
        ..Facts::default()
    };
    worst(&examine(&facts, &Profile::new(), &Needs::default()))
}

#[test]
fn a_clock_is_blamed_only_for_what_is_sure() {
    let kept = || Daemon::Synchronised("systemd-timesyncd");
    assert_eq!(clock(kept(), 0, 0), Severity::Ok);
    assert_eq!(clock(Daemon::None, 0, 0), Severity::Info);
    assert_eq!(clock(kept(), 1_400, 1_000), Severity::Ok);
    assert_eq!(clock(kept(), -1_600, 1_000), Severity::Warning);
    assert_eq!(clock(kept(), 2_600, 500), Severity::Error);
    assert_eq!(clock(kept(), i64::MIN, 500), Severity::Error);
}

fn disk(space: Result<Space, String>) -> Severity {
    let facts = Facts {
        folders: vec![Folder {
            key: "node.data_dir".to_owned(),
            path: "/var/lib/weir".to_owned(),
            space,
        }],
        clock: Clock {
            daemon: Daemon::Running("chronyd"),
            ..Clock::default()
        },
        ..Facts::default()
    };
    worst(&examine(&facts, &Profile::new(), &Needs::default()))
}

#[test]
fn a_folder_needs_room_inodes_and_the_right_to_write() {
    let roomy = Space {
        bytes_free: 50 * GB,
        bytes: 100 * GB,
        files_free: 1_000,
        files: 2_000,
        is_writable: true,
        is_there: false,
    };
    assert_eq!(disk(Ok(roomy)), Severity::Ok);
    assert_eq!(
        disk(Ok(Space {
            files: 0,
            files_free: 0,
            ..roomy
        })),
        Severity::Ok
    );
    assert_eq!(
        disk(Ok(Space {
            files_free: 99,
            ..roomy
        })),
        Severity::Warning
    );
    assert_eq!(
        disk(Ok(Space {
            files_free: 0,
            ..roomy
        })),
        Severity::Error
    );
    assert_eq!(
        disk(Ok(Space {
            bytes_free: GB / 2,
            ..roomy
        })),
        Severity::Warning
    );
    // A small disk that is half empty is fine.
    assert_eq!(
        disk(Ok(Space {
            bytes_free: GB / 2,
            bytes: GB,
            ..roomy
        })),
        Severity::Ok
    );
    assert_eq!(
        disk(Ok(Space {
            bytes_free: 1 << 20,
            bytes: GB,
            ..roomy
        })),
        Severity::Error
    );
    assert_eq!(
        disk(Ok(Space {
            is_writable: false,
            ..roomy
        })),
        Severity::Error
    );
    assert_eq!(disk(Err("permission denied".to_owned())), Severity::Error);
}

#[test]
fn whoever_does_not_answer_is_named_with_what_comes_of_it() {
    for (place, severity) in [
        (Place::ControlPlane, Severity::Error),
        (Place::Etcd, Severity::Error),
        (Place::Redis, Severity::Error),
        (Place::Docker, Severity::Error),
        (Place::Gluetun, Severity::Error),
        (Place::Collector, Severity::Warning),
    ] {
        let finding = |answer| {
            reach::judge(&Probe {
                place,
                address: "10.0.0.1:1".to_owned(),
                key: "redis.url".to_owned(),
                answer,
            })
        };
        let away = finding(Answer::No("connection refused".to_owned()));
        assert_eq!(away.severity, severity);
        assert!(away.fix.ends_with("or correct `redis.url`") && !away.effect.is_empty());
        assert_eq!(
            finding(Answer::Refused("WRONGPASS".to_owned())).severity,
            severity
        );
        assert_eq!(
            finding(Answer::Yes(2, String::new())).severity,
            Severity::Ok
        );
    }
}

#[test]
fn the_gravest_come_first() {
    let facts = Facts {
        parameters: with("net.core.somaxconn", Read::Said("1".to_owned())),
        probes: vec![Probe {
            place: Place::Redis,
            address: "a:1".to_owned(),
            key: "redis.url".to_owned(),
            answer: Answer::No("refused".to_owned()),
        }],
        ..Facts::default()
    };
    let findings = examine(&facts, &Profile::new(), &needs(1, true));
    let severities: Vec<Severity> = findings.iter().map(|finding| finding.severity).collect();
    assert!(
        severities.is_sorted_by(|one, other| one >= other),
        "{severities:?}"
    );
    assert_eq!(worst(&findings), Severity::Error);
    assert_eq!(findings[0].area, Area::Reach);
}

#[test]
fn each_name_of_the_environment_without_effect_is_a_warning_that_says_why() {
    let ignored = |name: &str| Ignored {
        name: name.to_owned(),
        why: "nothing is left to say".to_owned(),
    };
    let facts = Facts {
        ignored: vec![ignored("ONE"), ignored("TWO")],
        ..Facts::default()
    };
    let findings = examine(&facts, &Profile::new(), &Needs::new(1, 1, 1, false));
    let told: Vec<_> = findings
        .iter()
        .filter(|finding| finding.area == Area::Configuration)
        .collect();
    assert_eq!(told.len(), 2);
    assert_eq!(
        (told[0].severity, &*told[0].check),
        (Severity::Warning, "$ONE")
    );
    assert_eq!(told[1].effect, "it has no effect: nothing is left to say");
}
