//! The OpenAPI description (3.1), made from the table of routes.

use serde_json::{Map, Value, json};

use super::routes::{Method, ROUTES, Route};

/// The description.
pub(crate) fn description() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in ROUTES {
        let path = paths
            .entry(route.path.to_owned())
            .or_insert_with(|| json!({}));
        path[method(route.method)] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Weir",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "A server of streaming SQL jobs",
            "license": {"name": env!("CARGO_PKG_LICENSE")},
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": schemas(),
        },
    })
}

fn method(method: Method) -> &'static str {
    match method {
        Method::Get => "get",
        Method::Post => "post",
        Method::Delete => "delete",
    }
}

fn operation(route: &Route) -> Value {
    let mut parameters: Vec<Value> = Vec::new();
    if route.path.contains("{id}") {
        parameters.push(json!({
            "name": "id", "in": "path", "required": true, "description": "the job's name", "schema": {"type": "string"},
        }));
    }
    for (name, about) in route.query {
        parameters.push(json!({
            "name": name, "in": "query", "required": false, "description": about, "schema": {"type": "string"},
        }));
    }
    let bare = route
        .content_type
        .split(';')
        .next()
        .unwrap_or(route.content_type);
    let schema = match bare {
        "application/json" => json!({"type": "object"}),
        _ => json!({"type": "string"}),
    };
    let mut responses = json!({
        route.status.to_string(): {"description": route.about, "content": {bare: {"schema": schema}}},
        "default": {
            "description": "what is wrong, where, and what to do",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Errors"}}},
        },
    });
    if !route.open {
        responses["401"] = json!({
            "description": "the token is missing or another one",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Errors"}}},
        });
    }
    let mut operation = json!({
        "operationId": route.id,
        "summary": route.about,
        "parameters": parameters,
        "responses": responses,
    });
    if route.open {
        operation["security"] = json!([]);
    }
    if let Some(name) = route.body {
        operation["requestBody"] = json!({
            "required": matches!(name, "Submit" | "Upgrade"),
            "content": {"application/json": {"schema": {"$ref": format!("#/components/schemas/{name}")}}},
        });
    }
    operation
}

/// One object of exactly these fields.
fn object(required: &[&str], fields: Value) -> Value {
    json!({"type": "object", "additionalProperties": false, "required": required, "properties": fields})
}

fn field(kind: &str, about: &str) -> Value {
    json!({"type": kind, "description": about})
}

fn texts(about: &str) -> Value {
    json!({"type": "object", "additionalProperties": {"type": "string"}, "description": about})
}

fn list(about: &str) -> Value {
    json!({"type": "array", "items": {"type": "string"}, "description": about})
}

