//! What the documentation shows works as shown.

use std::path::Path;
use std::process::{Command, Output};

use weir_fakes::gluetun::{FakeGluetun, Listen, Settings};
use weir_node::events::{Kind, Limit};

use crate::common::{Backend, Weir};
use crate::control_cli::{self, fake::Fake};
use crate::engines_face;

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
        let checked = weir(
            &["node", "--check=file", "--config", path.to_str().unwrap()],
            "",
        );
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
    let commands = commands_of_the_readme(&["logs", "services", "status"]);
    assert!(commands.len() >= 6, "{commands:?}");
    for command in commands {
        let arguments: Vec<&str> = command.iter().map(String::as_str).collect();
        let output = weir(&arguments, &node.grpc.to_string());
        assert!(output.status.success(), "weir {command:?}: {output:?}");
    }
}

#[tokio::test]
async fn every_command_of_the_readme_about_engines_works() {
    let gluetun = FakeGluetun::start(&Listen::default(), Settings::default()).unwrap();
    let config = format!(
        "[vpns.nl]\ncontrol_url = \"http://{}\"\n{}",
        gluetun.control(),
        engines_face::engines(2, 4)
    );
    let node = Weir::start(&config).await;
    engines_face::ready(&node, 2).await;
    let commands = commands_of_the_readme(&["engines", "events", "ports"]);
    assert!(commands.len() >= 6, "{commands:?}");
    for command in commands {
        let arguments: Vec<&str> = command.iter().map(String::as_str).collect();
        let output = weir(&arguments, &node.grpc.to_string());
        assert!(output.status.success(), "weir {command:?}: {output:?}");
    }
}

#[tokio::test]
async fn every_command_of_the_readme_about_the_cache_works() {
    let backend = Backend::start("one").await;
    let address = backend.address;
    let node = Weir::start(&format!(
        "[services.web]\nbackends = [\"{address}\"]\n\
         [[routes]]\nname = \"blog\"\nservice = \"web\"\ncache = true\n"
    ))
    .await;
    let commands = commands_of_the_readme(&["cache"]);
    assert!(commands.len() >= 7, "{commands:?}");
    for command in commands {
        let arguments: Vec<&str> = command.iter().map(String::as_str).collect();
        let output = weir(&arguments, &node.grpc.to_string());
        assert!(output.status.success(), "weir {command:?}: {output:?}");
    }
}

#[tokio::test]
async fn the_python_of_the_readme_finds_what_it_has_put() {
    let node = Weir::start("").await;
    let blocks = blocks(&readme(), "python");
    let [block] = blocks.as_slice() else {
        panic!("the README shows one program: {blocks:?}");
    };
    let ran = tokio::process::Command::new("python3")
        .args(["-c", block])
        .env("WEIR_API", format!("http://{}", node.api))
        .output();
    let ran = ran.await.unwrap();
    let told = String::from_utf8_lossy(&ran.stdout);
    assert_eq!(told, "loaded user/9\nloaded user/9\n", "{ran:?}");
}

/// The arguments of each `weir` command that the README shows and that begins with one of these.
pub fn commands_of_the_readme(first: &[&str]) -> Vec<Vec<String>> {
    blocks(&readme(), "console")
        .iter()
        .flat_map(|block| block.lines())
        .filter_map(|line| line.strip_prefix("$ weir "))
        .filter(|line| first.iter().any(|words| line.starts_with(words)))
        .map(words)
        .collect()
}

/// Words as a shell takes them; what is in double quotes is one.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (at, part) in line.split('"').enumerate() {
        match at % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words
}

/// Those that ask the control plane; the one that runs it is not among them.
const ASK_THE_CONTROL_PLANE: [&str; 7] = [
    "profile",
    "weights",
    "nodes",
    "backends",
    "control-plane status",
    "control-plane audit",
    "control-plane token",
];

