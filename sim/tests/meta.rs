//! A seed reproduces its run, and the checks find what is planted.

use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weir-sim"))
        .args(arguments)
        .output()
        .expect("weir-sim starts")
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("weir-sim prints text")
}

fn log_of(scenario: &str, seed: &str) -> String {
    let ended = run(&["run", scenario, "--segments", "--seed", seed]);
    let log = text(ended.stdout);
    assert!(ended.status.success(), "seed {seed}:\n{}", errors(&log));
    assert_eq!(ended.stderr, b"", "seed {seed}");
    log
}

fn errors(log: &str) -> String {
    let lines = log.lines().filter(|line| line.contains(" ERROR "));
    lines.collect::<Vec<_>>().join("\n")
}

/// Runs seeds with a planted bug until this check finds it.
#[track_caller]
fn assert_found(scenario: &str, plant: &str, check: &str) {
    let finds = |seed: u64| {
        let seed = seed.to_string();
        let ended = run(&["run", scenario, "--seed", &seed, "--plant", plant]);
        ended.status.code() == Some(1) && errors(&text(ended.stdout)).contains(check)
    };
    assert!((1..=8).any(finds), "no seed lets {check} find it");
}

fn repeats(scenario: &str, seeds: &[&str], sign: &str) {
    for seed in seeds {
        let (first, second) = (log_of(scenario, seed), log_of(scenario, seed));
        assert!(first == second, "seed {seed}: the logs differ");
        assert!(first.contains(sign), "the log is empty");
    }
}

#[test]
fn one_seed_twice_gives_one_log() {
    repeats("partition", &["1", "2", "3"], "backend standing");
}

#[test]
fn one_seed_twice_gives_one_log_of_a_control_plane() {
    repeats("control-plane", &["1"], "stored revision");
}

#[test]
fn one_seed_twice_gives_one_log_of_purges() {
    repeats("purges", &["2"], "is in force on all nodes");
}

#[test]
fn one_seed_twice_gives_one_log_of_messages() {
    repeats("messages", &["2"], "is replicated");
}

#[test]
fn another_seed_gives_another_log() {
    let [first, second] = ["1", "2"].map(|seed| {
        let log = log_of("partition", seed);
        // The first line names the seed.
        log.split_once('\n').unwrap().1.to_owned()
    });
    assert!(first != second);
}

#[test]
fn further_seeds_hold_every_promise() {
    for seed in 4..=9_u64 {
        log_of("partition", &seed.to_string());
    }
}

#[test]
fn a_control_plane_holds_every_promise() {
    for seed in 2..=5_u64 {
        log_of("control-plane", &seed.to_string());
    }
}

/// All but the first found something once: a purge that an earlier one reaches beyond (8, 11, 20), and a value in Redis
/// from a clock that was ahead when its reader started (15).
#[test]
fn a_purge_beats_whatever_was_fetched_before_it() {
    for seed in ["1", "8", "11", "15", "20"] {
        log_of("purges", seed);
    }
}

#[test]
fn subscribers_are_told_of_all_that_they_do_not_get() {
    for seed in 3..=4_u64 {
        log_of("messages", &seed.to_string());
    }
}

#[test]
fn an_owner_that_goes_on_without_all_that_was_given_is_found() {
    assert_found("messages", "go-on-anyway", "one_number_is_one_message");
}

#[test]
fn a_log_that_differs_between_processes_is_shown() {
    let ended = run(&["meta", "partition", "--seeds", "1", "--plant", "process-id"]);
    let told = text(ended.stdout);
    assert_eq!(ended.status.code(), Some(1), "{told}");
    assert!(told.contains("run 1:") && told.contains("run 2:"), "{told}");
    assert_eq!(told.matches("planted process=").count(), 2, "{told}");
}

#[test]
fn a_seed_that_repeats_is_called_equal() {
    let ended = run(&["meta", "partition", "--seeds", "1", "--first", "10"]);
    let told = text(ended.stdout);
    assert!(ended.status.success(), "{told}");
    assert!(told.starts_with("seed 10: equal, "), "{told}");
}

#[test]
fn a_node_that_keeps_a_dead_backend_is_found() {
    assert_found("partition", "no-unhealthy", "cut_backend_is_out_in_time");
}

#[test]
fn a_node_that_never_takes_a_backend_back_is_found() {
    assert_found(
        "partition",
        "no-recovery",
        "repaired_backend_is_back_in_time",
    );
}

#[test]
fn a_node_that_gives_up_a_backend_too_soon_is_found() {
    assert_found("partition", "hasty", "only_cut_backends_go_out");
}

#[test]
fn a_call_without_a_deadline_is_found() {
    assert_found("partition", "no-deadline", "calls_end_by_their_deadline");
}

#[test]
fn a_deadline_that_leaves_out_the_reconnect_is_found() {
    assert_found(
        "partition",
        "deadline-in-metadata",
        "calls_end_by_their_deadline",
    );
}

#[test]
fn a_change_that_reaches_one_node_only_is_found() {
    assert_found("partition", "lost-change", "nodes_converge");
}

#[test]
fn an_ack_of_what_is_not_in_force_is_found() {
    assert_found(
        "control-plane",
        "hollow-ack",
        "nodes_have_what_the_layers_give",
    );
}

#[test]
fn an_instance_that_follows_no_further_is_found() {
    assert_found(
        "control-plane",
        "stale-replica",
        "nodes_have_what_the_layers_give",
    );
}

#[test]
fn an_instance_that_misses_changes_is_found() {
    assert_found("control-plane", "lost-events", "nodes_say_what_they_have");
}

#[test]
fn an_acknowledged_write_that_was_not_made_is_found() {
    assert_found(
        "control-plane",
        "forgotten-write",
        "acknowledged_writes_are_made_once",
    );
}

#[test]
fn a_leader_without_a_fence_is_found() {
    assert_found("control-plane", "no-fence", "terms_never_go_down");
}

#[test]
fn an_insert_that_compares_nothing_is_found() {
    assert_found(
        "purges",
        "insert-without-compare",
        "nothing_older_than_a_purge_in_force_answers",
    );
}

#[test]
fn a_copy_with_the_time_of_its_copying_is_found() {
    assert_found(
        "purges",
        "copy-time",
        "nothing_older_than_a_purge_in_force_answers",
    );
}

#[test]
fn an_ack_of_a_purge_that_is_not_in_force_yet_is_found() {
    assert_found(
        "purges",
        "early-ack",
        "nothing_older_than_an_acknowledged_purge_answers",
    );
}
