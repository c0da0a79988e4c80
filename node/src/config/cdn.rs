//! CDNs in front of the mesh, which are told of purges.

use std::path::PathBuf;

use http::Uri;
use weir_control_plane::governance::secret::SecretRef;
use weir_core::surrogate::{Cdn, Cloudflare, Fastly};
use weir_core::tuning::is_name;

use super::name_rule;
use super::reader::{Problem, Section};
use super::vpns::read_secret;
use crate::ports::net::Endpoint;

const CDNS_MAX: usize = 16;
const NAMESPACES_MAX: usize = 256;
/// What every plan of Cloudflare allows.
const CLOUDFLARE_REQUESTS_A_MINUTE: u64 = 5;
const REQUESTS_A_MINUTE: u64 = 600;
const CA_FILE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// One CDN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CdnSettings {
    /// Its name.
    pub name: String,
    /// What it understands.
    pub cdn: Cdn,
    /// Where its API is.
    pub api: ApiPlace,
    /// What it is asked with.
    pub token: Option<SecretRef>,
    /// How often it may be asked.
    pub requests_per_minute: u32,
    /// Of which answers it is told; empty: of all.
    pub namespaces: Vec<String>,
}

/// Where an API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiPlace {
    /// What is connected to.
    pub endpoint: Endpoint,
    /// As the certificate and the field `Host` name it.
    pub host: String,
    /// Before each path; empty or with a slash in front and none behind.
    pub base: String,
    /// Who its certificate must be from; `None`: it is asked in clear text.
    pub ca_file: Option<PathBuf>,
}

impl CdnSettings {
    /// Whether it is told of what is purged in this namespace; an empty one stands for all.
    pub fn serves(&self, namespace: &str) -> bool {
        namespace.is_empty()
            || self.namespaces.is_empty()
            || self.namespaces.iter().any(|own| own == namespace)
    }
}

pub(super) fn read(root: &mut Section, problems: &mut Vec<Problem>) -> Vec<CdnSettings> {
    let sections = root.sections(problems, "cdns");
    if sections.len() > CDNS_MAX {
        let what = format!("{} of them, at most {CDNS_MAX}", sections.len());
        root.problem(problems, "cdns", what);
    }
    let read = |(name, mut s): (String, Section)| {
        let settings = read_cdn(&name, &mut s, problems);
        s.finish(problems);
        settings
    };
    sections.into_iter().filter_map(read).collect()
}

fn read_cdn(name: &str, s: &mut Section, problems: &mut Vec<Problem>) -> Option<CdnSettings> {
    if !is_name(name) {
        s.problem(problems, "name", name_rule(name));
    }
    let cdn = read_kind(s, problems);
    let api = read_api(s, problems, cdn.as_ref());
    let token = read_secret(s, problems, "token");
    let default = match &cdn {
        Some(Cdn::Cloudflare(_)) => CLOUDFLARE_REQUESTS_A_MINUTE,
        _ => REQUESTS_A_MINUTE,
    };
    let pace = s.number(problems, "requests_per_minute", default, 1..=60_000);
    let namespaces = s.texts(problems, "namespaces");
    if namespaces.len() > NAMESPACES_MAX {
        let what = format!("{} of them, at most {NAMESPACES_MAX}", namespaces.len());
        s.problem(problems, "namespaces", what);
    }
    let (cdn, api) = (cdn?, api?);
    if token.is_none() && cdn != Cdn::Purge {
        s.problem(problems, "token", "is required: file:/path or env:NAME");
    }
    if token.is_some() && api.ca_file.is_none() && !api.endpoint.is_loopback() {
        s.problem(problems, "url", "must be https:// where a token is sent");
    }
    Some(CdnSettings {
        name: name.to_owned(),
        cdn,
        api,
        token,
        requests_per_minute: u32::try_from(pace).unwrap_or(u32::MAX),
        namespaces,
    })
}

fn read_kind(s: &mut Section, problems: &mut Vec<Problem>) -> Option<Cdn> {
    let id = |s: &mut Section, problems: &mut Vec<Problem>, key: &str| {
        let id = s.text(problems, key);
        let is_id = |id: &String| !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric());
        if !id.as_ref().is_some_and(is_id) {
            s.problem(problems, key, "is required: letters and digits");
        }
        id
    };
    match s.text(problems, "kind").as_deref() {
        Some("cloudflare") => Some(Cdn::Cloudflare(Cloudflare {
            zone: id(s, problems, "zone")?,
        })),
        Some("fastly") => Some(Cdn::Fastly(Fastly {
            service: id(s, problems, "service")?,
        })),
        Some("purge") => Some(Cdn::Purge),
        Some(other) => {
            let what = format!("`{other}` is none of cloudflare, fastly, purge");
            s.problem(problems, "kind", what);
            None
        }
        None => {
            s.problem(problems, "kind", "is required: cloudflare, fastly or purge");
            None
        }
    }
}

fn read_api(s: &mut Section, problems: &mut Vec<Problem>, cdn: Option<&Cdn>) -> Option<ApiPlace> {
    let ca_file = s.path(problems, "ca_file");
    let told = s.text(problems, "url");
    let url = told.or_else(|| Some(cdn?.endpoint()?.to_owned()));
    let Some(url) = url else {
        if cdn.is_some() {
            s.problem(problems, "url", "is required: http[s]://host[:port]");
        }
        return None;
    };
    let place = place_of(&url, ca_file);
    if place.is_none() {
        // It may hold a password.
        let what = "must be http[s]://host[:port][/path], without a name, a password or a query";
        s.problem(problems, "url", what);
    }
    place
}

fn place_of(url: &str, ca_file: Option<PathBuf>) -> Option<ApiPlace> {
    let uri: Uri = url.parse().ok()?;
    let is_tls = match uri.scheme_str()? {
        "http" => false,
        "https" => true,
        _ => return None,
    };
    let authority = uri.authority()?;
    if authority.as_str().contains('@') || uri.query().is_some() {
        return None;
    }
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let endpoint = format!("{}:{port}", authority.host()).parse().ok()?;
    let ca_file = is_tls.then(|| ca_file.unwrap_or_else(|| CA_FILE.into()));
    Some(ApiPlace {
        endpoint,
        host: authority.as_str().to_owned(),
        base: uri.path().trim_end_matches('/').to_owned(),
        ca_file,
    })
}
