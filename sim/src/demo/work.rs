//! People at the nodes: they list their tasks, pick, pack and ship them; now and then they ship only part, or decline.

use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use stockmesh_proto::feed::v1::DeclineReason;
use stockmesh_proto::node::v1::{
    DeclineAllocationRequest, PackItemsRequest, PickItemsRequest, ShipItemsRequest, ShipLine, Task,
};
use stockmesh_service::request::new_request_id;
use stockmesh_service::status::known_reason;
use stockmesh_types::Reason;
use tokio::sync::watch;
use tonic::Status;

use super::context::{CallError, Context, Tried};

/// Orders that one node works on at once.
const AT_ONCE: usize = 16;
/// Lines of one shipment.
const LINES_PER_SHIPMENT: usize = 200;
/// Between two looks at an empty list.
const IDLE: Duration = Duration::from_millis(50);
/// Tasks that are declined, per mille.
const DECLINED_PER_MILLE: u64 = 6;
/// Orders at a node that are shipped in two parts, percent.
const PARTIAL_PERCENT: u64 = 8;
/// Orders at a node that are picked and packed line by line before they ship, percent.
const STEPWISE_PERCENT: u64 = 6;

/// The assumption, for the report.
#[must_use]
pub fn assumption() -> String {
    format!(
        "nodes decline {DECLINED_PER_MILLE} in 1,000 tasks (half for capacity; the others not found or damaged), ship {PARTIAL_PERCENT} % of orders in two parts, and pick and pack {STEPWISE_PERCENT} % step by step; the rest is booked at shipping"
    )
}

/// One node's people.
pub struct Worker<'a> {
    context: &'a Context,
    node: &'a str,
    /// What was declined or shipped in part before: each only once.
    done_once: Mutex<HashSet<String>>,
}

impl<'a> Worker<'a> {
    /// At a node.
    #[must_use]
    pub fn new(context: &'a Context, node: &'a str) -> Self {
        Self { context, node, done_once: Mutex::default() }
    }

    /// Works until told to stop.
    ///
    /// # Errors
    /// The first call that failed for another reason than business.
    pub async fn run(&self, mut stop: watch::Receiver<bool>) -> Result<(), CallError> {
        while !*stop.borrow() {
            let tasks = self.context.clients.all_tasks(self.node, true).await;
            let tasks = tasks.tried(format!("{} can't list its tasks", self.node))?;
            if tasks.is_empty() {
                let _ = tokio::time::timeout(IDLE, stop.changed()).await;
                continue;
            }
            let mut orders: BTreeMap<String, Vec<Task>> = BTreeMap::new();
            for task in tasks {
                orders.entry(task.order_id.clone()).or_default().push(task);
            }
            let work = orders.into_iter().map(|(order_id, tasks)| self.order(order_id, tasks));
            stream::iter(work).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        }
        Ok(())
    }

    fn once(&self, what: String) -> bool {
        self.done_once.lock().unwrap_or_else(PoisonError::into_inner).insert(what)
    }

    async fn order(&self, order_id: String, tasks: Vec<Task>) -> Result<(), CallError> {
        let mut to_ship = Vec::new();
        for task in tasks {
            if !self.maybe_decline(&task).await? {
                to_ship.push(task);
            }
        }
        let draw = self.context.draw(&format!("{}/{order_id}", self.node));
        if draw % 100 < STEPWISE_PERCENT {
            for task in &to_ship {
                self.pick_and_pack(task).await?;
            }
        }
        let partial = (draw >> 16) % 100 < PARTIAL_PERCENT && self.once(format!("partial/{order_id}"));
        for lines in to_ship.chunks(LINES_PER_SHIPMENT) {
            self.ship(&order_id, lines, partial).await?;
        }
        Ok(())
    }

