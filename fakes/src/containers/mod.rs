//! Docker for tests: the one that is there, or one of the test's own.
//!
//! A daemon of its own lives in a process, a mount and a memory file system of its own and dies with whoever started
//! it, however that one dies, with all its containers. Needs root, `dockerd` and util-linux.

mod build;
mod client;
mod daemon;
mod image;

use std::env;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use self::daemon::Daemon;

pub use self::client::Answer;

const USUAL_SOCKET: &str = "/var/run/docker.sock";

static SHARED: Mutex<Weak<Docker>> = Mutex::new(Weak::new());

/// A Docker that tests may use.
pub struct Docker {
    socket: PathBuf,
    /// Ends it when dropped; none where Docker was there before.
    own: Option<Daemon>,
}

/// The Docker of this process, as long as somebody holds it. Names of containers are the caller's to keep apart.
///
/// # Errors
/// Why there is none: a test that needs Docker fails without.
pub fn docker() -> Result<Arc<Docker>, String> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(docker) = shared.upgrade() {
        return Ok(docker);
    }
    let docker = Arc::new(match reachable() {
        Some(socket) => Docker { socket, own: None },
        None => Docker::own()?,
    });
    *shared = Arc::downgrade(&docker);
    Ok(docker)
}

/// The socket of a Docker that answers.
fn reachable() -> Option<PathBuf> {
    let told = env::var("DOCKER_HOST").ok();
    let socket = told
        .as_deref()
        .map_or(Some(USUAL_SOCKET), |host| host.strip_prefix("unix://"))?;
    let socket = PathBuf::from(socket);
    client::answers(&socket).then_some(socket)
}

impl Docker {
    /// One of the caller's own, whatever else there is.
    ///
    /// # Errors
    /// What it needs and is not there.
    pub fn own() -> Result<Self, String> {
        let own = Daemon::start()?;
        let socket = own.socket();
        Ok(Self {
            socket,
            own: Some(own),
        })
    }

    /// Ends the daemon as a crash would; its containers live on.
    ///
    /// # Errors
    /// When it is not the caller's own, or did not end.
    pub fn crash(&self) -> Result<(), String> {
        self.daemon()?.crash()
    }

    /// Starts the daemon again after [`Self::crash`], and waits until it answers.
    ///
    /// # Errors
    /// When it is not the caller's own, or does not answer.
    pub fn come_back(&self) -> Result<(), String> {
        self.daemon()?.come_back()
    }

    /// Holds the daemon up: it takes connections, and answers nothing until [`Self::go_on`].
    ///
    /// # Errors
    /// When it is not the caller's own, or does not run.
    pub fn pause(&self) -> Result<(), String> {
        self.daemon()?.signal("STOP")
    }

    /// Lets it go on after [`Self::pause`].
    ///
    /// # Errors
    /// When it is not the caller's own, or does not run.
    pub fn go_on(&self) -> Result<(), String> {
        self.daemon()?.signal("CONT")
    }

    fn daemon(&self) -> Result<&Daemon, String> {
        let own = self.own.as_ref();
        own.ok_or_else(|| "this Docker was there before, and is others' as well".to_owned())
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// An image from scratch with one of this package's programs as its entry point. Gives its name, which is another
    /// one for another program text.
    ///
    /// # Errors
    /// When it cannot be built or imported.
    pub fn image_of(&self, program: &str) -> Result<String, String> {
        let file = build::fake(program)?;
        let bytes = std::fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let name = format!("weir-test/{program}:{:016x}", image::fingerprint(&bytes));
        // Whoever imports it again gives the name another meaning, under the eyes of those who use it.
        let _alone = build::lock("import")?;
        if self
            .ask("GET", &format!("/images/{name}/json"), &[])?
            .status
            == 200
        {
            return Ok(name);
        }
        self.import(&name, program, &bytes, &[])?;
        Ok(name)
    }

    /// An image of that name with one program, which it starts as `/program`, and more instructions of a Dockerfile
    /// after that. A name that is there already points to the new image then.
    ///
    /// # Errors
    /// When Docker does not take it.
    pub fn import(
        &self,
        name: &str,
        program: &str,
        bytes: &[u8],
        changes: &[&str],
    ) -> Result<(), String> {
        let entry = format!("ENTRYPOINT [\"/{program}\"]");
        let changes = [entry.as_str()].into_iter().chain(changes.iter().copied());
        let (repository, tag) = name.rsplit_once(':').unwrap_or((name, "latest"));
        let path = image::import_path(repository, tag, changes);
        let answer = self.ask("POST", &path, &image::tar_of(program, bytes))?;
        if answer.status == 200 && !answer.body.contains("\"error\"") {
            return Ok(());
        }
        Err(format!(
            "image {name} was not taken: {} {}",
            answer.status, answer.body
        ))
    }

    /// One call of Docker's API, without version; a body is JSON or a tar.
    ///
    /// # Errors
    /// When Docker does not answer.
    pub fn ask(&self, method: &str, path: &str, body: &[u8]) -> Result<Answer, String> {
        let asked = client::ask(&self.socket, method, path, body);
        asked.map_err(|error| {
            format!(
                "Docker at {}: {method} {path}: {error}",
                self.socket.display()
            )
        })
    }
}

/// The static binary of one of this package's programs.
///
/// # Errors
/// When it cannot be built.
pub fn static_program(program: &str) -> Result<PathBuf, String> {
    build::fake(program)
}
