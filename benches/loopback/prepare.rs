//! Stores that are filled before the server starts, through the library itself: without an Argon2
//! run for each account.

use super::clients::PASSWORD;
use super::{Fallible, check_interrupt};
use hongyan::chat::contract::{FriendAnswerOutcome, FriendRequestOutcome};
use hongyan::protocol::field::{MessageId, Profile, Secret, UserName, UserNameRef};
use hongyan::protocol::push::{Push, PushKind};
use hongyan::store::password::PasswordHasher;
use hongyan::store::{StoreConnection, friendship};

/// Rows in one transaction.
const BATCH: usize = 5_000;

/// The sender of pair `number`.
pub fn sender(number: usize) -> String {
    format!("sender{number:06}")
}

/// The receiver of pair `number`.
pub fn receiver(number: usize) -> String {
    format!("friend{number:06}")
}

/// A user in a ring of friends.
pub fn user(number: usize) -> String {
    format!("user{number:07}")
}

/// A store that is being filled.
pub struct Filler<'a> {
    store: &'a mut dyn StoreConnection,
    hash: Secret,
    seq: u64,
    rows: usize,
}

impl<'a> Filler<'a> {
    /// All accounts get the same password. Its hash is the cheapest of Argon2id: a stored hash is
    /// verified at its own cost.
    pub fn new(store: &'a mut dyn StoreConnection) -> Fallible<Self> {
        Self::at_cost(store, 8, 1)
    }

    /// The same, with a hash of this cost.
    pub fn at_cost(store: &'a mut dyn StoreConnection, memory_kib: u32, passes: u32) -> Fallible<Self> {
        let hash = PasswordHasher::new(memory_kib, passes)?.hash(&Secret::new(PASSWORD))?;
        let seq = store.last_seq()?;
        store.begin()?;
        Ok(Self { store, hash, seq, rows: 0 })
    }

    pub fn account(&mut self, name: &str) -> Fallible<()> {
        let profile = Profile {
            user_name: UserName::new(name)?,
            email_address: "somebody@example.com".into(),
            nick_name: name.into(),
            profile_picture: "".into(),
            location: "Longyan".into(),
            personal_description: "".into(),
            rsa_public_key: "k".repeat(400).into(),
        };
        if !self.store.create_account(&profile, &self.hash)? {
            return Err(format!("{name} is there already").into());
        }
        self.count()
    }

    /// Makes two friends, with nothing left on any list.
    pub fn friends(&mut self, one: &str, other: &str) -> Fallible<()> {
        let ask = self.push(PushKind::FriendRequest, one, other, "friends", "")?;
        let answer = self.push(PushKind::FriendAccept, other, one, "friends", "")?;
        if friendship::ask(self.store, &ask, u32::MAX, None)?.0 != FriendRequestOutcome::Pending {
            return Err(format!("{one} cannot ask {other}").into());
        }
        if friendship::answer(self.store, &answer, u32::MAX, None)?.outcome != FriendAnswerOutcome::Done {
            return Err(format!("{other} cannot answer {one}").into());
        }
        self.store.delete_pushes(&[(UserName::new(other)?, ask.seq), (UserName::new(one)?, answer.seq)])?;
        self.count()
    }

    /// Messages that wait for somebody.
    pub fn waiting(&mut self, from: &str, to: &str, count: usize, content: &str) -> Fallible<()> {
        let mut pushes = Vec::with_capacity(count);
        for number in 0..count {
            pushes.push(self.push(PushKind::Message, from, to, &format!("waiting{number}"), content)?);
        }
        self.store.save_pushes(&pushes)?;
        self.rows += count;
        self.count()
    }

    fn push(&mut self, kind: PushKind, from: &str, to: &str, id: &str, content: &str) -> Fallible<Push> {
        self.seq += 1;
        Ok(message(self.seq, kind, from, to, id, content)?)
    }

    fn count(&mut self) -> Fallible<()> {
        self.rows += 1;
        if self.rows >= BATCH {
            check_interrupt()?;
            self.rows = 0;
            self.store.commit()?;
            self.store.begin()?;
        }
        Ok(())
    }

    pub fn finish(self) -> Fallible<()> {
        Ok(self.store.commit()?)
    }
}

/// A push as the server makes it.
pub fn message(seq: u64, kind: PushKind, from: &str, to: &str, id: &str, content: &str) -> Result<Push, &'static str> {
    Ok(Push::new(
        seq,
        1_652_804_254_778,
        kind,
        &MessageId::new(id)?,
        &UserNameRef::new(from)?,
        &UserNameRef::new(to)?,
        content,
    ))
}

/// Senders and receivers, who are friends in pairs.
pub fn pairs(store: &mut dyn StoreConnection, count: usize) -> Fallible<()> {
    let mut filler = Filler::new(store)?;
    for number in 0..count {
        let (one, other) = (sender(number), receiver(number));
        filler.account(&one)?;
        filler.account(&other)?;
        filler.friends(&one, &other)?;
    }
    filler.finish()
}
