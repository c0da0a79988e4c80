//! An emulator of Gluetun; see `weir_fakes::gluetun`.

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;

use weir_fakes::gluetun::{FakeGluetun, Listen, Settings};
use weir_fakes::push;

const USAGE: &str = "usage: fake-gluetun [control=ADDR] [health=ADDR] [admin=ADDR] [SETTING=VALUE ...]

  control  default 0.0.0.0:8000, health 0.0.0.0:9999, admin 0.0.0.0:8001
  SETTING  version=v3.38|v3.40|v3.41.1|v3.41.3|head, auth=default|none|basic|apikey, ports=5914, fault=none|hang|...
           GET /admin/settings tells all of them; PUT /admin/set?SETTING=VALUE changes them

       fake-gluetun push http://HOST:PORT/PATH TOKEN BODY
           what the image of Gluetun has wget for: fails when the answer is no success
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
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [command, url, token, body] = &arguments[..]
        && command == "push"
    {
        let status = push(url, token, body)?;
        return match status {
            200..300 => Ok(()),
            _ => Err(format!("{url}: {status}").into()),
        };
    }
    let mut settings = Settings::default();
    let mut listen = Listen {
        control: "0.0.0.0:8000".into(),
        health: "0.0.0.0:9999".into(),
        admin: "0.0.0.0:8001".into(),
    };
    for argument in arguments {
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
