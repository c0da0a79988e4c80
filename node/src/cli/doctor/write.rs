//! A file that is there whole or not at all.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::cli::output::Failure;

/// Writes the file; one that is there is replaced only by `force`.
pub(super) fn whole(path: &Path, text: &str, force: bool) -> Result<(), Failure> {
    let refused =
        |why: String| Failure::Other(format!("--write-sysctl: {}: {why}", path.display()));
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let made = tempfile::NamedTempFile::new_in(folder);
    let mut file = made.map_err(|error| refused(error.to_string()))?;
    let readable = std::fs::Permissions::from_mode(0o644);
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.as_file().set_permissions(readable))
        .and_then(|()| file.as_file().sync_all());
    written.map_err(|error| refused(error.to_string()))?;
    let kept = match force {
        true => file.persist(path),
        false => file.persist_noclobber(path),
    };
    match kept {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(Failure::Usage(format!(
                "--write-sysctl: {} is there already (--force replaces it)",
                path.display()
            )))
        }
        Err(error) => Err(refused(error.error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_there_stays_unless_it_is_to_be_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("90-weir.conf");
        whole(&path, "one\n", false).unwrap();
        let refused = whole(&path, "two\n", false).unwrap_err().to_string();
        assert!(
            refused.ends_with("is there already (--force replaces it)"),
            "{refused}"
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\n");
        whole(&path, "two\n", true).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o644
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let refused = whole(Path::new("/nowhere/90-weir.conf"), "", false);
        let refused = refused.unwrap_err().to_string();
        assert!(
            refused.starts_with("--write-sysctl: /nowhere/90-weir.conf: "),
            "{refused}"
        );
    }
}