fn schemas() -> Value {
    let place = json!({
        "type": "object",
        "required": ["in"],
        "properties": {
            "in": {"type": "string", "enum": ["sql", "body", "field", "query", "header", "path", "job", "server"]},
            "name": field("string", "the field, parameter, header, path or job"),
            "line": field("integer", "from 1"),
            "column": field("integer", "in characters, from 1"),
            "end_line": field("integer", "where it ends"),
            "end_column": field("integer", "behind its last character"),
            "text": field("string", "what is wrong just there"),
        },
    });
    let error = json!({
        "type": "object",
        "required": ["code", "message", "where", "help"],
        "properties": {
            "code": field("string", "stable; docs/errors and docs/runtime-errors.md have them all"),
            "message": field("string", "what is wrong"),
            "where": {"$ref": "#/components/schemas/Place"},
            "help": list("what to do"),
        },
    });
    let savepoint = || {
        json!({
            "folder": field("string", "an absolute path on the server's machine or a URL; below the job's folder unless it is given"),
            "name": field("string", "savepoint-N of checkpoint N unless it is given"),
            "note": field("string", "kept with it"),
        })
    };
    let mut stop = savepoint();
    stop["savepoint"] = field("boolean", "with a savepoint of the last checkpoint");
    stop["drain"] = field(
        "boolean",
        "as if all input had ended: open windows give their results, and the job is over",
    );
    json!({
        "Submit": object(&["sql"], json!({
            "sql": field("string", "the text of the query; it has at least one INSERT"),
            "name": field("string", "the job's name, unless the text has SET 'job.name'"),
            "settings": texts("as SET 'key' = 'value' in the text, which they win over"),
            "variables": texts("values of ${NAME} in the text; others come from the server's environment"),
            "folder": field("string", "where relative paths start, on the server's machine; DATA/files unless it is given"),
            "from": field("string", "a savepoint to go on from"),
        })),
        "Stop": object(&[], stop),
        "Savepoint": object(&[], savepoint()),
        "Upgrade": object(&["sql"], json!({
            "sql": field("string", "the edited text"),
            "settings": texts("instead of those of the job"),
            "variables": texts("instead of those of the job"),
            "report_only": field("boolean", "says what would happen, and does nothing"),
            "flags": {"$ref": "#/components/schemas/Flags"},
        })),
        "Flags": object(&[], json!({
            "accept": list("operators and sinks whose results need not stay exact, or `all`"),
            "allow_dropped_state": field("boolean", "leaves state behind that the new query has no operator for"),
            "start_empty": list("operators that may start empty"),
            "rename": texts("old name of a view or table to its new one"),
            "replay": list("operators that are computed from their sources again, or `all`"),
            "sources": texts("table to `keep`, `earliest`, `latest` or a time"),
        })),
        "Place": place,
        "Error": error,
        "Errors": {
            "type": "object",
            "required": ["error", "errors"],
            "properties": {
                "error": {"$ref": "#/components/schemas/Error"},
                "errors": {"type": "array", "items": {"$ref": "#/components/schemas/Error"}},
                "report": field("object", "of an upgrade that was refused: docs/formats/report.md"),
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::super::requests::{
        SavepointRequest, StopRequest, SubmitRequest, UpgradeRequest, read,
    };
    use super::*;

    /// One value for each property of a schema.
    fn sample(schemas: &Value, schema: &Value) -> Value {
        if let Some(name) = schema["$ref"].as_str() {
            let name = name.rsplit('/').next().unwrap();
            return sample(schemas, &schemas[name]);
        }
        match schema["type"].as_str() {
            Some("object") => {
                let fields = schema["properties"]
                    .as_object()
                    .cloned()
                    .unwrap_or_default();
                fields
                    .iter()
                    .map(|(name, field)| (name.clone(), sample(schemas, field)))
                    .collect()
            }
            Some("array") => json!([]),
            Some("boolean") => json!(true),
            Some("string") => json!("x"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_body_that_is_described_is_read() {
        let description = description();
        let schemas = &description["components"]["schemas"];
        let body = |name: &str| serde_json::to_vec(&sample(schemas, &schemas[name])).unwrap();
        assert!(read::<SubmitRequest>(&body("Submit")).is_ok());
        assert!(read::<StopRequest>(&body("Stop")).is_ok());
        assert!(read::<SavepointRequest>(&body("Savepoint")).is_ok());
        let upgrade = read::<UpgradeRequest>(&body("Upgrade")).unwrap();
        assert!(upgrade.report_only && upgrade.flags.allow_dropped_state);
    }

    #[test]
    fn every_route_is_described_once_and_every_name_is_there() {
        let description = description();
        let mut operations = Vec::new();
        for (path, methods) in description["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                operations.push((method.clone(), path.clone()));
                if let Some(body) =
                    operation.pointer("/requestBody/content/application~1json/schema/$ref")
                {
                    let at = body.as_str().unwrap().trim_start_matches('#');
                    assert!(description.pointer(at).is_some(), "{at}");
                }
            }
        }
        assert_eq!(operations.len(), ROUTES.len());
        let mut ids: Vec<&str> = ROUTES.iter().map(|route| route.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), ROUTES.len());
        // Nothing is open but what tells nothing of jobs.
        let open: Vec<&str> = ROUTES
            .iter()
            .filter(|route| route.open)
            .map(|route| route.path)
            .collect();
        assert_eq!(open, ["/healthz", "/openapi.json"]);
    }
}
