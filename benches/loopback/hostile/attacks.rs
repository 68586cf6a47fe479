//! The attacks, and the input that they send.

use super::super::Fallible;
use super::super::frames::Dialect;

/// One kind of flood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// Acks by clients that are not logged in.
    Acks,
    /// WebSocket pings by clients that are not logged in.
    Pings,
    /// Input that is not JSON.
    Garbage,
    /// Envelopes of 60 KB by clients that are not logged in.
    Large,
    /// Heartbeats by clients that are logged in.
    Heartbeats,
    /// Requests for resume tokens.
    Tokens,
    /// Requests for profiles.
    Profiles,
    /// Messages to friends who are away.
    Away,
    /// Messages of several senders to one receiver under the same ids: nearly all of the list is
    /// held back.
    HeldBack,
    /// Friend requests, withdrawn at once.
    Friends,
    /// Wrong passwords: from another host, for the user who logs in again every second; from that
    /// user's own address, for another user, since an attacker at a user's address uses up the
    /// user's budget there.
    Guesses,
    /// Sign-ups.
    SignUps,
    /// Heartbeats by clients that read none of the answers.
    ReadsNothing,
    /// Connections that are opened and closed at once.
    Connects,
    /// The largest file of the web page, again and again.
    Page,
}

/// All of them, with what the report and the attacker call them.
pub const ATTACKS: &[(Attack, &str)] = &[
    (Attack::Acks, "acks before log-in"),
    (Attack::Pings, "pings before log-in"),
    (Attack::Garbage, "broken JSON"),
    (Attack::Large, "60 KB envelopes"),
    (Attack::Heartbeats, "heartbeats"),
    (Attack::Tokens, "tokens"),
    (Attack::Profiles, "profiles"),
    (Attack::Away, "messages to absent friends"),
    (Attack::HeldBack, "held-back ids"),
    (Attack::Friends, "friend requests"),
    (Attack::Guesses, "wrong passwords"),
    (Attack::SignUps, "sign-ups"),
    (Attack::ReadsNothing, "answers are not read"),
    (Attack::Connects, "connects"),
    (Attack::Page, "the web page"),
];

impl Attack {
    pub fn named(wanted: &str) -> Fallible<Self> {
        let found = ATTACKS.iter().find(|(_, name)| *name == wanted);
        found.map(|(attack, _)| *attack).ok_or_else(|| format!("there is no attack {wanted:?}").into())
    }
}

/// The account of one attacking connection: a friend of those in its group, and of a user who never
/// logs in.
pub fn name(index: usize) -> String {
    format!("attacker{index:04}")
}

/// So many attackers, one after another, are friends of each other.
pub const GROUP: usize = 4;

/// The friend of an attacker who never logs in.
pub fn absent_friend(index: usize) -> String {
    format!("sink{index:04}")
}

/// The user who logs in again every second.
pub const VICTIM: &str = "comes every second";

/// The user whose password is guessed from the victim's own address.
pub const NEIGHBOUR: &str = "the victim's neighbour";

/// Does the attacker log in first?
pub fn logs_in(attack: Attack) -> bool {
    matches!(
        attack,
        Attack::Heartbeats
            | Attack::Tokens
            | Attack::Profiles
            | Attack::Away
            | Attack::HeldBack
            | Attack::Friends
            | Attack::ReadsNothing
    )
}

pub fn is_web_socket(attack: Attack) -> bool {
    attack == Attack::Pings
}

fn request_for_the_largest_file() -> String {
    let largest = hongyan::web_page::files().iter().max_by_key(|file| file.bytes.len());
    let path = largest.map_or_else(|| "/".to_owned(), |file| file.path());
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
}

/// Writes the inputs of one connection, each with a number of its own where that matters.
pub struct Writer {
    attack: Attack,
    index: usize,
    /// The user whose password is guessed.
    guessed: &'static str,
    number: u64,
}