#[tokio::test]
async fn every_command_of_the_readme_that_asks_the_control_plane_works() {
    let (_fake, address) = Fake::with_nodes().await;
    let folder = tempfile::tempdir().unwrap();
    let profiles = blocks(&readme(), "toml profile");
    let [profile] = profiles.as_slice() else {
        panic!("the README shows one profile: {profiles:?}");
    };
    let path = control_cli::file(&folder, profile);
    let token = folder.path().join("first-admin");
    std::fs::write(&token, format!("weir_{}", "0".repeat(64))).unwrap();
    let token = token.to_str().unwrap().to_owned();
    let commands = commands_of_the_readme(&ASK_THE_CONTROL_PLANE);
    assert!(commands.len() >= 10, "{commands:?}");
    for command in commands {
        let in_folder = |word: &String| match word.as_str() {
            "fleet.toml" => path.clone(),
            "first-admin" => token.clone(),
            _ => word.clone(),
        };
        let arguments: Vec<String> = command.iter().map(in_folder).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let ended = control_cli::weir(&address.to_string(), &arguments).await;
        assert_eq!(ended.code, 0, "weir {command:?}: {}", ended.err);
    }
}

/// Every command that people type.
const COMMANDS: [&[&str]; 90] = [
    &["publish"],
    &["subscribe"],
    &["connections"],
    &["connections", "end"],
    &["connections", "topics"],
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
    &["engines"],
    &["engines", "list"],
    &["engines", "watch"],
    &["engines", "provision"],
    &["engines", "stop"],
    &["engines", "logs"],
    &["ports"],
    &["ports", "list"],
    &["ports", "get"],
    &["ports", "invalidate"],
    &["cache"],
    &["cache", "stats"],
    &["cache", "get"],
    &["cache", "explain"],
    &["cache", "purge"],
    &["cache", "put"],
    &["cache", "touch"],
    &["cache", "watch"],
    &["cache", "warm"],
    &["doctor"],
    &["bench"],
    &["debug"],
    &["debug", "cpu"],
    &["debug", "heap"],
    &["debug", "heap-profile"],
    &["debug", "actors"],
    &["debug", "tasks"],
    &["events"],
    &["trace"],
    &["logs"],
    &["profile"],
    &["profile", "list"],
    &["profile", "get"],
    &["profile", "set"],
    &["profile", "unset"],
    &["profile", "apply"],
    &["profile", "diff"],
    &["profile", "history"],
    &["profile", "show"],
    &["profile", "rollback"],
    &["profile", "validate"],
    &["profile", "effective"],
    &["profile", "presets"],
    &["profile", "knobs"],
    &["weights"],
    &["weights", "list"],
    &["weights", "get"],
    &["weights", "set"],
    &["weights", "unset"],
    &["nodes"],
    &["nodes", "list"],
    &["nodes", "get"],
    &["nodes", "watch"],
    &["nodes", "cordon"],
    &["nodes", "uncordon"],
    &["nodes", "drain"],
    &["nodes", "undrain"],
    &["nodes", "remove"],
    &["backends"],
    &["backends", "list"],
    &["backends", "remove"],
    &["jobs"],
    &["jobs", "list"],
    &["jobs", "get"],
    &["jobs", "requeue"],
    &["jobs", "cancel"],
    &["control-plane"],
    &["control-plane", "status"],
    &["control-plane", "audit"],
    &["control-plane", "token"],
    &["control-plane", "token", "create"],
    &["control-plane", "token", "list"],
    &["control-plane", "token", "revoke"],
];

#[test]
fn every_command_has_help_with_an_example() {
    for command in COMMANDS {
        let output = weir(&[command, &["--help"]].concat(), "");
        let help = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() && help.contains("Example:\n  weir "),
            "{help}"
        );
    }
}

#[test]
fn every_kind_of_event_is_told_in_the_readme_as_it_is() {
    let text = readme();
    let (_, section) = text.split_once("## Events").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let rows: Vec<&str> = section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    let expected = Kind::ALL.iter().map(|kind| {
        let attributes: Vec<String> = kind.attributes().iter().map(|a| format!("`{a}`")).collect();
        let attributes = match &*attributes.join(", ") {
            "" => "–".to_owned(),
            some => some.to_owned(),
        };
        let (severity, subject) = (kind.severity().as_str(), kind.subject());
        format!(
            "| `{kind}` | {severity} | {subject} | {attributes} | {} |",
            kind.about()
        )
    });
    assert_eq!(rows, expected.collect::<Vec<_>>());
    for limit in Limit::ALL {
        assert!(
            section.contains(&format!("`{}`", limit.as_str())),
            "{limit:?}"
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
