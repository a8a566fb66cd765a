//! The service as a process: feeds over gRPC in both directions, killed in the middle, read by its own API and command line.

mod common;
#[path = "../core/tests/common/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Ledger, MemorySource};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use stockmesh_proto::feed::v1::feed_service_server::{FeedService, FeedServiceServer};
use stockmesh_proto::feed::v1::{PullRequest, PullResponse, PushRequest, PushResponse};
use stockmesh_proto::finance::v1 as wire;
use stockmesh_proto::finance::v1::ledger_service_client::LedgerServiceClient;
use stockmesh_service::link::{HelloInfo, LinkState, run_push, serve_pull};
use stockmesh_service::server::{ServerOptions, bind, serve};
use stockmesh_service::{Dialer, Security};
use stockmesh_types::FeedId;
use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};
use world::World;

const BINARY: &str = env!("CARGO_BIN_EXE_stockmesh-finance");
const PATIENCE: Duration = Duration::from_secs(60);

/// Killed when dropped: no test leaves a process behind.
struct Finance {
    child: Child,
    address: String,
}

impl Finance {
    /// Starts it, and waits until it says where it listens.
    fn start(dir: &Path, listen: &str) -> Self {
        Self::start_as(Command::new(BINARY), dir, listen)
    }

    /// Starts it where no file may grow beyond `kib`: as on a full disk, writes fail.
    fn start_confined(dir: &Path, listen: &str, kib: u32) -> Self {
        let mut shell = Command::new("sh");
        // POSIX counts blocks of 512 bytes. An ignored signal stays ignored in the service, which sees an error instead.
        shell.args(["-c", &format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", kib * 2), BINARY]);
        Self::start_as(shell, dir, listen)
    }

    fn start_as(mut command: Command, dir: &Path, listen: &str) -> Self {
        let config = dir.join("finance.toml");
        let mut child = command
            .args(["serve", "--insecure-dev", "--log-format", "json", "--listen", listen, "--config"])
            .arg(&config)
            .env("RUST_LOG", "info")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("finance says where it listens").unwrap();
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            if line["message"] == "finance serves" {
                break line["listen"].as_str().unwrap().to_owned();
            }
        };
        // Its later lines are read, so that it never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn run(&self, args: &[&str]) -> (Option<i32>, String) {
        let output =
            Command::new(BINARY).args(["--insecure-dev", "--address", &self.address]).args(args).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), text)
    }

    fn json(&self, args: &[&str]) -> serde_json::Value {
        let (code, text) = self.run(&[args, &["--output", "json"]].concat());
        assert_eq!(code, Some(0), "{text}");
        serde_json::from_str(&text).unwrap()
    }
}

impl Drop for Finance {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A coordinator, as far as finance sees one.
struct Coordinator {
    source: Arc<MemorySource>,
    shutdown: watch::Receiver<bool>,
}

#[tonic::async_trait]
impl FeedService for Coordinator {
    type PushStream = ReceiverStream<Result<PushResponse, Status>>;
    type PullStream = ReceiverStream<Result<PullResponse, Status>>;

    async fn push(&self, _: Request<Streaming<PushRequest>>) -> Result<Response<Self::PushStream>, Status> {
        Err(Status::unimplemented("finance pushes nothing"))
    }

    async fn pull(&self, request: Request<Streaming<PullRequest>>) -> Result<Response<Self::PullStream>, Status> {
        let source = self.source.clone();
        let open = move |_: &FeedId| Ok(source);
        let welcome = HelloInfo { group: 1, incarnation: 1 };
        Ok(Response::new(serve_pull(open, request.into_inner(), welcome, self.shutdown.clone())))
    }
}

fn history() -> World {
    let mut runner = TestRunner::deterministic();
    let steps = proptest::collection::vec(world::steps(200), 8).new_tree(&mut runner).unwrap().current().concat();
    World::of(&steps, true)
}

async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "{what} within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn feeds_are_posted_once_though_the_service_is_killed() {
    let world = history();
    let dir = tempfile::tempdir().unwrap();
    let (stop, stopping) = watch::channel(false);
    let sources: BTreeMap<String, Arc<MemorySource>> = world
        .feeds
        .iter()
        .map(|(name, facts)| (name.clone(), Arc::new(MemorySource::new(facts[0].source.feed.clone()))))
        .collect();

    let listener = bind("127.0.0.1:0".parse().unwrap(), &Security::InsecureDev).await.unwrap();
    let coordinator_address = listener.local_addr().unwrap();
    let coordinator = Coordinator { source: sources["coordinator/1"].clone(), shutdown: stopping.clone() };
    let mut down = stopping.clone();
    tokio::spawn(serve(
        ServerOptions::new(coordinator_address, Security::InsecureDev),
        listener,
        Routes::new(FeedServiceServer::new(coordinator)),
        &[],
        async move {
            let _ = down.wait_for(|down| *down).await;
        },
    ));
    let config = format!(
        "listen = \"127.0.0.1:0\"\ndata_dir = {:?}\ncoordinator = [\"{coordinator_address}\"]\n",
        dir.path().join("books")
    );
    std::fs::write(dir.path().join("finance.toml"), config).unwrap();

