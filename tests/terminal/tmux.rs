//! A terminal with a shell in it, of tmux.

use crate::common::PATIENCE;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Is there a tmux? `./test` installs it, and says that it must be there.
pub fn is_there() -> bool {
    let is_there = Command::new("tmux").arg("-V").output().is_ok_and(|output| output.status.success());
    assert!(is_there || std::env::var_os("HONGYAN_TEST_TMUX").is_none(), "tmux is not installed");
    if !is_there {
        eprintln!("skipped: there is no tmux");
    }
    is_there
}

/// One terminal. It ends when this is dropped.
pub struct Tmux {
    socket: String,
}

impl Tmux {
    pub fn new(folder: &Path, name: &str, size: (u16, u16)) -> Self {
        let socket = folder.join(format!("{name}.tmux")).display().to_string();
        let tmux = Self { socket };
        let (width, height) = (size.0.to_string(), size.1.to_string());
        let shell = "env -u TMUX PS1='$ ' HONGYAN_TEST_PANIC=1 sh";
        tmux.tell(&["-f", "/dev/null", "new-session", "-d", "-x", &width, "-y", &height, shell]);
        // A shell that is ready has written its prompt.
        tmux.wait_for("$");
        tmux
    }

    fn tell(&self, args: &[&str]) -> String {
        let output = Command::new("tmux").args(["-u", "-S", &self.socket]).args(args).output().unwrap();
        assert!(output.status.success(), "tmux {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Types a text, letter by letter.
    pub fn type_text(&self, text: &str) {
        self.tell(&["send-keys", "-l", "--", text]);
    }

    /// Presses a key by the name that tmux has for it.
    pub fn press(&self, key: &str) {
        self.tell(&["send-keys", key]);
    }

    /// Types a line and Enter.
    pub fn enter(&self, line: &str) {
        self.type_text(line);
        self.press("Enter");
    }

    /// Pastes a text, as a terminal that brackets it.
    pub fn paste(&self, text: &str) {
        self.tell(&["set-buffer", "--", text]);
        self.tell(&["paste-buffer", "-p"]);
    }

    pub fn resize(&self, width: u16, height: u16) {
        self.tell(&["resize-window", "-x", &width.to_string(), "-y", &height.to_string()]);
    }

    pub fn screen(&self) -> String {
        self.tell(&["capture-pane", "-p"])
    }

    /// A value that tmux knows of the terminal.
    pub fn state(&self, what: &str) -> String {
        self.tell(&["display-message", "-p", &format!("#{{{what}}}")]).trim().to_owned()
    }

    /// Waits until the screen has this on it.
    #[track_caller]
    pub fn wait_for(&self, what: &str) {
        self.wait_until(what, |screen| screen.contains(what));
    }

    /// Waits until the screen has this on it no more.
    #[track_caller]
    pub fn wait_without(&self, what: &str) {
        self.wait_until(&format!("no {what}"), |screen| !screen.contains(what));
    }

    #[track_caller]
    pub fn wait_until(&self, what: &str, holds: impl Fn(&str) -> bool) {
        let until = Instant::now() + PATIENCE * 2;
        loop {
            let screen = self.screen();
            if holds(&screen) {
                return;
            }
            assert!(Instant::now() < until, "waited for {what:?}:\n{screen}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        // One that did not start needs no end.
        Command::new("tmux").args(["-S", &self.socket, "kill-server"]).output().ok();
    }
}
