//! `/api/openapi.json`: the interface as an OpenAPI 3.1 document, made from the types that handlers
//! read and write. A test compares its operations with the table of routes.
//!
//! OpenAPI 3.1 schemas are JSON Schema 2020-12, which is what the types derive, so there is no second
//! description that could differ from the first.

mod operations;

use std::sync::LazyLock;

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::http::{Problem, etag};
use crate::ledger::None as NoQuery;

use operations::{JSON, OPERATIONS, Operation};

/// The document.
#[must_use]
pub fn document() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    let mut generator = settings.into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for operation in OPERATIONS {
        let described = describe(operation, &mut generator);
        let path = paths
            .entry(operation.path)
            .or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(methods) = path {
            methods.insert(operation.method.to_owned(), described);
        }
    }
    generator.subschema_for::<Problem>();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Writ",
            "version": "1",
            "description": "Evidence in, verdict out. Reads are pure functions of the address and the ledger size; lists come in parts; refusals are problem documents with the parts found, required, why, fix and or.",
            "license": {"name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT"}
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": Value::Object(generator.take_definitions(true))}
    })
}

fn describe(operation: &Operation, generator: &mut SchemaGenerator) -> Value {
    let mut parameters = Vec::new();
    for part in operation.path.split('/') {
        if let Some(name) = part
            .strip_prefix('{')
            .and_then(|part| part.strip_suffix('}'))
        {
            parameters.push(json!({
                "name": name, "in": "path", "required": true, "schema": {"type": "string", "minLength": 1}
            }));
        }
    }
    let query = (operation.query)(generator);
    if let Some(properties) = query.get("properties").and_then(Value::as_object) {
        for (name, schema) in properties {
            let mut schema = schema.clone();
            let about = schema
                .as_object_mut()
                .and_then(|schema| schema.remove("description"))
                .unwrap_or_default();
            parameters.push(json!({
                "name": name, "in": "query", "required": false, "description": about, "schema": optional(schema)
            }));
        }
    }
    let mut responses: Map<String, Value> = Map::new();
    for (status, media_type, make) in operation.answers {
        let schema = make(generator);
        responses.insert(
            status.to_string(),
            json!({"description": operation.about, "content": {*media_type: {"schema": schema}}}),
        );
    }
    if operation.method == "get" {
        responses.insert(
            "304".to_owned(),
            json!({"description": "Unchanged since the tag in If-None-Match"}),
        );
    }
    let problem = json!({"$ref": "#/components/schemas/Problem"});
    for code in operation.refusals {
        let status = code.status().as_u16().to_string();
        responses.entry(status).or_insert_with(|| {
            json!({"description": code.title(), "content": {"application/problem+json": {"schema": problem}}})
        });
    }
    responses.insert(
        "default".to_owned(),
        json!({"description": "Any other refusal", "content": {"application/problem+json": {"schema": problem}}}),
    );
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.about,
        "parameters": parameters,
        "responses": responses,
    });
    if let Some(bodies) = operation.body {
        let mut content = Map::new();
        for (media_type, make) in bodies {
            content.insert((*media_type).to_owned(), json!({"schema": make(generator)}));
        }
        described["requestBody"] = json!({"required": true, "content": content});
        if let Some(parameters) = described["parameters"].as_array_mut() {
            parameters.push(json!({
                "name": "Idempotency-Key", "in": "header", "required": false,
                "description": "A key that may bring one body only",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255}
            }));
        }
    }
    described
}

/// The schema of a parameter that may be left out: a query string has no null.
fn optional(mut schema: Value) -> Value {
    let Some(fields) = schema.as_object_mut() else {
        return schema;
    };
    fields.remove("default");
    if let Some(Value::Array(types)) = fields.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            fields.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(any)) = fields.get_mut("anyOf") {
        any.retain(|one| one["type"] != "null");
        if let [only] = any.as_slice() {
            return only.clone();
        }
    }
    schema
}

static DOCUMENT: LazyLock<String> = LazyLock::new(|| document().to_string());

/// Serves the document.
pub async fn get(headers: HeaderMap, _: crate::http::Query<NoQuery>) -> Response {
    let tag = etag::tag(&[DOCUMENT.as_str()]);
    etag::answer(&headers, &tag, || {
        let mut response = DOCUMENT.as_str().into_response();
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
        response
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::routes::{Class, ROUTES};

    #[test]
    fn every_route_of_the_interface_is_described_and_nothing_else() {
        let described: BTreeSet<(String, &str)> = OPERATIONS
            .iter()
            .map(|operation| (operation.method.to_uppercase(), operation.path))
            .collect();
        let routed: BTreeSet<(String, &str)> = ROUTES
            .iter()
            .filter(|route| route.class == Class::Api)
            .map(|route| (route.method.to_owned(), route.path))
            .collect();
        assert_eq!(described, routed);
        let ids: BTreeSet<&str> = OPERATIONS.iter().map(|operation| operation.id).collect();
        assert_eq!(ids.len(), OPERATIONS.len());
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(fields) => {
                    if let Some(Value::String(target)) = fields.get("$ref") {
                        found.push(target.clone());
                    }
                    fields.values().for_each(|value| references(value, found));
                }
                Value::Array(values) => values.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 20);
        for target in found {
            let pointer = target.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{target}");
        }
    }

    #[test]
    fn the_document() {
        let text = serde_json::to_string_pretty(&document()).unwrap();
        insta::assert_snapshot!(text);
    }
}
