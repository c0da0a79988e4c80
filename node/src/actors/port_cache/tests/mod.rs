//! What the actor does with its messages, before a control server and a Docker that do as they are told.

mod calls;
mod clock;
mod doubt;
mod health;
mod limits;
mod owner;
mod port;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use actix::{Actor, Context, Handler};
use futures::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;
use tokio::time::sleep;
use weir_core::port_cache::Port;
use weir_core::vpn::TunnelStatus;
use weir_engines::containers::{Container, Containers, Health};
use weir_engines::driver;
use weir_engines::gluetun::{ControlServer, Error, Tunnel};

use super::{Configure, Parts, PortCache, PortCacheHandle, Table, VpnView};
use crate::actors::config_agent::control_plane::LinkStatus;
use crate::actors::provision_supervisor::{VpnEvent, VpnHappened};
use crate::config::Config;
use crate::events::Events;
use crate::guardian::{Budget, guard};
use crate::link::{Carried, Link, Permits};
use crate::peers::Peers;
use crate::ports::clock::WallClock;
use crate::ports::net::Tcp;
use crate::snapshot::Snapshot;

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);
const FILE: &str = "[vpns.v1]\ncontrol_url = \"http://127.0.0.1:8000\"\n";

/// A watch over ports that is closer than their time to live.
const WATCHED: &str = "[port_cache]\nwatch_interval = \"30s\"\n";

/// What the control server says, and how long it takes.
#[derive(Clone, Copy, Debug)]
struct Says {
    port: u16,
    delay: Duration,
    is_down: bool,
    denies: bool,
    status: TunnelStatus,
    has_no_address: bool,
}

impl Default for Says {
    fn default() -> Self {
        Self {
            port: 1111,
            delay: Duration::ZERO,
            is_down: false,
            denies: false,
            status: TunnelStatus::Running,
            has_no_address: false,
        }
    }
}

/// A control server that does as it is told.
struct Server {
    says: watch::Sender<Says>,
    calls: AtomicUsize,
    looks: AtomicUsize,
    statuses: AtomicUsize,
}

impl Server {
    /// What it says is what it would have said when it was asked.
    async fn said(&self) -> Result<Says, Error> {
        let says = *self.says.borrow();
        sleep(says.delay).await;
        let server = "127.0.0.1:8000".to_owned();
        match says {
            Says { is_down: true, .. } => Err(Error::Late {
                server,
                limit: says.delay,
            }),
            Says { denies: true, .. } => Err(Error::AuthRequired { server }),
            _ => Ok(says),
        }
    }
}

impl ControlServer for Server {
    fn forwarded_port(&self, _: Duration) -> BoxFuture<'_, Result<Option<Port>, Error>> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Ok(Port::new(self.said().await?.port)) })
    }

    fn public_ip(&self, _: Duration) -> BoxFuture<'_, Result<Option<IpAddr>, Error>> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        Box::pin(async {
            let said = self.said().await?;
            let is_up = said.status == TunnelStatus::Running && !said.has_no_address;
            Ok(is_up.then_some([198, 51, 100, 7].into()))
        })
    }

    fn status(&self, _: Duration) -> BoxFuture<'_, Result<TunnelStatus, Error>> {
        self.statuses.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Ok(self.said().await?.status) })
    }

    fn version(&self, _: Duration) -> BoxFuture<'_, Result<String, Error>> {
        Box::pin(async { Ok("none".to_owned()) })
    }

    fn set_tunnel(&self, _: Tunnel, _: Duration) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }
}

/// A Docker with one container, or none.
struct Docker {
    has: watch::Sender<Option<Container>>,
    restarts: AtomicUsize,
}

impl Containers for Docker {
    fn look(&self, _: &str) -> BoxFuture<'_, Result<Option<Container>, driver::Error>> {
        Box::pin(async { Ok(self.has.borrow().clone()) })
    }

    fn restart(&self, _: &str, _: Duration) -> BoxFuture<'_, Result<(), driver::Error>> {
        self.restarts.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Ok(()) })
    }
}

