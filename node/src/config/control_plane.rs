//! Where the control plane is, and who this node is to it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use http::Uri;
use weir_control_plane::governance::secret::SecretRef;

use super::reader::{Problem, Section};

/// Instances of one control plane.
const ENDPOINTS_MAX: usize = 16;
/// Labels of a node.
const LABELS_MAX: usize = 32;
const LABEL_NAME_BYTES_MAX: usize = 63;
const LABEL_VALUE_BYTES_MAX: usize = 255;

/// The way to the control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlPlane {
    /// Its instances as `http://host:port` or `https://host:port`; none is a node of its own.
    pub endpoints: Vec<String>,
    /// Where the node's token is.
    pub token: Option<SecretRef>,
    /// PEM of the authorities that sign the control plane's certificate; without it there is no TLS.
    pub ca: Option<PathBuf>,
    /// PEM of the node's own certificate, for a control plane that asks for one.
    pub cert: Option<PathBuf>,
    /// PEM of the certificate's key.
    pub key: Option<PathBuf>,
}

impl ControlPlane {
    pub(super) fn read(root: &mut Section, problems: &mut Vec<Problem>) -> Self {
        let mut s = root.section(problems, "control_plane");
        let [ca, cert, key] = ["ca", "cert", "key"].map(|key| s.path(problems, key));
        for (key, here, needed, there) in [
            ("cert", &cert, "key", &key),
            ("key", &key, "cert", &cert),
            ("cert", &cert, "ca", &ca),
        ] {
            if here.is_some() && there.is_none() {
                s.problem(problems, key, format!("needs {needed}"));
            }
        }
        let settings = Self {
            endpoints: read_endpoints(&mut s, problems, ca.is_some()),
            token: read_token(&mut s, problems),
            ca,
            cert,
            key,
        };
        s.finish(problems);
        settings
    }
}

fn read_endpoints(s: &mut Section, problems: &mut Vec<Problem>, tls: bool) -> Vec<String> {
    let texts = s.texts(problems, "endpoints");
    if texts.len() > ENDPOINTS_MAX {
        let what = format!("{} of them, at most {ENDPOINTS_MAX}", texts.len());
        s.problem(problems, "endpoints", what);
    }
    let mut endpoints = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        match endpoint(text, tls) {
            Ok(endpoint) => endpoints.push(endpoint),
            Err(what) => s.problem(problems, &format!("endpoints[{at}]"), what),
        }
    }
    endpoints
}

/// The URL of an instance. Without a scheme it is spoken to as `ca` says.
fn endpoint(text: &str, tls: bool) -> Result<String, String> {
    if text.contains('@') {
        // What stands before an `@` is a password; it is not told again.
        return Err("must hold no name or password; use token".to_owned());
    }
    let url = match text.split_once("://") {
        None if tls => format!("https://{text}"),
        None => format!("http://{text}"),
        Some(("http", _)) if tls => {
            return Err(format!("`{text}` is http://, and ca asks for TLS"));
        }
        Some(("https", _)) if !tls => return Err(format!("`{text}` is https://, which needs ca")),
        Some(_) => text.to_owned(),
    };
    let refused = || format!("`{text}` must be host:port, http://host:port or https://host:port");
    let uri: Uri = url.parse().map_err(|_| refused())?;
    let scheme = uri.scheme_str().filter(|s| matches!(*s, "http" | "https"));
    let host = uri.host().filter(|host| !host.is_empty());
    let port = uri.port_u16().filter(|port| *port > 0);
    let bare = uri.path_and_query().is_none_or(|rest| rest == "/");
    match (scheme, host, port) {
        (Some(scheme), Some(host), Some(port)) if bare => Ok(format!("{scheme}://{host}:{port}")),
        _ => Err(refused()),
    }
}

/// Never tells the value: it may be the token itself, written where its place belongs.
fn read_token(s: &mut Section, problems: &mut Vec<Problem>) -> Option<SecretRef> {
    let value = s.take("token")?;
    let place = value.as_str().and_then(|text| text.parse().ok());
    if place.is_none() {
        s.problem(problems, "token", "must be file:/path or env:NAME");
    }
    place
}

/// The labels of a node.
pub(super) fn read_labels(
    node: &mut Section,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, String> {
    let labels = node.section(problems, "labels").into_texts(problems);
    if labels.len() > LABELS_MAX {
        let what = format!("{} of them, at most {LABELS_MAX}", labels.len());
        node.problem(problems, "labels", what);
    }
    for (name, value) in &labels {
        if !(1..=LABEL_NAME_BYTES_MAX).contains(&name.len()) {
            let what = format!(
                "name `{name}` has {} bytes (1 to {LABEL_NAME_BYTES_MAX})",
                name.len()
            );
            node.problem(problems, "labels", what);
        }
        if value.len() > LABEL_VALUE_BYTES_MAX {
            let what = format!("has {} bytes (0 to {LABEL_VALUE_BYTES_MAX})", value.len());
            node.problem(problems, &format!("labels.{name}"), what);
        }
    }
    labels.into_iter().collect()
}
