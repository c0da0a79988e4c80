//! Over a real server: who is let in by certificate.

use tonic::Code;
use weir_control_plane::governance::guard::Access;
use weir_control_plane::governance::identity::Role;
use weir_control_plane::governance::tls::{ClientTls, KeyPair, ServerTls};

use crate::support::certs::Authority;
use crate::support::server::{Client, Serving, serve};
use crate::support::{Clock, Home, home, token};

struct Secured {
    home: Home,
    server: Serving,
    authority: Authority,
}

async fn secured(access: Access) -> Secured {
    with_tls_for(access, access).await
}

async fn with_tls_for(asked: Access, access: Access) -> Secured {
    let authority = Authority::new();
    let tls = ServerTls {
        own: authority.server(),
        client_ca: Some(authority.file.clone()),
    };
    let home = home().await;
    let tls = tls.load(asked).unwrap();
    let server = serve(&home, &Clock::new(), access, Some(tls)).await;
    Secured {
        home,
        server,
        authority,
    }
}

impl Secured {
    fn client(&self, own: Option<KeyPair>) -> Client {
        let tls = ClientTls {
            ca: self.authority.file.clone(),
            own,
            server_name: None,
        };
        self.server.tls_client(tls.load().unwrap())
    }

    fn client_of(&self, uris: &[&str]) -> Client {
        self.client(Some(self.authority.client("client", uris)))
    }
}

#[tokio::test]
async fn a_certificate_lets_in_as_who_it_names() {
    let secured = secured(Access::MutualTls).await;
    let admin = secured.client_of(&["https://example.com/", "weir://default/admin/alice"]);
    assert_eq!(admin.who_am_i().await.unwrap(), "admin alice");

    let node = secured.client_of(&["weir://default/node/edge-1"]);
    let mut stream = node.sync_as("edge-1").await.unwrap();
    assert_eq!(stream.message().await.unwrap().unwrap().message, "in sync");
    let status = node.sync_as("edge-2").await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(
        status.message(),
        "`edge-1` is node of `edge-1` only and may not sync as node `edge-2`"
    );
}

#[tokio::test]
async fn a_certificate_that_names_nobody_here_is_refused() {
    let secured = secured(Access::MutualTls).await;
    for (uris, code, message) in [
        (
            &["weir://prod/node/edge-1"][..],
            Code::PermissionDenied,
            "the client certificate is for namespace `prod`, and this is `default`",
        ),
        (
            &[],
            Code::Unauthenticated,
            "the client certificate has no URI weir://default/ROLE/SUBJECT",
        ),
        (
            &["weir://default/viewer/a", "weir://default/admin/a"],
            Code::Unauthenticated,
            "the client certificate has more than one weir:// URI",
        ),
        (
            &["weir://default/king/alice"],
            Code::PermissionDenied,
            "role in the client certificate's weir:// URI is `king`; allowed: viewer, operator, \
             admin, node, backend",
        ),
    ] {
        let status = secured.client_of(uris).who_am_i().await.unwrap_err();
        assert_eq!((status.code(), status.message()), (code, message));
    }
}

#[tokio::test]
async fn a_certificate_that_the_authority_does_not_vouch_for_gets_no_answer() {
    let secured = secured(Access::MutualTls).await;
    let uri = "weir://default/admin/alice";
    let other = Authority::new();
    let stranger = other.client("stranger", &[uri]);
    let expired = secured.authority.expired(uri);
    for own in [Some(stranger), Some(expired), None] {
        let status = secured.client(own).who_am_i().await.unwrap_err();
        // An answer of the server has no source; a connection that broke has one.
        assert!(std::error::Error::source(&status).is_some(), "{status}");
    }
    assert_eq!(secured.server.guard.failed_logins(), 0);
}

#[tokio::test]
async fn a_client_refuses_a_server_of_another_authority() {
    let secured = secured(Access::MutualTls).await;
    let other = Authority::new();
    let tls = ClientTls {
        ca: other.file.clone(),
        own: Some(
            secured
                .authority
                .client("client", &["weir://default/admin/a"]),
        ),
        server_name: None,
    };
    let client = secured.server.tls_client(tls.load().unwrap());
    assert!(client.who_am_i().await.is_err());
    let by_name = ClientTls {
        ca: secured.authority.file.clone(),
        own: Some(
            secured
                .authority
                .client("client", &["weir://default/admin/a"]),
        ),
        server_name: Some("localhost".to_owned()),
    };
    let client = secured.server.tls_client(by_name.load().unwrap());
    assert_eq!(client.who_am_i().await.unwrap(), "admin a");
}

#[tokio::test]
async fn without_tls_nothing_is_understood() {
    let secured = secured(Access::TokensOrMutualTls).await;
    let admin = secured.home.create(&token("root", Role::Admin)).await;
    let client = secured.server.client().with(&admin);
    assert!(client.who_am_i().await.is_err());
    assert_eq!(secured.server.guard.failed_logins(), 0);
}

#[tokio::test]
async fn a_token_counts_before_a_certificate() {
    let secured = secured(Access::TokensOrMutualTls).await;
    let viewer = secured.home.create(&token("dash", Role::Viewer)).await;
    let certified = secured.client_of(&["weir://default/admin/alice"]);
    assert_eq!(certified.who_am_i().await.unwrap(), "admin alice");
    assert_eq!(
        certified.with(&viewer).who_am_i().await.unwrap(),
        "viewer dash"
    );
    let plain = secured.client(None);
    assert_eq!(plain.with(&viewer).who_am_i().await.unwrap(), "viewer dash");
    let status = plain.who_am_i().await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_certificate_counts_for_nothing_where_tokens_are_asked_for() {
    for asked in [Access::Tokens, Access::TokensOrMutualTls] {
        let secured = with_tls_for(asked, Access::Tokens).await;
        let certified = secured.client_of(&["weir://default/admin/alice"]);
        let status = certified.who_am_i().await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
    }
}
