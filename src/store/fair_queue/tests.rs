//! The order for each user, the turns of each flow, and the cost limits of a batch.

use super::*;
use crate::protocol::field::{MessageId, Secret, UserName, UserNameRef};
use crate::protocol::push::{Push, PushKind};
use crate::protocol::request::Credential;

fn user(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

fn push_of(kind: PushKind, sender: &str, receiver: &str, text: &str) -> Push {
    let (id, sender, receiver) = (MessageId::new("m"), UserNameRef::new(sender), UserNameRef::new(receiver));
    Push::new(1, 1, kind, &id.unwrap(), &sender.unwrap(), &receiver.unwrap(), text)
}

fn save(sender: &str, receiver: &str) -> Job {
    Job::SavePush { push: push_of(PushKind::Message, sender, receiver, "honk") }
}

fn large(sender: &str, receiver: &str) -> Job {
    Job::SavePush { push: push_of(PushKind::Message, sender, receiver, &"x".repeat(30_000)) }
}

fn delete(receiver: &str) -> Job {
    Job::DeletePush { receiver: user(receiver), seq: 1 }
}

fn token(name: &str) -> Job {
    Job::MakeToken { user: user(name), now_ms: 0, expires_ms: 1, latest_ms: 2, tokens_max: 8 }
}

fn profile(asker: &str, of: &str) -> Job {
    Job::GetProfile { asker: user(asker), user: user(of) }
}

fn page(name: &str) -> Job {
    Job::LoadPage { user: user(name), after_seq: 0, pushes_max: 1, bytes_max: 1 }
}

fn ask(sender: &str, receiver: &str) -> Job {
    Job::AskFriend { push: push_of(PushKind::FriendRequest, sender, receiver, ""), pending_max: 1 }
}

/// A queue, and tickets in the order of submission.
#[derive(Default)]
struct TestQueue {
    queue: FairQueue,
    next: u32,
}

impl TestQueue {
    fn submit(&mut self, job: Job) -> u32 {
        self.next += 1;
        self.queue.extend([(JobTicket { slot: self.next, generation: 0 }, job)]);
        self.next
    }

    /// The next batch.
    fn take(&mut self) -> Vec<(u32, Job)> {
        let (mut tickets, mut jobs) = (Vec::new(), Vec::new());
        self.queue.take(&mut tickets, &mut jobs);
        assert_eq!(tickets.len(), jobs.len());
        tickets.into_iter().map(|ticket| ticket.slot).zip(jobs).collect()
    }

    fn batches_until(&mut self, job: u32) -> usize {
        (1..).find(|_| self.take().iter().any(|(ticket, _)| *ticket == job)).unwrap()
    }
}

fn cost_of(batch: &[(u32, Job)]) -> u64 {
    batch.iter().map(|(_, job)| cost(job)).sum()
}

#[test]
fn a_newcomer_is_in_one_of_the_next_two_batches_however_many_jobs_wait() {
    type Flood = fn(usize) -> Job;
    let floods: [(&str, Flood); 7] = [
        ("tokens of one", |_| token("eve")),
        ("profiles read by one", |n| profile("eve", &format!("u{n}"))),
        ("messages of one to one", |_| save("eve", "ann")),
        ("messages of one to many", |n| save("eve", &format!("u{}", n % 300))),
        ("large messages", |n| large("eve", &format!("u{}", n % 3))),
        ("friend requests to many", |n| ask("eve", &format!("u{n}"))),
        ("everything at once, by five", |n| match n % 5 {
            0 => token("eve"),
            1 => profile("mallory", "bob"),
            2 => save("trudy", "cy"),
            3 => delete("craig"),
            _ => page("sybil"),
        }),
    ];
    let honest: [fn() -> Job; 5] =
        [|| save("dee", "cy"), || token("dee"), || page("dee"), || profile("dee", "ann"), || ask("dee", "fay")];
    for (what, flood) in floods {
        for newcomer in honest {
            for taken_before in [0, 1, 3] {
                let mut bench = TestQueue::default();
                (0..2_500).for_each(|n| _ = bench.submit(flood(n)));
                (0..taken_before).for_each(|_| drop(bench.take()));
                let job = bench.submit(newcomer());
                let batches = bench.batches_until(job);
                // Earlier messages to Cy come first, and their number is bounded by their sender's
                // load in flight.
                if what != "everything at once, by five" || !matches!(newcomer(), Job::SavePush { .. }) {
                    assert!(batches <= 2, "{what}: {:?} came after {batches}", newcomer());
                }
            }
        }
    }
}

#[test]
fn a_user_with_rare_jobs_is_in_the_next_batch_beside_very_many_users_who_always_have_jobs() {
    let mut bench = TestQueue::default();
    for n in 0..100 * 200 {
        let sender = format!("eve{}", n % 200);
        bench.submit(if n % 2 == 0 { token(&sender) } else { save(&sender, "ann") });
    }
    (0..8).for_each(|_| drop(bench.take()));
    for n in 0..20 {
        bench.take();
        let job = bench.submit(save("dee", &format!("u{n}")));
        assert_eq!(bench.batches_until(job), 1, "the {n}th");
    }
}

#[test]
fn only_users_who_rarely_have_a_job_are_urgent() {
    let mut bench = TestQueue::default();
    (0..10_000).for_each(|n| _ = bench.submit(save(&format!("eve{}", n % 10), "ann")));
    (0..8).for_each(|_| drop(bench.take()));
    bench.submit(save("eve1", "ann"));
    assert!(!bench.queue.has_newcomer(), "that one has many");
    bench.submit(save("dee", "fay"));
    assert!(bench.queue.has_newcomer());
    bench.take();
    assert!(!bench.queue.has_newcomer(), "the job is done");
}

#[test]
fn users_who_always_have_jobs_are_served_beside_very_many_who_have_one_at_a_time() {
    let mut bench = TestQueue::default();
    (0..2_000).for_each(|_| _ = bench.submit(save("dee", "fay")));
    let (mut saves, mut tokens) = (0, 0);
    (0..100).for_each(|n| _ = bench.submit(token(&format!("eve{n}"))));
    for _ in 0..60 {
        for (_, job) in bench.take() {
            match &job {
                Job::MakeToken { user, .. } => {
                    tokens += cost(&job);
                    bench.submit(token(user.as_str()));
                }
                _ => saves += cost(&job),
            }
        }
    }
    assert!(saves >= tokens / 200, "{saves} of one, {tokens} of a hundred");
}

#[test]
fn while_newcomers_come_a_batch_takes_as_many_jobs_as_were_measured_to_be_quick() {
    let mut bench = TestQueue::default();
    (0..6_000).for_each(|n| _ = bench.submit(save(["ann", "dee"][n % 2], "bob")));
    assert_eq!(bench.take().len(), SHARED_COST_MAX as usize);
    (0..20).for_each(|_| bench.queue.note_batch_duration(Duration::from_millis(500)));
    assert_eq!(bench.take().len(), SHARED_COST_MAX as usize, "nobody gains if it is shorter");
    let job = bench.submit(save("fay", "cy"));
    let short = bench.take();
    assert!(short.iter().any(|(ticket, _)| *ticket == job));
    assert_eq!(short.len(), SHORT_COST_MIN as usize);
    (0..40).for_each(|_| bench.queue.note_batch_duration(Duration::from_micros(10)));
    assert_eq!(bench.take().len(), SHARED_COST_MAX as usize);
}

#[test]
fn between_the_jobs_of_a_newcomer_a_batch_of_a_user_who_always_has_jobs_is_short() {
    let mut bench = TestQueue::default();
    (0..5_000).for_each(|_| _ = bench.submit(save("eve", "dan")));
    assert_eq!(bench.take().len(), BATCH_MAX, "nobody else has any");
    for _ in 0..3 {
        // 50 ms for a thousand rows: a short batch has 60.
        bench.queue.note_batch_duration(Duration::from_millis(50));
        let newcomer = bench.submit(save("ann", "bob"));
        let batch = bench.take();
        assert!(batch.iter().any(|(ticket, _)| *ticket == newcomer));
        for _ in 0..4 {
            bench.queue.note_batch_duration(Duration::from_micros(50) * u32::try_from(cost_of(&batch)).unwrap());
            assert!(cost_of(&bench.take()) <= 200, "the newcomer answers and comes again");
        }
    }
    let mut rest = (0..=SHORT_BATCHES).map(|_| bench.take().len());
    assert!(rest.any(|len| len == BATCH_MAX), "alone again");
}

#[test]
fn requests_of_a_user_do_not_wait_for_attempts_to_log_in_as_that_user() {
    let log_in = || Job::LogIn {
        user: user("dee"),
        credential: Credential::Password(Secret::new("guess")),
        uses_cache: true,
        now_ms: 0,
        latest_ms: 2,
        pushes_max: 1,
        bytes_max: 1,
    };
    for job in [save("dee", "cy"), profile("dee", "cy"), ask("dee", "cy")] {
        let mut bench = TestQueue::default();
        (0..1_000).for_each(|_| _ = bench.submit(log_in()));
        let job = bench.submit(job);
        assert!(bench.batches_until(job) <= 2);
    }
}

#[test]
fn checks_of_credentials_delay_neither_saves_to_the_user_nor_the_users_own_jobs() {
    let mut bench = TestQueue::default();
    for _ in 0..2_000 {
        bench.submit(Job::Prove {
            user: user("bob"),
            credential: Credential::Token(Secret::new("bogus")),
            uses_cache: true,
            now_ms: 0,
            latest_ms: 1,
        });
    }
    bench.take();
    let (save, page) = (bench.submit(save("ann", "bob")), bench.submit(page("bob")));
    let batch = bench.take();
    let has = |job: u32| batch.iter().any(|(ticket, _)| *ticket == job);
    assert!(has(save) && has(page), "both are in the next batch");
}

#[test]
fn earlier_jobs_about_the_same_user_are_done_first_and_soon() {
    let mut bench = TestQueue::default();
    let before: Vec<u32> = (0..1_024).map(|_| bench.submit(save("eve", "ann"))).collect();
    (0..10_000).for_each(|_| _ = bench.submit(token("mallory")));
    let job = bench.submit(save("dee", "ann"));
    let (mut done, mut batches) = (Vec::new(), 0);
    while done.last() != Some(&job) {
        batches += 1;
        done.extend(bench.take().into_iter().filter(|(_, job)| matches!(job, Job::SavePush { .. })).map(|(n, _)| n));
    }
    assert!(done.iter().eq(before.iter().chain([&job])));
    assert!(batches <= 6, "{batches}");
}

#[test]
fn floods_to_users_with_a_later_job_of_their_own_do_not_delay_others() {
    let mut bench = TestQueue::default();
    for (receiver, n) in (0..12).flat_map(|receiver| (0..900).map(move |n| (receiver, n))) {
        bench.submit(save(&format!("{receiver}, sender {}", n % 3), &format!("receiver {receiver}")));
    }
    for _ in 0..3 {
        bench.submit(save("dee", "cy"));
        bench.take();
    }
    // Each receiver has used no credit so far, and their job must follow hundreds of jobs about
    // them.
    (0..12).for_each(|receiver| _ = bench.submit(delete(&format!("receiver {receiver}"))));
    let job = bench.submit(save("dee", "cy"));
    let batches = bench.batches_until(job);
    assert!(batches <= 2, "{batches}");
}

#[test]
fn a_user_alone_fills_a_batch_and_shares_it_when_others_come() {
    for receivers in [1, 7, 1_000] {
        let mut bench = TestQueue::default();
        (0..3_000).for_each(|n| _ = bench.submit(save("ann", &format!("u{}", n % receivers))));
        assert_eq!(bench.take().len(), 1_000);
        bench.submit(page("dee"));
        let shared = bench.take();
        assert!((400..600).contains(&shared.len()), "{}", shared.len());
        assert!((400..600).contains(&bench.take().len()), "and soon after");
    }
    let mut bench = TestQueue::default();
    (0..3_000).for_each(|n| _ = bench.submit(if n % 2 == 0 { large("ann", "bob") } else { token("ann") }));
    let alone = cost_of(&bench.take());
    bench.submit(page("dee"));
    let shared = cost_of(&bench.take());
    assert!(alone < ALONE_COST_MAX + 60 && shared < SHARED_COST_MAX + 60, "{alone} {shared}");
}

#[test]
fn users_share_the_work_by_its_cost() {
    let mut bench = TestQueue::default();
    for _ in 0..5_000 {
        bench.submit(token("eve"));
        bench.submit(save("ann", "bob"));
        bench.submit(profile("dee", "bob"));
    }
    let (mut tokens, mut saves, mut profiles) = (0, 0, 0);
    for (_, job) in (0..10).flat_map(|_| bench.take()) {
        match job {
            Job::MakeToken { .. } => tokens += cost(&job),
            Job::SavePush { .. } => saves += cost(&job),
            _ => profiles += cost(&job),
        }
    }
    let all = tokens + saves + profiles;
    for share in [tokens, saves, profiles] {
        assert!((all * 30 / 100..all * 37 / 100).contains(&share), "{tokens} {saves} {profiles}");
    }
}

#[test]
fn saves_and_deletions_stand_side_by_side_as_far_as_the_order_allows() {
    let mut bench = TestQueue::default();
    for n in 0..100 {
        bench.submit(save("ann", &format!("u{n}")));
        bench.submit(delete(&format!("v{n}")));
    }
    bench.submit(delete("u7"));
    bench.submit(save("ann", "u7"));
    let batch = bench.take();
    let runs = batch.chunk_by(|(_, one), (_, other)| kind(one) == kind(other)).count();
    assert_eq!((batch.len(), runs), (202, 3), "one job of the last two has to come behind the others");
    let of_u7: Vec<u32> = batch.iter().filter(|(_, job)| lane_user(job) == Some("u7")).map(|(n, _)| *n).collect();
    assert_eq!(of_u7, [15, 201, 202]);
}

#[test]
fn the_memory_of_waiting_jobs_is_given_back() {
    let mut bench = TestQueue::default();
    (0..50_000).for_each(|n| _ = bench.submit(save(&format!("a{n}"), &format!("b{n}"))));
    while !bench.take().is_empty() {}
    let queue = &bench.queue;
    assert!(
        queue.flows.is_empty()
            && queue.jobs_by_subject.is_empty()
            && queue.flows_by_start.is_empty()
            && queue.busy == 0
    );
    let kept = [queue.jobs.capacity(), queue.flows.capacity(), queue.jobs_by_subject.capacity()];
    assert!(kept.iter().all(|&kept| kept <= 4 * KEPT), "{kept:?}");
}

#[test]
fn with_random_jobs_nothing_is_lost_each_user_is_served_in_order_and_newcomers_soon() {
    for seed in 0..12 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut bench = TestQueue::default();
        // The jobs about each user that were submitted and are still to come, in order.
        let mut expected: HashMap<String, VecDeque<u32>> = HashMap::new();
        let (mut open, mut newcomers) = (0, HashMap::new());
        for step in 0..200 {
            for n in 0..random.usize(..120) {
                let names = ["ann", "bob", "cy", "dee"];
                let [one, other] = [0; 2].map(|_| names[random.usize(..4)]);
                let job = match random.usize(..10) {
                    0 => token(one),
                    1 => profile(one, other),
                    2 => page(one),
                    3 => delete(one),
                    4 => ask(one, other),
                    5 => large(one, other),
                    6 if n == 6 => save(&format!("new {step}"), &format!("away {step}")),
                    _ => save(one, other),
                };
                let is_new = causing_user(&job).is_some_and(|name| name.starts_with("new"));
                let is_ordered = !matches!(job, Job::GetProfile { .. });
                let lane = lane_user(&job).unwrap().to_owned();
                let ticket = bench.submit(job);
                open += 1;
                if is_ordered {
                    expected.entry(lane).or_default().push_back(ticket);
                }
                if is_new {
                    newcomers.insert(ticket, 0);
                }
            }
            if random.usize(..3) > 0 {
                continue;
            }
            let batch = bench.take();
            assert!(batch.is_empty() == (open == 0), "seed {seed}");
            assert!(batch.len() <= BATCH_MAX && cost_of(&batch) < ALONE_COST_MAX + 60, "seed {seed}");
            open -= batch.len();
            for (ticket, job) in &batch {
                newcomers.remove(ticket);
                if !matches!(job, Job::GetProfile { .. }) {
                    let next = expected.get_mut(lane_user(job).unwrap()).and_then(VecDeque::pop_front);
                    assert_eq!(next, Some(*ticket), "seed {seed}");
                }
            }
            for batches in newcomers.values_mut() {
                *batches += 1;
                assert!(*batches < 2, "seed {seed}: a newcomer waits for a third batch");
            }
        }
        while open > 0 {
            open -= bench.take().len();
        }
        assert!(bench.queue.is_empty());
    }
}
