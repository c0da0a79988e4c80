//! What a node answers is what its description says.

use serde_json::Value;

use super::json;
use crate::client::Answer;
use crate::common::Weir;

/// What is asked for without changing anything.
const PATHS: [&str; 12] = [
    "/api/status",
    "/api/health",
    "/api/services",
    "/api/overview?mesh=true",
    "/api/events",
    "/api/logs?lines=20",
    "/api/engines?mesh=true",
    "/api/provisioning",
    "/api/ports",
    "/api/cache",
    "/api/topics",
    "/api/connections",
];

/// Every answer of [`PATHS`] against its schema.
pub(super) async fn answers_are_as_told(node: &Weir) {
    let document = json(node, "/api/openapi.json").await;
    assert_eq!(document["openapi"], "3.1.0");
    for path in PATHS {
        let bare = path.split('?').next().unwrap();
        let content = &document["paths"][bare]["get"]["responses"]["200"]["content"];
        let schema = &content["application/json"]["schema"];
        assert!(schema.is_object(), "{bare} has no schema");
        let answer = json(node, path).await;
        if let Err(why) = fits(&document, schema, &answer, path) {
            panic!("{why}\nin {answer}");
        }
    }
    let wrong = serde_json::json!({ "node": 7 });
    let status = serde_json::json!({ "$ref": "#/components/schemas/Status" });
    assert!(
        fits(&document, &status, &wrong, "wrong").is_err(),
        "nothing is checked"
    );
}

/// What a client is told that is sent away for the moment, against what is said of it.
pub async fn refused_as_told(node: &Weir, path: &str, answer: &Answer) {
    let document = json(node, "/api/openapi.json").await;
    let bare = path.split('?').next().unwrap();
    let said = &document["paths"][bare]["get"]["responses"][answer.status.to_string()];
    assert!(
        said.is_object(),
        "{bare} tells nothing of {}",
        answer.status
    );
    let is_said = said["headers"]["retry-after"].is_object();
    assert_eq!(
        is_said,
        answer.header("retry-after").is_some(),
        "{bare}: {said}"
    );
    let schema = &said["content"]["application/json"]["schema"];
    let told: Value = serde_json::from_slice(&answer.body).unwrap();
    if let Err(why) = fits(&document, schema, &told, bare) {
        panic!("{why}\nin {told}");
    }
}

/// Whether a value is as a schema says; what is not in it is not in the value either.
fn fits(document: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    if let Some(to) = schema["$ref"].as_str() {
        let schema = document.pointer(to.trim_start_matches('#'));
        return fits(document, schema.unwrap(), value, at);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let mut tried = any.iter().map(|one| fits(document, one, value, at));
        return tried
            .find(Result::is_ok)
            .unwrap_or_else(|| Err(format!("{at}: fits none of {any:?}")));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        return Err(format!("{at}: {value} is none of {words:?}"));
    }
    let kind = kind(value);
    let is_kind = |told: &Value| told == kind || (told == "number" && kind == "integer");
    let is_told = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().any(is_kind),
        Value::Null => true,
        told => is_kind(told),
    };
    if !is_told {
        return Err(format!("{at}: {value} is no {}", schema["type"]));
    }
    if schema["minimum"] == 0 && value.as_f64().is_some_and(|value| value < 0.0) {
        return Err(format!("{at}: {value} is below 0"));
    }
    if let Some(all) = value.as_array() {
        for (place, one) in all.iter().enumerate() {
            fits(document, &schema["items"], one, &format!("{at}[{place}]"))?;
        }
    }
    fields_fit(document, schema, value, at)
}

fn fields_fit(document: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let Some(fields) = value.as_object() else {
        return Ok(());
    };
    let required = schema["required"].as_array().into_iter().flatten();
    for name in required.filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            return Err(format!("{at}: has no {name}"));
        }
    }
    for (name, field) in fields {
        let at = format!("{at}.{name}");
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (schema @ Value::Object(_), _) | (_, schema @ Value::Object(_)) => {
                fits(document, schema, field, &at)?;
            }
            (_, Value::Bool(true)) => {}
            _ => return Err(format!("{at}: is not told of")),
        }
    }
    Ok(())
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
