//! `weir control-plane token`: who may do what.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use weir_core::units::parse_duration;
use weir_proto::control::v1 as pb;

use crate::cli::block_on;
use crate::cli::control::text::{milliseconds, moment, or_dash, rfc3339, role, some};
use crate::cli::control::{Author, ControlPlane, Repeat, Target};
use crate::cli::output::{Failure, Format, print, print_json, table};

/// `weir control-plane token`.
#[derive(Args)]
pub(super) struct Tokens {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Make a token and print it, this once
    #[command(
        after_help = "Example:\n  weir control-plane token create ci --role operator --ttl 30d\n  \
        weir control-plane token create edge --role node --subject 'edge-*'"
    )]
    Create {
        /// Its name: the author of what is done with it.
        name: String,
        /// What it allows.
        #[arg(long, value_enum)]
        role: RoleName,
        /// For a node its id, for a backend its service; one `*` stands for any characters [default: any].
        #[arg(long, default_value = "", hide_default_value = true)]
        subject: String,
        /// When it ends, such as 30d [default: never].
        #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
        ttl: Option<Duration>,
        #[command(flatten)]
        author: Author,
    },
    /// Show every token, without the secret
    #[command(after_help = "Example:\n  weir control-plane token list")]
    List,
    /// End a token
    #[command(after_help = "Example:\n  weir control-plane token revoke ci")]
    Revoke {
        /// Its name.
        name: String,
        #[command(flatten)]
        author: Author,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleName {
    /// Reads.
    Viewer,
    /// Also changes profiles, weights, orders and jobs.
    Operator,
    /// Also manages tokens.
    Admin,
    /// Only syncs and does jobs, as the node that --subject names.
    Node,
    /// Only registers backends, of the service that --subject names.
    Backend,
}

impl From<RoleName> for pb::Role {
    fn from(role: RoleName) -> Self {
        match role {
            RoleName::Viewer => Self::Viewer,
            RoleName::Operator => Self::Operator,
            RoleName::Admin => Self::Admin,
            RoleName::Node => Self::Node,
            RoleName::Backend => Self::Backend,
        }
    }
}

impl Tokens {
    pub(super) fn run(self) -> Result<(), Failure> {
        let target = &self.target;
        block_on(async move {
            let (format, mut plane) = (target.format()?, ControlPlane::new(target)?);
            match self.action {
                Action::List => list(&mut plane, format).await,
                Action::Revoke { name, author } => revoke(&mut plane, name, author, format).await,
                Action::Create {
                    name,
                    role,
                    subject,
                    ttl,
                    author,
                } => {
                    let request = pb::CreateTokenRequest {
                        name,
                        role: pb::Role::from(role).into(),
                        subject,
                        ttl_ms: ttl.map_or(0, milliseconds),
                        author: author.author,
                    };
                    create(&mut plane, request, format).await
                }
            }
        })
    }
}

async fn create(
    plane: &mut ControlPlane,
    request: pb::CreateTokenRequest,
    format: Format,
) -> Result<(), Failure> {
    // Made twice, the first one's secret is lost.
    let answer = plane
        .call(Repeat::Harmful, async |session| {
            session.tokens().create_token(request.clone()).await
        })
        .await?;
    match format {
        Format::Text => print(&answer.token),
        Format::Json => {
            print_json(&serde_json::json!({ "name": request.name, "token": answer.token }))
        }
    }
}

async fn revoke(
    plane: &mut ControlPlane,
    name: String,
    author: Author,
    format: Format,
) -> Result<(), Failure> {
    let request = pb::RevokeTokenRequest {
        name,
        author: author.author,
    };
    plane
        .call(Repeat::Harmful, async |session| {
            session.tokens().revoke_token(request.clone()).await
        })
        .await?;
    match format {
        Format::Text => print(&format!("{} is revoked", request.name)),
        Format::Json => print_json(&serde_json::json!({ "revoked": request.name })),
    }
}

#[derive(Serialize)]
struct View<'a> {
    name: &'a str,
    role: &'static str,
    subject: Option<String>,
    author: &'a str,
    created_at: Option<String>,
    expires_at: Option<String>,
}

impl<'a> From<&'a pb::TokenInfo> for View<'a> {
    fn from(token: &'a pb::TokenInfo) -> Self {
        Self {
            name: &token.name,
            role: role(token.role()),
            subject: some(&token.subject),
            author: &token.author,
            created_at: rfc3339(token.created_at_unix_ms),
            expires_at: rfc3339(token.expires_at_unix_ms),
        }
    }
}

async fn list(plane: &mut ControlPlane, format: Format) -> Result<(), Failure> {
    let answer = plane
        .ask(async |session| session.tokens().list_tokens(pb::ListTokensRequest {}).await)
        .await?;
    if format == Format::Json {
        return print_json(&answer.tokens.iter().map(View::from).collect::<Vec<_>>());
    }
    let heading = ["TOKEN", "ROLE", "SUBJECT", "CREATED", "EXPIRES", "AUTHOR"];
    let mut rows = vec![heading.map(String::from).into()];
    for token in &answer.tokens {
        rows.push(vec![
            token.name.clone(),
            role(token.role()).to_owned(),
            or_dash(&token.subject),
            moment(token.created_at_unix_ms),
            moment(token.expires_at_unix_ms),
            or_dash(&token.author),
        ]);
    }
    print(&table(&rows))
}
