//! Whose a node's containers are, so that no other Weir on the same Docker takes them for its own.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use weir_control_plane::keys::DEFAULT_NAMESPACE;

use crate::config::Config;
use crate::ports::net::Endpoint;

/// In the node's folder: what tells it from others of its name.
const ID_FILE: &str = "node-id";
const ID_DIGITS: usize = 16;

/// Why a node does not know itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its folder cannot be used.
    #[error("{}: {source}", .path.display())]
    Folder {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{}: `{found}` is no id of {ID_DIGITS} hexadecimal digits; without the file the node makes a new one, and \
             leaves the containers that it has", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is in it, shortened.
        found: String,
    },
}

/// Nodes of one mesh that share a Docker take over each other's engines when one is gone; those of another one do not.
pub(super) fn owner_of_mesh(control_plane: &[Endpoint]) -> String {
    let mut instances: Vec<&str> = control_plane.iter().map(Endpoint::as_str).collect();
    instances.sort_unstable();
    format!("weir/{}", instances.join(","))
}

/// A node of its own is known by its folder: whatever runs in it later has its containers. One without a folder is
/// known by its name alone, because nothing else of it survives. `seed` names it when it has no id yet.
///
/// # Errors
/// When it has engines and its id cannot be read or kept.
pub(super) fn owner_of_lone(config: &Config, seed: u64) -> Result<String, Error> {
    let by_name = format!("weir/{DEFAULT_NAMESPACE}/{}", config.node.name);
    let Some(folder) = &config.node.data_dir else {
        return Ok(by_name);
    };
    match id_in(folder, seed) {
        Ok(id) => Ok(format!("{by_name}/{id}")),
        Err(error)
            if config
                .services
                .iter()
                .any(|service| service.engines.is_some()) =>
        {
            Err(error)
        }
        Err(error) => {
            tracing::warn!(%error, "the node has no id of its own");
            Ok(by_name)
        }
    }
}

fn id_in(folder: &Path, seed: u64) -> Result<String, Error> {
    let path = folder.join(ID_FILE);
    let failed = |source| Error::Folder {
        path: path.clone(),
        source,
    };
    match fs::read_to_string(&path) {
        Ok(text) => {
            let id = text.trim_end();
            let is_id = id.len() == ID_DIGITS && id.bytes().all(|byte| byte.is_ascii_hexdigit());
            match is_id {
                true => Ok(id.to_owned()),
                false => Err(Error::Damaged {
                    found: id.chars().take(2 * ID_DIGITS).collect(),
                    path,
                }),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let id = format!("{seed:016x}");
            keep(folder, &path, &id).map_err(failed)?;
            Ok(id)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Whole or not at all, also when the machine stops meanwhile.
fn keep(folder: &Path, path: &Path, id: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let new = path.with_extension("new");
    let mut file = fs::File::create(&new)?;
    writeln!(file, "{id}")?;
    file.sync_all()?;
    fs::rename(new, path)?;
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Given};

    fn node(data_dir: Option<&Path>) -> Config {
        let data_dir =
            data_dir.map(|folder| format!("data_dir = {:?}\n", folder.to_str().unwrap()));
        let text = format!(
            "[node]\nname = \"a\"\n{}[services.tv.engines]\ncommand = [\"tv\"]\n",
            data_dir.unwrap_or_default()
        );
        Config::parse(&text, &Environment::new(), &Given::default()).unwrap()
    }

    #[test]
    fn nodes_of_one_name_are_told_apart_by_their_folders_and_keep_what_they_had() {
        let [one, other] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let below = one.path().join("not/yet");
        let owner = |folder: &Path, seed| owner_of_lone(&node(Some(folder)), seed).unwrap();
        let first = owner(&below, 1);
        assert_eq!(first, "weir/default/a/0000000000000001");
        assert_ne!(owner(other.path(), 2), first);
        assert_eq!(owner(&below, 3), first, "a later life of the same folder");
        assert_eq!(owner_of_lone(&node(None), 4).unwrap(), "weir/default/a");
    }

    #[test]
    fn an_id_that_cannot_be_read_is_told_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(ID_FILE), "what is this\n").unwrap();
        let error = owner_of_lone(&node(Some(folder.path())), 1).unwrap_err();
        let told = error.to_string();
        assert!(
            told.contains("node-id") && told.contains("`what is this`"),
            "{told}"
        );
    }

    #[test]
    fn meshes_are_told_apart_by_their_control_planes() {
        let owner = |instances: &[&str]| {
            let instances: Vec<Endpoint> =
                instances.iter().map(|one| one.parse().unwrap()).collect();
            owner_of_mesh(&instances)
        };
        assert_eq!(owner(&["b:1", "a:1"]), owner(&["a:1", "b:1"]));
        assert_ne!(owner(&["b:1"]), owner(&["a:1"]));
    }
}
