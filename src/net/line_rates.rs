//! Rate limits for log lines about clients. Clients can cause any number of them, and each costs
//! the loop some microseconds. A line that is left out costs one comparison, and is counted.

/// The kinds of log lines about clients. Each has a budget of its own, so that no kind hides
/// another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogRateLimitKind {
    LoggedIn,
    WrongPassword,
    LogInRefused,
    SignedUp,
    SignUpRefused,
    PasswordChanged,
    AccountDeleted,
    ProofRefused,
    Replaced,
    LimitReached,
    MailboxFull,
    ConnectionClosed,
    ConnectionRefused,
}

impl LogRateLimitKind {
    /// All of them.
    pub(super) const ALL: [Self; 13] = [
        Self::LoggedIn,
        Self::WrongPassword,
        Self::LogInRefused,
        Self::SignedUp,
        Self::SignUpRefused,
        Self::PasswordChanged,
        Self::AccountDeleted,
        Self::ProofRefused,
        Self::Replaced,
        Self::LimitReached,
        Self::MailboxFull,
        Self::ConnectionClosed,
        Self::ConnectionRefused,
    ];

    /// The words with which its lines begin.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::LoggedIn => "log-in",
            Self::WrongPassword => "wrong password",
            Self::LogInRefused => "log-in refused",
            Self::SignedUp => "sign-up",
            Self::SignUpRefused => "sign-up refused",
            Self::PasswordChanged => "password changed",
            Self::AccountDeleted => "account deleted",
            Self::ProofRefused => "proof refused",
            Self::Replaced => "session replaced",
            Self::LimitReached => "limit reached",
            Self::MailboxFull => "mailbox full",
            Self::ConnectionClosed => "connection closed",
            Self::ConnectionRefused => "connection refused",
        }
    }
}

/// The burst: the lines of this many seconds may come at once.
const BURST_S: u64 = 10;
/// The interval between two lines with the counts of omitted lines.
const COUNT_EVERY_MS: u64 = 10_000;
const US_PER_S: u64 = 1_000_000;

/// The rate limit of one kind.
#[derive(Clone, Copy, Debug, Default)]
struct LogRateLimit {
    /// When the budget is full again.
    clean_at_us: u64,
    omitted: u64,
}

/// The rate limits of all kinds.
#[derive(Debug)]
pub(super) struct LogRateLimits {
    every_us: u64,
    rates: [LogRateLimit; LogRateLimitKind::ALL.len()],
    /// When the next line with counts is due.
    due_ms: Option<u64>,
}

impl LogRateLimits {
    /// At most `per_second` lines of each kind a second, and ten times as many at once.
    pub(super) fn new(per_second: u32) -> Self {
        let mut rates = Self { every_us: 0, rates: Default::default(), due_ms: None };
        rates.set(per_second);
        rates
    }

    /// Sets the rate of each kind.
    pub(super) fn set(&mut self, per_second: u32) {
        self.every_us = US_PER_S / u64::from(per_second.max(1));
    }

    /// May one more line of this kind be written? If not, it is counted.
    pub(super) fn admit(&mut self, kind: LogRateLimitKind, now_ms: u64) -> bool {
        let (rate, now_us) = (&mut self.rates[kind as usize], now_ms.saturating_mul(1_000));
        let clean_at_us = rate.clean_at_us.max(now_us) + self.every_us;
        if clean_at_us <= now_us + BURST_S * US_PER_S {
            rate.clean_at_us = clean_at_us;
            return true;
        }
        rate.omitted += 1;
        self.due_ms.get_or_insert(now_ms + COUNT_EVERY_MS);
        false
    }

    /// When [`take_omitted`](Self::take_omitted) has something to say.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.due_ms
    }

    /// How many lines of each kind were left out since the last call.
    pub(super) fn take_omitted(&mut self) -> [(LogRateLimitKind, u64); LogRateLimitKind::ALL.len()] {
        self.due_ms = None;
        LogRateLimitKind::ALL.map(|kind| (kind, std::mem::take(&mut self.rates[kind as usize].omitted)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_so_many_a_second_and_each_kind_for_itself() {
        let mut rates = LogRateLimits::new(10);
        let burst = (0..1_000).filter(|_| rates.admit(LogRateLimitKind::WrongPassword, 5)).count();
        assert_eq!(burst, 100);
        assert!(rates.admit(LogRateLimitKind::LoggedIn, 5), "another kind");
        let admitted = (0..10_000).filter(|at_ms| rates.admit(LogRateLimitKind::WrongPassword, 6 + at_ms)).count();
        assert!((99..=101).contains(&admitted), "{admitted} in ten seconds");
        assert_eq!(rates.next_ms(), Some(5 + COUNT_EVERY_MS), "from the first one");
        let left_out: Vec<_> = rates.take_omitted().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(left_out, [(LogRateLimitKind::WrongPassword, 10_900 - admitted as u64)]);
        assert_eq!((rates.next_ms(), rates.take_omitted().map(|(_, count)| count)), (None, [0; 13]));
    }

    #[test]
    fn another_rate_holds_at_once() {
        let mut rates = LogRateLimits::new(1_000_000);
        assert!((0..100_000).all(|_| rates.admit(LogRateLimitKind::Replaced, 0)));
        rates.set(1);
        assert_eq!((0..100).filter(|_| rates.admit(LogRateLimitKind::LimitReached, 0)).count(), 10);
    }

    #[test]
    fn each_kind_has_its_place() {
        for (place, kind) in LogRateLimitKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place);
        }
    }
}
