//! Files of lines.

use super::problems;

#[test]
fn the_access_log_is_no_file_of_the_nodes_own_log() {
    let of = |output: &str| {
        problems(&format!(
            "[node]\nname = \"a\"\n[logs]\ndir = \"/var/log\"\n[access_log]\noutput = \"{output}\"\n"
        ))
    };
    for same in [
        "/var/log/a.log",
        "/var/log/./{node}.log",
        "/var//log/a.log.1",
    ] {
        let found = of(same);
        let [problem] = &found[..] else {
            panic!("{same}: {found:?}");
        };
        assert!(
            problem.starts_with("access_log.output: `/var/") && problem.contains("`logs.dir`"),
            "{problem}"
        );
    }
    for other in [
        "/var/log/a.log.old",
        "/var/log/access-{node}.log",
        "/var/a.log",
        "stdout",
    ] {
        assert_eq!(of(other), Vec::<String>::new(), "{other}");
    }
}
