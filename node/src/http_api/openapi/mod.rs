//! What the HTTP API takes and tells, as OpenAPI 3.1: paths of [`routes`], schemas of the descriptors that gRPC
//! reflection serves.

mod routes;
mod schemas;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::{Map, Value, json};

use self::routes::{Content, Parameter, ROUTES, Route};
use self::schemas::{Messages, reference};
use super::cache::Document;
use super::document;

/// The document. It is the same for as long as the process runs.
static DOCUMENT: LazyLock<Document> = LazyLock::new(|| Document::of(&described()));

pub(super) async fn get(headers: HeaderMap) -> Response {
    document(&headers, StatusCode::OK, &DOCUMENT)
}

fn described() -> Value {
    let messages = Messages::of(weir_proto::FILE_DESCRIPTOR_SET);
    let messages = messages.expect("the descriptors are made with the program");
    let roots = ROUTES.iter().flat_map(|route| route.answers);
    let mut schemas = messages.schemas(roots.filter_map(|answer| answer.content.message()));
    schemas.insert("Error".to_owned(), error());
    let mut paths = Map::new();
    for route in ROUTES {
        // A rest of a path is one parameter.
        let path = route.path.replace("{*", "{");
        paths.entry(path).or_insert_with(|| json!({}))[route.method] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Weir node",
            "description": "What a node shows and takes. A request names the node by an address, localhost or a \
                            name in http_api.hosts.",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "paths": paths,
        "components": { "schemas": schemas },
    })
}

fn error() -> Value {
    json!({
        "type": "object",
        "description": "Why something is not told or done.",
        "required": ["error", "message"],
        "properties": {
            "error": { "type": "string", "description": "For programs." },
            "message": { "type": "string", "description": "For people: field, value and bound." },
            "field": { "type": "string", "description": "What of the request is wrong, where one thing is." },
        },
    })
}

fn operation(route: &Route) -> Value {
    let mut answers = Map::new();
    for answer in route.answers {
        let mut told = json!({ "description": answer.about });
        if let Some((media, schema)) = content(&answer.content) {
            told["content"] = json!({ media: { "schema": schema } });
        }
        if answer.says_when {
            told["headers"] = json!({ "retry-after": {
                "description": "Seconds after which to come again.",
                "schema": { "type": "integer", "minimum": 0 },
            } });
        }
        answers.insert(answer.status.to_string(), told);
    }
    answers.insert(
        "default".to_owned(),
        json!({
            "description": "It is refused, or nobody can tell.",
            "content": { "application/json": { "schema": reference("Error") } },
        }),
    );
    let parameters: Vec<Value> = route.parameters.iter().map(parameter).collect();
    let mut operation = json!({
        "summary": route.summary,
        "parameters": parameters,
        "responses": answers,
    });
    if let Some((media, schema)) = content(&route.body) {
        operation["requestBody"] = json!({ "content": { media: { "schema": schema } } });
    }
    operation
}

fn parameter(parameter: &Parameter) -> Value {
    json!({
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "description": parameter.about,
        "schema": { "type": parameter.kind },
    })
}

fn content(content: &Content) -> Option<(&'static str, Value)> {
    const JSON: &str = "application/json";
    Some(match content {
        Content::Nothing => return None,
        Content::Message(name) => (JSON, reference(name)),
        Content::Messages(name) => (JSON, json!({ "type": "array", "items": reference(name) })),
        Content::Within(field, name) => {
            let array = json!({ "type": "array", "items": reference(name) });
            (
                JSON,
                json!({
                    "type": "object",
                    "required": [field],
                    "properties": { *field: array },
                    "additionalProperties": true,
                }),
            )
        }
        Content::Json(schema) => {
            let schema = serde_json::from_str(schema);
            (JSON, schema.expect("schemas of the table are JSON"))
        }
        Content::Other(media) => (media, json!({})),
    })
}
