//! Which content coding a response is sent in (RFC 9110 sections 8.4 and 12.5.3), and what that does to its headers.
//!
//! Decisions only: what is stored is what the origin sent; variants are made by whoever is told to.

mod accept;
mod coding;
mod compressible;
mod etag;
mod headers;
mod media_types;
mod vary;

pub use accept::AcceptEncoding;
pub use coding::{Coding, DEFAULT_PREFERENCE};
pub use compressible::{CompressionRules, NotCompressible, Representation, is_no_transform};
pub use etag::{coded_etag, names_etag, origin_etags};
pub use headers::code_headers;
pub use media_types::{BadMediaType, DEFAULT_TYPES, MediaType, MediaTypes};
pub use vary::add_accept_encoding;
