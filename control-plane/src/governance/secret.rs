//! Values that no log, trace or answer may show, and where they are read from.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Largest secret.
pub const SECRET_BYTES_MAX: u64 = 8 * 1024;

/// A text that is shown to nobody by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. Whoever calls this answers for where it goes.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where a secret is: `file:/path` or `env:NAME`. It is read anew at each use, so a changed file counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretRef {
    /// In a file of its own.
    File(PathBuf),
    /// In a variable of the environment.
    Env(String),
}

/// Why a secret cannot be had. Shows neither the secret nor what may be one by mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Perhaps the secret itself was written where its reference belongs.
    #[error("not a reference to a secret; allowed: file:/path or env:NAME")]
    NotAReference,
    /// The file cannot be read.
    #[error("secret {place} cannot be read: {reason}")]
    Unreadable {
        /// Which.
        place: SecretRef,
        /// What the operating system says.
        reason: String,
    },
    /// The file is a folder, a pipe or a device.
    #[error("secret {place} is not a regular file")]
    NotAFile {
        /// Which.
        place: SecretRef,
    },
    /// The variable does not exist.
    #[error("secret {place} is not set")]
    NotSet {
        /// Which.
        place: SecretRef,
    },
    /// There is nothing, or only white space.
    #[error("secret {place} is empty")]
    Empty {
        /// Which.
        place: SecretRef,
    },
    /// There is too much.
    #[error("secret {place} is longer than {SECRET_BYTES_MAX} bytes")]
    TooLong {
        /// Which.
        place: SecretRef,
    },
    /// It is not a text.
    #[error("secret {place} is not UTF-8")]
    NotText {
        /// Which.
        place: SecretRef,
    },
}

impl FromStr for SecretRef {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        let is_variable = |name: &str| {
            name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        match text.split_once(':') {
            Some(("file", path)) if path.starts_with('/') => Ok(Self::File(PathBuf::from(path))),
            Some(("env", name)) if is_variable(name) => Ok(Self::Env(name.to_owned())),
            _ => Err(SecretError::NotAReference),
        }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Env(name) => write!(f, "env:{name}"),
        }
    }
}

impl SecretRef {
    /// Reads the secret, without the white space around it. May block for as long as the disk does.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub fn read(&self) -> Result<Secret, SecretError> {
        let found = match self {
            Self::File(path) => self.read_file(path)?,
            Self::Env(name) => {
                let found = std::env::var_os(name).ok_or(SecretError::NotSet {
                    place: self.clone(),
                })?;
                found.into_encoded_bytes()
            }
        };
        if found.len() as u64 > SECRET_BYTES_MAX {
            return Err(SecretError::TooLong {
                place: self.clone(),
            });
        }
        let text = std::str::from_utf8(&found).map_err(|_| SecretError::NotText {
            place: self.clone(),
        })?;
        match text.trim() {
            "" => Err(SecretError::Empty {
                place: self.clone(),
            }),
            text => Ok(Secret::new(text)),
        }
    }

    fn read_file(&self, path: &Path) -> Result<Vec<u8>, SecretError> {
        let unreadable = |error: std::io::Error| SecretError::Unreadable {
            place: self.clone(),
            reason: error.to_string(),
        };
        // A pipe would be waited for without end.
        if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
            return Err(SecretError::NotAFile {
                place: self.clone(),
            });
        }
        let file = std::fs::File::open(path).map_err(unreadable)?;
        let mut found = Vec::new();
        file.take(SECRET_BYTES_MAX + 1)
            .read_to_end(&mut found)
            .map_err(unreadable)?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_with(content: &[u8]) -> (tempfile::TempDir, SecretRef) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, content).unwrap();
        (folder, SecretRef::File(path))
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "*** Secret(***)");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn a_reference_is_read_and_anything_else_is_not_repeated() {
        for text in ["file:/run/secrets/token", "env:WEIR_TOKEN"] {
            assert_eq!(text.parse::<SecretRef>().unwrap().to_string(), text);
        }
        for text in [
            "hunter2",
            "file:relative",
            "file:",
            "env:",
            "env:A B",
            "env:1",
            "",
        ] {
            let error = text.parse::<SecretRef>().unwrap_err();
            assert_eq!(error, SecretError::NotAReference, "{text}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn a_file_is_read_at_each_use() {
        let (folder, secret) = file_with(b"one\n");
        assert_eq!(secret.read().unwrap().expose(), "one");
        std::fs::write(folder.path().join("secret"), "  two \r\n").unwrap();
        assert_eq!(secret.read().unwrap().expose(), "two");
    }

    #[test]
    fn a_file_that_holds_no_secret_is_refused() {
        let bytes_max = usize::try_from(SECRET_BYTES_MAX).unwrap();
        let (_folder, secret) = file_with(&vec![b'x'; bytes_max]);
        assert_eq!(secret.read().unwrap().expose().len(), bytes_max);
        let (_folder, secret) = file_with(&vec![b'x'; bytes_max + 1]);
        assert!(matches!(secret.read(), Err(SecretError::TooLong { .. })));
        let (_folder, secret) = file_with(b" \n");
        assert!(matches!(secret.read(), Err(SecretError::Empty { .. })));
        let (folder, secret) = file_with(b"\xff");
        assert!(matches!(secret.read(), Err(SecretError::NotText { .. })));
        let secret = SecretRef::File(folder.path().to_owned());
        assert!(matches!(secret.read(), Err(SecretError::NotAFile { .. })));
        let secret = SecretRef::File(folder.path().join("absent"));
        assert!(matches!(secret.read(), Err(SecretError::Unreadable { .. })));
    }

    #[test]
    fn a_variable_is_read() {
        assert!(SecretRef::Env("PATH".into()).read().is_ok());
        let absent = SecretRef::Env("WEIR_SURELY_NOT_SET".into()).read();
        let error = absent.unwrap_err().to_string();
        assert_eq!(error, "secret env:WEIR_SURELY_NOT_SET is not set");
    }
}
