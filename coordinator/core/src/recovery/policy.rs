//! Grant policy: how many units nodes keep back, by kind of node or node, and by segment of items or stock key.
//!
//! Raising one is a recall: the coordinator itself gives free rights back, before the nodes hear of the policy, so that a
//! node that keeps less than it may grants the difference again. For a cell, a stock key goes before a segment and a
//! segment before the empty one; within each, a node goes before its kind.

use stockmesh_proto::common::v1::NodeKind;
use stockmesh_proto::convert;
use stockmesh_proto::coordinator::v1::grant_policy::{Items, Nodes};
use stockmesh_proto::coordinator::v1::{GrantPolicy, NodeRightsMetrics, NodeStanding, ProposedGrantPolicy};
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{GrantPolicySet, grant_policy_set};
use stockmesh_proto::raft::v1::SetGrantPolicies;
use stockmesh_types::{NodeId, Quantity, Reason, Reject};

use super::Work;
use crate::State;
use crate::apply::{Stop, Tx};
use crate::cow::CowMap;
use crate::read::Page;
use crate::records::RememberedOutcome;

/// Policies of one call.
const MAX_POLICIES: usize = 100;
/// Policies of a group: each is sent to every node that it concerns, and is searched for by its scope.
const MAX_IN_FORCE: usize = 100_000;
/// Work of policies that waits at most.
const MAX_WORKS: usize = 1_000;
/// Units of a floor or reserve at most.
const MAX_UNITS: Quantity = 1_000_000_000;
/// A day, in milliseconds.
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// Policies in force, and what they are measured by.
#[derive(Clone, Debug, Default)]
pub(crate) struct PolicyState {
    /// Grows by one with every change.
    pub version: u64,
    pub policies: CowMap<Scope, Kept, 32>,
    /// Counter sales by cell `(key, node)`.
    pub velocities: CowMap<(u32, u32), Velocity, 64>,
}

/// Which cells a policy concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Scope {
    pub nodes: NodeScope,
    pub items: ItemScope,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NodeScope {
    /// Number of the kind.
    Kind(i32),
    /// Dense index.
    Node(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ItemScope {
    /// ABC class of the item; 0: every item that nothing else is said of.
    Segment(u8),
    /// Dense index of a stock key.
    Key(u32),
}

/// What nodes keep back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    pub floor: Quantity,
    pub walk_in_reserve: Quantity,
    pub version: u64,
}

impl Kept {
    fn units(self) -> Quantity {
        self.floor + self.walk_in_reserve
    }
}

/// Counter sales of one cell: a moving average over days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Velocity {
    /// Days since 1970 of `today`.
    pub day: i64,
    /// Units sold on that day so far.
    pub today: Quantity,
    /// Average of the days before, thousandths of a unit a day; each new day weighs an eighth.
    pub average_milli: i64,
}

impl Velocity {
    /// The days up to `day` are over.
    fn at(mut self, day: i64) -> Self {
        let mut passed = (day - self.day).max(0);
        // After some months without a sale nothing is left of the average.
        while passed > 0 && (self.today > 0 || self.average_milli > 0) {
            self.average_milli += (self.today.saturating_mul(1_000) - self.average_milli) / 8;
            // A remainder below the rounding goes as well.
            if self.today == 0 && self.average_milli < 8 {
                self.average_milli = 0;
            }
            self.today = 0;
            passed -= 1;
        }
        self.day = self.day.max(day);
        self
    }
}

impl State {
    /// ABC class of an item, as a number that sorts: its letter; 0: none.
    fn segment_of(&self, item: u32) -> u8 {
        let attributes = self.supply.items.attributes(item);
        attributes.and_then(|attributes| attributes.abc_class.bytes().next()).unwrap_or(0)
    }

