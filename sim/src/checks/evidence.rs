//! What the network says of itself when it is at rest: read once through its public API.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use stockmesh_proto::coordinator::v1::{Cell, GetClusterStatusResponse, OrderStatus};
use stockmesh_proto::feed::v1::{FeedPosition, FeedRef};
use stockmesh_proto::finance::v1::{
    AccountBalance, FeedCursor, GetTrialBalanceRequest, JournalEntry, StockValue, SuspenseItem,
};
use stockmesh_proto::node::v1::{StockLevel, Task};

use crate::demo::context::{CallError, Tried};
use crate::demo::quiet::{self, Positions, QuietError};
use crate::network::Clients;

/// The journal, summed while it was read.
#[derive(Debug, Default)]
pub struct Journal {
    /// Entries.
    pub entries: u64,
    /// Sums by entity, account and currency: debits, credits, minor units.
    pub accounts: BTreeMap<(String, String, String), (i64, i64)>,
    /// Entries by rule.
    pub by_rule: BTreeMap<String, u64>,
    /// Distinct facts that were posted, by the first part of the rule (`shipment`, `counter`, `receipt`, `return`).
    pub facts: BTreeMap<String, u64>,
    /// Entries whose debits and credits differ.
    pub unbalanced: Vec<u64>,
    /// Numbers that do not follow the one before.
    pub gaps: Vec<u64>,
    /// Facts of which a part was posted more than once.
    pub posted_again: Vec<String>,
    feeds: Vec<FeedRef>,
    rules: Vec<String>,
    /// The fact whose entries are being read: feed, seq.
    last: Option<(usize, u64)>,
    /// Rules of each fact that were read, and of those the ones before its present run of entries.
    seen: HashMap<(usize, u64), (BTreeSet<usize>, BTreeSet<usize>)>,
}

impl Journal {
    /// Takes the next entry in.
    pub fn add(&mut self, entry: JournalEntry) {
        let JournalEntry { number, entity, currency_code, rule, source, source_seq, postings, .. } = entry;
        if number != self.entries + 1 {
            self.gaps.push(number);
        }
        self.entries += 1;
        if postings.iter().map(|posting| i128::from(posting.amount_minor)).sum::<i128>() != 0 {
            self.unbalanced.push(number);
        }
        for posting in postings {
            let sums = self.accounts.entry((entity.clone(), posting.account, currency_code.clone())).or_default();
            if posting.amount_minor >= 0 {
                sums.0 += posting.amount_minor;
            } else {
                sums.1 -= posting.amount_minor;
            }
        }
        let source = source.unwrap_or_default();
        let fact = (place_of(&mut self.feeds, &source), source_seq);
        let rule_at = place_of(&mut self.rules, &rule);
        let (rules, before) = self.seen.entry(fact).or_default();
        if self.last != Some(fact) {
            before.clone_from(rules);
            self.last = Some(fact);
        }
        // A shipment's cost is posted at once, its revenue when the order is known: parts of a fact may stand apart. The
        // same part twice, with other facts between, was posted again.
        if before.contains(&rule_at) {
            self.posted_again.push(format!("entry {number}: {rule} of {} seq {source_seq}", source.participant));
        }
        let kind = |rule: &str| rule.split(['.', '/']).next().unwrap_or_default().to_owned();
        let of_kind = kind(&rule);
        if !rules.iter().any(|known| kind(&self.rules[*known]) == of_kind) {
            *self.facts.entry(of_kind).or_default() += 1;
        }
        rules.insert(rule_at);
        *self.by_rule.entry(rule).or_default() += 1;
    }
}

/// Where a value stands in a short list, at its end when it is new.
fn place_of<T: PartialEq + Clone>(list: &mut Vec<T>, value: &T) -> usize {
    list.iter().position(|known| known == value).unwrap_or_else(|| {
        list.push(value.clone());
        list.len() - 1
    })
}

/// Everything that was read.
#[derive(Debug, Default)]
pub struct Evidence {
    /// Orders.
    pub orders: Vec<OrderStatus>,
    /// Cells of rights.
    pub cells: Vec<Cell>,
    /// Stock by node.
    pub levels: BTreeMap<String, Vec<StockLevel>>,
    /// Tasks by node, closed ones too.
    pub tasks: BTreeMap<String, Vec<Task>>,
    /// Where feeds and links stand.
    pub positions: Positions,
    /// Finance's cursors.
    pub cursors: Vec<FeedCursor>,
    /// Head of the coordinator's feed to finance.
    pub finance_feed_head: FeedPosition,
    /// Facts in suspense.
    pub suspense: Vec<SuspenseItem>,
    /// Trial balance.
    pub balances: Vec<AccountBalance>,
    /// Journal entries, as the trial balance counts them.
    pub journal_entries: u64,
    /// Stock at cost.
    pub values: Vec<StockValue>,
    /// The journal.
    pub journal: Journal,
    /// Replicas that answered, by address.
    pub replicas: Vec<(String, Option<GetClusterStatusResponse>)>,
}

impl Evidence {
    /// Reads it.
    ///
    /// # Errors
    /// A call that failed, or a network that is not at rest.
    pub async fn gather(clients: &Clients) -> Result<Self, QuietError> {
        let (cursors, finance_feed_head) = quiet::posted(clients).await?;
        let positions = Positions::read(clients).await?;
        let mut levels = BTreeMap::new();
        let mut tasks = BTreeMap::new();
        for node in clients.node_names() {
            let of_node = clients.all_stock(node).await;
            levels.insert(node.to_owned(), of_node.tried(format!("stock of {node} can't be listed"))?);
            let of_node = clients.all_tasks(node, false).await;
            tasks.insert(node.to_owned(), of_node.tried(format!("tasks of {node} can't be listed"))?);
        }
        let mut journal = Journal::default();
        clients.each_journal_entry(|entry| journal.add(entry)).await.tried("the journal can't be read")?;
        let request = GetTrialBalanceRequest { entity: String::new() };
        let balance = clients.get_trial_balance(request).await.tried("the trial balance can't be read")?;
        Ok(Self {
            orders: clients.all_orders().await.tried("orders can't be listed")?,
            cells: clients.all_cells().await.tried("cells can't be listed")?,
            levels,
            tasks,
            positions,
            cursors,
            finance_feed_head,
            suspense: clients.all_suspense().await.tried("suspense can't be listed")?,
            balances: balance.balances,
            journal_entries: balance.journal_entries,
            values: clients.all_stock_values().await.tried("stock values can't be listed")?,
            journal,
            replicas: settled_replicas(clients).await?,
        })
    }

    /// Debits less credits of every account that begins so, minor units.
    #[must_use]
    pub fn balance_of(&self, prefix: &str) -> i64 {
        let within =
            |account: &str| account == prefix || account.strip_prefix(prefix).is_some_and(|r| r.starts_with(':'));
        self.balances.iter().filter(|b| within(&b.account)).map(|b| b.debit_minor - b.credit_minor).sum()
    }
}

/// The replicas' statuses once all have applied the same index, or as they stand after a while.
async fn settled_replicas(clients: &Clients) -> Result<Vec<(String, Option<GetClusterStatusResponse>)>, CallError> {
    let mut statuses = clients.replica_statuses().await;
    for _ in 0..100 {
        let applied: HashSet<Option<u64>> = statuses.iter().map(|(_, s)| s.as_ref().map(|s| s.applied_index)).collect();
        if applied.len() == 1 && !applied.contains(&None) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        statuses = clients.replica_statuses().await;
    }
    Ok(statuses)
}
