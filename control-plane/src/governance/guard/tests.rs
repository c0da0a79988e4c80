use super::*;
use crate::governance::identity::Role;
use crate::keys::Keys;

fn guard(access: Access) -> Guard {
    let tokens = Arc::new(TokenTable::new(Keys::new("default").unwrap()));
    Guard::new(access, tokens, "default", Arc::new(|| 1_000))
}

fn with_headers(headers: &[&'static str]) -> Request<()> {
    let mut request = Request::new(());
    for header in headers {
        let metadata = request.metadata_mut();
        metadata.append(AUTHORIZATION, header.parse().unwrap());
    }
    request
}

#[test]
fn an_open_control_plane_takes_anybody_for_local() {
    let request = guard(Access::OpenLoopback).call(Request::new(()));
    let identity = allow(&request.unwrap(), &Action::ManageTokens).unwrap();
    assert_eq!(identity.role, Role::Local);
}

#[test]
fn a_header_must_be_one_bearer_token() {
    for headers in [
        &["Basic abc"][..],
        &["Bearer"],
        &["weir_12"],
        &["Bearer a", "Bearer a"],
    ] {
        let refused = guard(Access::Tokens).identify(&with_headers(headers));
        assert_eq!(refused, Err(Refused::Malformed), "{headers:?}");
    }
    let refused = guard(Access::Tokens).identify(&with_headers(&["bearer  x"]));
    assert_eq!(refused, Err(Refused::Token(TokenRefused::Unknown)));
    let refused = guard(Access::Tokens).identify(&with_headers(&[]));
    assert_eq!(refused, Err(Refused::Nothing(Access::Tokens)));
}

#[test]
fn tokens_count_for_nothing_where_certificates_are_asked_for() {
    let refused = guard(Access::MutualTls).identify(&with_headers(&["Bearer x"]));
    assert_eq!(refused, Err(Refused::Nothing(Access::MutualTls)));
}

#[test]
fn before_the_first_snapshot_the_caller_may_come_again() {
    let token = format!("Bearer weir_{}", "0".repeat(64));
    let mut request = Request::new(());
    let metadata = request.metadata_mut();
    metadata.insert(AUTHORIZATION, token.parse().unwrap());
    let mut guard = guard(Access::Tokens);
    let status = guard.call(request).unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable);
    assert_eq!(guard.failed_logins(), 0);
}

#[test]
fn beyond_the_rate_failures_are_not_explained() {
    let mut guard = guard(Access::Tokens);
    let mut codes = (0..60).map(|_| guard.call(Request::new(())).unwrap_err().code());
    assert!(
        codes
            .by_ref()
            .take(50)
            .all(|code| code == tonic::Code::Unauthenticated)
    );
    assert!(codes.all(|code| code == tonic::Code::ResourceExhausted));
    assert_eq!(guard.failed_logins(), 60);
}

#[test]
fn a_request_that_no_guard_saw_may_nothing() {
    let status = allow(&Request::new(()), &Action::ReadAll).unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unauthenticated);
}
