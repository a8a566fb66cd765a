//! The rights of nodes beyond the happy path: stores that were restored or replaced, nodes that are lost, substitutes that
//! wait for a node's word.
//!
//! ```text
//!   OpenNodeEpoch --> life + 1, fenced: O(1)          cells are restamped when they are next touched (`records`)
//!        |                 ^
//!        v                 +-- RetireNode, two people --> Work::Retire: rights go back, promises are asked back
//!   Welcome, in pages (`welcome`)                             |
//!        |                                               ReserveSubstitutes: units are held elsewhere (`substitutes`)
//!        v                                                    |
//!   the node has recounted: open again                    the node's answer, or two signatures: they become work there
//! ```
//!
//! The law holds throughout: what a node may still ship is promised again only after its word, or two signatures.
//! Must not know: gRPC, where old feeds are kept, who decides.

mod epochs;
mod policy;
mod records;
mod retire;
mod saved;
mod substitutes;
mod welcome;
mod work;

#[cfg(test)]
pub(crate) use epochs::uuid_text;
pub(crate) use policy::{ItemScope, Kept, NodeScope, PolicyState, Scope, Velocity};
pub(crate) use records::{LateFacts, Marks, NodeRights, Recovery, RecoveryState, Retirement, Standing, Work};
pub use welcome::WelcomePage;
