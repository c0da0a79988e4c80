//! Static binaries of this package's programs.

use std::env::{self, consts};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();

/// Where the program is; all of them are built once a process, which costs little when nothing changed.
pub(super) fn fake(program: &str) -> Result<PathBuf, String> {
    let folder = BUILT.get_or_init(built).clone()?;
    let file = folder.join(program);
    if file.is_file() {
        return Ok(file);
    }
    Err(format!("weir-fakes has no program `{program}`"))
}

/// Holds up all other tests on this machine that take the same lock of the same checkout, until it is dropped.
pub(super) fn lock(name: &str) -> Result<File, String> {
    let path = folder().join(format!("{name}.lock"));
    let locked = File::create(&path).and_then(|file| file.lock().map(|()| file));
    locked.map_err(|error| format!("{}: {error}", path.display()))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn folder() -> PathBuf {
    root().join("target/static")
}

fn built() -> Result<PathBuf, String> {
    let folder = folder();
    // With a target named, flags are for the programs only and not for what builds them.
    let target = format!("{}-unknown-linux-gnu", consts::ARCH);
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "build",
            "--quiet",
            "--locked",
            "--package",
            "weir-fakes",
            "--bins",
        ])
        .args(["--target", &target, "--target-dir"])
        .arg(&folder)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env(
            "RUSTFLAGS",
            "-C target-feature=+crt-static -C strip=symbols",
        )
        .current_dir(root())
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cargo cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(folder.join(target).join("debug"));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "the fakes cannot be built as static binaries:\n{said}"
    ))
}
