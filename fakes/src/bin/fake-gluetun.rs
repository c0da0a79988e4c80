//! An emulator of Gluetun; see `weir_fakes::gluetun`.

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;

use weir_fakes::gluetun::{FakeGluetun, Listen, Settings};

const USAGE: &str = "usage: fake-gluetun [control=ADDR] [health=ADDR] [admin=ADDR] [SETTING=VALUE ...]

  control  default 0.0.0.0:8000, health 0.0.0.0:9999, admin 0.0.0.0:8001
  SETTING  version=v3.38|v3.40|v3.41.1|v3.41.3|head, auth=default|none|basic|apikey, ports=5914, fault=none|hang|...
           GET /admin/settings tells all of them; PUT /admin/set?SETTING=VALUE changes them
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "fake-gluetun: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut settings = Settings::default();
    let mut listen = Listen {
        control: "0.0.0.0:8000".into(),
        health: "0.0.0.0:9999".into(),
        admin: "0.0.0.0:8001".into(),
    };
    for argument in std::env::args().skip(1) {
        let Some((name, value)) = argument.split_once('=') else {
            return Err(USAGE.into());
        };
        match name {
            "control" => listen.control = value.into(),
            "health" => listen.health = value.into(),
            "admin" => listen.admin = value.into(),
            _ => settings.set(name, value)?,
        }
    }
    let fake = FakeGluetun::start(&listen, settings)?;
    let mut out = io::stdout();
    writeln!(
        out,
        "control={} health={} admin={}",
        fake.control(),
        fake.health(),
        fake.admin()
    )?;
    out.flush()?;
    loop {
        std::thread::park();
    }
}
