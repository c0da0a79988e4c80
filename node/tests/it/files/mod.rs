//! Files as a service.

mod bodies;
mod conditions;
mod escapes;
mod names;
mod sent;
mod variants;

use std::path::Path;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use crate::common::Weir;

/// A node that serves a folder at every path.
struct Stage {
    folder: TempDir,
    weir: Weir,
}

/// An answer to one request, which closed its connection.
struct Got {
    status: u16,
    head: String,
    body: String,
}

impl Got {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    fn reason(&self) -> Option<&str> {
        self.header("x-weir-reason")
    }
}

impl Stage {
    /// `keys` are further ones of the section, `make` fills the root.
    async fn start(keys: &str, make: impl FnOnce(&Path)) -> Self {
        Self::start_with(keys, "", make).await
    }

    /// The same with further keys of the route.
    async fn start_with(keys: &str, route: &str, make: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("root")).unwrap();
        make(&folder.path().join("root"));
        let weir = Weir::start(&config(&folder.path().join("root"), keys, route)).await;
        Self { folder, weir }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join("root").join(name)
    }

    async fn ask(&self, method: &str, path: &str, fields: &str) -> Got {
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{fields}\r\n");
        let answer = self.weir.exchange(request.as_bytes()).await;
        let (head, body) = answer.split_once("\r\n\r\n").expect(&answer);
        Got {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    async fn get(&self, path: &str) -> Got {
        self.ask("GET", path, "").await
    }
}

fn config(root: &Path, keys: &str, route: &str) -> String {
    format!(
        "[services.web.files]\nroot = \"{}\"\n{keys}\n[[routes]]\nservice = \"web\"\n{route}\n",
        root.display()
    )
}

/// Writes a file that was last changed so many seconds ago.
fn write_aged(path: &Path, content: &[u8], seconds_ago: u64) {
    std::fs::write(path, content).unwrap();
    let file = std::fs::File::options().write(true).open(path).unwrap();
    #[expect(clippy::disallowed_methods, reason = "files have the system's time")]
    let then = SystemTime::now() - Duration::from_secs(seconds_ago);
    file.set_modified(then).unwrap();
}

/// Bytes that differ wherever they are.
fn pattern(length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| b'a' + u8::try_from((at + at / 251 + at / 65_521) % 26).unwrap())
        .collect()
}