    /// The policies that may concern a cell, first the one that goes before the others.
    fn scopes_of(&self, key: u32, node: u32) -> [Scope; 6] {
        let kind = NodeScope::Kind(self.nodes[node].fixed.kind.into());
        let segment = self.segment_of(self.keys[key].item);
        let [by_key, by_class, by_none] = [ItemScope::Key(key), ItemScope::Segment(segment), ItemScope::Segment(0)];
        let of = |nodes, items| Scope { nodes, items };
        [
            of(NodeScope::Node(node), by_key),
            of(kind, by_key),
            of(NodeScope::Node(node), by_class),
            of(kind, by_class),
            of(NodeScope::Node(node), by_none),
            of(kind, by_none),
        ]
    }

    /// The policy of a cell, and where it comes from; without any, the node's own settings hold.
    fn policy_of(&self, key: u32, node: u32) -> Option<(Scope, Kept)> {
        let scopes = self.scopes_of(key, node);
        scopes.iter().find_map(|scope| self.recovery.policy.policies.get(scope).map(|kept| (*scope, *kept)))
    }

    fn policy_message(&self, scope: Scope, kept: Kept) -> GrantPolicy {
        GrantPolicy {
            nodes: Some(match scope.nodes {
                NodeScope::Kind(kind) => Nodes::NodeKind(kind),
                NodeScope::Node(node) => Nodes::Node(self.node_name(node)),
            }),
            items: Some(match scope.items {
                ItemScope::Segment(class) => Items::Segment(segment_text(class)),
                ItemScope::Key(key) => Items::StockKey((&self.keys[key].key).into()),
            }),
            floor: kept.floor,
            walk_in_reserve: kept.walk_in_reserve,
            version: kept.version,
        }
    }

    /// Version of the policies.
    #[must_use]
    pub fn policy_version(&self) -> u64 {
        self.recovery.policy.version
    }

    /// Policies in force, from position `after` on.
    #[must_use]
    pub fn list_policies(&self, after: u64, limit: usize) -> Page<GrantPolicy> {
        let from = usize::try_from(after).unwrap_or(usize::MAX);
        let policies = (after + 1..).zip(self.recovery.policy.policies.iter().skip(from));
        crate::read::page(limit, policies.map(|(next, (scope, kept))| (next, Some(self.policy_message(*scope, *kept)))))
    }

    /// Walk-in reserves that counter sales ask for at a node, to last for `cover_days`; only those that differ from what
    /// is in force. Positions count stock keys.
    ///
    /// # Errors
    /// [`Reason::UnknownNode`]; [`Reason::InvalidValue`] for days out of range.
    pub fn propose_policies(
        &self,
        node: &NodeId,
        cover_days: u32,
        after: u64,
        limit: usize,
    ) -> Result<Page<ProposedGrantPolicy>, Reject> {
        let index = self.known_node(node.as_str(), "node")?;
        if !(1..=60).contains(&cover_days) {
            let message = format!("cover_days is {cover_days}, and must be 1 to 60");
            return Err(Reject::new(Reason::InvalidValue, message).field("cover_days"));
        }
        let today = self.log_time.0.div_euclid(DAY_MS);
        let first = usize::try_from(after).unwrap_or(usize::MAX);
        let keys = (after..).zip(self.keys.iter_from(first)).map(|(position, _)| {
            let key = u32::try_from(position).unwrap_or(u32::MAX);
            (position + 1, self.proposal(key, index, cover_days, today))
        });
        Ok(crate::read::page(limit, keys))
    }

    fn proposal(&self, key: u32, node: u32, cover_days: u32, today: i64) -> Option<ProposedGrantPolicy> {
        let velocity = self.recovery.policy.velocities.get(&(key, node))?.at(today);
        let scope = Scope { nodes: NodeScope::Node(node), items: ItemScope::Key(key) };
        let present = self.policy_of(key, node).map_or(Kept::default(), |(_, kept)| kept);
        // What is under way today counts as far as it goes beyond the average.
        let daily = velocity.average_milli.max(velocity.today.saturating_mul(1_000));
        let reserve = (daily.saturating_mul(i64::from(cover_days)) + 999).div_euclid(1_000).min(MAX_UNITS);
        if reserve == present.walk_in_reserve {
            return None;
        }
        let proposed = Kept { floor: present.floor, walk_in_reserve: reserve, version: 0 };
        Some(ProposedGrantPolicy {
            policy: Some(self.policy_message(scope, proposed)),
            velocity_milli_per_day: daily,
            present_floor: present.floor,
            present_walk_in_reserve: present.walk_in_reserve,
        })
    }

