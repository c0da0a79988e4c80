//! Whether other nodes can reach this one.

use std::net::{IpAddr, SocketAddr};

use super::finding::{Area, Finding, Severity};

/// What a node of a mesh tells others of where it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advertised {
    /// Addresses of its ingress.
    pub ingress: Vec<SocketAddr>,
    /// `node.advertise_address`.
    pub given: Option<IpAddr>,
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
    if let Some(given) = advertised.given {
        let found = format!("other nodes ask {given}");
        return Some(Finding::ok(Area::Reach, check, found));
    }
    let found = Finding::ok(Area::Reach, check, "it names no address of this host");
    let fix =
        "`advertise_address = \"ADDRESS\"` in `[node]`, an address that the other nodes reach";
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

    fn of(ingress: &[&str], given: Option<&str>, beside: bool) -> Option<Severity> {
        let advertised = Advertised {
            ingress: ingress.iter().map(|text| text.parse().unwrap()).collect(),
            given: given.map(|text| text.parse().unwrap()),
            is_beside_control_plane: beside,
        };
        judge(&advertised).map(|finding| finding.severity)
    }

    #[test]
    fn a_node_that_names_no_address_is_told_what_comes_of_it() {
        assert_eq!(
            of(&["0.0.0.0:80", "[::]:80"], None, false),
            Some(Severity::Info)
        );
        assert_eq!(of(&["[::]:80"], None, true), Some(Severity::Warning));
        assert_eq!(of(&["[::]:80"], Some("10.0.0.7"), true), Some(Severity::Ok));
        assert_eq!(of(&["10.0.0.7:80", "0.0.0.0:81"], None, true), None);
        assert_eq!(of(&[], None, true), None);
    }
}
