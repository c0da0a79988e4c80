//! An emulator of Gluetun's control server, its health server, and what goes on behind them.
//!
//! [`Settings`] say which version it is, who may ask, what it tells and what goes wrong; all of them can be changed
//! while it runs, by [`FakeGluetun::set`] or by an admin port:
//!
//! As Gluetun it runs `up_command` each time that its ports are others; how that ended is among the calls.
//!
//! - `PUT /admin/set?ports=5914&fault=hang` changes settings,
//! - `PUT /admin/restart?down_ms=0&ports=6021` makes the tunnel anew in place,
//! - `GET /admin/calls` tells the calls of each route, `PUT /admin/calls` counts anew,
//! - `GET /admin/settings` tells the settings, `PUT /admin/exit?code=0` ends the process.

mod admin;
mod control;
mod settings;
mod tunnel;
mod up_command;
mod words;

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use settings::{Auth, Fault, InvalidSetting, Settings, Version};

use crate::http::{Handler, Reply, Request, Server};
use tunnel::Tunnel;

/// Where it listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The control server.
    pub control: String,
    /// The health server.
    pub health: String,
    /// The admin port.
    pub admin: String,
}

impl Default for Listen {
    /// On free ports of loopback.
    fn default() -> Self {
        let any = || "127.0.0.1:0".to_owned();
        Self {
            control: any(),
            health: any(),
            admin: any(),
        }
    }
}

/// A running emulator; ends when it is dropped.
#[derive(Debug)]
pub struct FakeGluetun {
    shared: Arc<Shared>,
    control: Server,
    health: Server,
    admin: Server,
}

#[derive(Debug)]
struct Shared(Mutex<State>);

/// What all servers share.
#[derive(Debug)]
struct State {
    settings: Settings,
    tunnel: Tunnel,
    calls: BTreeMap<String, u64>,
}

impl FakeGluetun {
    /// Starts one.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start(listen: &Listen, settings: Settings) -> io::Result<Self> {
        let shared = Arc::new(Shared(Mutex::new(State {
            settings,
            tunnel: Tunnel::new(Instant::now()),
            calls: BTreeMap::new(),
        })));
        up_command::follow(&shared);
        let serve = |address: &str, role: Role| {
            let shared = Arc::clone(&shared);
            Server::start(
                TcpListener::bind(address)?,
                Arc::new(Served { shared, role }),
            )
        };
        Ok(Self {
            control: serve(&listen.control, Role::Control)?,
            health: serve(&listen.health, Role::Health)?,
            admin: serve(&listen.admin, Role::Admin)?,
            shared,
        })
    }

    /// The control server.
    pub const fn control(&self) -> SocketAddr {
        self.control.address()
    }

    /// The health server.
    pub const fn health(&self) -> SocketAddr {
        self.health.address()
    }

    /// The admin port.
    pub const fn admin(&self) -> SocketAddr {
        self.admin.address()
    }

    /// Changes a setting.
    ///
    /// # Errors
    /// When there is no such setting, or it does not take the value.
    pub fn set(&self, name: &str, value: &str) -> Result<(), InvalidSetting> {
        set(&mut self.shared.lock(), &[(name, value)])
    }

    /// Makes the tunnel anew in place: it is down for so long, and comes with these settings changed.
    ///
    /// # Errors
    /// As [`Self::set`]; nothing is done then.
    pub fn restart(&self, down: Duration, changes: &[(&str, &str)]) -> Result<(), InvalidSetting> {
        restart(&mut self.shared.lock(), changes, down)
    }

    /// Calls of a route, such as `GET /v1/portforward`; connections that were reset count as `reset`.
    pub fn calls(&self, route: &str) -> u64 {
        let state = self.shared.lock();
        state.calls.get(route).copied().unwrap_or_default()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn count(&mut self, route: String) {
        // A client that makes up routes must not fill the memory.
        const ROUTES_MAX: usize = 256;
        if self.calls.len() < ROUTES_MAX || self.calls.contains_key(&route) {
            *self.calls.entry(route).or_default() += 1;
        }
    }
}

/// All of them, or none when one is wrong.
fn set(
    state: &mut State,
    changes: &[(impl AsRef<str>, impl AsRef<str>)],
) -> Result<(), InvalidSetting> {
    let mut settings = state.settings.clone();
    for (name, value) in changes {
        settings.set(name.as_ref(), value.as_ref())?;
    }
    state.settings = settings;
    state.tunnel.note(Instant::now(), &state.settings);
    Ok(())
}

fn restart(
    state: &mut State,
    changes: &[(impl AsRef<str>, impl AsRef<str>)],
    down: Duration,
) -> Result<(), InvalidSetting> {
    set(state, changes)?;
    state.tunnel.restart(Instant::now(), down);
    Ok(())
}

#[derive(Clone, Copy, Debug)]
enum Role {
    Control,
    Health,
    Admin,
}

#[derive(Debug)]
struct Served {
    shared: Arc<Shared>,
    role: Role,
}

impl Handler for Served {
    fn reply(&self, request: &Request) -> Reply {
        let mut state = self.shared.lock();
        match self.role {
            Role::Control => control::reply(&mut state, request),
            Role::Health => control::health(&mut state),
            Role::Admin => admin::reply(&mut state, request),
        }
    }

    fn resets(&self) -> bool {
        let mut state = self.shared.lock();
        let resets = matches!(self.role, Role::Control) && state.settings.fault == Fault::Reset;
        if resets {
            state.count("reset".into());
        }
        resets
    }
}
