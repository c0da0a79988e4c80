//! The first token, for a control plane that asks for tokens and has none.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use weir_proto::control::v1::TokenInfo;

use super::manage::{Error, Tokens, record};
use super::plan::NewToken;
use super::{TokenHash, fresh};
use crate::governance::audit::Actor;
use crate::governance::identity::Role;
use crate::governance::secret::{Secret, SecretError, SecretRef};

/// The name of the first token; no other may have it.
pub const BOOTSTRAP_NAME: &str = "bootstrap";

/// What became of the first token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bootstrapped {
    /// The token in the file lets an administrator in.
    Inserted,
    /// There is an administrator already; the file was not looked at.
    AdminExists,
}

/// Who can come in with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admins {
    /// An administrator at least.
    There,
    /// There are tokens, but none of an administrator that has not ended.
    Gone,
    /// There never was a token, or all were revoked.
    NoToken,
}

/// Why there is no first token.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BootstrapError {
    /// The file cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The file holds something else.
    #[error(
        "{} holds no token; allowed: `weir_` and 64 digits of 0-9a-f, or no file, then one is made",
        .file.display()
    )]
    NotAToken {
        /// Which.
        file: PathBuf,
    },
    /// The file cannot be made.
    #[error("{} cannot be written: {reason}", .file.display())]
    Unwritable {
        /// Which.
        file: PathBuf,
        /// What the operating system says.
        reason: String,
    },
    /// The token in the file is one that was made otherwise.
    #[error("the token in {} exists as `{name}`, and that is no administrator", .file.display())]
    InUse {
        /// Which file.
        file: PathBuf,
        /// Which token.
        name: String,
    },
    /// The store does not do it.
    #[error(transparent)]
    Tokens(#[from] Error),
}

impl Tokens {
    /// Whether an administrator can come in with a token now.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn admins(&self, now_unix_ms: u64) -> Result<Admins, Error> {
        let picture = self.look().await?;
        Ok(match picture.has_admin(now_unix_ms) {
            true => Admins::There,
            false if picture.tokens.is_empty() => Admins::NoToken,
            false => Admins::Gone,
        })
    }

    /// Lets the token in `file` in as administrator, if there is none who can come in. Makes the file, for its
    /// owner only, if it does not exist.
    ///
    /// Several instances may be started with one file. Whoever revokes the last administrator and starts again
    /// gets in again: the file is to be kept like the key that it is.
    ///
    /// # Errors
    /// When the file holds no token or cannot be made, or the store does not do it.
    pub async fn bootstrap(
        &self,
        file: &Path,
        now_unix_ms: u64,
    ) -> Result<Bootstrapped, BootstrapError> {
        if self.look().await?.has_admin(now_unix_ms) {
            return Ok(Bootstrapped::AdminExists);
        }
        let secret = read_or_make(file)?;
        let hash = TokenHash::of(secret.expose()).ok_or_else(|| BootstrapError::NotAToken {
            file: file.to_owned(),
        })?;
        self.admit(file, hash, now_unix_ms).await
    }

    async fn admit(
        &self,
        file: &Path,
        hash: TokenHash,
        now_unix_ms: u64,
    ) -> Result<Bootstrapped, BootstrapError> {
        let actor = Actor {
            author: BOOTSTRAP_NAME.to_owned(),
            role: Role::Local,
        };
        let token = NewToken {
            name: BOOTSTRAP_NAME.to_owned(),
            role: Role::Admin,
            subject: String::new(),
            ttl_ms: 0,
        };
        let info = token.info(&actor, now_unix_ms);
        let detail = "the first administrator";
        let record = record(
            &actor,
            "token.bootstrap",
            BOOTSTRAP_NAME,
            detail,
            now_unix_ms,
        );
        let key = hash.key(self.keys());
        self.change(&info, &record, |picture, _| {
            if picture.has_admin(now_unix_ms) {
                return Ok(None);
            }
            if let Some(kept) = picture.tokens.iter().find(|kept| kept.key == key) {
                return Err(Error::Taken(Box::new(kept.info.clone())));
            }
            let steps = picture.create(self.keys(), hash, &info, now_unix_ms)?;
            Ok(Some(steps))
        })
        .await
        .map_err(|error| in_use(error, file))?;
        let tokens = self.look().await?.tokens;
        let is_ours = |kept: &super::plan::Kept| kept.key == key && is_admin(&kept.info);
        Ok(if tokens.iter().any(is_ours) {
            Bootstrapped::Inserted
        } else {
            Bootstrapped::AdminExists
        })
    }
}

fn is_admin(info: &TokenInfo) -> bool {
    info.role == Role::Admin.to_wire() as i32
}

fn in_use(error: Error, file: &Path) -> BootstrapError {
    match error {
        Error::Taken(info) => BootstrapError::InUse {
            file: file.to_owned(),
            name: info.name,
        },
        error => BootstrapError::Tokens(error),
    }
}

fn read_or_make(file: &Path) -> Result<Secret, BootstrapError> {
    if file.exists() {
        return Ok(SecretRef::File(file.to_owned()).read()?);
    }
    let secret = fresh()?;
    let made = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut made| {
            writeln!(made, "{}", secret.expose())?;
            made.sync_all()
        });
    match made {
        Ok(()) => Ok(secret),
        Err(error) => Err(BootstrapError::Unwritable {
            file: file.to_owned(),
            reason: error.to_string(),
        }),
    }
}
