//! The metrics: their form, checked by the rules of OpenMetrics and by a third-party parser, and
//! their values.

use super::caller::get;
use crate::Managed;
use crate::common::{ContentForm, PATIENCE, Transport, envelope};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Checks that a text has the form of OpenMetrics, and returns its samples.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let (mut family, mut kind, mut families) = (String::new(), String::new(), Vec::new());
    let mut lines = text.strip_suffix("# EOF\n").expect("the text ends with # EOF").lines();
    for line in &mut lines {
        if let Some(rest) = line.strip_prefix("# ") {
            let (what, rest) = rest.split_once(' ').unwrap();
            let (name, value) = rest.split_once(' ').unwrap();
            match what {
                "TYPE" => {
                    assert!(!families.contains(&name.to_owned()), "{name} comes twice");
                    families.push(name.to_owned());
                    (family, kind) = (name.to_owned(), value.to_owned());
                }
                "UNIT" => assert!(name == family && name.ends_with(&format!("_{value}")), "{line}"),
                "HELP" => assert!(name == family && value.ends_with('.') || value.contains("0: none was"), "{line}"),
                other => panic!("# {other}"),
            }
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').unwrap();
        let name = sample.split('{').next().unwrap();
        let endings: &[&str] = match kind.as_str() {
            "counter" => &["_total"],
            "gauge" => &[""],
            "histogram" => &["_bucket", "_sum", "_count"],
            "info" => &["_info"],
            other => panic!("{other}: {line}"),
        };
        assert!(endings.iter().any(|ending| name == format!("{family}{ending}")), "{line} in {family}");
        assert!(samples.insert(sample.to_owned(), value.parse().unwrap()).is_none(), "{sample} comes twice");
    }
    assert!(families.iter().all(|family| family.starts_with("hongyan_")));
    samples
}

fn metrics(managed: &Managed) -> BTreeMap<String, f64> {
    let answer = get(managed.admin, "/metrics");
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8"));
    samples(&answer.body)
}

/// Waits until a sample has this value.
#[track_caller]
fn becomes(managed: &Managed, sample: &str, value: f64) {
    let until = Instant::now() + PATIENCE;
    loop {
        let found = metrics(managed);
        let now = found.get(sample).unwrap_or_else(|| panic!("no {sample}: {:?}", found.keys()));
        if *now == value {
            return;
        }
        assert!(Instant::now() < until, "{sample} is {now}, not {value}");
    }
}

#[test]
fn the_metrics_count_the_events() {
    let managed = Managed::start();
    let (mut ann, mut bob) = managed.server.friends("ann", "bob");
    let web = managed.server.client(Transport::WebSocket, ContentForm::Text);
    ann.send(&ann.message("m", "bob", "hello"));
    bob.expect_push("4", "m");
    ann.expect_reply("RE_MESSAGE", "m", "MS");
    becomes(&managed, "hongyan_outstanding", 1.0);
    ann.say("m", "bob", "hello", "MS");
    bob.ack("m");
    becomes(&managed, "hongyan_outstanding", 0.0);
    let mut guest = managed.server.raw();
    guest.send(&envelope(ContentForm::Text, "2", Some("l"), &json!({"USER": "ann", "PASS": "wrong"})));
    guest.expect_reply("RE_SIGNUP", "l", "LF");
    let found = metrics(&managed);
    let of = |sample: &str| found.get(sample).copied().unwrap_or_else(|| panic!("no {sample}: {found:?}"));
    let connections = |transport: &str, state: &str| {
        of(&format!("hongyan_connections{{transport=\"{transport}\",tls=\"no\",state=\"{state}\"}}"))
    };
    assert_eq!((connections("raw", "logged_in"), connections("raw", "not_logged_in")), (2.0, 1.0));
    assert_eq!((connections("websocket", "not_logged_in"), connections("websocket", "logged_in")), (1.0, 0.0));
    for (sample, value) in [
        ("hongyan_connections_accepted_total", 4.0),
        ("hongyan_logins_total{by=\"password\"}", 2.0),
        ("hongyan_login_refusals_total{cause=\"wrong_password\"}", 1.0),
        ("hongyan_signups_total", 2.0),
        ("hongyan_messages_taken_total", 1.0),
        ("hongyan_messages_duplicate_total", 1.0),
        ("hongyan_ready", 1.0),
        ("hongyan_store_works", 1.0),
    ] {
        assert_eq!(of(sample), value, "{sample}");
    }
    for sample in [
        "hongyan_received_bytes_total",
        "hongyan_sent_bytes_total",
        "hongyan_turn_seconds_count",
        "hongyan_commit_seconds_count",
        "hongyan_held_bytes",
        "hongyan_connections_limit",
        "hongyan_start_time_seconds",
    ] {
        assert!(of(sample) > 0.0, "{sample}");
    }
    for name in ["hongyan_turn_seconds", "hongyan_commit_seconds"] {
        let all = of(&format!("{name}_bucket{{le=\"+Inf\"}}"));
        assert_eq!(of(&format!("{name}_count")), all);
    }
    if cfg!(target_os = "linux") {
        assert!(of("hongyan_resident_memory_bytes") > 1e6 && of("hongyan_open_descriptors") > 4.0);
        assert!(of("hongyan_open_descriptors_limit") >= of("hongyan_open_descriptors"));
    }
    drop((ann, bob, web, guest));
    becomes(&managed, "hongyan_closes_total{cause=\"closed_by_the_client\"}", 4.0);
    assert_eq!(
        metrics(&managed)
            .iter()
            .filter(|(name, _)| name.starts_with("hongyan_connections{"))
            .map(|(_, count)| count)
            .sum::<f64>(),
        0.0
    );
}