fn container(id: &str, health: Health) -> Option<Container> {
    Some(Container {
        id: id.to_owned(),
        started_unix_ms: 1,
        running: true,
        health,
    })
}

/// Hears what happens to VPNs.
struct Listener(mpsc::UnboundedSender<VpnEvent>);

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<Carried<VpnHappened>> for Listener {
    type Result = ();

    fn handle(&mut self, happened: Carried<VpnHappened>, _: &mut Context<Self>) {
        self.0.send(happened.message.what).unwrap();
    }
}

/// The actor under its guardian, in paused time.
struct Rig {
    handle: PortCacheHandle,
    server: Arc<Server>,
    docker: Arc<Docker>,
    link: Snapshot<LinkStatus>,
    peers: Peers,
    events: mpsc::UnboundedReceiver<VpnEvent>,
    table: Snapshot<Table>,
}

impl Rig {
    /// One that has answered once.
    async fn start(file: &str) -> Self {
        let rig = Self::start_saying(file, Says::default()).await;
        sleep(SECOND).await;
        rig
    }

    async fn start_saying(file: &str, says: Says) -> Self {
        let server = Arc::new(Server {
            says: watch::Sender::new(says),
            calls: AtomicUsize::new(0),
            looks: AtomicUsize::new(0),
            statuses: AtomicUsize::new(0),
        });
        let docker = Arc::new(Docker {
            has: watch::Sender::new(None),
            restarts: AtomicUsize::new(0),
        });
        let link = Snapshot::new(LinkStatus::default());
        let peers = Peers::new("here", link.clone(), Arc::new(Tcp));
        let table = Snapshot::new(Table::default());
        let handle = PortCacheHandle::new(table.clone());
        let (heard, events) = mpsc::unbounded_channel();
        let to_events = Link::new(&Permits::new(8));
        to_events.point_at(&Listener(heard).start());
        let asked = Arc::clone(&server);
        let parts = Parts {
            links: handle.links.clone(),
            connect: Arc::new(move |_| Ok(Arc::clone(&asked) as Arc<dyn ControlServer>)),
            containers: Arc::clone(&docker) as Arc<dyn Containers>,
            peers: peers.clone(),
            table: table.clone(),
            to_supervisor: to_events,
            events: Events::new("here", "e".to_owned(), WallClock::starting_at(SECOND)),
            incarnations: Arc::new(AtomicU64::new(7)),
        };
        let (links, first) = (handle.links.clone(), part(file));
        tokio::task::spawn_local(guard(
            "port_cache",
            super::MESSAGES_WAITING_MAX,
            Budget::default(),
            move || PortCache::new(parts.clone(), first.clone()),
            move |life| links.point_at(life),
        ));
        tokio::task::yield_now().await;
        Self {
            handle,
            server,
            docker,
            link,
            peers,
            events,
            table,
        }
    }

    /// Who reads what the actor published, and cannot reach it.
    fn without_the_actor(&self) -> PortCacheHandle {
        PortCacheHandle::new(self.table.clone())
    }

    async fn configure(&self, file: &str) {
        self.handle.configure(part(file), SECOND).await.unwrap();
    }

    fn says(&self, change: impl FnOnce(&mut Says)) {
        self.server.says.send_modify(change);
    }

    fn calls(&self) -> usize {
        self.server.calls.load(Ordering::Relaxed)
    }

    /// Calls for the address, one a look.
    fn looks(&self) -> usize {
        self.server.looks.load(Ordering::Relaxed)
    }

    fn restarts(&self) -> usize {
        self.docker.restarts.load(Ordering::Relaxed)
    }

    fn view(&self) -> Arc<VpnView> {
        self.handle.view("v1").unwrap()
    }

    fn settled(&self) -> u16 {
        self.view().settled.map_or(0, Port::get)
    }

    fn happened(&mut self) -> Vec<VpnEvent> {
        std::iter::from_fn(|| self.events.try_recv().ok()).collect()
    }
}

fn part(file: &str) -> Configure {
    Configure::of(&Config::parse(file, &Default::default(), &Default::default()).unwrap())
}

async fn run(test: impl Future<Output = ()>) {
    LocalSet::new().run_until(test).await;
}
