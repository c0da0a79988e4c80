//! Static files: which file a path names, and how it answers.
//!
//! [`relative`] makes of a request's path one below a root, or refuses it; [`content_type`] says what the file is;
//! [`Stamp`] tells its states apart and gives its validators; [`suffix`] and [`Stamp::is_usable_for`] find what was
//! compressed beforehand. Conditions and ranges are those of [`crate::cache`].

mod mime;
mod path;
mod stamp;

pub use mime::{content_type, mime_type};
pub use path::{BadPath, NAME_BYTES_MAX, Wanted, is_plain_name, relative};
pub use stamp::{SETTLES_AFTER, Stamp};

use crate::content_coding::Coding;

/// What the name of a file ends with that holds another one in a coding; nothing for [`Coding::Identity`].
pub const fn suffix(coding: Coding) -> Option<&'static str> {
    match coding {
        Coding::Identity => None,
        Coding::Gzip => Some(".gz"),
        Coding::Brotli => Some(".br"),
        Coding::Zstd => Some(".zst"),
    }
}

/// Whether a file of that name holds what is compressed already: nothing is looked for beside it.
pub fn is_coded(name: &[u8]) -> bool {
    Coding::ALL
        .into_iter()
        .filter_map(suffix)
        .any(|suffix| name.ends_with(suffix.as_bytes()))
}