#[test]
fn connections_over_tls_are_counted_as_such_until_they_are_gone() {
    let file = |name: &str| Some(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/tls/").to_owned() + name);
    let managed = Managed::tuned(|config| {
        config.tls_cert = file("server.pem").map(Into::into);
        config.tls_key = file("server.key").map(Into::into);
    });
    let kind =
        |tls: &str| format!("hongyan_connections{{transport=\"unknown\",tls=\"{tls}\",state=\"not_logged_in\"}}");
    let mut stream = std::net::TcpStream::connect(managed.server.addr).unwrap();
    becomes(&managed, &kind("no"), 1.0);
    // The first bytes of a TLS handshake.
    stream.write_all(b"\x16\x03\x01\x00\x80\x01").unwrap();
    becomes(&managed, &kind("yes"), 1.0);
    assert_eq!(metrics(&managed)[&kind("no")], 0.0);
    drop(stream);
    becomes(&managed, &kind("yes"), 0.0);
}

#[test]
fn a_push_that_is_sent_again_and_again_shows_its_age() {
    let managed = Managed::tuned(|config| config.rules.resend_every_ms = 50);
    let (mut ann, mut bob) = managed.server.friends("ann", "bob");
    assert_eq!(metrics(&managed)["hongyan_oldest_unacked_seconds"], 0.0);
    ann.say("m", "bob", "hello", "MS");
    bob.expect_push("4", "m");
    let until = Instant::now() + PATIENCE;
    while metrics(&managed)["hongyan_oldest_unacked_seconds"] < 0.2 {
        assert!(Instant::now() < until, "the push has no age");
    }
    bob.ack("m");
    while metrics(&managed)["hongyan_oldest_unacked_seconds"] > 0.0 {
        assert!(Instant::now() < until, "the push was acked, and still has an age");
    }
}

/// The third-party parser is that of the Python library `prometheus_client`, where it is installed.
/// `HONGYAN_TEST_PYTHON` names a Python that has it.
#[test]
fn a_third_party_parser_accepts_the_metrics() {
    let python = std::env::var("HONGYAN_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has = Command::new(&python).args(["-c", "import prometheus_client"]).stderr(Stdio::null()).status();
    if !has.is_ok_and(|status| status.success()) {
        println!("skipped: there is no Python with prometheus_client");
        return;
    }
    let managed = Managed::start();
    managed.server.friends("ann", "bob");
    let text = get(managed.admin, "/metrics").body;
    let program = "import sys\n\
        from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse\n\
        families = list(parse(sys.stdin.read()))\n\
        print(len(families), sum(len(f.samples) for f in families))";
    let mut child =
        Command::new(&python).args(["-c", program]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{text}");
    let (families, count) = (text.matches("# TYPE").count(), samples(&text).len());
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), format!("{families} {count}"));
}