    /// Stranded rights and lost counter sales, by node from position `after` on. A node of which the log heard nothing for
    /// `silent_ms` counts as out of reach. Looks at every cell: ask a snapshot.
    #[must_use]
    pub fn rights_metrics(&self, silent_ms: i64, after: u64, limit: usize) -> Page<NodeRightsMetrics> {
        let from = usize::try_from(after).unwrap_or(usize::MAX);
        let nodes = (after + 1..).zip(self.nodes.iter_from(from)).map(|(next, node)| (next, Some(node)));
        let Page { items, next } = crate::read::page(limit, nodes);
        let mut free = vec![0; items.len()];
        let first = u32::try_from(after).unwrap_or(u32::MAX);
        let end = first.saturating_add(u32::try_from(items.len()).unwrap_or(u32::MAX));
        for record in self.keys.iter() {
            for (node, cell) in record.cells.iter_from(&first).take_while(|(node, _)| *node < end) {
                free[(node - first) as usize] += cell.free();
            }
        }
        let metrics = (first..).zip(items).zip(free).map(|((index, node), free)| {
            let rights = self.recovery.nodes.get(&index).cloned().unwrap_or_default();
            let silent = self.log_time.0 - rights.heard_ms > silent_ms;
            let standing = self.standing_message(node);
            let stranded = silent || standing != NodeStanding::Unspecified;
            NodeRightsMetrics {
                node: node.id.to_string(),
                heard_time_ms: rights.heard_ms,
                silent,
                standing: standing.into(),
                stranded_units: if stranded { free } else { 0 },
                recall_requested_units: rights.recall_requested,
                recall_returned_units: rights.recall_returned,
                lost_counter_units: rights.recall_requested - rights.recall_returned,
            }
        });
        Page { items: metrics.collect(), next }
    }

    /// What a node is told: for items, the most particular policy of it or its kind.
    pub(crate) fn policies_for(&self, node: u32) -> impl Iterator<Item = GrantPolicySet> {
        let kind = NodeScope::Kind(self.nodes[node].fixed.kind.into());
        let policies = &self.recovery.policy.policies;
        let own = NodeScope::Node(node);
        policies.iter().filter_map(move |(scope, kept)| {
            let by_kind = scope.nodes == kind && policies.get(&Scope { nodes: own, items: scope.items }).is_none();
            (scope.nodes == own || by_kind).then(|| self.policy_fact(scope.items, *kept))
        })
    }

    fn policy_fact(&self, items: ItemScope, kept: Kept) -> GrantPolicySet {
        GrantPolicySet {
            items: Some(match items {
                ItemScope::Segment(class) => grant_policy_set::Items::Segment(segment_text(class)),
                ItemScope::Key(key) => grant_policy_set::Items::StockKey((&self.keys[key].key).into()),
            }),
            floor: kept.floor,
            walk_in_reserve: kept.walk_in_reserve,
            version: kept.version,
        }
    }
}

fn segment_text(class: u8) -> String {
    if class == 0 { String::new() } else { char::from(class).to_string() }
}

/// Units that a policy names, in range.
fn units(value: Quantity, field: &str) -> Result<Quantity, Reject> {
    if (0..=MAX_UNITS).contains(&value) {
        return Ok(value);
    }
    Err(Reject::new(Reason::InvalidValue, format!("{field} is {value}, and must be 0 to {MAX_UNITS}")).field(field))
}

