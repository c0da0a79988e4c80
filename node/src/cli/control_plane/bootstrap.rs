//! The first administrator of a control plane that asks for tokens: one is let in, or the start says how.

use std::net::SocketAddr;
use std::sync::Arc;

use weir_control_plane::clock::WallClock;
use weir_control_plane::governance::tokens::{Admins, Bootstrapped, Tokens};
use weir_control_plane::keys::Keys;
use weir_control_plane::store::Store;
use weir_core::error::chain;

use super::run::{Access, RunArguments, failed, usage};
use crate::cli::output::Failure;

/// Where commands look for the control plane when nobody says where.
const DEFAULT_PORT: u16 = 7500;

/// Lets the token of `--bootstrap-token-file` in, or looks whether somebody else can come in.
pub(super) async fn first_token(
    store: &Arc<dyn Store>,
    arguments: &RunArguments,
) -> Result<(), Failure> {
    if !matches!(arguments.access, Access::Tokens | Access::TokensOrMtls) {
        return Ok(());
    }
    let keys = Keys::new(&arguments.namespace).map_err(usage)?;
    let tokens = Tokens::new(Arc::clone(store), keys);
    let now_unix_ms = WallClock::system().unix_ms_now();
    let Some(file) = &arguments.bootstrap_token_file else {
        return match tokens.admins(now_unix_ms).await {
            Ok(admins) => look(admins, arguments),
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(
                    error,
                    "whether there is an administrator's token is not known"
                );
                Ok(())
            }
        };
    };
    let bootstrapped = tokens.bootstrap(file, now_unix_ms).await;
    let shown = file.display().to_string();
    match bootstrapped.map_err(failed)? {
        Bootstrapped::Inserted => {
            let command = command(arguments, &shown);
            tracing::info!(
                file = shown,
                "the file holds the first administrator's token; make others with `{command}`"
            );
        }
        Bootstrapped::AdminExists => {
            tracing::info!(
                file = shown,
                "there is an administrator; the file is not used"
            );
        }
    }
    Ok(())
}

/// A store in which nobody has a token is one that nobody can come into. One whose administrators are gone serves
/// those who have tokens, so that is no reason not to start.
fn look(admins: Admins, arguments: &RunArguments) -> Result<(), Failure> {
    let remedy = format!(
        "start with --bootstrap-token-file FILE, which puts the first administrator's token into FILE, and make \
         others with `{}`",
        command(arguments, "FILE")
    );
    match (admins, arguments.access) {
        (Admins::There, _) => {}
        (Admins::NoToken, Access::Tokens) => {
            return Err(Failure::Usage(format!(
                "--access tokens: the store has no administrator's token, so nobody could come in; {remedy}"
            )));
        }
        (Admins::NoToken | Admins::Gone, Access::TokensOrMtls) => tracing::warn!(
            "the store has no administrator's token that holds, so an administrator needs a certificate; or {remedy}"
        ),
        (Admins::NoToken | Admins::Gone, _) => tracing::warn!(
            "the store has no administrator's token that holds, so nobody can manage tokens; {remedy}"
        ),
    }
    Ok(())
}

/// What makes a token as the administrator whose token is in `file`.
fn command(arguments: &RunArguments, file: &str) -> String {
    let mut command =
        format!("weir control-plane token create NAME --role ROLE --token-file {file}");
    if arguments.tls.is_some() {
        command.push_str(" --ca CA.pem");
    }
    let is_default = arguments.listen == SocketAddr::from(([127, 0, 0, 1], DEFAULT_PORT));
    if arguments.listen.ip().is_unspecified() {
        command.push_str(&format!(
            " --control-plane HOST:{}",
            arguments.listen.port()
        ));
    } else if !is_default {
        command.push_str(&format!(" --control-plane {}", arguments.listen));
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::control_plane::run::{ServerTls, StorePlace};

    fn arguments(access: Access, listen: &str) -> RunArguments {
        RunArguments {
            registered: weir_control_plane::quota::Bounds::default(),
            otlp: None,
            listen: listen.parse().unwrap(),
            store: StorePlace::Embedded("d".into()),
            namespace: "default".to_owned(),
            name: "cp-1".to_owned(),
            access,
            insecure: false,
            tls: None,
            bootstrap_token_file: None,
            log: "info".to_owned(),
            log_json: false,
            stop_with_stdin: false,
        }
    }

    #[test]
    fn only_a_store_that_nobody_could_come_into_is_refused() {
        let starts = |admins, access| look(admins, &arguments(access, "127.0.0.1:7500")).is_ok();
        for admins in [Admins::There, Admins::Gone] {
            assert!(starts(admins, Access::Tokens), "{admins:?}");
            assert!(starts(admins, Access::TokensOrMtls), "{admins:?}");
        }
        assert!(!starts(Admins::NoToken, Access::Tokens));
        assert!(starts(Admins::NoToken, Access::TokensOrMtls));
    }

    #[test]
    fn the_command_names_what_is_not_the_default() {
        let told = |listen| command(&arguments(Access::Tokens, listen), "t");
        let plain = "weir control-plane token create NAME --role ROLE --token-file t";
        assert_eq!(told("127.0.0.1:7500"), plain);
        assert_eq!(
            told("127.0.0.1:7501"),
            format!("{plain} --control-plane 127.0.0.1:7501")
        );
        let mut tls = arguments(Access::Tokens, "0.0.0.0:7500");
        tls.tls = Some(ServerTls {
            cert: "c".into(),
            key: "k".into(),
            client_ca: None,
        });
        let expected = format!("{plain} --ca CA.pem --control-plane HOST:7500");
        assert_eq!(command(&tls, "t"), expected);
    }
}