    let mut finance = Finance::start(dir.path(), "127.0.0.1:0");
    for (name, source) in sources.iter().filter(|(name, _)| name.starts_with("node/")) {
        let addresses = vec![finance.address.clone()];
        let hello = HelloInfo { group: 1, incarnation: 0 };
        let (source, state) = (source.clone(), Arc::new(LinkState::new()));
        assert_eq!(source.acknowledged(), 0, "{name}");
        let dialer = Dialer::new(Security::InsecureDev);
        tokio::spawn(run_push(source, "finance/main".into(), dialer, addresses, hello, state, stopping.clone()));
    }
    // Facts come in bursts; between two bursts the service is killed and started again.
    let bursts = 4;
    for burst in 0..bursts {
        for (name, facts) in &world.feeds {
            let size = facts.len().div_ceil(bursts);
            for sent in facts.iter().skip(burst * size).take(size) {
                sources[name].append(sent);
            }
        }
        if burst + 1 < bursts {
            let some = sources["node/dc-1"].acknowledged();
            eventually("a part is posted", || sources["node/dc-1"].acknowledged() > some).await;
            finance.kill();
            let address = finance.address.clone();
            finance = Finance::start(dir.path(), &address);
        }
    }
    for (name, facts) in &world.feeds {
        let all = facts.len() as u64;
        eventually(&format!("all of {name} is posted"), || sources[name].acknowledged() == all).await;
    }

    // The books are those that the core alone makes, in whatever order feeds came.
    let mut memory = Ledger::empty();
    world.interleaved(&[]).iter().for_each(|sent| memory.post(sent));
    memory.write();
    let answer = LedgerServiceClient::connect(format!("http://{}", finance.address))
        .await
        .unwrap()
        .get_trial_balance(wire::GetTrialBalanceRequest::default())
        .await
        .unwrap()
        .into_inner();
    let balances: BTreeMap<String, i64> = answer
        .balances
        .iter()
        .map(|line| {
            let key = format!("{} {} {}", line.entity, line.account, line.currency_code);
            (key, line.debit_minor - line.credit_minor)
        })
        .filter(|(_, minor)| *minor != 0)
        .collect();
    assert_eq!(balances, memory.balances());
    assert!(balances.len() > 20, "{balances:?}");

    check_command_line(&finance, dir.path(), answer.journal_entries);
    let _ = stop.send(true);
}

/// A disk that takes no more: the service says so and ends; nothing is acknowledged that is not in the books.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_fails_ends_the_service_and_loses_nothing() {
    let world = history();
    let dir = tempfile::tempdir().unwrap();
    let config = format!("listen = \"127.0.0.1:0\"\ndata_dir = {:?}\n", dir.path().join("books"));
    std::fs::write(dir.path().join("finance.toml"), config).unwrap();
    let mut finance = Finance::start_confined(dir.path(), "127.0.0.1:0", 160);
    let (stop, stopping) = watch::channel(false);
    let facts = &world.feeds["node/dc-1"];
    let source = Arc::new(MemorySource::new(facts[0].source.feed.clone()));
    let hello = HelloInfo { group: 1, incarnation: 0 };
    let dialer = Dialer::new(Security::InsecureDev);
    let link = Arc::new(LinkState::new());
    let addresses = vec![finance.address.clone()];
    tokio::spawn(run_push(source.clone(), "finance/main".into(), dialer, addresses, hello, link, stopping));
    let mut sent = facts.iter();
    let mut exit = None;
    eventually("the service ends", || {
        // In small batches, so that some fit.
        sent.by_ref().take(5).for_each(|fact| source.append(fact));
        exit = finance.child.try_wait().unwrap();
        exit.is_some()
    })
    .await;
    assert_eq!(exit.and_then(|status| status.code()), Some(1));
    let acknowledged = source.acknowledged();
    let address = finance.address.clone();
    drop(finance);
    let finance = Finance::start(dir.path(), &address);
    let feeds = finance.json(&["status"]);
    let posted = feeds["feeds"][0]["seq"].as_u64().unwrap_or(0);
    assert!(posted >= acknowledged, "{posted} posted, {acknowledged} acknowledged");
    sent.for_each(|fact| source.append(fact));
    let all = facts.len() as u64;
    eventually("everything is posted", || source.acknowledged() == all).await;
    let (code, text) = finance.run(&["verify", "--data-dir", dir.path().join("books").to_str().unwrap()]);
    assert_eq!(code, Some(0), "{text}");
    let _ = stop.send(true);
}

