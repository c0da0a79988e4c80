//! `weir.control.v1.Tokens`.

use tonic::{Request, Response, Status};
use weir_core::tuning::Code;
use weir_proto::control::v1 as pb;
use weir_proto::control::v1::tokens_server;

use super::{actor_of, status};
use crate::clock::NowUnixMs;
use crate::governance::guard::allow;
use crate::governance::identity::{Action, Role};
use crate::governance::tokens::{NewToken, Tokens, roles};
use crate::problem::refused;

/// Creates, lists and revokes tokens for administrators.
#[derive(Clone)]
pub struct TokensService {
    tokens: Tokens,
    now: NowUnixMs,
}

impl TokensService {
    /// A service over these tokens; it belongs behind a guard.
    pub fn new(tokens: Tokens, now: NowUnixMs) -> Self {
        Self { tokens, now }
    }
}

#[tonic::async_trait]
impl tokens_server::Tokens for TokensService {
    async fn create_token(
        &self,
        request: Request<pb::CreateTokenRequest>,
    ) -> Result<Response<pb::CreateTokenResponse>, Status> {
        let actor = actor_of(&request, &Action::ManageTokens, &request.get_ref().author)?;
        let request = request.into_inner();
        let token = NewToken {
            name: request.name,
            role: Role::of_wire(request.role).ok_or_else(|| unknown_role(request.role))?,
            subject: request.subject,
            ttl_ms: request.ttl_ms,
        };
        let created = self.tokens.create(&actor, &token, (self.now)()).await;
        let token = created.map_err(|error| status::tokens(&error))?;
        let token = token.expose().to_owned();
        Ok(Response::new(pb::CreateTokenResponse { token }))
    }

    async fn list_tokens(
        &self,
        request: Request<pb::ListTokensRequest>,
    ) -> Result<Response<pb::ListTokensResponse>, Status> {
        allow(&request, &Action::ManageTokens)?;
        let listed = self.tokens.list().await;
        let tokens = listed.map_err(|error| status::tokens(&error))?;
        Ok(Response::new(pb::ListTokensResponse { tokens }))
    }

    async fn revoke_token(
        &self,
        request: Request<pb::RevokeTokenRequest>,
    ) -> Result<Response<pb::RevokeTokenResponse>, Status> {
        let actor = actor_of(&request, &Action::ManageTokens, &request.get_ref().author)?;
        let request = request.into_inner();
        let revoked = self
            .tokens
            .revoke(&actor, &request.name, (self.now)())
            .await;
        revoked.map_err(|error| status::tokens(&error))?;
        Ok(Response::new(pb::RevokeTokenResponse {}))
    }
}

fn unknown_role(role: i32) -> Status {
    let problem = refused("role", Code::Type, "is no role", role, roles());
    status::refusal(&[problem])
}
