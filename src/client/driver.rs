//! The client's own thread. It has the socket and the clock, and carries out the outputs of the
//! state machine.

use super::connection_state::ConnectionToServerState;
use super::error::{ClientEndReason, Error};
use super::frames::{self, ServerFrame};
use super::link::{ClientTransport, ClientTransportReadResult, SOCKET};
use super::machine::{
    ClientCredentialChoice, ClientMachine, ClientMachineInput, ClientMachineOutput, ClientMachineSettings,
    ClientMachineTicket, ProgramOrderToClientMachine,
};
use super::options::{ClientOptions, ClientPassword};
use super::shared::{ClientRequestAnswerSender, ClientShared, ClientThreadCommand, EndClientOnDrop};
use super::target::ServerAddress;
use super::tls;
use super::token::ResumeTokenStore;
use mio::{Events, Poll, Token, Waker};
use rustls::ClientConfig;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

const WAKE: Token = Token(0);
/// The longest sleep: a clock that jumps can delay the thread by no more than this.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// How long the client writes what is still pending when it ends.
const FAREWELL: Duration = Duration::from_secs(1);
/// Acks of duplicates are left out while at least this many bytes are waiting to be written.
const OUTPUT_FULL_BYTES: usize = 256 * 1024;

struct ClientDriver {
    shared: Arc<ClientShared>,
    poll: Poll,
    machine: ClientMachine,
    link: Option<ClientTransport>,
    /// The socket may have more bytes to read.
    readable: bool,
    target: ServerAddress,
    tls: Option<Arc<ClientConfig>>,
    connect_limit: Duration,
    answer_bytes_max: usize,
    password: ClientPassword,
    new_password: ClientPassword,
    token: Option<String>,
    tokens: Option<Box<dyn ResumeTokenStore>>,
    replies: HashMap<ClientMachineTicket, ClientRequestAnswerSender>,
    last_ticket: ClientMachineTicket,
    started_at: Instant,
}

/// Starts the thread.
pub(super) fn start(mut options: ClientOptions) -> Result<(Arc<ClientShared>, EndClientOnDrop), Error> {
    let setting = |what: &str, error: &dyn std::fmt::Display| Error::Setting(format!("{what}: {error}"));
    let target = options.target()?;
    let tls = target.tls.then(|| tls::config(options.ca_file.as_deref())).transpose()?;
    let token = match &mut options.tokens {
        Some(tokens) => tokens.load().map_err(|error| Error::Token(error.to_string()))?,
        None => None,
    };
    if token.is_none() && options.password == ClientPassword::None {
        return Err(Error::Setting("there is neither a password nor a token".to_owned()));
    }
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).map_err(|error| setting("there are no random numbers", &error))?;
    let poll = Poll::new().map_err(|error| setting("no poll", &error))?;
    let waker = Waker::new(poll.registry(), WAKE).map_err(|error| setting("no waker", &error))?;
    let shared = Arc::new(ClientShared::new(&options, waker));
    let has_password = options.password != ClientPassword::None;
    let machine = ClientMachine::new(
        ClientMachineSettings::of(&options),
        u64::from_ne_bytes(seed),
        token.is_some(),
        has_password,
    );
    let driver = ClientDriver {
        shared: Arc::clone(&shared),
        poll,
        machine,
        link: None,
        readable: false,
        target,
        tls,
        connect_limit: options.answer_limit,
        answer_bytes_max: options.answer_bytes_max,
        password: options.password,
        new_password: ClientPassword::None,
        token,
        tokens: options.tokens,
        replies: HashMap::new(),
        last_ticket: 0,
        started_at: Instant::now(),
    };
    let thread = std::thread::Builder::new().name("hongyan client".to_owned());
    thread.spawn(move || driver.run()).map_err(|error| setting("no thread", &error))?;
    Ok((Arc::clone(&shared), EndClientOnDrop { shared }))
}

