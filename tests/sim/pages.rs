//! The model store: pages of what waits for a user.

use super::store::Model;
use hongyan::chat::contract::PushPage;
use hongyan::protocol::field::UserName;
use hongyan::protocol::push::Push;

impl Model {
    pub(super) fn page(&self, user: &UserName, after_seq: u64, count_max: u32, bytes_max: usize) -> PushPage {
        self.page_of(user, (after_seq, &[]), count_max, bytes_max)
    }

    /// The first pushes that are not among these.
    pub(super) fn page_except(&self, user: &UserName, except: &[u64], count_max: u32, bytes_max: usize) -> PushPage {
        self.page_of(user, (0, except), count_max, bytes_max)
    }

    fn page_of(
        &self,
        user: &UserName,
        (after_seq, except): (u64, &[u64]),
        count_max: u32,
        bytes_max: usize,
    ) -> PushPage {
        let (count_max, mut bytes) = (count_max as usize, 0);
        let all = self.pushes.range((user.as_str().to_owned(), after_seq + 1)..=(user.as_str().to_owned(), u64::MAX));
        let within = |push: &Push| {
            let begun_below = bytes < bytes_max;
            bytes += push.text_bytes();
            begun_below
        };
        let all = all.filter(|((_, seq), _)| !except.contains(seq));
        let all = all.take(count_max + 1).map(|(_, push)| push.clone());
        let mut pushes: Vec<Push> = all.take_while(within).collect();
        let more = pushes.len() > count_max || bytes >= bytes_max;
        pushes.truncate(count_max);
        PushPage { pushes, has_more: more }
    }
}
