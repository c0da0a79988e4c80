//! One seed, two processes, one log: without that a seed reproduces nothing.

use std::io::{self, Write as _};
use std::process::{Command, Stdio};

use clap::ValueEnum as _;

use crate::plant::Plant;
use crate::scenarios::Scenario;

/// Lines shown before the first one that differs.
const CONTEXT_LINES: usize = 5;

/// Runs each of `seeds` twice; true when both logs are equal every time.
///
/// # Errors
/// When a process cannot be started or nothing can be printed.
pub(crate) fn run(
    scenario: Scenario,
    seeds: impl Iterator<Item = u64>,
    plant: Option<Plant>,
) -> io::Result<bool> {
    let mut equal = true;
    let mut out = io::stdout().lock();
    for seed in seeds {
        let (first, second) = (
            log_of(scenario, seed, plant)?,
            log_of(scenario, seed, plant)?,
        );
        match first_difference(&first, &second) {
            None => {
                let lines = first.split(|byte| *byte == b'\n').count() - 1;
                writeln!(out, "seed {seed}: equal, {lines} lines")?;
            }
            Some(told) => {
                equal = false;
                writeln!(out, "seed {seed}: {told}")?;
            }
        }
    }
    Ok(equal)
}

fn log_of(scenario: Scenario, seed: u64, plant: Option<Plant>) -> io::Result<Vec<u8>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("run").arg(name_of(&scenario));
    command.args(["--segments", "--seed", &seed.to_string()]);
    if let Some(plant) = plant {
        command.arg("--plant").arg(name_of(&plant));
    }
    Ok(command.stdin(Stdio::null()).output()?.stdout)
}

fn name_of(value: &impl clap::ValueEnum) -> String {
    let value = value.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

/// The first line that differs with what comes before it in either log.
fn first_difference(first: &[u8], second: &[u8]) -> Option<String> {
    if first == second {
        return None;
    }
    let logs = [first, second].map(String::from_utf8_lossy);
    let lines = [&logs[0], &logs[1]].map(|log| log.lines().collect::<Vec<_>>());
    let at = lines[0]
        .iter()
        .zip(&lines[1])
        .position(|(a, b)| a != b)
        .unwrap_or(lines[0].len().min(lines[1].len()));
    let mut told = format!("line {} differs\n", at + 1);
    for (run, lines) in (1..).zip(&lines) {
        told.push_str(&format!("run {run}:\n"));
        let until = lines.len().min(at + 1);
        for line in &lines[at.saturating_sub(CONTEXT_LINES).min(until)..until] {
            told.push_str(&format!("  {line}\n"));
        }
    }
    Some(told)
}

/// The names of all scenarios with what they are about.
pub(crate) fn scenarios() -> impl Iterator<Item = String> {
    Scenario::value_variants().iter().map(|scenario| {
        let about = scenario.to_possible_value();
        let about = about.and_then(|value| value.get_help().map(ToString::to_string));
        format!("{}: {}", name_of(scenario), about.unwrap_or_default())
    })
}
