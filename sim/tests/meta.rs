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

fn log_of(seed: &str) -> String {
    let ended = run(&["run", "partition", "--segments", "--seed", seed]);
    let log = text(ended.stdout);
    assert!(ended.status.success(), "seed {seed}:\n{}", errors(&log));
    assert_eq!(ended.stderr, b"", "seed {seed}");
    log
}

fn errors(log: &str) -> String {
    let lines = log.lines().filter(|line| line.contains(" ERROR "));
    lines.collect::<Vec<_>>().join("\n")
}

/// Runs seeds with a planted bug until a check finds it; gives what the checks said.
fn found(plant: &str) -> String {
    let logs = (1..=8).map(|seed: u64| {
        let ended = run(&[
            "run",
            "partition",
            "--seed",
            &seed.to_string(),
            "--plant",
            plant,
        ]);
        let log = text(ended.stdout);
        (ended.status.code(), errors(&log))
    });
    let mut failed = logs.filter(|(code, _)| *code == Some(1));
    failed.next().expect("some seed finds it").1
}

#[test]
fn one_seed_twice_gives_one_log() {
    for seed in ["1", "2", "3"] {
        let (first, second) = (log_of(seed), log_of(seed));
        assert!(first == second, "seed {seed}: the logs differ");
        assert!(first.contains("backend standing"), "the log is empty");
    }
}

#[test]
fn another_seed_gives_another_log() {
    let [first, second] = ["1", "2"].map(|seed| {
        let log = log_of(seed);
        // The first line names the seed.
        log.split_once('\n').unwrap().1.to_owned()
    });
    assert!(first != second);
}

#[test]
fn further_seeds_hold_every_promise() {
    for seed in 4..=9_u64 {
        log_of(&seed.to_string());
    }
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
    assert!(found("no-unhealthy").contains("cut_backend_is_out_in_time"));
}

#[test]
fn a_node_that_never_takes_a_backend_back_is_found() {
    assert!(found("no-recovery").contains("repaired_backend_is_back_in_time"));
}

#[test]
fn a_node_that_gives_up_a_backend_too_soon_is_found() {
    assert!(found("hasty").contains("only_cut_backends_go_out"));
}

#[test]
fn a_call_without_a_deadline_is_found() {
    assert!(found("no-deadline").contains("calls_end_by_their_deadline"));
}

#[test]
fn a_deadline_that_leaves_out_the_reconnect_is_found() {
    assert!(found("deadline-in-metadata").contains("calls_end_by_their_deadline"));
}

#[test]
fn a_change_that_reaches_one_node_only_is_found() {
    assert!(found("lost-change").contains("nodes_converge"));
}