impl ClientDriver {
    fn run(mut self) {
        let mut events = Events::with_capacity(16);
        loop {
            let now = self.now();
            for command in self.shared.commands() {
                self.command(now, command);
            }
            self.machine.tick(now);
            self.apply();
            if self.machine.is_ended() {
                return;
            }
            self.flush();
            self.read();
            if let Err(error) = self.poll.poll(&mut events, Some(self.sleep())) {
                if error.kind() == std::io::ErrorKind::Interrupted {
                    continue;
                }
                self.handle_input(ClientMachineInput::Order(ProgramOrderToClientMachine::End(ClientEndReason::Fault(
                    format!("no poll: {error}"),
                ))));
            }
            self.readable |= events.iter().any(|event| event.token() == SOCKET);
        }
    }

    fn now(&self) -> u64 {
        // A u64 of milliseconds outlasts any process.
        u64::try_from(self.started_at.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Zero if there is work to do now.
    fn sleep(&self) -> Duration {
        let reads = self.shared.has_room() || self.machine.waits_for_answer();
        if self.readable && self.link.is_some() && reads {
            return Duration::ZERO;
        }
        let left = |at: u64| Duration::from_millis(at.saturating_sub(self.now()));
        self.machine.deadline().map_or(SLEEP_MAX, left).min(SLEEP_MAX)
    }

    fn handle_input(&mut self, input: ClientMachineInput) {
        let now = self.now();
        self.machine.handle(now, input);
        self.apply();
    }

    fn command(&mut self, now: u64, command: ClientThreadCommand) {
        match command {
            ClientThreadCommand::Begin(request, reply) => {
                self.last_ticket += 1;
                self.replies.insert(self.last_ticket, reply);
                self.machine.handle(now, ClientMachineInput::Begin(self.last_ticket, request));
            }
            ClientThreadCommand::Order(order) => {
                if let ProgramOrderToClientMachine::Password(password) = &order {
                    self.new_password = password.clone();
                }
                self.machine.handle(now, ClientMachineInput::Order(order));
            }
            ClientThreadCommand::DoneWith { key, message_id, sender, acked } => {
                self.machine.handle(now, ClientMachineInput::DoneWith { key, message_id, sender, acked });
            }
        }
        self.apply();
    }

    /// Carries out the outputs of the machine and feeds the results back to it, until it has no
    /// more outputs.
    fn apply(&mut self) {
        loop {
            let outputs = self.machine.take();
            if outputs.is_empty() {
                return;
            }
            for output in outputs {
                self.apply_output(output);
            }
        }
    }

    fn apply_output(&mut self, output: ClientMachineOutput) {
        match output {
            ClientMachineOutput::Connect => self.connect(),
            ClientMachineOutput::Disconnect => self.disconnect(),
            ClientMachineOutput::LogIn(with) => self.log_in(with),
            ClientMachineOutput::Send(text) => self.send(&text),
            ClientMachineOutput::AckAgain(text) => {
                if self.link.as_ref().is_some_and(|link| link.waiting_bytes() < OUTPUT_FULL_BYTES) {
                    self.send(&text);
                }
            }
            ClientMachineOutput::Push(push) => self.shared.put_push(push),
            ClientMachineOutput::Presence(name, online) => self.shared.put_presence(name, online),
            ClientMachineOutput::Connection(connection) => self.shared.put_connection(connection),
            ClientMachineOutput::Done(ticket, result) => {
                if let Some(reply) = self.replies.remove(&ticket) {
                    self.shared.note_answer();
                    // The program may no longer be waiting for it.
                    reply.try_send(result).ok();
                }
            }
            ClientMachineOutput::KeepToken(token) => {
                // A token that cannot be stored is still usable within this process.
                if let Some(tokens) = &mut self.tokens
                    && let Err(error) = tokens.save(&token)
                {
                    log::warn!("the resume token cannot be kept: {error}");
                }
                self.token = Some(token);
            }
            ClientMachineOutput::RemoveToken => {
                self.token = None;
                if let Some(tokens) = &mut self.tokens
                    && let Err(error) = tokens.remove()
                {
                    log::warn!("the resume token cannot be removed: {error}");
                }
            }
            ClientMachineOutput::PasswordIs(with) => {
                let new = std::mem::replace(&mut self.new_password, ClientPassword::None);
                if with == ClientCredentialChoice::NewPassword {
                    self.password = new;
                }
            }
        }
    }

    fn connect(&mut self) {
        match ClientTransport::open(&self.target, self.tls.as_ref(), self.connect_limit, self.answer_bytes_max) {
            Ok(mut link) => match link.register(self.poll.registry()) {
                Ok(()) => {
                    (self.link, self.readable) = (Some(link), true);
                    self.feed_machine(ClientMachineInput::Connected);
                }
                Err(error) => self.feed_machine(ClientMachineInput::Lost(error.to_string())),
            },
            Err(why) => self.feed_machine(ClientMachineInput::Lost(why)),
        }
    }

    /// Gives the machine an input, without carrying out its outputs yet.
    fn feed_machine(&mut self, input: ClientMachineInput) {
        let now = self.now();
        self.machine.handle(now, input);
    }

    fn disconnect(&mut self) {
        if let Some(mut link) = self.link.take() {
            if self.machine.is_ended() {
                link.finish(FAREWELL);
            }
            link.deregister(self.poll.registry());
        }
    }

    fn log_in(&mut self, with: ClientCredentialChoice) {
        let user = self.shared.user.clone();
        let secret = match with {
            ClientCredentialChoice::Token => self.token.clone().map(|token| ("TOKEN", token)),
            ClientCredentialChoice::Password => hashed(&mut self.password, &user).map(|hash| ("PASS", hash)),
            ClientCredentialChoice::NewPassword => hashed(&mut self.new_password, &user).map(|hash| ("PASS", hash)),
        };
        let (key, secret) = secret.unwrap_or(("TOKEN", String::new()));
        self.send(&frames::log_in("log-in", &user, key, &secret));
    }

    fn send(&mut self, text: &str) {
        if let Some(link) = &mut self.link {
            link.send(text);
        }
    }

    fn flush(&mut self) {
        if let Some(link) = &mut self.link
            && let Err(why) = link.flush()
        {
            self.on_link_lost(why);
        }
    }

    fn on_link_lost(&mut self, why: String) {
        self.disconnect();
        self.handle_input(ClientMachineInput::Lost(why));
    }

    /// Reads a piece of the input if the inbox has room. Without room it reads on only if an answer
    /// is expected behind the pushes: the program may be waiting for that answer before it takes
    /// another push.
    fn read(&mut self) {
        if !self.readable || self.link.is_none() {
            return;
        }
        let is_full = !self.shared.has_room();
        if is_full && !self.machine.waits_for_answer() {
            self.machine.deaf();
            return;
        }
        let mut frames = Vec::new();
        let Some(link) = &mut self.link else { return };
        let progress = link.read(&mut frames);
        match &progress {
            ClientTransportReadResult::Some => self.handle_input(ClientMachineInput::Bytes),
            ClientTransportReadResult::Nothing => self.readable = false,
            ClientTransportReadResult::Over(_) => {}
        }
        for text in frames {
            // A frame may have ended the connection; all frames that came after it on that
            // connection are ignored.
            if self.link.is_none() {
                return;
            }
            match ServerFrame::read(&text) {
                // The push is not acked, so the server will send it again.
                Some(ServerFrame::Push(_)) if is_full => {}
                frame => self.handle_input(frame.map_or(ClientMachineInput::Garbage, ClientMachineInput::Frame)),
            }
        }
        if let ClientTransportReadResult::Over(why) = progress
            && self.link.is_some()
        {
            self.on_link_lost(why);
        }
        self.flush();
    }
}

/// The hash of a password. It is computed once and kept.
fn hashed(password: &mut ClientPassword, user: &str) -> Option<String> {
    let hash = password.hash(user)?;
    *password = ClientPassword::Hash(hash.clone());
    Some(hash)
}

/// However the thread ends, nobody may wait for it afterwards.
impl Drop for ClientDriver {
    fn drop(&mut self) {
        if !self.machine.is_ended() {
            let end = ClientEndReason::Fault("the client's thread has ended".to_owned());
            self.shared.put_connection(ConnectionToServerState::Ended(end));
        }
        drop(self.shared.commands());
    }
}
