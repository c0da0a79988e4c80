//! Which service a request goes to, and what is changed on the way.

mod edits;
mod header_match;
mod host;
mod matching;
mod path;
mod problem;
mod rewrite;
mod table;
mod target;

pub use edits::{HeaderEdits, RefusedName};
pub use header_match::{HeaderMatch, HeaderTest};
pub use host::HostPattern;
pub use matching::{PathMatch, PathPattern, RouteRequest};
pub use path::{BadPath, normalise_path};
pub use problem::{BadPattern, RouteProblem};
pub use rewrite::{BadRewrite, PathRewrite, Rewrite};
pub use table::{Route, RouteTable};
pub use target::{BadTarget, Target};
