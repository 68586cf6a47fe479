//! The commands in docs/operations.md, Logs, as they stand there, on a server whose stderr goes to
//! a file.

use crate::common::{CHEAP_PASSWORDS, Client, ContentForm, PATIENCE, Transport};
use crate::wrong_password;
use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// The commands of the block that begins with this one.
fn commands(first: &str) -> Vec<String> {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md")).unwrap();
    let (_, rest) = page.split_once(&format!("```sh\n{first}\n")).expect("the commands are there");
    rest.split_once("```").unwrap().0.lines().map(str::to_owned).collect()
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn wait_for(path: &Path, what: &str) -> String {
    let until = Instant::now() + PATIENCE;
    loop {
        let text = fs::read_to_string(path).unwrap();
        if let Some(line) = text.lines().find(|line| line.contains(what)) {
            return line.to_owned();
        }
        assert!(Instant::now() < until, "no {what:?} in {text}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_questions_of_the_page_are_answered_by_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hongyan.log");
    let mut command = Command::new(env!("CARGO_BIN_EXE_hongyan"));
    command.args(["--log-format", "text", "--listen", "127.0.0.1:0", "--store", "memory:"]).args(CHEAP_PASSWORDS);
    // In a folder of its own: where two servers share one, the second warns that its socket for
    // operators is taken.
    command.current_dir(&folder);
    let server = command.stderr(fs::File::create(&path).unwrap()).spawn().unwrap();
    let _server = Server(server);
    let listening = wait_for(&path, "listening on ");
    let addr = listening.split_once("listening on ").unwrap().1.parse().unwrap();
    let mut ann = Client::connect(addr, Transport::Raw, ContentForm::Text);
    ann.sign_up("ann");
    wrong_password(&mut ann, "ann");
    wrong_password(&mut ann, "bob");
    wait_for(&path, "user=bob");
    let answers: Vec<Vec<String>> = commands("hongyan --log-format text 2>>hongyan.log")
        .iter()
        .map(|line| {
            let output = Command::new("sh").args(["-c", line]).current_dir(&folder).output().unwrap();
            assert!(output.stderr.is_empty(), "{line}: {output:?}");
            String::from_utf8(output.stdout).unwrap().lines().map(|line| line.trim().to_owned()).collect()
        })
        .collect();
    let [count, addresses, of_ann, of_conn, bad] = &answers[..] else { panic!("five questions: {answers:?}") };
    assert_eq!((&count[..], &addresses[..]), (&["2".to_owned()][..], &["2 address=127.0.0.1".to_owned()][..]));
    let messages = |lines: &[String]| -> Vec<String> {
        lines
            .iter()
            .map(|line| line.split_once("] ").unwrap().1.split(" address=").next().unwrap().to_owned())
            .collect()
    };
    assert_eq!(messages(of_ann), ["sign-up", "wrong password"]);
    assert_eq!(messages(of_conn), ["sign-up", "wrong password", "wrong password"]);
    assert!(bad.iter().all(|line| line.contains("limit on open files")), "{bad:?}");
}
