//! Certificates that have expired, or are not valid yet.

use super::super::common::{CHEAP_PASSWORDS, ContentForm, Program};
use super::super::{PROGRAM, file, hang_up, text};
use std::path::Path;
use std::process::{Command, Output};

fn check(certificate: &str) -> Output {
    let (certificate, key) = (file(certificate), file("server.key"));
    let tls = ["--tls-cert", text(&certificate), "--tls-key", text(&key)];
    Command::new(PROGRAM).args(["--check-config", "--store", "memory:"]).args(tls).output().unwrap()
}

#[test]
fn the_check_of_the_configuration_says_how_long_a_certificate_is_valid() {
    let said = |certificate: &str| {
        let output = check(certificate);
        assert!(output.status.success(), "{output:?}");
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (good, bad) = said("server.pem");
    assert!(good.contains("server.pem expires in ") && bad.is_empty(), "{good}{bad}");
    for (certificate, why) in [("expired.pem", "expired.pem expired "), ("early.pem", "early.pem becomes valid in ")] {
        let (good, bad) = said(certificate);
        assert_eq!((good.lines().count(), bad.lines().count()), (1, 1), "{good}{bad}");
        assert!(bad.starts_with("hongyan: certificate 1 in ") && bad.contains(why), "{bad}");
    }
}

#[test]
fn the_log_warns_of_it_at_the_start_and_at_a_reload_and_the_server_serves() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cert.pem");
    let put = |path: &Path, name: &str| std::fs::copy(file(name), path).unwrap();
    let key = file("server.key");
    let start = || {
        let tls = ["--tls-cert", text(&path), "--tls-key", text(&key)];
        Program::on("memory:", &[&CHEAP_PASSWORDS[..], &tls].concat())
    };
    put(&path, "server.pem");
    let program = start();
    let line = program.start_log.iter().find(|line| line.contains("cert.pem expires in ")).unwrap();
    assert!(line.contains("INFO"), "{line}");
    drop(program);
    put(&path, "expired.pem");
    let program = start();
    let line = program.start_log.iter().find(|line| line.contains("cert.pem expired ")).unwrap();
    assert!(line.contains("WARN"), "{line}");
    let mut bob = program.user("bob", ContentForm::Text);
    put(&path, "early.pem");
    hang_up(&program);
    let line = program.wait_for("cert.pem becomes valid in ");
    assert!(line.contains("WARN"), "{line}");
    put(&path, "server.pem");
    hang_up(&program);
    assert!(program.wait_for("cert.pem expires in ").contains("INFO"));
    bob.fence();
}
