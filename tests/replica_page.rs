//! The commands in docs/replica.md make a pair of database servers and change their primary, while
//! a user sends messages. In a network of the test that has all addresses of the page.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

/// The parts of this test, in `tests/cluster/`.
mod cluster {
    #[allow(dead_code, reason = "other tests have hosts, too")]
    pub(crate) mod nets;
}

use cluster::nets;
use common::{Client, MariaDb, Node, befriend};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

const PAGE: &str = include_str!("../docs/replica.md");
const FUNCTIONS: &str = "/usr/local/lib/hongyan-database.sh";
const PROXY: &str = "/etc/haproxy/haproxy.cfg";
/// The option for the one start after a kill, which the page gives to systemd.
const FORGETS: &str = "--init-rpl-role=SLAVE";

/// The primary waits for the replica again, and only the primary takes writes.
const TWO_COPIES: &str = ". /usr/local/lib/hongyan-database.sh
state='SELECT @@rpl_semi_sync_master_enabled, @@read_only'
[ \"$(sql 10.0.0.4 \"$state\" | tr '\t' ' ')\" = '1 0' ]
[ \"$(sql 10.0.0.7 \"$state\" | tr '\t' ' ')\" = '0 1' ]";

fn blocks(language: &str) -> Vec<&'static str> {
    let begin = format!("```{language}\n");
    PAGE.split(&begin).skip(1).map(|block| block.split_once("```").unwrap().0).collect()
}

/// The options in the file of the page, for the server at this address.
fn options(address: &str, id: u8) -> Vec<String> {
    let lines = blocks("ini")[0].lines().filter(|line| !line.starts_with(['[', '#']));
    let options = lines.map(|line| format!("--{}", line.replace(' ', "")));
    let own = [format!("--bind-address={address}"), format!("--server-id={id}"), "--port=3306".to_owned()];
    options.chain(own).collect()
}

/// What the page runs that is another thing here: without `-h`, the database of the machine, which
/// is that of `$SOCKET`; and HAProxy without systemd.
fn put_programs(folder: &Path) {
    let here = folder.display();
    let mariadb = "case \"${1:-}\" in -h) exec /usr/bin/mariadb --no-defaults \"$@\" ;; esac\n\
                   exec /usr/bin/mariadb --no-defaults -uroot --socket=\"$SOCKET\" \"$@\"";
    let systemctl = format!(
        "start=\"haproxy -D -f {here}/haproxy.cfg -p {here}/haproxy.pid\"\n\
         old=$(cat {here}/haproxy.pid 2>/dev/null || true)\n\
         case \"$1 $2\" in\n\
         'reload haproxy') exec $start -sf $old ;;\n\
         'restart haproxy') [ -z \"$old\" ] || kill -9 $old; exec $start ;;\n\
         *) exit 1 ;;\n\
         esac"
    );
    for (name, script) in [("mariadb", mariadb), ("systemctl", &systemctl)] {
        let file = folder.join(name);
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let localised = |text: &str| text.replace(PROXY, &folder.join("haproxy.cfg").display().to_string());
    fs::write(folder.join("functions.sh"), localised(blocks("shell")[0])).unwrap();
    fs::write(folder.join("haproxy.cfg"), blocks("haproxy")[0]).unwrap();
}

#[track_caller]
fn run(folder: &Path, machine: Option<&MariaDb>, block: &str) {
    let text = block.replace(FUNCTIONS, &folder.join("functions.sh").display().to_string());
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}:/usr/sbin", folder.display());
    let mut command = Command::new("sh");
    command.args(["-exc", &text]).env("PATH", path);
    if let Some(database) = machine {
        command.env("SOCKET", database.socket());
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{block}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// Sends messages with these ids, each until it is promised, and takes them in this order.
fn talk(ann: &mut Client, bob: &mut Client, ids: [&str; 3]) {
    for id in ids {
        ann.say_until_taken(id, "bob", "honk");
        bob.take(id);
    }
}

#[test]
fn the_commands_change_the_primary_and_lose_nothing() {
    if !nets::is_own("the_commands_change_the_primary_and_lose_nothing") || !MariaDb::is_tested() {
        return;
    }
    if Command::new("haproxy").arg("-v").output().is_err() {
        eprintln!("not tested here: there is no haproxy (apt-get install haproxy)");
        return;
    }
    for last in [4, 7, 8] {
        let add = format!("addr add 10.0.0.{last}/32 dev lo");
        assert!(Command::new("ip").args(add.split(' ')).status().unwrap().success());
    }
    let [first, mut second] = [("10.0.0.4", 1), ("10.0.0.7", 2)].map(|(address, id)| {
        let mut server = MariaDb::begin_member(&common::current_user(), options(address, id), &[]);
        server.wait_until_it_answers();
        server
    });
    let folder = tempfile::tempdir().unwrap();
    put_programs(folder.path());
    let commands = blocks("sh");
    let [accounts, copy, begin, planned, failed, start_to_forget, come_back, alone] = commands[..] else {
        panic!("eight blocks: {commands:#?}");
    };
    run(folder.path(), Some(&first), accounts);
    run(folder.path(), Some(&second), copy);
    let on_proxy = |block: &str| run(folder.path(), None, block);
    on_proxy(begin);
    let store = "mysql://hongyan:secret@10.0.0.8/hongyan";
    let node = Node::start(&["--store", store, "--node-name", "a"]);
    let (mut ann, mut bob) = (node.user("ann"), node.user("bob"));
    befriend(&mut ann, &mut bob);
    talk(&mut ann, &mut bob, ["a1", "a2", "a3"]);
    on_proxy(planned);
    talk(&mut ann, &mut bob, ["b1", "b2", "b3"]);
    second.kill9();
    on_proxy(failed);
    talk(&mut ann, &mut bob, ["c1", "c2", "c3"]);
    assert!(start_to_forget.contains(FORGETS), "{start_to_forget}");
    second.begin_again(&[FORGETS.to_owned()]);
    second.wait_until_it_answers();
    on_proxy(come_back);
    run(folder.path(), None, TWO_COPIES);
    talk(&mut ann, &mut bob, ["d1", "d2", "d3"]);
    second.kill9();
    on_proxy(alone);
    // A sign-up needs a commit, which waits for no replica any more.
    node.client().sign_up("eve");
}
