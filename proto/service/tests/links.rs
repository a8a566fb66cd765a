//! Links under restarts, lost acknowledgements, gaps and forks: every entry takes effect once, in order, or the link halts.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Books, GROUP, Log, Server, eventually, node_feed, up_to};
use stockmesh_proto::entry::Head;
use stockmesh_service::link::{FeedSource, LinkState, MAX_UNACKNOWLEDGED, run_pull, run_push};
use stockmesh_service::{Dialer, Security};
use stockmesh_types::{ChainHash, FeedId, Reason};
use tokio::sync::watch;
use tokio::task::JoinHandle;

fn dialer() -> Dialer {
    Dialer::new(Security::InsecureDev)
}

struct Link {
    state: Arc<LinkState>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Link {
    fn push(log: &Arc<Log>, addresses: &[String]) -> Self {
        let (state, (stop, down)) = (Arc::new(LinkState::new()), watch::channel(false));
        let peer = "finance/main".to_owned();
        let link = run_push(Arc::clone(log), peer, dialer(), addresses.to_vec(), GROUP, Arc::clone(&state), down);
        Self { state, stop, task: tokio::spawn(link) }
    }

    fn pull(books: &Arc<Books>, feed: FeedId, addresses: &[String]) -> Self {
        let (state, (stop, down)) = (Arc::new(LinkState::new()), watch::channel(false));
        let peer = "coordinator/1".to_owned();
        let link =
            run_pull(Arc::clone(books), feed, peer, dialer(), addresses.to_vec(), GROUP, Arc::clone(&state), down);
        Self { state, stop, task: tokio::spawn(link) }
    }

    async fn halted(self) -> String {
        tokio::time::timeout(Duration::from_secs(30), self.task).await.expect("a halted link ends").unwrap();
        assert!(self.state.snapshot().halted && !self.state.connected());
        self.state.last_error()
    }

    async fn stopped(self) {
        self.stop.send_replace(true);
        tokio::time::timeout(Duration::from_secs(10), self.task).await.expect("a stopped link ends").unwrap();
        assert!(!self.state.snapshot().halted);
    }
}

fn insecure(books: &Arc<Books>, log: &Arc<Log>, listen: &str) -> Server {
    Server::start(listen, Security::InsecureDev, books, log, None)
}

fn fail_every(books: &Books, n: usize) {
    books.state.lock().unwrap().fail_every = n;
}

const FREE: &str = "127.0.0.1:0";

#[tokio::test(flavor = "multi_thread")]
async fn a_push_survives_restarts_and_lost_acknowledgements_exactly_once() {
    let (books, log) = (Arc::new(Books::default()), Log::new(node_feed()));
    fail_every(&books, 3);
    let mut server = insecure(&books, &log, FREE);
    let address = server.address.to_string();
    let link = Link::push(&log, std::slice::from_ref(&address));
    for round in 1..=4 {
        log.append(250, 0, 200);
        let wanted = round * 250 - 100;
        eventually("entries arrive between restarts", || books.effects().len() >= wanted).await;
        server.kill();
        log.append(50, 0, 200);
        server = insecure(&books, &log, &address);
    }
    fail_every(&books, 0);
    eventually("everything is acknowledged", || link.state.acknowledged_seq() == 1200).await;
    assert_eq!(books.effects(), up_to(1200));
    assert_eq!(*log.acknowledged.lock().unwrap(), log.head());
    link.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_survives_restarts_and_lost_acknowledgements_exactly_once() {
    let feed = FeedId { participant: "coordinator/1".into(), destination: "node/dc-1".into(), epoch: 1 };
    let (books, log) = (Arc::new(Books::default()), Log::new(feed.clone()));
    fail_every(&books, 3);
    let mut server = insecure(&books, &log, FREE);
    let address = server.address.to_string();
    // The first address is dead all the time.
    let link = Link::pull(&books, feed, &["127.0.0.1:1".to_owned(), address.clone()]);
    for round in 1..=3 {
        log.append(250, 0, 200);
        let wanted = round * 250 - 100;
        eventually("entries arrive between restarts", || books.effects().len() >= wanted).await;
        server.kill();
        log.append(50, 0, 200);
        server = insecure(&books, &log, &address);
    }
    fail_every(&books, 0);
    eventually("everything is acknowledged", || *log.acknowledged.lock().unwrap() == log.head()).await;
    assert_eq!(books.effects(), up_to(900));
    assert_eq!(link.state.applied_seq(), 900);
    link.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graceful_stop_of_the_server_ends_its_sessions_at_once() {
    let (books, log) = (Arc::new(Books::default()), Log::new(node_feed()));
    let mut server = insecure(&books, &log, FREE);
    let link = Link::push(&log, &[server.address.to_string()]);
    log.append(10, 0, 0);
    eventually("the link is up", || link.state.acknowledged_seq() == 10).await;
    server.shutdown.send_replace(true);
    // The limit for requests in flight is 5 s: an idle link must not use it up.
    let ended = tokio::time::timeout(Duration::from_secs(4), server.ended.take().unwrap()).await;
    ended.expect("the server ends").unwrap();
    eventually("the link notices", || !link.state.connected()).await;
    link.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_lost_entries_gets_them_again() {
    let (books, log) = (Arc::new(Books::default()), Log::new(node_feed()));
    let server = insecure(&books, &log, FREE);
    let link = Link::push(&log, &[server.address.to_string()]);
    log.append(5, 0, 0);
    let mut heads = vec![];
    for seq in 6..=20 {
        log.append(1, 0, 0);
        eventually("one by one", || books.effects().len() == seq).await;
        heads.push(books.state.lock().unwrap().cursors[&node_feed()]);
    }
    // Restored from an older copy while the link is up: entry 21 will not fit, FEED_GAP.
    {
        let mut state = books.state.lock().unwrap();
        state.cursors.insert(node_feed(), heads[0]);
        state.effects.truncate(6);
    }
    log.append(1, 0, 0);
    eventually("the gap is filled", || books.effects().len() == 21).await;
    assert_eq!(books.effects(), up_to(21));
    link.stopped().await;
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_halts_the_push_and_changes_nothing() {
    // (what the consumer holds, in entries of another life; what the writer has)
    for (theirs, ours) in [(3, 3), (3, 5), (5, 3)] {
        let (books, log, other) = (Arc::new(Books::default()), Log::new(node_feed()), Log::new(node_feed()));
        other.append(theirs, 1000, 0);
        books.state.lock().unwrap().cursors.insert(node_feed(), other.head());
        log.append(ours, 0, 0);
        let server = insecure(&books, &log, FREE);
        let error = Link::push(&log, &[server.address.to_string()]).halted().await;
        assert!(error.contains("FEED_FORKED"), "{error}");
        assert_eq!(books.effects(), Vec::<i64>::new(), "{theirs} against {ours}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_halts_the_pull_and_changes_nothing() {
    let feed = FeedId { participant: "coordinator/1".into(), destination: "node/dc-1".into(), epoch: 1 };
    let (books, log) = (Arc::new(Books::default()), Log::new(feed.clone()));
    log.append(5, 0, 0);
    books.state.lock().unwrap().cursors.insert(feed.clone(), Head { seq: 3, hash: ChainHash([9; 32]) });
    let server = insecure(&books, &log, FREE);
    let error = Link::pull(&books, feed, &[server.address.to_string()]).halted().await;
    assert!(error.contains("FEED_FORKED"), "{error}");
    assert_eq!(books.effects(), Vec::<i64>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_that_is_over_halts_the_pull() {
    let feed = FeedId { participant: "coordinator/1".into(), destination: "node/dc-1".into(), epoch: 2 };
    let (books, log) = (Arc::new(Books::default()), Log::new(feed.clone()));
    let server = insecure(&books, &log, FREE);
    let error = Link::pull(&books, FeedId { epoch: 1, ..feed }, &[server.address.to_string()]).halted().await;
    assert!(error.contains("STALE_EPOCH"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lagging_replica_is_no_fork() {
    let feed = FeedId { participant: "coordinator/1".into(), destination: "node/dc-1".into(), epoch: 1 };
    let (books, log, lagging) = (Arc::new(Books::default()), Log::new(feed.clone()), Log::new(feed.clone()));
    log.append(10, 0, 0);
    lagging.append(4, 0, 0);
    let behind = insecure(&books, &lagging, FREE);
    let ahead = insecure(&books, &log, FREE);
    let first = Link::pull(&books, feed.clone(), &[ahead.address.to_string()]);
    eventually("ten entries", || first.state.applied_seq() == 10).await;
    first.stopped().await;
    let link = Link::pull(&books, feed, &[behind.address.to_string()]);
    eventually("refused for now", || link.state.last_error().contains("FEED_GAP")).await;
    lagging.append(8, 0, 0);
    eventually("caught up", || link.state.applied_seq() == 12).await;
    assert_eq!(books.effects(), up_to(12));
    link.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_that_a_replica_names_is_followed() {
    let (books, log) = (Arc::new(Books::default()), Log::new(node_feed()));
    let leader = insecure(&books, &log, FREE);
    let follower = Server::start(FREE, Security::InsecureDev, &books, &log, Some(leader.address.to_string()));
    let link = Link::push(&log, &[follower.address.to_string()]);
    log.append(3, 0, 0);
    eventually("the leader has it", || link.state.acknowledged_seq() == 3).await;
    assert_eq!(link.state.snapshot().address, leader.address.to_string());
    link.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_consumer_bounds_what_is_under_way() {
    let (books, log) = (Arc::new(Books::default()), Log::new(node_feed()));
    books.blocked.send_replace(true);
    // Each entry fills a batch.
    log.append(40, 0, 300 * 1024);
    let server = insecure(&books, &log, FREE);
    let link = Link::push(&log, &[server.address.to_string()]);
    eventually("the window is full", || log.reads.lock().unwrap().len() == MAX_UNACKNOWLEDGED).await;
    assert_eq!(log.reads.lock().unwrap().last(), Some(&(7, 1)));
    books.blocked.send_replace(false);
    eventually("everything is acknowledged", || link.state.acknowledged_seq() == 40).await;
    assert_eq!(books.effects(), up_to(40));
    link.stopped().await;
}

/// What an earlier session had under way takes effect while this one waits: the consumer is at `head` at once.
fn overtake(books: &Books, feed: &FeedId, head: Head, effects: std::ops::RangeInclusive<i64>) {
    {
        let mut state = books.state.lock().unwrap();
        state.cursors.insert(feed.clone(), head);
        state.effects.extend(effects);
    }
    books.blocked.send_replace(false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_is_ahead_of_the_session_is_no_fork_unless_it_has_other_entries() {
    let other = Head { seq: 40, hash: ChainHash([9; 32]) };
    let beyond = Head { seq: 41, hash: ChainHash([9; 32]) };
    for (wrong, effects) in [(None, up_to(45)), (Some(other), up_to(40)), (Some(beyond), up_to(40))] {
        let (books, log) = (Arc::new(Books::default()), Log::new(node_feed()));
        books.blocked.send_replace(true);
        // Each entry fills a batch: most are not sent yet.
        log.append(40, 0, 300 * 1024);
        let server = insecure(&books, &log, FREE);
        let link = Link::push(&log, &[server.address.to_string()]);
        eventually("the window is full", || log.reads.lock().unwrap().len() == MAX_UNACKNOWLEDGED).await;
        overtake(&books, &node_feed(), wrong.unwrap_or(log.head()), 1..=40);
        if wrong.is_some() {
            let error = link.halted().await;
            assert!(error.contains("FEED_FORKED"), "{error}");
        } else {
            eventually("all forty are acknowledged", || link.state.acknowledged_seq() == 40).await;
            log.append(5, 0, 0);
            eventually("the link goes on", || link.state.acknowledged_seq() == 45).await;
            assert!(log.reads.lock().unwrap().iter().all(|(after, _)| *after < 8 || *after >= 40), "none again");
            link.stopped().await;
        }
        assert_eq!(books.effects(), effects);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_lags_behind_an_acknowledgement_is_no_fork() {
    let feed = FeedId { participant: "coordinator/1".into(), destination: "node/dc-1".into(), epoch: 1 };
    let (books, log, lagging) = (Arc::new(Books::default()), Log::new(feed.clone()), Log::new(feed.clone()));
    log.append(10, 0, 0);
    lagging.append(4, 0, 0);
    books.blocked.send_replace(true);
    let behind = insecure(&books, &lagging, FREE);
    let link = Link::pull(&books, feed.clone(), &[behind.address.to_string()]);
    eventually("four are sent", || !lagging.reads.lock().unwrap().is_empty()).await;
    overtake(&books, &feed, log.head(), 1..=10);
    eventually("refused for now", || link.state.last_error().contains("FEED_GAP")).await;
    lagging.append(8, 0, 0);
    eventually("caught up", || link.state.applied_seq() == 12).await;
    assert_eq!(books.effects(), up_to(12));
    link.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_refuses_is_asked_again_until_it_takes() {
    let (books, log) = (Arc::new(Books::default()), Log::new(node_feed()));
    books.state.lock().unwrap().refuse = Some(Reason::GroupNotInitialized);
    log.append(3, 0, 0);
    let server = insecure(&books, &log, FREE);
    let link = Link::push(&log, &[server.address.to_string()]);
    eventually("refused", || link.state.last_error().contains("GROUP_NOT_INITIALIZED")).await;
    books.state.lock().unwrap().refuse = None;
    eventually("taken", || link.state.acknowledged_seq() == 3).await;
    link.stopped().await;
}