fn check_command_line(finance: &Finance, dir: &Path, entries: u64) {
    let status = finance.json(&["status"]);
    assert_eq!(status["journal_entries"], entries);
    assert_eq!(status["feeds"].as_array().unwrap().len(), 4);
    let balance = finance.json(&["trial-balance"]);
    let sum: i64 =
        balance["balances"].as_array().unwrap().iter().map(|line| line["balance_minor"].as_i64().unwrap()).sum();
    assert_eq!(sum, 0);
    let journal = finance.json(&["journal", "--limit", "100000"]);
    assert_eq!(journal["entries"].as_array().unwrap().len() as u64, entries);
    let order = journal["entries"][entries as usize / 2]["postings"][0]["order_id"].clone();
    if let Some(order) = order.as_str().filter(|order| !order.is_empty()) {
        let about = finance.json(&["journal", "--order", order]);
        assert!(!about["entries"].as_array().unwrap().is_empty());
    }
    let stock = finance.json(&["stock-values", "--node", "dc-1"]);
    assert_eq!(stock["values"].as_array().unwrap().len(), 2);
    let (code, table) = finance.run(&["trial-balance", "--entity", "uk"]);
    assert!(code == Some(0) && table.contains("TOTAL") && table.contains("Assets:Inventory:Dc-1"), "{table}");

    let out = dir.join("books.beancount");
    let file = out.to_str().unwrap();
    let (code, text) = finance.run(&["export", "--format", "beancount", "--out", file]);
    assert_eq!(code, Some(0), "{text}");
    // Where beancount is installed, its checker agrees: STOCKMESH_BEAN_CHECK=/path/to/bean-check.
    if let Some(program) = std::env::var_os("STOCKMESH_BEAN_CHECK") {
        let output = Command::new(program).arg(&out).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let csv = dir.join("books.csv");
    let (code, _) = finance.run(&["export", "--format", "csv", "--out", csv.to_str().unwrap()]);
    assert_eq!(code, Some(0));
    let journal = dir.join("books.journal");
    let (code, text) = finance.run(&["export", "--format", "hledger", "--out", journal.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{text}");
    // Where hledger is installed, it agrees: STOCKMESH_HLEDGER=/usr/bin/hledger.
    if let Some(program) = std::env::var_os("STOCKMESH_HLEDGER") {
        let output = Command::new(program).arg("-f").arg(&journal).args(["check", "--strict"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let feeds = finance.json(&["archive", "list"]);
    assert_eq!(feeds["feeds"].as_array().unwrap().len(), 4);
    let raw = finance.json(&["archive", "read", "--participant", "node/dc-1", "--after", "3", "--limit", "2"]);
    assert_eq!((&raw["entries"][0]["seq"], raw["entries"].as_array().unwrap().len()), (&4.into(), 2));
    let signed = finance.json(&["head", "sign"]);
    assert_eq!(signed["heads"][0]["number"], entries);
    assert_eq!(finance.json(&["status"])["signed_head"], signed["heads"][0]);
    let heads = dir.join("heads.json");
    std::fs::write(&heads, finance.json(&["head", "list"]).to_string()).unwrap();
    for (args, code, word) in [
        (["archive", "read", "--participant", "node/dc-9"].as_slice(), 1, "UNKNOWN_FEED"),
        (&["archive", "list", "--page-token", "zz"], 1, "INVALID_PAGE_TOKEN"),
        (&["verify", "--data-dir", "/nonexistent"], 1, "unable to open"),
        (&["trial-balance", "--entity", "nobody"], 1, "UNKNOWN_ENTITY"),
        (&["trial-balance", "--entity", "no entity!"], 1, "INVALID_ID"),
        (&["journal", "--page-token", "zz"], 1, "INVALID_PAGE_TOKEN"),
        (&["journal", "--limit", "x"], 2, "--limit"),
    ] {
        let (got, text) = finance.run(args);
        assert_eq!(got, Some(code), "{args:?}: {text}");
        assert!(text.contains(word), "{args:?}: {text}");
    }
    // The file can be checked while the service runs.
    let books = dir.join("books");
    let verify = ["verify", "--data-dir", books.to_str().unwrap(), "--heads", heads.to_str().unwrap()];
    let checked = finance.json(&verify);
    assert_eq!((&checked["whole"], &checked["kept_heads"]), (&true.into(), &checked["signed_heads"]));
    assert!(checked["raw_feeds"].as_str().unwrap().ends_with("facts posted anew"), "{checked}");
    let (code, text) = finance.run(&[&verify[..], &["--quick"]].concat());
    assert!(code == Some(0) && text.contains("left out"), "{text}");
}
