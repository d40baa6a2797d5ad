//! Requests that are refused: without the token, malformed, too large; and servers that do not start.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use weir_tests::process::text_of;

use super::place::{Place, counting};

#[test]
fn nothing_is_answered_without_the_token_but_whether_the_server_is_there() {
    let root = tempfile::tempdir().unwrap();
    let place = Place::new(root.path());
    let description = place.raw("GET", "/openapi.json", "", b"");
    assert_eq!(description.status, 200);
    assert_eq!(place.raw("GET", "/healthz", "", b"").status, 200);
    let mut asked = 0;
    let paths = description.json()["paths"].as_object().unwrap().clone();
    for (path, methods) in &paths {
        let path = path.replace("{id}", "x");
        for (method, operation) in methods.as_object().unwrap() {
            if operation["security"] == json!([]) {
                continue;
            }
            let method = method.to_uppercase();
            for header in [
                String::new(),
                "Authorization: Bearer wrong-wrong-wrong-wrong\r\n".to_owned(),
                format!("Authorization: Basic {}\r\n", place.token),
                format!("Authorization: Bearer {}\r\n", &place.token[1..]),
                format!("X-Token: {}\r\n", place.token),
            ] {
                let answer = place.raw(&method, &path, &header, b"");
                assert_eq!(answer.status, 401, "{method} {path} {header}");
                assert_eq!(answer.code(), "J0081");
                assert!(
                    answer.headers.contains("www-authenticate: bearer"),
                    "{answer:?}"
                );
                asked += 1;
            }
            // With it, every one of them is there.
            let answer = place.ask(&method, &path, "");
            assert!(
                answer.status != 401 && answer.status != 405 && answer.status != 500,
                "{method} {path}: {answer:?}"
            );
        }
    }
    assert!(asked >= 5 * 12, "{asked}");
    assert_eq!(place.raw("GET", "/nowhere", "", b"").status, 401);
    let mode = std::fs::metadata(place.data().join("token"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    // It is printed nowhere.
    assert!(!place.log().contains(&place.token));
}

#[test]
fn malformed_requests_are_refused_with_a_reason_and_a_place() {
    let root = tempfile::tempdir().unwrap();
    let place = Place::new(root.path());
    let good = counting(Some(10), 10, "out");
    let body = |fields: Value| fields.to_string();
    let cases: Vec<(&str, &str, String, u16, &str)> = vec![
        ("POST", "/v1/jobs", "{".into(), 400, "J0085"),
        ("POST", "/v1/jobs", "\u{0}\u{1}".into(), 400, "J0085"),
        ("POST", "/v1/jobs", "[1, 2]".into(), 400, "J0085"),
        ("POST", "/v1/jobs", "".into(), 400, "J0085"),
        ("POST", "/v1/jobs", body(json!({"sql": 3})), 400, "J0085"),
        (
            "POST",
            "/v1/jobs",
            body(json!({"sql": good, "nme": "x"})),
            400,
            "J0085",
        ),
        ("POST", "/v1/jobs", body(json!({"sql": good})), 400, "J0086"),
        (
            "POST",
            "/v1/jobs",
            body(json!({"sql": good, "name": "../x"})),
            400,
            "J0086",
        ),
        (
            "POST",
            "/v1/jobs",
            body(json!({"sql": good, "name": "x", "folder": "relative"})),
            400,
            "J0085",
        ),
        (
            "POST",
            "/v1/jobs",
            body(json!({"sql": good, "name": "x", "settings": {"state.dir": "/"}})),
            400,
            "J0088",
        ),
        (
            "POST",
            "/v1/jobs",
            body(json!({"sql": "SELECT 1", "name": "x"})),
            400,
            "J0083",
        ),
        (
            "POST",
            "/v1/jobs",
            body(json!({"sql": "SELECT ${NOBODY_SETS_THIS}", "name": "x"})),
            400,
            "R0014",
        ),
        ("GET", "/v1/jobs?x=1", "".into(), 400, "J0085"),
        ("GET", "/v1/jobs/%FF", "".into(), 400, "J0085"),
        ("GET", "/v1/jobs", "{}".into(), 400, "J0085"),
        ("GET", "/v1/jobs/x", "".into(), 404, "J0089"),
        ("GET", "/v1/nothing", "".into(), 404, "J0089"),
        ("DELETE", "/v1/jobs", "".into(), 405, "J0089"),
        ("PATCH", "/v1/jobs/x", "".into(), 405, "J0089"),
        ("POST", "/v1/jobs/x/stop", "".into(), 404, "J0089"),
    ];
    for (method, path, body, status, code) in cases {
        let answer = place.ask(method, path, &body);
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (status, code),
            "{method} {path} {body}: {answer:?}"
        );
    }
    // All mistakes of a text, each with its place.
    let sql = "CREATE TABLE a (x INT) WITH ('connector' = 'datagen');\nSELECT\n  y, z FROM a;";
    let answer = place.ask(
        "POST",
        "/v1/jobs",
        &json!({"sql": sql, "name": "x"}).to_string(),
    );
    assert_eq!(answer.status, 400);
    assert!(answer.code().starts_with('P'), "{answer:?}");
    let errors = answer.json()["errors"].as_array().unwrap().clone();
    assert_eq!(errors.len(), 2, "{answer:?}");
    let at = |error: &Value| {
        (
            error["where"]["line"].as_u64(),
            error["where"]["column"].as_u64(),
        )
    };
    assert_eq!(
        (at(&errors[0]), at(&errors[1])),
        ((Some(3), Some(3)), (Some(3), Some(6)))
    );
    // What is no HTTP at all.
    assert_eq!(place.bytes(b"HELLO\r\n\r\n", &[]).status, 400);
    // None of it has left a job.
    assert_eq!(place.get("/v1/jobs"), json!({"jobs": []}));
    assert_eq!(
        std::fs::read_dir(place.data().join("jobs"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn a_body_of_100_mb_is_refused_and_the_server_does_not_keep_it() {
    let root = tempfile::tempdir().unwrap();
    let place = Place::new(root.path());
    let header = format!("Authorization: Bearer {}\r\n", place.token);
    let body = vec![b' '; 100 << 20];
    let answer = place.raw("POST", "/v1/jobs", &header, &body);
    assert_eq!((answer.status, answer.code().as_str()), (413, "J0084"));
    // The same without an announcement of its size.
    let head = format!(
        "POST /v1/jobs HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n{header}Transfer-Encoding: chunked\r\n\r\n"
    );
    let size = format!("{:x}\r\n", body.len());
    let answer = place.bytes(head.as_bytes(), &[size.as_bytes(), &body, b"\r\n0\r\n\r\n"]);
    assert_eq!((answer.status, answer.code().as_str()), (413, "J0084"));
    // One byte too many, and just not too many.
    let text = |bytes: usize| {
        let empty = json!({"sql": "", "name": "x"}).to_string().len();
        json!({"sql": " ".repeat(bytes - empty), "name": "x"}).to_string()
    };
    assert_eq!(
        place.ask("POST", "/v1/jobs", &text((1 << 20) + 1)).status,
        413
    );
    assert_eq!(
        place.ask("POST", "/v1/jobs", &text(1 << 20)).code(),
        "J0083"
    );
    assert_eq!(place.raw("GET", "/healthz", "", b"").status, 200);
}

#[test]
fn servers_that_would_do_harm_do_not_start() {
    let root = tempfile::tempdir().unwrap();
    let place = Place::new(root.path());
    let refused = |arguments: &[&str], token: Option<&str>, code: &str| {
        let mut command = place.command(arguments);
        if let Some(token) = token {
            command.env("WEIR_TOKEN", token);
        }
        let output = command.output().unwrap();
        let text = text_of(&output);
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {text}");
        assert!(text.contains(code), "{text}");
    };
    // A second one in the same folder.
    refused(&["serve", "--listen", "127.0.0.1:0"], None, "J0080");
    // For other machines, with a token that nobody has decided on.
    refused(
        &["serve", "--data-dir", "other", "--listen", "0.0.0.0:0"],
        None,
        "J0082",
    );
    assert!(!root.path().join("other/token").exists());
    // With one that can be guessed.
    refused(
        &["serve", "--data-dir", "other", "--listen", "127.0.0.1:0"],
        Some("short"),
        "J0082",
    );
    // A client without a token, and with a wrong one.
    let elsewhere = tempfile::tempdir().unwrap();
    let url = format!("http://{}", place.address);
    let client = |token: Option<&str>| {
        let mut command = place.command(&["jobs", "--server", &url]);
        command.current_dir(elsewhere.path());
        if let Some(token) = token {
            command.env("WEIR_TOKEN", token);
        }
        let output = command.output().unwrap();
        (output.status.code(), text_of(&output))
    };
    let (code, text) = client(None);
    assert!(code == Some(3) && text.contains("J0095"), "{text}");
    let (code, text) = client(Some("another-token-than-this"));
    assert!(code == Some(3) && text.contains("J0081"), "{text}");
    let (code, text) = client(Some(&place.token));
    assert!(code == Some(0) && text.contains("no job"), "{text}");
}
