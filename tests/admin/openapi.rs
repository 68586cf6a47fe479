//! docs/admin.openapi.json says what the server does: each path and method of it is asked, and the
//! status and the shape of each answer are those of the file.

use super::caller::{Answer, ask, get, get_with};
use crate::Managed;
use crate::common::{Program, befriend};
use serde_json::{Map, Value};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/admin.openapi.json");

fn file() -> Value {
    serde_json::from_str(&std::fs::read_to_string(FILE).unwrap()).unwrap()
}

/// The value that a reference stands for.
fn resolved<'a>(file: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(place) => file.pointer(place.strip_prefix('#').unwrap()).unwrap_or_else(|| panic!("no {place}")),
        None => value,
    }
}

/// The words of a schema that this test understands; another one would not be checked.
const WORDS: [&str; 15] = [
    "$ref",
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "const",
    "anyOf",
    "minimum",
    "minLength",
    "maxLength",
    "pattern",
    "description",
    "default",
];

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("type {other}"),
    }
}

/// Is a value as its schema says?
fn fits(file: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let schema = resolved(file, schema);
    let words = schema.as_object().unwrap();
    assert!(words.keys().all(|word| WORDS.contains(&word.as_str())), "{words:?}");
    let wrong = |why: &str| Err(format!("{why}: {value} is not {schema}"));
    let types = match &schema["type"] {
        Value::Array(types) => types.iter().map(|name| name.as_str().unwrap()).collect(),
        Value::String(name) => vec![name.as_str()],
        _ => Vec::new(),
    };
    if !types.is_empty() && !types.iter().any(|name| is_of_type(value, name)) {
        return wrong("type");
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        return wrong("enum");
    }
    if words.get("const").is_some_and(|only| only != value) {
        return wrong("const");
    }
    if let Some(some) = schema["anyOf"].as_array()
        && !some.iter().any(|schema| fits(file, schema, value).is_ok())
    {
        return wrong("anyOf");
    }
    if let (Some(min), Some(number)) = (schema["minimum"].as_i64(), value.as_i64())
        && number < min
    {
        return wrong("minimum");
    }
    if let Some(text) = value.as_str() {
        let chars = text.chars().count() as u64;
        let is_short = schema["minLength"].as_u64().is_some_and(|min| chars < min);
        if is_short || schema["maxLength"].as_u64().is_some_and(|max| chars > max) {
            return wrong("length");
        }
    }
    if let Some(items) = value.as_array() {
        items.iter().try_for_each(|item| fits(file, &schema["items"], item))?;
    }
    let Some(found) = value.as_object() else { return Ok(()) };
    let empty = Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&empty);
    for name in schema["required"].as_array().into_iter().flatten() {
        if !found.contains_key(name.as_str().unwrap()) {
            return wrong(&format!("required {name}"));
        }
    }
    found.iter().try_for_each(|(name, value)| match properties.get(name) {
        Some(schema) => fits(file, schema, value),
        None if schema["additionalProperties"] == false => wrong(&format!("{name} is not known")),
        None => Ok(()),
    })
}

/// The status and the shape of an answer are among those of its operation.
#[track_caller]
fn check(file: &Value, operation: &Value, answer: &Answer) {
    let status = answer.status.to_string();
    let response = resolved(file, &operation["responses"][&status]);
    assert!(response.is_object(), "{status} is not in the file: {answer:?}");
    let (kind, content) = response["content"].as_object().unwrap().iter().next().unwrap();
    assert!(answer.head.contains(&format!("Content-Type: {kind}")), "{answer:?}");
    if kind == "application/json" {
        fits(file, &content["schema"], &answer.json()).unwrap_or_else(|why| panic!("{why}"));
    }
}

/// The target of an operation, with the examples of the file for its parameters, or with other
/// values.
fn target_of(file: &Value, path: &str, operation: &Value, name: &str) -> String {
    let (mut target, mut query) = (path.to_owned(), Vec::new());
    for parameter in operation["parameters"].as_array().unwrap() {
        let parameter = resolved(file, parameter);
        let key = parameter["name"].as_str().unwrap();
        match parameter["in"].as_str() {
            Some("path") => target = target.replace(&format!("{{{key}}}"), name),
            Some("query") => {
                let value = if key == "receiver" { name } else { parameter["example"].as_str().unwrap() };
                query.push(format!("{key}={value}"));
            }
            other => panic!("{other:?}"),
        }
    }
    if query.is_empty() { target } else { format!("{target}?{}", query.join("&")) }
}

fn operations(file: &Value) -> Vec<(String, String, Value)> {
    let paths = file["paths"].as_object().unwrap();
    let all = paths.iter().flat_map(|(path, methods)| {
        methods
            .as_object()
            .unwrap()
            .iter()
            .map(|(method, operation)| (path.clone(), method.to_ascii_uppercase(), operation.clone()))
    });
    all.collect()
}

