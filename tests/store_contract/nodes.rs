//! Several nodes use one database: they join, are fenced, give signs of life and send records to
//! each other. Skipped without `HONGYAN_TEST_MYSQL`.

mod builds;
mod forget;
mod jobs;
mod polling;
mod states;

use super::mysql::{Database, refusal};
use crate::common::store::*;
use hongyan::chat::contract::{
    ClusterView, HandoverReceiversWithUnnotifiedOwners, NodeIncarnation, NodeMessage, UserHandoverData, UserOwner,
};
use hongyan::store::mysql::{
    ClusterEvent, FenceCause, LeaseCallbacks, NodeDatabase, NodeInboxWriter, NodeInboxWriterLimits, NodeLease,
};
use hongyan::store::{StoreConnection, StoreError};
use mysql::prelude::Queryable;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn join(database: &Database, name: &str) -> NodeDatabase {
    NodeDatabase::join(&database.url(), name).unwrap()
}

fn writer_limits(records_max: usize) -> NodeInboxWriterLimits {
    NodeInboxWriterLimits { records_max, bytes_max: 1 << 20 }
}

fn me(node: &NodeDatabase) -> NodeIncarnation {
    node.identity().incarnation
}

fn last(view: &ClusterView, node: &NodeDatabase) -> u64 {
    view.node(me(node).node).unwrap().last.epoch
}

/// A node with its lease, and the events that the lease has reported.
struct Living {
    server: NodeDatabase,
    lease: NodeLease,
    first_view: ClusterView,
    fenced: Receiver<FenceCause>,
    news: Vec<ClusterEvent>,
}

impl Living {
    fn new(server: NodeDatabase, silent_max: Duration) -> Self {
        let (told, fenced): (Sender<FenceCause>, _) = channel();
        let on_fenced = Box::new(move |cause| told.send(cause).unwrap_or(()));
        let calls = LeaseCallbacks { on_news: Arc::new(|| ()), on_fenced };
        let (lease, first_view) = NodeLease::start(server.clone(), silent_max, calls).unwrap();
        Self { server, lease, first_view, fenced, news: Vec::new() }
    }

