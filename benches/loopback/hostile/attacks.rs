//! The attacks, and the input that they send.

use super::super::Fallible;
use super::super::clients::PASSWORD;
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
    /// deferred.
    Deferred,
    /// Friend requests, withdrawn at once.
    Friends,
    /// Wrong passwords: from another host, for the user who logs in again every second; from that
    /// user's own address, for another user, since an attacker at a user's address uses up the
    /// user's budget there.
    Guesses,
    /// Wrong passwords, on each connection for a name of its own.
    GuessesOfMany,
    /// Sign-ups.
    SignUps,
    /// Heartbeats by clients that read none of the answers.
    ReadsNothing,
    /// Requests by clients that are not logged in and read none of the errors; as many on each
    /// connection as may be, then on a new one beside it.
    StrangersReadNothing,
    /// Log-ins of one account, again and again, each on a new connection that asks for profiles and
    /// reads none of them: it replaces the connection before, which stays open.
    Replaces,
    /// Log-ins of one account for which messages wait, as many at once as there are connections.
    OneAccount,
    /// Messages full of control characters to friends who read slowly.
    ControlCharacters,
    /// Connections that are opened and closed at once.
    Connects,
    /// Connections that send a part of a sign-up and are closed at once.
    Abandoned,
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
    (Attack::Deferred, "deferred messages"),
    (Attack::Friends, "friend requests"),
    (Attack::Guesses, "wrong passwords"),
    (Attack::GuessesOfMany, "wrong passwords for many names"),
    (Attack::SignUps, "sign-ups"),
    (Attack::ReadsNothing, "answers are not read"),
    (Attack::StrangersReadNothing, "errors before log-in are not read"),
    (Attack::Replaces, "replaced connections"),
    (Attack::OneAccount, "log-ins of one account"),
    (Attack::ControlCharacters, "control characters to slow friends"),
    (Attack::Connects, "connects"),
    (Attack::Abandoned, "abandoned sign-ups"),
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

/// The account as which all connections log in, with its messages that wait.
pub const ONE_ACCOUNT: &str = "the one account";
pub const WAITING: usize = 2_000;

/// The account as which a connection logs in first, if it does.
pub fn logs_in_as(attack: Attack, index: usize) -> Option<String> {
    match attack {
        Attack::Heartbeats
        | Attack::Tokens
        | Attack::Profiles
        | Attack::Away
        | Attack::Deferred
        | Attack::Friends
        | Attack::ReadsNothing
        | Attack::ControlCharacters => Some(name(index)),
        Attack::Replaces => Some(name(0)),
        _ => None,
    }
}