#[test]
fn every_path_and_method_answers_as_the_file_says() {
    let (file, managed) = (file(), Managed::start());
    let operations = operations(&file);
    assert_eq!(operations.len(), 14);
    let ids: Vec<&str> =
        operations.iter().map(|(_, _, operation)| operation["operationId"].as_str().unwrap()).collect();
    // Deleting comes last, whatever the order in the file, and behind it the end of the server.
    let mut order: Vec<usize> = (0..operations.len()).collect();
    order.sort_by_key(|&at| ids[at] == "delete");
    let drain = ids.iter().position(|id| *id == "drain").unwrap();
    order.retain(|at| *at != drain);
    let (mut ann, mut bob) = (managed.server.user("ann"), managed.server.user("bob"));
    befriend(&mut ann, &mut bob);
    bob.say("m1", "ann", "hello", "MS");
    ann.expect_push("4", "m1");
    for name in ["ann", "bob", "nobody"] {
        for &at in &order {
            let (path, method, operation) = &operations[at];
            let target = target_of(&file, path, operation, name);
            let body = match (ids[at], name) {
                ("notice", "bob") => "{\"text\":\"to all\"}".to_owned(),
                ("notice", name) => format!("{{\"to\":\"{name}\",\"text\":\"hello\"}}"),
                _ => String::new(),
            };
            let answer = ask(managed.admin, method, &target, &body);
            check(&file, operation, &answer);
            let expected: &[u16] = match (ids[at], name) {
                ("health" | "metrics" | "users" | "messages", _) => &[200],
                // It is no cluster.
                ("nodes" | "forgetNode", _) => &[404],
                ("disconnect", "nobody") => &[404, 409],
                (_, "nobody") => &[404],
                // A ban or a new password has ended the connection.
                ("disconnect", _) => &[200, 409],
                _ => &[200],
            };
            assert!(expected.contains(&answer.status), "{method} {target}: {answer:?}");
        }
    }
    let (path, method, operation) = &operations[drain];
    let answer = ask(managed.admin, method, path, "");
    check(&file, operation, &answer);
    assert_eq!(answer.status, 202);
}

#[test]
fn every_refusal_is_one_of_the_file() {
    let (file, managed) = (file(), Managed::start());
    for (path, method, operation) in operations(&file) {
        let target = target_of(&file, &path, &operation, "ann");
        let with_origin = get_with(managed.admin, &target, "Origin: https://evil.example\r\n");
        assert_eq!(with_origin.status, 403);
        check(&file, &operation, &with_origin);
        let (body, unknown) =
            ("{\"no such key\":1}", format!("{target}{}no=1", if target.contains('?') { "&" } else { "?" }));
        let bad =
            if method == "POST" { ask(managed.admin, &method, &target, body) } else { get(managed.admin, &unknown) };
        assert_eq!(bad.status, 400, "{bad:?}");
        check(&file, &operation, &bad);
        let large = ask(managed.admin, &method, &target, &"x".repeat(70_000));
        assert_eq!(large.status, 413, "{large:?}");
        check(&file, &operation, &large);
    }
}

#[test]
fn the_shapes_of_the_file_are_checked_indeed() {
    let file = file();
    let schema = |name: &str| file["components"]["schemas"][name].clone();
    let is = |name: &str, text: &str| fits(&file, &schema(name), &serde_json::from_str(text).unwrap()).is_ok();
    assert!(
        is("Users", "{\"users\":[],\"next\":null,\"node\":null,\"node_name\":null}") && is("Done", "{\"done\":true}")
    );
    for (name, text) in [
        ("Users", "{\"users\":[],\"node\":null,\"node_name\":null}"),
        ("Users", "{\"users\":[],\"next\":null,\"node_name\":null}"),
        ("Users", "{\"users\":[],\"next\":null,\"node\":null}"),
        ("Users", "{\"users\":[1],\"next\":null,\"node\":1,\"node_name\":null}"),
        ("Users", "{\"users\":{},\"next\":null,\"node\":1,\"node_name\":null}"),
        ("Users", "{\"users\":[],\"next\":1,\"node\":1,\"node_name\":null}"),
        ("Done", "{\"done\":false}"),
        ("Done", "{\"done\":true,\"more\":1}"),
        ("Noticed", "{\"users\":-1}"),
        ("User", "{\"name\":\"\",\"online\":null,\"waiting\":0,\"waiting_is_at_least\":false,\"banned\":false}"),
    ] {
        assert!(!is(name, text), "{name} {text}");
    }
}

/// A tool that others wrote makes requests of its own from the file. `HONGYAN_TEST_PYTHON` names a
/// Python in whose folder `schemathesis` is.
#[test]
fn a_tool_that_reads_the_file_finds_nothing_wrong() {
    let python = std::env::var("HONGYAN_TEST_PYTHON").unwrap_or_default();
    let tool = std::path::Path::new(&python).with_file_name("schemathesis");
    if python.is_empty() || !tool.exists() {
        println!("skipped: HONGYAN_TEST_PYTHON names no Python with schemathesis");
        return;
    }
    let program = Program::on("memory:", &["--admin", "127.0.0.1:0"]);
    let addr: SocketAddr = program.admin();
    for name in ["ann", "bob"] {
        program.user(name, crate::common::ContentForm::Text);
    }
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(tool)
        .current_dir(&folder)
        .args(["run", FILE, "--url", &format!("http://{addr}"), "--max-examples", "4", "--seed", "1", "--workers", "1"])
        .args([
            "--checks",
            "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        ])
        // It ends the server, which the others need.
        .args(["--exclude-path", "/drain"])
        .args(["--no-color", "--request-timeout", "20"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}