    /// Waits for an event for which `find` returns something. Takes out all events up to it.
    #[track_caller]
    fn wait_for<T>(&mut self, find: impl Fn(&ClusterEvent) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            self.lease.take(&mut self.news);
            if let Some(at) = self.news.iter().position(|news| find(news).is_some()) {
                return self.news.drain(..=at).next_back().as_ref().and_then(&find).unwrap();
            }
            assert!(Instant::now() < until, "the event did not come: {:?}", self.news);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[track_caller]
    fn wait_for_view(&mut self, is_it: impl Fn(&ClusterView) -> bool) -> ClusterView {
        self.wait_for(|news| match news {
            ClusterEvent::View(view) if is_it(view) => Some(view.clone()),
            _ => None,
        })
    }

    #[track_caller]
    fn next_record(&mut self) -> (NodeIncarnation, NodeMessage) {
        self.wait_for(|news| match news {
            ClusterEvent::Record { from, record } => Some((*from, record.clone())),
            ClusterEvent::View(_) => None,
        })
    }
}

fn look(name: &str) -> NodeMessage {
    NodeMessage::Look { user: user(name) }
}

#[test]
fn frames_are_of_the_newest_version_that_every_living_node_reads() {
    let Some(mut database) = Database::new() else { return };
    let mut a = Living::new(join(&database, "a"), PATIENCE);
    let _b = join(&database, "b");
    assert_eq!(a.server.identity().frame_version(), hongyan::versions::FRAME_MAX);
    for (change, version) in [
        ("UPDATE nodes SET frame_max = node + 5", 6),
        ("UPDATE nodes SET frame_max = 9 - node", 7),
        // A node that leaves does this.
        ("UPDATE nodes SET renewed = 0 WHERE node = 2", 8),
    ] {
        database.admin.query_drop(change).unwrap();
        database.admin.query_drop("UPDATE cluster SET view = view + 1").unwrap();
        let number: u64 = database.admin.query_first("SELECT view FROM cluster").unwrap().unwrap();
        a.wait_for_view(|view| view.number >= number);
        assert_eq!(a.server.identity().frame_version(), version, "{change}");
    }
}

#[test]
fn nodes_have_numbers_that_stay_and_one_key() {
    let Some(database) = Database::new() else { return };
    let (a, b) = (join(&database, "a"), join(&database, "b"));
    assert_eq!([me(&a).node.get(), me(&b).node.get()], [1, 2]);
    assert_eq!(a.identity().hash_key, b.identity().hash_key);
    assert_ne!(a.identity().hash_key, [0, 0]);
    assert_eq!(a.identity().mac_key, b.identity().mac_key);
    assert_ne!(a.identity().mac_key, [0; 32]);
    let view = a.view().unwrap();
    assert_eq!([last(&view, &a), last(&view, &b)], [me(&a).epoch, me(&b).epoch]);
    let number = view.number;
    let again = join(&database, "a");
    assert_eq!((me(&again).node, me(&again).epoch), (me(&a).node, me(&a).epoch + 1));
    assert!(b.view().unwrap().number > number, "the beginning of a life changes the view");
    assert!(a.connect().is_err(), "its life is over");
    assert!(a.identity().is_fenced() && !b.identity().is_fenced());
}

#[test]
fn nodes_that_join_at_once_get_different_numbers() {
    let Some(database) = Database::new() else { return };
    let url = database.url();
    let joining: Vec<_> = (0..8)
        .map(|number| {
            let url = url.clone();
            std::thread::spawn(move || {
                let until = Instant::now() + PATIENCE;
                loop {
                    match NodeDatabase::join(&url, &format!("n{number}")) {
                        Ok(node) => return node,
                        Err(StoreError::Unavailable(_) | StoreError::Busy(_)) if Instant::now() < until => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            })
        })
        .collect();
    let nodes: Vec<NodeDatabase> = joining.into_iter().map(|joining| joining.join().unwrap()).collect();
    let mut numbers: Vec<u16> = nodes.iter().map(|node| me(node).node.get()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=8).collect::<Vec<_>>());
    let view = nodes[0].view().unwrap();
    for node in &nodes {
        assert_eq!(last(&view, node), me(node).epoch);
        save(&mut node.connect().unwrap(), &[message(me(node).node.get().into(), "bob", "ann", "m")]);
    }
}

#[test]
fn a_single_server_and_a_cluster_refuse_each_others_database() {
    let Some(database) = Database::new() else { return };
    drop(database.server().connect().unwrap());
    let why = NodeDatabase::join(&database.url(), "a").unwrap_err().to_string();
    assert_eq!(why, "it is that of a server without --node-name, which uses it alone: stop that one first");
    let Some(database) = Database::new() else { return };
    let node = join(&database, "a");
    assert_eq!(refusal(&database.server()), "it is that of a cluster: a server needs --node-name to use it");
    assert!(node.end_incarnation().unwrap());
    assert!(refusal(&database.server()).contains("--node-name"), "it stays the database of a cluster");
    join(&database, "a");
}

/// The steps are those of docs/operations.md.
#[test]
fn the_database_of_one_server_becomes_that_of_a_cluster_and_back_when_nobody_uses_it() {
    let Some(mut database) = Database::new() else { return };
    let mut store = database.server().connect().unwrap();
    sign_up(&mut store, &["ann"]);
    save(&mut store, &[message(1, "bob", "ann", "m1")]);
    drop(store);
    database.admin.query_drop("DELETE FROM lanes WHERE node = 0").unwrap();
    let a = Living::new(join(&database, "a"), Duration::from_secs(3_600));
    let mut store = a.server.connect().unwrap();
    let number = a.first_view.nodes[0].hlc_limit;
    save(&mut store, &[message(number, "bob", "ann", "m2")]);
    assert_eq!(waiting(&mut store, "ann"), [1, number]);
    drop(store);
    a.lease.end_incarnation();
    database.admin.query_drop("DELETE FROM cluster").unwrap();
    let server = database.server();
    let mut store = server.connect().unwrap();
    assert_eq!(store.last_seq().unwrap(), number);
    save(&mut store, &[message(number + 1, "bob", "ann", "m3")]);
    assert_eq!(waiting(&mut store, "ann"), [1, number, number + 1]);
}

#[test]
fn nothing_of_a_node_is_committed_after_its_fence() {
    let Some(database) = Database::new() else { return };
    let (a, b) = (join(&database, "a"), join(&database, "b"));
    let (mut one, mut other) = (a.connect().unwrap(), a.connect().unwrap());
    save(&mut one, &[message(1, "bob", "ann", "m1")]);
    // `one` is in the middle of a transaction, and `other` is between two.
    one.begin().unwrap();
    one.save_pushes(&[message(2, "bob", "ann", "m2")]).unwrap();
    let number = b.view().unwrap().number;
    assert!(b.fence(me(&a)).unwrap());
    let view = b.view().unwrap();
    assert_eq!((view.number, last(&view, &a)), (number + 1, me(&a).epoch + 1));
    one.commit().unwrap_err();
    assert!(one.is_broken());
    other.begin().unwrap_err();
    assert!(a.connect().is_err());
    assert_eq!(waiting(&mut b.connect().unwrap(), "ann"), [1]);
    assert!(!b.fence(me(&a)).unwrap(), "the life was over already");
    assert_eq!(b.view().unwrap().number, number + 1);
    assert!(!a.end_incarnation().unwrap());
}

/// This can happen on a database cluster, where a fence cannot end the connections to other
/// database servers.
#[test]
fn a_connection_that_outlives_the_fence_writes_nothing() {
    let Some(mut database) = Database::new() else { return };
    let a = join(&database, "a");
    let mut store = a.connect().unwrap();
    save(&mut store, &[message(1, "bob", "ann", "m1")]);
    database.admin.query_drop("UPDATE lanes SET epoch = epoch + 1").unwrap();
    store.begin().unwrap_err();
}

/// Node b fences each life of node a while the writers of node a go on.
#[test]
fn a_node_that_writes_without_a_pause_is_fenced_all_the_same() {
    let Some(database) = Database::new() else { return };
    let b = join(&database, "b");
    let mut reader = b.connect().unwrap();
    for round in 0..10 {
        let a = join(&database, "a");
        let writers: Vec<_> = (0..3)
            .map(|lane| {
                let a = a.clone();
                std::thread::spawn(move || {
                    let Ok(mut store) = a.connect() else { return };
                    for seq in 0.. {
                        let push = message(
                            round * 1_000_000 + lane * 100_000 + seq,
                            "bob",
                            "ann",
                            &format!("{round}.{lane}.{seq}"),
                        );
                        let done = store
                            .begin()
                            .and_then(|()| store.save_pushes(&[push]).map(drop))
                            .and_then(|()| store.commit());
                        if done.is_err() {
                            return;
                        }
                    }
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(30));
        assert!(b.fence(me(&a)).unwrap());
        let before = waiting(&mut reader, "ann");
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        assert_eq!(waiting(&mut reader, "ann"), before);
    }
}

#[test]
fn a_second_process_cannot_take_the_name_of_a_live_node() {
    let Some(database) = Database::new() else { return };
    let mut a = Living::new(join(&database, "a"), Duration::from_secs(3_600));
    let why = NodeDatabase::join(&database.url(), "a").unwrap_err().to_string();
    assert!(why.starts_with("another process uses it as the node \"a\": stop that one"), "{why}");
    let number = a.first_view.number;
    a.wait_for_view(|view| view.number == number);
    // The process was killed. Its connection is gone, so the next life need not wait until it is
    // silent for long enough.
    drop(a);
    let until = Instant::now() + PATIENCE;
    let again = loop {
        match NodeDatabase::join(&database.url(), "a") {
            Ok(again) => break again,
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
    };
    assert_eq!(me(&again).node.get(), 1);
}

/// The next life cannot know whether the former one lives, until that one is fenced.
#[test]
fn the_next_life_of_a_node_begins_if_the_former_one_is_fenced_meanwhile() {
    let Some(database) = Database::new() else { return };
    let (a, b) = (join(&database, "a"), join(&database, "b"));
    let mut frozen = mysql::Conn::new(mysql::Opts::from_url(&database.url()).unwrap()).unwrap();
    let mark = format!("CONCAT('hongyan:', LEFT(SHA2(DATABASE(), 256), 24), '-1-{}-0')", me(&a).epoch);
    assert_eq!(frozen.query_first::<u8, _>(format!("SELECT GET_LOCK({mark}, 0)")).unwrap(), Some(1));
    let url = database.url();
    let again = std::thread::spawn(move || NodeDatabase::join(&url, "a"));
    std::thread::sleep(Duration::from_millis(500));
    assert!(b.fence(me(&a)).unwrap());
    assert_eq!(me(&again.join().unwrap().unwrap()).epoch, me(&a).epoch + 2);
}

#[test]
fn a_silent_node_is_fenced_by_the_live_nodes_and_learns_of_it() {
    let Some(mut database) = Database::new() else { return };
    let silent_max = Duration::from_secs(2);
    let a = Living::new(join(&database, "a"), Duration::from_secs(3_600));
    let mut b = Living::new(join(&database, "b"), silent_max);
    let (was, me_of_a) = (b.first_view.number, me(&a.server));
    // All nodes give signs of life, for longer than `silent_max`: none is fenced.
    std::thread::sleep(silent_max + Duration::from_millis(1_500));
    b.lease.read_view();
    b.wait_for_view(|view| view.number == was);
    b.lease.take(&mut b.news);
    let views = b.news.iter().filter(|news| matches!(news, ClusterEvent::View(_))).count();
    assert!(b.news.len() == views, "{:?}", b.news);
    // Without its lease, node a gives no signs of life.
    drop(a.lease);
    let view = b.wait_for_view(|view| view.number > was);
    assert_eq!(last(&view, &a.server), me_of_a.epoch + 1);
    assert!(b.fenced.try_recv().is_err());
    // A node that has left, or was fenced, is not fenced again.
    std::thread::sleep(silent_max + Duration::from_millis(1_500));
    assert_eq!(b.server.view().unwrap().number, view.number);
    // A node that is fenced by mistake learns of it, even if it has nothing to write.
    let c = Living::new(join(&database, "c"), Duration::from_secs(3_600));
    assert!(b.server.fence(me(&c.server)).unwrap());
    assert_eq!(c.fenced.recv_timeout(PATIENCE).unwrap(), FenceCause::Fenced);
    assert!(c.server.identity().is_fenced());
    // A node also learns that another process has taken its name.
    let d = Living::new(join(&database, "d"), Duration::from_secs(3_600));
    let sql = "UPDATE nodes SET epoch = epoch + 2, renewed = 7 WHERE name = 'd'";
    database.admin.query_drop(sql).unwrap();
    assert_eq!(d.fenced.recv_timeout(PATIENCE).unwrap(), FenceCause::NameTaken);
}

#[test]
fn an_outage_of_the_database_fences_no_node() {
    let Some(mut database) = Database::new() else { return };
    let silent_max = Duration::from_secs(2);
    let mut a = Living::new(join(&database, "a"), silent_max);
    let b = Living::new(join(&database, "b"), silent_max);
    let number = a.server.view().unwrap().number;
    let until = Instant::now() + 2 * silent_max;
    while Instant::now() < until {
        database.kill_all();
        std::thread::sleep(Duration::from_millis(20));
    }
    a.news.clear();
    a.wait_for_view(|_| true);
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(a.server.view().unwrap().number, number);
    assert!(a.fenced.try_recv().is_err() && b.fenced.try_recv().is_err());
}

/// A server that stops does this, so that the other nodes need not wait for its silence.
#[test]
fn the_other_nodes_learn_at_once_that_a_node_has_left() {
    let Some(database) = Database::new() else { return };
    let a = Living::new(join(&database, "a"), Duration::from_secs(3_600));
    let mut b = Living::new(join(&database, "b"), Duration::from_secs(3_600));
    let (was, me_of_a) = (b.first_view.number, me(&a.server));
    a.lease.end_incarnation();
    let view = b.wait_for_view(|view| view.number > was);
    assert_eq!(view.node(me_of_a.node).unwrap().last.epoch, me_of_a.epoch + 1);
    assert!(a.fenced.try_recv().is_err(), "a node that leaves is not told that it was fenced");
}

#[test]
fn the_limit_of_seq_stays_above_the_clock() {
    let Some(database) = Database::new() else { return };
    let mut a = Living::new(join(&database, "a"), Duration::from_secs(3_600));
    let limit = |view: &ClusterView| view.nodes[0].hlc_limit;
    let first = limit(&a.first_view);
    assert!(first > 0 && a.server.identity().floor == 0);
    a.wait_for_view(|view| limit(view) > first);
    // The clock of the core is far ahead, because the clock of another node was.
    let ahead = first + (3_600_000 << 20);
    a.lease.note_next_seq(ahead);
    let view = a.wait_for_view(|view| limit(view) > ahead);
    let number = me(&a.server);
    drop(a);
    let again = join(&database, "a");
    assert_eq!(me(&again).epoch, number.epoch + 1);
    assert!(again.identity().floor >= limit(&view), "the numbers of the former life are below the floor");
}

/// With a bus, the lease works only once a second by itself, so 20 jumps would take 20 s.
#[test]
fn the_limit_of_seq_follows_a_jump_of_the_clock_at_once() {
    let Some(database) = Database::new() else { return };
    let mut a = Living::new(join(&database, "a"), Duration::from_secs(3_600));
    a.lease.poll_rarely(true);
    let (mut ahead, began) = (a.first_view.nodes[0].hlc_limit, Instant::now());
    for _ in 0..20 {
        ahead += 3_600_000 << 20;
        a.lease.note_next_seq(ahead);
        a.wait_for_view(|view| view.nodes[0].hlc_limit > ahead);
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn records_arrive_in_order_and_only_at_the_life_they_are_for() {
    let Some(mut database) = Database::new() else { return };
    let a = join(&database, "a");
    let mut b = Living::new(join(&database, "b"), Duration::from_secs(3_600));
    let mut writer = a.connect().unwrap();
    let inbox_writer = NodeInboxWriter::start(a.clone(), writer_limits(10_000)).unwrap();
    let (to, earlier) = (me(&b.server), NodeIncarnation { epoch: 0, ..me(&b.server) });
    inbox_writer.send(earlier, look("nobody"));
    let release = |claim| NodeMessage::Release { user: user("ann"), epoch: 1, claim };
    let window = (1..=20_000).map(|n| hongyan::chat::contract::HandoverDedupEntry { key: n, age_ms: n }).collect();
    let dirty = HandoverReceiversWithUnnotifiedOwners { listed: vec![user("bob")], has_unlisted: true, age_ms: 7 };
    let released = UserHandoverData { user: user("ann"), claim: 1, epoch: 2, clock: 3, dirty, window };
    let sent: Vec<NodeMessage> = (0..500)
        .map(|n| look(&format!("user {n}")))
        .chain([release(1), NodeMessage::Released(Box::new(released))])
        .chain((2..300).map(release))
        .collect();
    sent.iter().for_each(|record| inbox_writer.send(to, record.clone()));
    for record in &sent {
        assert_eq!(b.next_record(), (me(&a), record.clone()));
    }
    // The records that were read are deleted.
    let until = Instant::now() + PATIENCE;
    while database.admin.query_first::<u64, _>("SELECT count(*) FROM mail").unwrap() != Some(0) {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(20));
    }
    // After its fence, no record of node a is read, and node a writes nothing.
    assert!(b.server.fence(me(&a)).unwrap());
    inbox_writer.send(to, look("late"));
    writer.begin().unwrap_err();
    let c = join(&database, "c");
    let inbox_writer = NodeInboxWriter::start(c.clone(), writer_limits(10_000)).unwrap();
    inbox_writer.send(to, look("ann"));
    assert_eq!(b.next_record(), (me(&c), look("ann")));
}

#[test]
fn missed_takes_the_place_of_records_for_which_the_inbox_writer_has_no_room() {
    let Some(mut database) = Database::new() else { return };
    let a = join(&database, "a");
    let mut b = Living::new(join(&database, "b"), Duration::from_secs(3_600));
    let to = me(&b.server);
    let inbox_writer = NodeInboxWriter::start(a.clone(), writer_limits(3)).unwrap();
    // The lock keeps the inbox writer from writing for a while.
    database.admin.query_drop("LOCK TABLES mail READ, nodes WRITE, cluster WRITE").unwrap();
    inbox_writer.send(to, look("first"));
    std::thread::sleep(Duration::from_millis(300));
    // Looks for the same user are kept once, as long as only looks are between them.
    for name in ["ann", "ann", "bob", "ann", "cid", "dan", "eve"] {
        inbox_writer.send(to, look(name));
    }
    database.admin.query_drop("UNLOCK TABLES").unwrap();
    let heard: Vec<NodeMessage> = (0..5).map(|_| b.next_record().1).collect();
    assert_eq!(heard, [look("first"), look("ann"), look("bob"), look("cid"), NodeMessage::RecordsMissed]);
    inbox_writer.send(to, look("ann"));
    assert_eq!(b.next_record().1, look("ann"));
}

#[test]
fn a_user_belongs_to_the_first_node_that_claimed_them() {
    let Some(database) = Database::new() else { return };
    let (a, b) = (join(&database, "a"), join(&database, "b"));
    let (mut one, mut other) = (a.connect().unwrap(), b.connect().unwrap());
    let ann = user("ann");
    let claim = |store: &mut dyn StoreConnection, epoch, floor| {
        with(store, |store| store.nodes().unwrap().claim(&user("ann"), epoch, floor))
    };
    assert_eq!(one.nodes().unwrap().owner(&ann).unwrap(), UserOwner::default());
    assert!(claim(&mut one, 0, 70));
    assert!(!claim(&mut other, 0, 90), "node a was faster");
    let owner = UserOwner { incarnation: Some(me(&a)), epoch: 1, floor: 70 };
    assert_eq!(other.nodes().unwrap().owner(&ann).unwrap(), owner);
    assert!(claim(&mut other, 1, 50));
    let owner = UserOwner { incarnation: Some(me(&b)), epoch: 2, floor: 70 };
    assert_eq!(one.nodes().unwrap().owner(&ann).unwrap(), owner, "a floor never becomes less");
    // The owners are read after the commit, and returned in the order of the names.
    one.begin().unwrap();
    one.save_pushes(&[message(1, "bob", "ann", "m")]).unwrap();
    let owners = one.nodes().unwrap().commit_and_read(&["nobody'); DROP TABLE pushes; --", "ann", "ann"]);
    assert_eq!(owners.unwrap(), Some(vec![UserOwner::default(), owner, owner]));
    assert_eq!(waiting(&mut other, "ann"), [1]);
    one.begin().unwrap();
    assert_eq!(one.nodes().unwrap().commit_and_read(&[]).unwrap(), Some(Vec::new()));
}

#[test]
fn a_page_has_the_first_pushes_that_the_node_does_not_know() {
    let Some(database) = Database::new() else { return };
    let a = join(&database, "a");
    let mut store = a.connect().unwrap();
    let pushes: Vec<_> = (1..=20).map(|seq| message(seq, "bob", "鸿雁 '", &format!("m{seq}"))).collect();
    save(&mut store, &pushes);
    let mut page = |except: &[u64], count_max, bytes_max| -> Vec<u64> {
        let found = store.nodes().unwrap().pushes_except(&user("鸿雁 '"), except, count_max, bytes_max).unwrap();
        for push in &found {
            assert_eq!(push, &pushes[push.seq as usize - 1]);
        }
        found.iter().map(|push| push.seq).collect()
    };
    assert_eq!(page(&[], 3, usize::MAX), [1, 2, 3]);
    assert_eq!(page(&[1, 3, 5, 99], 3, usize::MAX), [2, 4, 6]);
    assert_eq!(page(&(1..=19).collect::<Vec<_>>(), 3, usize::MAX), [20]);
    assert_eq!(page(&(1..=5_000).collect::<Vec<_>>(), 3, usize::MAX), [0; 0]);
    assert_eq!(page(&[1], 3, 1), [2]);
}
