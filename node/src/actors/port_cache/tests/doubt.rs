//! Which port an engine gets that starts while the VPN's port is in doubt.

use tokio::time::{Instant, sleep};
use weir_core::vpn::Doubt;

use super::*;

impl Rig {
    /// The port for an engine that starts now, and how long it waits for it.
    async fn start_engine(&self) -> (Result<u16, Doubt>, Duration) {
        let since = Instant::now();
        let (port, _) = self.handle.port_for_provision("v1").await;
        (port.map(Port::get), since.elapsed())
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_starts_while_a_port_is_not_confirmed_waits_and_gets_the_confirmed_one() {
    run(async {
        let rig = Rig::start(FILE).await;
        assert_eq!(rig.start_engine().await, (Ok(1111), Duration::ZERO));
        rig.says(|says| says.port = 2222);
        rig.handle.invalidate("v1").await.unwrap().unwrap();
        let read_once = rig.handle.port("v1").await.unwrap();
        assert_eq!((rig.settled(), rig.calls()), (1111, 2), "{read_once:?}");
        let told = Port::new(2222).unwrap();
        let is_out = false;
        let doubt = Doubt::Unconfirmed { told, is_out };
        assert_eq!(rig.handle.grant("v1"), Err(doubt));
        let (port, waited) = rig.start_engine().await;
        assert_eq!((port, rig.settled()), (Ok(2222), 2222));
        assert!((SECOND..=2 * SECOND).contains(&waited), "{waited:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_last_port_is_given_past_its_time_only_while_nothing_speaks_against_it() {
    run(async {
        let rig = Rig::start(FILE).await;
        rig.says(|says| says.is_down = true);
        sleep(300 * SECOND).await;
        assert_eq!(rig.handle.warm("v1"), None, "it is past its time");
        assert_eq!(rig.start_engine().await, (Ok(1111), Duration::ZERO));
        // Another one is told once, and then nobody answers: neither is certain.
        rig.says(|says| (says.is_down, says.port) = (false, 2222));
        while rig.view().good.unwrap().0.get() != 2222 {
            sleep(100 * MS).await;
        }
        rig.says(|says| says.is_down = true);
        sleep(200 * SECOND).await;
        let told = Port::new(2222).unwrap();
        let is_out = true;
        let doubt = Doubt::Unconfirmed { told, is_out };
        assert_eq!(rig.start_engine().await, (Err(doubt), Duration::ZERO));
        assert_eq!(rig.settled(), 1111, "what runs keeps what it has");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_vpn_that_is_down_or_only_just_back_gives_no_port() {
    run(async {
        let rig = Rig::start(FILE).await;
        rig.says(|says| says.status = TunnelStatus::Crashed);
        sleep(11 * SECOND).await;
        assert_eq!(rig.start_engine().await.0, Err(Doubt::Down));
        rig.says(|says| says.status = TunnelStatus::Running);
        sleep(5 * SECOND).await;
        assert_eq!(rig.start_engine().await.0, Err(Doubt::Down));
        sleep(10 * SECOND).await;
        assert_eq!(rig.start_engine().await.0, Ok(1111));
    })
    .await;
}
