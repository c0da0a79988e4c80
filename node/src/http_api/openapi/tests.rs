use std::collections::BTreeSet;
use std::path::Path;

use super::*;

/// Pages for people are no part of the API.
const PAGES: &str = "/dashboard";

/// Method and path of everything that the sources of the API give to a router.
fn routed() -> BTreeSet<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http_api");
    let mut routed = BTreeSet::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|kind| kind != "rs") {
            continue;
        }
        let text = std::fs::read_to_string(path).unwrap();
        for call in text.split(".route(").skip(1) {
            let path = call.split('"').nth(1).unwrap();
            let handlers = &call[..call.find("\n").unwrap_or(call.len())];
            for method in ["get", "post", "put", "delete", "patch", "any"] {
                let names = [format!(" {method}("), format!(").{method}(")];
                if names.iter().any(|name| handlers.contains(name)) && !path.starts_with(PAGES) {
                    routed.insert((method.to_owned(), path.to_owned()));
                }
            }
        }
    }
    routed
}

#[test]
fn the_document_tells_of_every_route_of_the_router_and_of_no_other() {
    let told = ROUTES
        .iter()
        .map(|route| (route.method.to_owned(), route.path.to_owned()));
    let told: BTreeSet<_> = told.collect();
    assert_eq!(told.len(), ROUTES.len(), "each once");
    let routed = routed();
    let missing: Vec<_> = routed.difference(&told).collect();
    assert!(missing.is_empty(), "add to openapi/routes.rs: {missing:?}");
    let gone: Vec<_> = told.difference(&routed).collect();
    assert!(gone.is_empty(), "nothing routes {gone:?}");
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), value) {
                    ("$ref", Value::String(to)) => _ = found.insert(to.clone()),
                    _ => references(value, found),
                }
            }
        }
        Value::Array(all) => all.iter().for_each(|one| references(one, found)),
        _ => {}
    }
}

#[test]
fn every_schema_that_is_pointed_at_is_there() {
    let document = described();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 30, "{found:?}");
    for reference in found {
        let pointer = reference.trim_start_matches('#');
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn schemas_say_what_the_comments_of_the_schema_files_say() {
    let document = described();
    let text = |pointer: &str| {
        let found = document.pointer(&format!("/components/schemas/{pointer}"));
        found.unwrap_or_else(|| panic!("{pointer}")).clone()
    };
    assert_eq!(text("Status/properties/uptime_s/type"), "integer");
    let about = text("History/description");
    assert!(
        about.as_str().unwrap().starts_with("Samples at multiples"),
        "{about}"
    );
    let about = text("Resources/properties/fds_max");
    assert_eq!(about["minimum"], 0);
    let standing = text("BackendOnNode/properties/standing/enum");
    assert!(
        standing.as_array().unwrap().contains(&json!("slow-start")),
        "{standing}"
    );
    assert_eq!(
        text("Rates/properties/p99_us/anyOf/1/type"),
        "null",
        "what is optional may be absent"
    );
    assert_eq!(
        text("Rates/properties/own_answers/additionalProperties/type"),
        "integer"
    );
}

#[test]
fn paths_name_their_parameters() {
    let document = described();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let in_path: BTreeSet<&str> = path
            .split('{')
            .skip(1)
            .filter_map(|rest| rest.split('}').next())
            .collect();
        for operation in methods.as_object().unwrap().values() {
            let parameters = operation["parameters"].as_array().unwrap().iter();
            let named = parameters.filter(|one| one["in"] == "path");
            let named: BTreeSet<&str> = named.filter_map(|one| one["name"].as_str()).collect();
            assert_eq!(named, in_path, "{path}");
        }
    }
}
