//! A node in this process: its actors as they run everywhere, without listeners.

use std::sync::Arc;

use weir_core::error::chain;
use weir_engines::driver::Driver;
use weir_node::actors::config_agent::InForce;
use weir_node::config::{Config, Environment, Given};
use weir_node::control_link::ControlLink;
use weir_node::engine_api::EngineApi;
use weir_node::engine_room::{self, Host};
use weir_node::ports::clock::WallClock;
use weir_node::ports::net::Tcp;
use weir_node::telemetry::spans::Tracer;
use weir_node::wiring::{Env, Wired, wire};

/// The node; it ends with this.
pub(super) struct Node {
    pub(super) wired: Wired,
    /// What gRPC and the HTTP API serve.
    pub(super) api: EngineApi,
}

impl Node {
    /// One from the text of a configuration, whose processes are run by `driver`. Must run within a `LocalSet`.
    pub(super) async fn start(
        text: &str,
        driver: Option<Arc<dyn Driver>>,
        seed: u64,
    ) -> Result<Self, String> {
        let (clock, environment) = (WallClock::system(), Environment::new());
        let config = Config::parse(text, &environment, &Given::default());
        let config = config.map_err(|problems| problems.to_string())?;
        let link = ControlLink::prepare(&config, clock).map_err(|error| words(&error))?;
        let host = Host {
            clock,
            seed,
            open_files: None,
        };
        let room = engine_room::real(&config, &link, host).await;
        let mut engines = room.map_err(|error| words(&error))?;
        if let Some(driver) = driver {
            engines.drivers.process = driver;
        }
        let env = Env {
            net: Arc::new(Tcp),
            clock,
            tracer: Tracer::off(),
            seed,
            environment,
            engines,
        };
        let wired = wire(InForce::first(config), &env).await;
        let wired = wired.map_err(|refused| refused.to_string())?;
        let api = EngineApi::new(&wired);
        Ok(Self { wired, api })
    }
}

fn words(error: &dyn std::error::Error) -> String {
    chain(error).to_string()
}