impl Tx<'_> {
    pub(crate) fn set_grant_policies(&mut self, command: &SetGrantPolicies) -> Result<RememberedOutcome, Stop> {
        let SetGrantPolicies { policies, expected_version } = command;
        let present = self.state.recovery.policy.version;
        if *expected_version != 0 && *expected_version != present {
            let message = format!("the policies are at version {present}, and {expected_version} was expected");
            return Err(Reject::new(Reason::PolicyChanged, message).field("expected_version").into());
        }
        if policies.is_empty() || policies.len() > MAX_POLICIES {
            let message = format!("{} policies, and a call holds 1 to {MAX_POLICIES}", policies.len());
            return Err(Reject::new(Reason::TooManyLines, message).field("policies").into());
        }
        let works = self.state.recovery.works.len() + 2 * policies.len();
        let in_force = self.state.recovery.policy.policies.len() + policies.len();
        if works > MAX_WORKS || in_force > MAX_IN_FORCE {
            let message = "too much work of earlier policies waits, or too many are in force: repeat when it is done";
            return Err(Reject::new(Reason::TooMuchWork, message).into());
        }
        let mut read = Vec::with_capacity(policies.len());
        for (n, policy) in policies.iter().enumerate() {
            let (scope, kept) = self.read_policy(policy).map_err(|reject| reject.within(&format!("policies[{n}]")))?;
            if read.iter().any(|(other, _)| *other == scope) {
                let message = "a policy for the same nodes and items stands twice";
                return Err(Reject::new(Reason::DuplicateLine, message).field(format!("policies[{n}]")).into());
            }
            read.push((scope, kept));
        }
        let version = present + 1;
        self.state.recovery.policy.version = version;
        for (scope, kept) in read {
            let before = self.state.recovery.policy.policies.insert(scope, Kept { version, ..kept });
            let known = before.map_or(0, Kept::units);
            // First what is given back, then the word: a node that hears it grants what it has too much.
            if kept.units() > known {
                self.state.recovery.queue(Work::Raise {
                    scope,
                    units: kept.units() - known,
                    next_key: 0,
                    next_node: 0,
                });
            }
            self.state.recovery.queue(Work::Announce { scope, next_node: 0 });
        }
        self.effects.extend_from_slice(&version.to_be_bytes());
        Ok(RememberedOutcome::PoliciesSet { version })
    }

    fn read_policy(&self, policy: &GrantPolicy) -> Result<(Scope, Kept), Reject> {
        let GrantPolicy { nodes, items, floor, walk_in_reserve, version: _ } = policy;
        let nodes = match nodes {
            Some(Nodes::NodeKind(kind)) => NodeScope::Kind(convert::specified::<NodeKind>(*kind, "node_kind")?.into()),
            Some(Nodes::Node(node)) => NodeScope::Node(self.state.known_node(node, "node")?),
            None => return Err(Reject::new(Reason::MissingField, "node_kind or node is missing").field("nodes")),
        };
        let items = match items {
            Some(Items::Segment(segment)) if segment.is_empty() => ItemScope::Segment(0),
            Some(Items::Segment(segment)) => match segment.as_bytes() {
                [class @ b'A'..=b'C'] => ItemScope::Segment(*class),
                _ => {
                    let shown: String = segment.chars().take(20).collect();
                    let message = format!("segment is {shown:?}, and must be A, B, C or empty");
                    return Err(Reject::new(Reason::InvalidValue, message).field("segment"));
                }
            },
            Some(Items::StockKey(stock_key)) => {
                let stock_key = convert::stock_key(&Some(stock_key.clone()), "stock_key")?;
                let known = self.state.key_index(&stock_key);
                ItemScope::Key(known.ok_or_else(|| {
                    let message = format!("{stock_key} was never granted or ordered: nothing is kept back of it yet");
                    Reject::new(Reason::UnknownCell, message).field("stock_key")
                })?)
            }
            None => return Err(Reject::new(Reason::MissingField, "segment or stock_key is missing").field("items")),
        };
        let kept = Kept {
            floor: units(*floor, "floor")?,
            walk_in_reserve: units(*walk_in_reserve, "walk_in_reserve")?,
            version: 0,
        };
        Ok((Scope { nodes, items }, kept))
    }

    /// Tells nodes of a policy, some at a time. Gives the node to go on with.
    pub(super) fn announce(&mut self, scope: Scope, from: u32, limit: u32) -> Option<u32> {
        let kept = self.state.recovery.policy.policies.get(&scope).copied()?;
        let nodes = u32::try_from(self.state.nodes.len()).unwrap_or(u32::MAX);
        let (first, end) = match scope.nodes {
            NodeScope::Node(node) => (node, node + 1),
            NodeScope::Kind(_) => (from, from.saturating_add(limit).min(nodes)),
        };
        for node in first..end {
            let own = Scope { nodes: NodeScope::Node(node), items: scope.items };
            let concerned = match scope.nodes {
                NodeScope::Node(_) => true,
                NodeScope::Kind(kind) => {
                    i32::from(self.state.nodes[node].fixed.kind) == kind
                        && self.state.recovery.policy.policies.get(&own).is_none()
                }
            };
            if concerned {
                let fact = self.state.policy_fact(scope.items, kept);
                let destination = self.state.nodes[node].destination;
                self.emit(destination, Fact::GrantPolicySet(fact));
            }
        }
        (matches!(scope.nodes, NodeScope::Kind(_)) && end < nodes).then_some(end)
    }

    /// Gives free rights back where a policy was raised by `units`, some cells at a time. Gives the cell to go on with.
    pub(super) fn raise(
        &mut self,
        scope: Scope,
        units: Quantity,
        from: (u32, u32),
        limit: u32,
    ) -> Result<Option<(u32, u32)>, Stop> {
        let keys = u32::try_from(self.state.keys.len()).unwrap_or(u32::MAX);
        let (mut key, last) = match scope.items {
            ItemScope::Key(key) => (key, key + 1),
            ItemScope::Segment(_) => (from.0, keys),
        };
        let (mut first_node, mut left) = (from.1, limit);
        // Keys that nobody has cells of cost a look each.
        let mut looks = super::work::KEYS_AT_ONCE;
        while key < last {
            if looks == 0 {
                return Ok(Some((key, 0)));
            }
            looks -= 1;
            let cells = self.state.keys[key].cells.iter_from(&first_node);
            let nodes: Vec<u32> = cells.map(|(node, _)| *node).take(left as usize + 1).collect();
            for node in nodes {
                if left == 0 {
                    return Ok(Some((key, node)));
                }
                left -= 1;
                if self.state.policy_of(key, node).is_some_and(|(of, _)| of == scope) {
                    self.change_cell(key, node, |cell| cell.returned += cell.free().clamp(0, units))?;
                }
            }
            (key, first_node) = (key + 1, 0);
        }
        Ok(None)
    }

    /// Units were sold at a counter: what proposals are made from.
    pub(crate) fn sold(&mut self, node: u32, key: u32, units: Quantity) {
        let today = self.state.log_time.0.div_euclid(DAY_MS);
        let known = self.state.recovery.policy.velocities.get(&(key, node)).copied();
        let mut velocity = known.unwrap_or(Velocity { day: today, ..Velocity::default() }).at(today);
        velocity.today = velocity.today.saturating_add(units.max(0));
        self.state.recovery.policy.velocities.insert((key, node), velocity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn velocity_follows_sales_and_forgets_them() {
        let mut velocity = Velocity::default();
        for day in 0..40 {
            velocity = velocity.at(day);
            velocity.today += 8;
        }
        let steady = velocity.at(40);
        assert!((7_900..=8_000).contains(&steady.average_milli), "{steady:?}");
        assert_eq!(steady.at(40), steady, "the same day changes nothing");
        assert_eq!(steady.at(30), steady, "time never runs backwards");
        let later = steady.at(45);
        assert!(later.average_milli < 4_500, "{later:?}");
        assert_eq!(steady.at(1_000_000).average_milli, 0);
    }
}
