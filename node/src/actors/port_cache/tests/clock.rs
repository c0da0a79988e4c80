//! A clock that is set does not change what is believed.

use std::fs;
use std::path::{Path, PathBuf};

/// Sources below a folder of this package, without tests.
fn sources(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join(folder)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let is_test = path.file_stem().is_some_and(|name| name == "tests");
            match path.is_dir() {
                _ if is_test => {}
                true => folders.push(path),
                false => files.push(path),
            }
        }
    }
    files
}

#[test]
fn how_long_a_port_is_believed_and_who_asks_is_decided_by_the_monotonic_clock_alone() {
    let folders = [
        "src/actors/port_cache",
        "core/src/port_cache",
        "core/src/vpn",
    ];
    let files: Vec<PathBuf> = folders.into_iter().flat_map(sources).collect();
    assert!(files.len() > 15, "{files:?}");
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for word in ["SystemTime", "WallClock", "unix_now", "UNIX_EPOCH"] {
            assert!(!text.contains(word), "{word} in {}", file.display());
        }
    }
}
