//! Whether other nodes can reach this one.

use std::net::SocketAddr;

use super::finding::{Area, Finding, Severity};

/// What a node of a mesh tells others of where it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advertised {
    /// Addresses of its ingress: those that it is to advertise, else those where it listens.
    pub ingress: Vec<SocketAddr>,
    /// Every instance of the control plane is on this host, so it tells no address of it that others could reach.
    pub is_beside_control_plane: bool,
}

/// Nothing where the ingress names an address.
pub(super) fn judge(advertised: &Advertised) -> Option<Finding> {
    let for_all = advertised
        .ingress
        .iter()
        .filter(|listen| listen.ip().is_unspecified());
    let for_all: Vec<String> = for_all.map(ToString::to_string).collect();
    if for_all.is_empty() || for_all.len() < advertised.ingress.len() {
        return None;
    }
    let check = format!("ingress.listen ({})", for_all.join(", "));
    let found = Finding::ok(Area::Reach, check, "it names no address of this host");
    let fix = "`advertise = [\"ADDRESS:PORT\"]` in `[ingress]`, where the other nodes reach it";
    Some(match advertised.is_beside_control_plane {
        true => found.bad(
            Severity::Warning,
            "other nodes do not ask this one for what its cache has",
            fix,
        ),
        false => found.bad(
            Severity::Info,
            "other nodes ask it at the address by which it reaches the control plane",
            fix,
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ingress: &[&str], beside: bool) -> Option<Severity> {
        let advertised = Advertised {
            ingress: ingress.iter().map(|text| text.parse().unwrap()).collect(),
            is_beside_control_plane: beside,
        };
        judge(&advertised).map(|finding| finding.severity)
    }

    #[test]
    fn a_node_that_names_no_address_is_told_what_comes_of_it() {
        assert_eq!(of(&["0.0.0.0:80", "[::]:80"], false), Some(Severity::Info));
        assert_eq!(of(&["[::]:80"], true), Some(Severity::Warning));
        assert_eq!(of(&["10.0.0.7:80", "0.0.0.0:81"], true), None);
        assert_eq!(of(&[], true), None);
    }
}
