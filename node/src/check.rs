//! What a start finds beside its file: secrets, certificates, folders.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use weir_control_plane::governance::secret::SecretRef;

use crate::config::{Config, Output, Problem, VpnAuth};
use crate::control_link::{self, ControlLink};

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// With these the node does not start.
    pub problems: Vec<Problem>,
    /// With these it starts, and something does not work.
    pub warnings: Vec<Problem>,
}

/// Looks at everything that the configuration names and that is elsewhere. Opens files, and changes nothing.
pub(crate) fn surroundings(config: &Config) -> Found {
    let mut found = Found::default();
    found
        .problems
        .extend(secret("http_api.token", config.http_api.token.as_ref()));
    found.problems.extend(control_plane(config));
    let data_dir = config.node.data_dir.as_deref();
    let data_dir = data_dir.and_then(|dir| folder("node.data_dir", dir));
    // What a node of its own keeps there is its identity; one with a control plane does without.
    match config.control_plane.endpoints.is_empty() {
        true => found.problems.extend(data_dir),
        false => found.warnings.extend(data_dir),
    }
    found.warnings.extend(secrets(config));
    found.warnings.extend(folders(config));
    found.warnings.extend(certificates(config));
    if config.text().trim().is_empty() {
        let what = "is empty: a node starts with it and serves nothing; one that runs refuses it, as half written";
        found.warnings.push(problem("the file", what));
    }
    found
}

fn control_plane(config: &Config) -> Option<Problem> {
    match ControlLink::check(&config.control_plane) {
        Ok(()) => None,
        Err(control_link::Error::Token(error)) => {
            Some(problem("control_plane.token", error.to_string()))
        }
        Err(control_link::Error::Tls(error)) => Some(problem("control_plane", error.to_string())),
    }
}

/// Those that are read when they are needed: without one, nobody can show it.
fn secrets(config: &Config) -> Vec<Problem> {
    let mut found = Vec::from_iter(secret("peers.token", config.peers_token.as_ref()));
    found.extend(secret("debug.token", config.debug.token.as_ref()));
    for token in &config.broadcaster.tokens {
        let key = format!("broadcaster.tokens.{}.token", token.name);
        found.extend(secret(&key, Some(&token.token)));
    }
    for cdn in &config.cdns {
        found.extend(secret(
            &format!("cdns.{}.token", cdn.name),
            cdn.token.as_ref(),
        ));
    }
    for vpn in &config.vpns {
        let (key, place) = match &vpn.auth {
            VpnAuth::None => continue,
            VpnAuth::ApiKey(place) => ("api_key", place),
            VpnAuth::Basic(_, place) => ("password", place),
        };
        found.extend(secret(&format!("vpns.{}.{key}", vpn.name), Some(place)));
    }
    found
}

fn folders(config: &Config) -> Vec<Problem> {
    let logs = config.logs.dir.as_deref();
    let mut found = Vec::from_iter(logs.and_then(|dir| folder("logs.dir", dir)));
    if let Some(Output::File(path)) = config.access_log.as_ref().map(|log| &log.output) {
        let whole = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        found.extend(
            whole
                .parent()
                .and_then(|dir| folder("access_log.output", dir)),
        );
    }
    found
}

fn certificates(config: &Config) -> Vec<Problem> {
    let of_cdns = config.cdns.iter().filter_map(|cdn| {
        let path = cdn.api.ca_file.as_ref()?;
        let what = format!("`{}`: {}", path.display(), File::open(path).err()?);
        Some(problem(&format!("cdns.{}.ca_file", cdn.name), what))
    });
    of_cdns.collect()
}

fn secret(key: &str, place: Option<&SecretRef>) -> Option<Problem> {
    Some(problem(key, place?.read().err()?.to_string()))
}

/// A folder that is made when it is not there: then its nearest parent that is there counts.
fn folder(key: &str, wanted: &Path) -> Option<Problem> {
    let whole = std::path::absolute(wanted).unwrap_or_else(|_| PathBuf::from(wanted));
    let there = whole.ancestors().find(|path| path.exists())?;
    let shown = wanted.display();
    let because = match there == whole {
        true => String::new(),
        false => format!(" cannot be made: `{}`", there.display()),
    };
    if !there.is_dir() {
        return Some(problem(key, format!("`{shown}`{because} is no folder")));
    }
    let denied = access(there, Access::WRITE_OK | Access::EXEC_OK).err()?;
    Some(problem(
        key,
        format!("`{shown}`{because} cannot be written to: {denied}"),
    ))
}

fn problem(path: &str, what: impl Into<String>) -> Problem {
    Problem {
        path: path.to_owned(),
        what: what.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Given};

    fn found(text: &str) -> (Vec<String>, Vec<String>) {
        let config = Config::parse(text, &Environment::new(), &Given::default()).unwrap();
        let found = surroundings(&config);
        let told = |problems: Vec<Problem>| problems.iter().map(ToString::to_string).collect();
        (told(found.problems), told(found.warnings))
    }

    #[test]
    fn what_keeps_a_node_from_starting_is_a_problem() {
        let absent = "token = \"file:/nonexist\"";
        let secret = "secret file:/nonexist cannot be read";
        for (text, key) in [
            (format!("[http_api]\n{absent}\n"), "http_api.token"),
            (
                format!("[control_plane]\n{absent}\n"),
                "control_plane.token",
            ),
        ] {
            let (problems, warnings) = found(&text);
            assert!(
                problems[0].starts_with(&format!("{key}: {secret}")),
                "{problems:?}"
            );
            assert_eq!((problems.len(), warnings.len()), (1, 0), "{text}");
        }
        let (problems, _) = found("[control_plane]\nca = \"/nonexist.pem\"\n");
        assert!(problems[0].contains("/nonexist.pem"), "{problems:?}");
        let (problems, _) = found("[node]\ndata_dir = \"/proc/version/weir\"\n");
        assert_eq!(
            problems,
            ["node.data_dir: `/proc/version/weir` cannot be made: `/proc/version` is no folder"]
        );
    }

    #[test]
    fn what_a_node_starts_without_is_a_warning() {
        let token = "[broadcaster.tokens.shop]\ntoken = \"env:WEIR_SURELY_NOT_SET\"\n";
        let (problems, warnings) = found(&format!("[logs]\ndir = \"/proc/version\"\n{token}"));
        assert_eq!(problems, [""; 0]);
        assert_eq!(
            warnings,
            [
                "broadcaster.tokens.shop.token: secret env:WEIR_SURELY_NOT_SET is not set",
                "logs.dir: `/proc/version` is no folder",
            ]
        );
        let (problems, warnings) = found("");
        assert_eq!((problems.len(), warnings.len()), (0, 1));
    }

    #[test]
    fn what_is_there_is_not_told() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("new/logs");
        let text = format!("[logs]\ndir = {dir:?}\n[debug]\ntoken = \"env:PATH\"\n");
        let (problems, warnings) = found(&text);
        assert_eq!((problems, warnings), (Vec::new(), Vec::new()));
    }
}
