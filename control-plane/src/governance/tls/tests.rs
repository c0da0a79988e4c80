use std::path::Path;

use super::*;
use crate::governance::identity::Role;

#[test]
fn a_uri_is_an_identity_or_is_refused_with_the_reason() {
    let identity = peer::parse("default/node/edge-1", "default").unwrap();
    assert_eq!((identity.role, &*identity.subject), (Role::Node, "edge-1"));
    assert_eq!(&*identity.name, "edge-1");
    let identity = peer::parse("default/admin/alice@example.com", "default").unwrap();
    assert_eq!((identity.role, &*identity.subject), (Role::Admin, ""));
    assert_eq!(&*identity.name, "alice@example.com");
    for (uri, expected) in [
        ("prod/node/edge-1", "namespace `prod`"),
        ("", "namespace ``"),
        ("default", "role"),
        ("default/local/alice", "role"),
        ("default/Admin/alice", "role"),
        ("default/node", "subject"),
        ("default/node/", "subject"),
        ("default/node/a/b", "subject"),
        ("default/node/a%2fb", "subject"),
        ("default/node/edge-1?x", "subject"),
    ] {
        let refused = peer::parse(uri, "default").unwrap_err().to_string();
        assert!(refused.contains(expected), "{uri}: {refused}");
    }
}

fn write(folder: &Path, name: &str, content: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

#[test]
fn a_file_that_holds_something_else_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = write(folder.path(), "cert.pem", &signed.cert.pem());
    let key = write(
        folder.path(),
        "key.pem",
        &signed.signing_key.serialize_pem(),
    );
    let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let damaged = write(folder.path(), "damaged.pem", damaged);
    let absent = folder.path().join("absent.pem");
    let load = |certificate: &PathBuf, key: &PathBuf, ca: Option<&PathBuf>| {
        let own = KeyPair {
            certificate: certificate.clone(),
            key: key.clone(),
        };
        let tls = ServerTls {
            own,
            client_ca: ca.cloned(),
        };
        let loaded = tls.load(Access::MutualTls);
        loaded.err().map(|error| error.to_string())
    };
    assert_eq!(load(&certificate, &key, Some(&certificate)), None);
    for (loaded, expected) in [
        (
            load(&certificate, &key, None),
            "no file of their authorities",
        ),
        (load(&absent, &key, None), "absent.pem cannot be read"),
        (load(&key, &key, None), "key.pem holds no certificate"),
        (
            load(&damaged, &key, None),
            "damaged.pem holds no certificate",
        ),
        (
            load(&certificate, &certificate, None),
            "cert.pem holds no private key",
        ),
        (
            load(&certificate, &key, Some(&damaged)),
            "damaged.pem holds no authority's certificate",
        ),
    ] {
        let loaded = loaded.unwrap();
        assert!(loaded.contains(expected), "{loaded}");
    }
}

#[test]
fn what_two_looks_find_counts_once() {
    let mut looks = acceptor::Looks::new("old");
    // A certificate, and its key only after a look.
    let found = [
        "old", "half", "new", "new", "new", "old", "new", "broken", "broken", "broken", "new",
        "new",
    ];
    let settled: Vec<_> = found
        .iter()
        .enumerate()
        .filter_map(|(at, found)| looks.settled(*found).map(|settled| (at, settled)))
        .collect();
    assert_eq!(settled, [(3, "new"), (8, "broken"), (11, "new")]);
}

#[test]
fn a_certificate_and_the_key_of_another_do_not_belong_together() {
    let folder = tempfile::tempdir().unwrap();
    let pairs = ["one", "two"].map(|name| {
        let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        KeyPair {
            certificate: write(folder.path(), &format!("{name}.pem"), &signed.cert.pem()),
            key: write(
                folder.path(),
                &format!("{name}.key"),
                &signed.signing_key.serialize_pem(),
            ),
        }
    });
    let [one, two] = pairs;
    let mixed = KeyPair {
        key: two.key.clone(),
        ..one.clone()
    };
    for own in [one, two] {
        ServerTls {
            own,
            client_ca: None,
        }
        .load(Access::Tokens)
        .unwrap();
    }
    let refused = ServerTls {
        own: mixed.clone(),
        client_ca: None,
    }
    .load(Access::Tokens)
    .unwrap_err();
    let said = refused.to_string();
    for part in ["one.pem", "two.key", "do not belong together"] {
        assert!(said.contains(part), "{said}");
    }
    let ca = mixed.certificate.clone();
    let client = ClientTls {
        ca,
        own: Some(mixed),
        server_name: None,
    };
    assert_eq!(client.load().unwrap_err(), refused);
}