impl Writer {
    pub fn new(attack: Attack, index: usize, is_loopback: bool) -> Self {
        let guessed = if is_loopback { NEIGHBOUR } else { VICTIM };
        Self { attack, index, guessed, number: 0 }
    }

    /// Ignores input: the attackers' output does not depend on it.
    pub fn on_input(&mut self, _: &[u8]) {}

    /// Appends whole inputs up to about this size; at least one, but no second request for a file.
    pub fn write(&mut self, out: &mut Vec<u8>, bytes: usize) {
        while out.is_empty() || out.len() < bytes {
            self.number += 1;
            match self.attack {
                Attack::Pings => out.extend_from_slice(&[0x89, 0x80, 1, 2, 3, 4]),
                Attack::Connects => return out.push(b' '),
                Attack::Page if self.number > 1 => return,
                Attack::Page => return out.extend_from_slice(request_for_the_largest_file().as_bytes()),
                _ => {
                    let text = self.text();
                    Dialect::Raw.write(out, &text);
                }
            }
        }
    }

    fn text(&self) -> String {
        let (number, me) = (self.number, name(self.index));
        match self.attack {
            Attack::Acks => r#"{"CONTENT":"{\"MessageId\":\"m1\"}","TYPE":"5"}"#.into(),
            Attack::Garbage => r#"{"CONTENT":}"#.into(),
            Attack::Large => format!(r#"{{"CONTENT":"{}","TYPE":"0"}}"#, "x".repeat(60_000)),
            Attack::Heartbeats | Attack::ReadsNothing => r#"{"MID":"h","TYPE":"0"}"#.into(),
            Attack::Tokens => r#"{"MID":"t","CONTENT":{"want":"new"},"TYPE":"TOKEN"}"#.into(),
            Attack::Profiles => format!(r#"{{"MID":"g","CONTENT":"{VICTIM}","TYPE":"3"}}"#),
            Attack::Away => {
                let other = absent_friend(self.index);
                let stamp = std::process::id();
                format!(
                    r#"{{"CONTENT":"{{\"messageId\":\"{stamp}.{number}\",\"sender\":\"{me}\",\"receiver\":\"{other}\",\"content\":\"{}\"}}","TYPE":"4"}}"#,
                    "x".repeat(100)
                )
            }
            Attack::HeldBack => {
                // Three of each four write to the fourth, all under the same ids: one message is
                // outstanding, the others are held back, and so are the next messages of their
                // senders.
                if self.index.is_multiple_of(GROUP) {
                    return format!(r#"{{"CONTENT":"{{\"MessageId\":\"h{number}\"}}","TYPE":"5"}}"#);
                }
                let other = name(self.index / GROUP * GROUP);
                format!(
                    r#"{{"CONTENT":"{{\"messageId\":\"h{number}\",\"sender\":\"{me}\",\"receiver\":\"{other}\",\"content\":\"\"}}","TYPE":"4"}}"#
                )
            }
            Attack::Friends => {
                let (kind, other) = (if number % 2 == 0 { 4 } else { 1 }, name((self.index + 7) % 500));
                format!(
                    r#"{{"CONTENT":"{{\"messageId\":\"f{number}\",\"sender\":\"{me}\",\"receiver\":\"{other}\",\"content\":\"\",\"type\":\"{kind}\"}}","TYPE":"6"}}"#
                )
            }
            Attack::Guesses => {
                let user = self.guessed;
                format!(r#"{{"MID":"l","CONTENT":{{"PASS":"guess {number}","USER":"{user}"}},"TYPE":"2"}}"#)
            }
            Attack::SignUps => {
                let stamp = std::process::id();
                format!(
                    r#"{{"MID":"s","CONTENT":{{"userName":"new {stamp} {} {number}","hashValue":"x"}},"TYPE":"1"}}"#,
                    self.index
                )
            }
            Attack::Pings | Attack::Connects | Attack::Page => String::new(),
        }
    }
}
