//! Files that arguments name: read whole, and only up to a bound.

use std::io::{self, Read};
use std::path::Path;

use crate::cli::output::Failure;

/// Bytes of a token, a certificate chain or a key.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// The text of a file, or of standard input for `-`.
pub(in crate::cli) fn read_bounded(
    flag: &str,
    path: &Path,
    bytes_max: u64,
) -> Result<String, Failure> {
    let refuse = |why: String| Failure::Usage(format!("{flag}: {}: {why}", path.display()));
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin()
            .lock()
            .take(bytes_max + 1)
            .read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes))
    };
    read.map_err(|error| refuse(error.to_string()))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > bytes_max {
        return Err(refuse(format!("is larger than {bytes_max} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| refuse("is not UTF-8".to_owned()))
}

/// A token, certificate or key.
pub(in crate::cli) fn read_secret(flag: &str, path: &Path) -> Result<String, Failure> {
    let text = read_bounded(flag, path, SECRET_BYTES_MAX)?;
    match text.trim().is_empty() {
        false => Ok(text),
        true => Err(Failure::Usage(format!(
            "{flag}: {} is empty",
            path.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_beyond_the_bound_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read_bounded("--file", &path, 5).unwrap(), "12345");
        let refused = read_bounded("--file", &path, 4).unwrap_err().to_string();
        assert!(
            refused.starts_with("--file: ") && refused.ends_with("larger than 4 bytes"),
            "{refused}"
        );
    }

    #[test]
    fn a_secret_that_is_empty_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, " \n").unwrap();
        assert!(read_secret("--token-file", &path).is_err());
    }
}
