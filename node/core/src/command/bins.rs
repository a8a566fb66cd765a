//! SetBins: bins are set up, changed, or taken away when nothing lies in them.

use stockmesh_proto::feed::v1 as feed;
use stockmesh_proto::feed::v1::BinsChanged;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::node::v1::SetBinsResponse;
use stockmesh_types::{Reason, Reject};

use crate::draft::Draft;
use crate::effects::Answer;
use crate::site::{Bin, Label};

/// Bins that one node may have: they are kept in memory.
pub const MAX_BINS: usize = 200_000;

/// Sets bins up.
#[derive(Clone, Debug, PartialEq)]
pub struct SetBins {
    /// Bins as they are to be, each name once.
    pub set: Vec<(Label, Bin)>,
    /// Bins to take away.
    pub removed: Vec<Label>,
}

impl SetBins {
    pub(super) fn execute(self, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { set, removed } = self;
        let mut bins = draft.state().site().bins_count();
        for (n, bin) in removed.iter().enumerate() {
            let at = format!("removed[{n}]");
            if draft.site.bins.get(bin).is_none() {
                return Err(Reject::new(Reason::UnknownBin, format!("there is no bin {bin}")).field(at));
            }
            if let Some(here) = draft.state().site().in_bin(bin).next() {
                let message = format!("{} units of {} lie in bin {bin}", here.condition.word(), here.stock_key);
                return Err(Reject::new(Reason::BinNotEmpty, message).field(at));
            }
            draft.site.bins.remove(bin.clone());
            bins -= 1;
        }
        let mut wire = Vec::with_capacity(set.len());
        for (name, bin) in set {
            bins += usize::from(draft.site.bins.get(&name).is_none());
            wire.push(feed::Bin {
                bin: name.to_string(),
                zone: bin.zone.to_string(),
                accessible: bin.accessible,
                walk_order: bin.walk_order,
            });
            draft.site.bins.put(name, bin);
        }
        if bins > MAX_BINS {
            let message = format!("the node would have {bins} bins, at most {MAX_BINS}");
            return Err(Reject::new(Reason::InvalidValue, message).field("set"));
        }
        let removed = removed.iter().map(ToString::to_string).collect();
        draft.say(Fact::BinsChanged(BinsChanged { set: wire, removed }));
        Ok(Answer::BinsSet(SetBinsResponse { bins: u32::try_from(bins).unwrap_or(u32::MAX) }))
    }
}