    /// A business answer that work may meet: somebody cancelled in between. Anything else ends the run.
    fn overtaken(&self, status: Status, what: &str) -> Result<(), CallError> {
        match known_reason(&status) {
            Some(Reason::ExceedsAllocation | Reason::NotPicked | Reason::UnknownAllocation) => {
                self.context.book.lock().overtaken += 1;
                Ok(())
            }
            // Counted, and judged at the end: the run goes on, to see what else there is.
            Some(Reason::InsufficientOnHand) => {
                self.context.book.lock().short_on_hand += 1;
                Ok(())
            }
            _ => Err(CallError { what: format!("{} can't {what}", self.node), status }),
        }
    }

    async fn maybe_decline(&self, task: &Task) -> Result<bool, CallError> {
        let place = format!("{}/{}/{}", self.node, task.order_id, task.line);
        let draw = self.context.draw(&format!("decline/{place}"));
        if draw % 1_000 >= DECLINED_PER_MILLE || task.picked > 0 || !self.once(format!("decline/{place}")) {
            return Ok(false);
        }
        let left = left_of(task);
        let (reason, name) = match (draw >> 16) % 4 {
            0 => (DeclineReason::NotFound, "not found"),
            1 => (DeclineReason::Damaged, "damaged"),
            _ => (DeclineReason::NoCapacity, "no capacity"),
        };
        // Of many units some are there after all.
        let quantity = if left > 1 && (draw >> 24).is_multiple_of(2) { left / 2 } else { left };
        let request = DeclineAllocationRequest {
            node: self.node.to_owned(),
            request_id: new_request_id(),
            allocation: task.allocation,
            quantity,
            reason: reason.into(),
        };
        match self.context.clients.decline_allocation(request).await {
            Ok(_) => {
                let mut acks = self.context.book.lock();
                acks.declines += 1;
                *acks.declined_units.entry(name).or_default() += quantity;
                Ok(true)
            }
            Err(status) => self.overtaken(status, "decline a task").map(|()| true),
        }
    }

    async fn pick_and_pack(&self, task: &Task) -> Result<(), CallError> {
        let (node, allocation) = (self.node.to_owned(), task.allocation);
        let to_pick = left_of(task) + task.shipped - task.picked;
        if to_pick <= 0 {
            return Ok(());
        }
        let pick = PickItemsRequest { node: node.clone(), request_id: new_request_id(), allocation, quantity: to_pick };
        if let Err(status) = self.context.clients.pick_items(pick).await {
            return self.overtaken(status, "pick");
        }
        let pack = PackItemsRequest { node, request_id: new_request_id(), allocation, quantity: to_pick };
        if let Err(status) = self.context.clients.pack_items(pack).await {
            return self.overtaken(status, "pack");
        }
        self.context.book.lock().picked_and_packed += 1;
        Ok(())
    }

    async fn ship(&self, order_id: &str, tasks: &[Task], partial: bool) -> Result<(), CallError> {
        let mut lines: Vec<ShipLine> = tasks
            .iter()
            .map(|task| ShipLine { allocation: task.allocation, quantity: left_of(task), ..Default::default() })
            .filter(|line| line.quantity > 0)
            .collect();
        if partial {
            // The first half of the lines now, or of the only line's units; the next look at the list finds the rest.
            match lines.as_mut_slice() {
                [only] if only.quantity > 1 => only.quantity /= 2,
                several => {
                    let keep = several.len().div_ceil(2);
                    lines.truncate(keep);
                }
            }
        }
        if lines.is_empty() {
            return Ok(());
        }
        let units: i64 = lines.iter().map(|line| line.quantity).sum();
        let request = ShipItemsRequest {
            node: self.node.to_owned(),
            request_id: new_request_id(),
            shipment_id: String::new(),
            lines,
            carrier: "demo-carrier".to_owned(),
            tracking: String::new(),
        };
        match self.context.clients.ship_items(request).await {
            Ok(_) => {
                self.context.gauges.shipped_units.fetch_add(units, Relaxed);
                let mut acks = self.context.book.lock();
                acks.shipments += 1;
                acks.shipped_units += units;
                acks.partial_shipments += u64::from(partial);
                Ok(())
            }
            Err(status) => self.overtaken(status, &format!("ship order {order_id}")),
        }
    }
}

fn left_of(task: &Task) -> i64 {
    task.quantity - task.shipped - task.cancelled
}
