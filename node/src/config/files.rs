//! Services that are files of this machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::HeaderValue;
use weir_core::files::is_plain_name;

use super::reader::{Problem, Section};
use super::services::ServiceSettings;

/// Names that are tried in a directory.
const INDEX_MAX: usize = 8;

/// The files of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesSettings {
    /// The directory that paths are below.
    pub root: PathBuf,
    /// What answers for a directory: the first of these names that is there.
    pub index: Vec<String>,
    /// What answers for paths that name nothing: a path below `root`.
    pub fallback: Option<String>,
    /// `Cache-Control` of every file.
    pub cache_control: Option<HeaderValue>,
    /// Of texts; empty for none.
    pub charset: String,
    /// Whether names that start with a dot are served.
    pub dot_files: bool,
    /// Whether `.br`, `.zst` and `.gz` beside a file stand for it.
    pub precompressed: bool,
    /// Whether large files are sent with `sendfile` where that is possible.
    pub sendfile: bool,
}

/// The files of a service, when it has any.
pub(super) fn read(s: &mut Section, problems: &mut Vec<Problem>) -> Option<Arc<FilesSettings>> {
    if !s.has("files") {
        return None;
    }
    let mut s = s.section(problems, "files").read_by("data plane");
    if !s.has("root") {
        s.problem(problems, "root", "is required");
    }
    let settings = FilesSettings {
        root: s.path(problems, "root").unwrap_or_default(),
        index: read_index(&mut s, problems),
        fallback: s.text(problems, "fallback"),
        cache_control: s.text(problems, "cache_control").and_then(|text| {
            let value = HeaderValue::from_str(&text).ok();
            if value.is_none() {
                s.problem(
                    problems,
                    "cache_control",
                    format!("`{text}` is no header value"),
                );
            }
            value
        }),
        charset: s
            .text(problems, "charset")
            .unwrap_or_else(|| "utf-8".to_owned()),
        dot_files: s.flag(problems, "dot_files", false),
        precompressed: s.flag(problems, "precompressed", true),
        sendfile: s.flag(problems, "sendfile", true),
    };
    let is_charset = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:+".contains(&byte);
    if !settings.charset.bytes().all(is_charset) {
        let what = format!("`{}` is no charset such as utf-8", settings.charset);
        s.problem(problems, "charset", what);
    }
    if let Some(fallback) = settings.fallback.as_deref()
        && !is_plain_name(fallback)
    {
        s.problem(problems, "fallback", format!("`{fallback}` {PLAIN}"));
    }
    s.finish(problems);
    Some(Arc::new(settings))
}

const PLAIN: &str = "is no path below root, without a slash at its ends, `.` and `..`";

fn read_index(s: &mut Section, problems: &mut Vec<Problem>) -> Vec<String> {
    if !s.has("index") {
        return vec!["index.html".to_owned()];
    }
    let index = s.texts(problems, "index");
    if index.len() > INDEX_MAX {
        let what = format!("{} names are more than {INDEX_MAX}", index.len());
        s.problem(problems, "index", what);
    }
    for name in index.iter().filter(|name| !is_plain_name(name)) {
        s.problem(problems, "index", format!("`{name}` {PLAIN}"));
    }
    index
}

/// A service is either files or backends.
pub(super) fn check_alone(files: Option<&FilesSettings>, s: &Section, problems: &mut Vec<Problem>) {
    for key in ["backends", "engines"] {
        if files.is_some() && s.has(key) {
            s.problem(problems, key, "cannot stand beside `files`");
        }
    }
}

/// Every root that is no directory. What is on disk changes by itself: it is looked at when a file is offered, and what
/// is given later is not refused for it.
pub(super) fn missing_roots<'a>(
    services: impl Iterator<Item = &'a ServiceSettings>,
) -> Vec<Problem> {
    services
        .filter_map(|service| {
            let root = &service.files.as_ref()?.root;
            Some(Problem {
                path: format!("services.{}.files.root", service.name),
                what: format!("`{}` {}", root.display(), why_no_directory(root)?),
            })
        })
        .collect()
}

fn why_no_directory(root: &Path) -> Option<String> {
    match std::fs::metadata(root) {
        Ok(found) if found.is_dir() => None,
        Ok(_) => Some("is no directory".to_owned()),
        Err(error) => Some(format!("is no directory that can be read: {error}")),
    }
}
