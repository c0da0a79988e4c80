//! Opens the file, or says why not.

use std::path::{Path, PathBuf};
use std::time::Duration;

use redb::{Database, DatabaseError, ReadableTable, StorageError};

use super::tables::{
    FORMAT, HISTORY, KEYS, LEASED, LEASES, META, META_FORMAT, META_ID, META_REVISION,
};
use super::{FILE_NAME, Options};
use crate::store::{LeaseId, Revision, StoreId};

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another part of this one, has it open.
    #[error("{} is in use by another process", .file.display())]
    Locked {
        /// The file.
        file: PathBuf,
    },
    /// It is not a store, or something other than the store wrote to it.
    #[error("{} is damaged ({reason}); put a copy back, or move it away to begin empty", .file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A newer version of Weir wrote it.
    #[error("{} has format {found}, and this version reads format {FORMAT}", .file.display())]
    Format {
        /// The file.
        file: PathBuf,
        /// Its format.
        found: u64,
    },
    /// The operating system refuses it.
    #[error("{} cannot be opened: {reason}", .file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What it says.
        reason: String,
    },
}

/// A sound file and what the owner must know of it.
pub(super) struct Opened {
    pub(super) database: Database,
    pub(super) id: StoreId,
    pub(super) revision: Revision,
    pub(super) leases: Vec<(LeaseId, Duration)>,
}

/// Opens where it may block.
pub(super) async fn open(options: &Options) -> Result<Opened, OpenError> {
    let file = options.data_dir.join(FILE_NAME);
    let options = options.clone();
    let at = file.clone();
    let opened = tokio::task::spawn_blocking(move || open_file(&at, &options)).await;
    // redb panics on some damage that its checksums cannot see.
    opened.unwrap_or_else(|panic| {
        Err(OpenError::Damaged {
            file,
            reason: panic.to_string(),
        })
    })
}

fn open_file(file: &Path, options: &Options) -> Result<Opened, OpenError> {
    let io = |error: std::io::Error| OpenError::Io {
        file: file.to_owned(),
        reason: error.to_string(),
    };
    std::fs::create_dir_all(&options.data_dir).map_err(io)?;
    let is_new = !file.exists();
    let database = Database::builder()
        .set_cache_size(options.cache_bytes_max)
        .set_check_integrity_on_open(true)
        .create(file)
        .map_err(|error| refusal(file, error))?;
    let damaged = |error: redb::Error| OpenError::Damaged {
        file: file.to_owned(),
        reason: error.to_string(),
    };
    let meta = prepare(&database, options.seed).map_err(damaged)?;
    if is_new {
        // The name of a new file is only safe once its folder is.
        std::fs::File::open(&options.data_dir)
            .and_then(|folder| folder.sync_all())
            .map_err(io)?;
    }
    if meta.format != FORMAT {
        return Err(OpenError::Format {
            file: file.to_owned(),
            found: meta.format,
        });
    }
    Ok(Opened {
        database,
        id: meta.id,
        revision: meta.revision,
        leases: meta.leases,
    })
}

fn refusal(file: &Path, error: DatabaseError) -> OpenError {
    let file = file.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::Locked { file },
        DatabaseError::Storage(StorageError::Io(error))
            if error.kind() != std::io::ErrorKind::InvalidData
                && error.kind() != std::io::ErrorKind::UnexpectedEof =>
        {
            let reason = error.to_string();
            OpenError::Io { file, reason }
        }
        error => {
            let reason = error.to_string();
            OpenError::Damaged { file, reason }
        }
    }
}

struct Meta {
    format: u64,
    id: StoreId,
    revision: Revision,
    leases: Vec<(LeaseId, Duration)>,
}

/// Makes the tables of a new file and reads the counters of any.
fn prepare(database: &Database, seed: u64) -> Result<Meta, redb::Error> {
    let write = database.begin_write()?;
    let meta = {
        let mut meta = write.open_table(META)?;
        if meta.get(META_FORMAT)?.is_none() {
            meta.insert(META_FORMAT, FORMAT)?;
            meta.insert(META_ID, seed)?;
            meta.insert(META_REVISION, 1)?;
        }
        write.open_table(KEYS)?;
        write.open_table(HISTORY)?;
        write.open_table(LEASED)?;
        let leases = write.open_table(LEASES)?;
        let leases = leases.iter()?.map(|row| {
            row.map(|(id, ttl)| (LeaseId(id.value()), Duration::from_secs(ttl.value())))
        });
        let read = |name| -> Result<u64, redb::Error> {
            Ok(meta.get(name)?.map_or(0, |value| value.value()))
        };
        Meta {
            format: read(META_FORMAT)?,
            id: StoreId(read(META_ID)?),
            revision: Revision(read(META_REVISION)?),
            leases: leases.collect::<Result<_, _>>()?,
        }
    };
    write.commit()?;
    Ok(meta)
}
