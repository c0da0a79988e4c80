//! What the documentation shows works as shown.

use std::path::Path;
use std::process::{Command, Output};

use crate::common::{Backend, Weir};

fn readme() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    std::fs::read_to_string(path).unwrap()
}

/// The code blocks of one language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    text.split("```")
        .skip(1)
        .step_by(2)
        .filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n'))
        .map(str::to_owned)
        .collect()
}

fn weir(arguments: &[&str], node: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(arguments)
        .env("WEIR_NODE", node)
        .output()
        .unwrap()
}

#[test]
fn every_configuration_of_the_readme_has_no_problems() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = blocks(&readme(), "toml");
    assert!(blocks.len() >= 7, "the README shows configurations");
    for block in blocks {
        let path = folder.path().join("node.toml");
        std::fs::write(&path, &block).unwrap();
        let checked = weir(&["node", "--check", "--config", path.to_str().unwrap()], "");
        let problems = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{problems}\nin\n{block}");
    }
}

#[tokio::test]
async fn every_command_of_the_readme_that_asks_a_node_works() {
    let backend = Backend::start("one").await;
    let address = backend.address;
    let node = Weir::start(&format!(
        "[services.web]\nbackends = [{{ id = \"backend-1\", address = \"{address}\" }}]\n\
         [[routes]]\nservice = \"web\"\n"
    ))
    .await;
    let commands: Vec<String> = blocks(&readme(), "console")
        .iter()
        .flat_map(|block| block.lines())
        .filter_map(|line| line.strip_prefix("$ weir "))
        .filter(|line| line.starts_with("services") || line.starts_with("status"))
        .map(str::to_owned)
        .collect();
    assert!(commands.len() >= 4, "{commands:?}");
    for command in commands {
        let arguments: Vec<&str> = command.split_whitespace().collect();
        let output = weir(&arguments, &node.grpc.to_string());
        assert!(output.status.success(), "weir {command}: {output:?}");
    }
}

#[test]
fn every_command_has_help_with_an_example() {
    let commands: [&[&str]; 12] = [
        &["up"],
        &["node"],
        &["status"],
        &["services"],
        &["services", "list"],
        &["services", "get"],
        &["services", "watch"],
        &["services", "drain"],
        &["services", "undrain"],
        &["services", "weight"],
        &["services", "eject"],
        &["services", "restore"],
    ];
    for command in commands {
        let output = weir(&[command, &["--help"]].concat(), "");
        let help = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() && help.contains("Example:\n  weir "),
            "{help}"
        );
    }
}

#[test]
fn every_reason_of_the_readme_is_one_of_the_nodes() {
    let answers = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/data_plane/answer.rs");
    let answers = std::fs::read_to_string(answers).unwrap();
    let text = readme();
    let (_, section) = text.split_once("## When something goes wrong").unwrap();
    let (section, _) = section.split_once("## Watch it").unwrap();
    let named: Vec<&str> = section.split('`').skip(1).step_by(2).collect();
    let reasons = answers
        .lines()
        .filter_map(|line| line.split(" = \"").nth(1)?.split('"').next());
    for reason in reasons {
        assert!(named.contains(&reason), "the README explains {reason}");
    }
}