/// The request for a log-in, with CONTENT as text: pushes come in the same form, in which escapes
/// are the longest.
pub fn log_in_of(user: &str) -> String {
    format!(r#"{{"MID":"l","CONTENT":"{{\"PASS\":\"{PASSWORD}\",\"USER\":\"{user}\"}}","TYPE":"2"}}"#)
}

/// Does it read nothing, once it is logged in?
pub fn reads_nothing(attack: Attack) -> bool {
    matches!(attack, Attack::ReadsNothing | Attack::StrangersReadNothing | Attack::Replaces)
}

/// Are its connections over soon, so that some are always being opened?
pub fn comes_and_goes(attack: Attack) -> bool {
    matches!(
        attack,
        Attack::Connects
            | Attack::Abandoned
            | Attack::Page
            | Attack::StrangersReadNothing
            | Attack::Replaces
            | Attack::OneAccount
            | Attack::GuessesOfMany
    )
}

/// Does it leave a connection open, unread, and begin with a new one?
pub fn leaves(attack: Attack) -> bool {
    matches!(attack, Attack::StrangersReadNothing | Attack::Replaces)
}

/// Does it close a connection as soon as its first input is sent?
pub fn closes_at_once(attack: Attack) -> bool {
    attack == Attack::Abandoned
}

/// The size of a sign-up that is never finished: as large as it is with keys and a picture.
const UNFINISHED_BYTES: usize = 15_000;

/// The requests of a stranger: a few less than the allowance (`--requests-before-login-max`).
const OF_STRANGER: u64 = 95;

/// Is this one of the friends who read slowly? The last of each group.
pub fn is_slow(attack: Attack, index: usize) -> bool {
    attack == Attack::ControlCharacters && index % GROUP == GROUP - 1
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
    /// Acks that are to be written.
    acks: Vec<u8>,
}

impl Writer {
    pub fn new(attack: Attack, index: usize, is_loopback: bool) -> Self {
        let guessed = if is_loopback { NEIGHBOUR } else { VICTIM };
        Self { attack, index, guessed, number: 0, acks: vec![] }
    }

    /// Has it written anything?
    pub fn has_begun(&self) -> bool {
        self.number > 0
    }

    /// Acks the messages in this input, if it is a slow friend; a name that is cut in two comes
    /// again. Other attackers' output does not depend on their input.
    pub fn on_input(&mut self, input: &[u8]) {
        if !is_slow(self.attack, self.index) {
            return;
        }
        const BEFORE: &[u8] = br#"\"messageId\":\""#;
        for at in memchr::memmem::find_iter(input, BEFORE) {
            let rest = &input[at + BEFORE.len()..];
            if let Some(end) = memchr::memchr(b'\\', rest) {
                let id = String::from_utf8_lossy(&rest[..end]);
                let ack = format!(r#"{{"CONTENT":"{{\"MessageId\":\"{id}\"}}","TYPE":"5"}}"#);
                Dialect::Raw.write(&mut self.acks, &ack);
            }
        }
    }

    /// Appends whole inputs up to about this size; at least one, but no second request for a file,
    /// and of a slow friend only acks.
    pub fn write(&mut self, out: &mut Vec<u8>, bytes: usize) {
        if is_slow(self.attack, self.index) {
            return out.append(&mut self.acks);
        }
        while out.is_empty() || out.len() < bytes {
            self.number += 1;
            match self.attack {
                Attack::Pings => out.extend_from_slice(&[0x89, 0x80, 1, 2, 3, 4]),
                Attack::Connects => return out.push(b' '),
                Attack::Abandoned => {
                    out.extend_from_slice(br#"{"TYPE":"1","CONTENT":{"userName":"#);
                    return out.resize(UNFINISHED_BYTES, b' ');
                }
                Attack::Page if self.number > 1 => return,
                Attack::StrangersReadNothing if self.number > OF_STRANGER => return,
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
            // The error repeats the id.
            Attack::StrangersReadNothing => format!(r#"{{"MID":"{}","TYPE":"99"}}"#, "u".repeat(100)),
            Attack::OneAccount => log_in_of(ONE_ACCOUNT),
            Attack::ControlCharacters => {
                let other = name(self.index / GROUP * GROUP + GROUP - 1);
                let text = r"\u0001".repeat(9_000);
                format!(
                    r#"{{"CONTENT":{{"messageId":"c{me}.{number}","sender":"{me}","receiver":"{other}","content":"{text}"}},"TYPE":"4"}}"#
                )
            }
            Attack::Profiles | Attack::Replaces => format!(r#"{{"MID":"g","CONTENT":"{VICTIM}","TYPE":"3"}}"#),
            Attack::Away => {
                let other = absent_friend(self.index);
                let stamp = std::process::id();
                format!(
                    r#"{{"CONTENT":"{{\"messageId\":\"{stamp}.{number}\",\"sender\":\"{me}\",\"receiver\":\"{other}\",\"content\":\"{}\"}}","TYPE":"4"}}"#,
                    "x".repeat(100)
                )
            }
            Attack::Deferred => {
                // Three of each four write to the fourth, all under the same ids: one message is
                // outstanding, the others are deferred, and so are the next messages of their
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
            Attack::GuessesOfMany => {
                let index = self.index;
                format!(r#"{{"MID":"l","CONTENT":{{"PASS":"guess {number}","USER":"guessed {index}"}},"TYPE":"2"}}"#)
            }
            Attack::SignUps => {
                let stamp = std::process::id();
                format!(
                    r#"{{"MID":"s","CONTENT":{{"userName":"new {stamp} {} {number}","hashValue":"x"}},"TYPE":"1"}}"#,
                    self.index
                )
            }
            Attack::Pings | Attack::Connects | Attack::Abandoned | Attack::Page => String::new(),
        }
    }
}
