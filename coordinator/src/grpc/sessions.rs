//! Streams that one participant may have open: a client that dials anew without hanging up must not take all there are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stockmesh_types::{Reason, Reject};

/// Streams of one participant and direction: the one in use, and those that it left behind when its link broke, which end
/// when keepalive finds them dead.
const MAX_SESSIONS: usize = 8;

/// Counts open streams by participant and direction.
#[derive(Clone, Default)]
pub(super) struct Sessions(Arc<Mutex<BTreeMap<String, usize>>>);

/// An open stream; its place is free when this is dropped.
pub(super) struct Session {
    sessions: Sessions,
    name: String,
}

impl Sessions {
    /// Takes a place.
    ///
    /// # Errors
    /// `TOO_MANY_SESSIONS`.
    pub(super) fn open(&self, name: &str) -> Result<Session, Reject> {
        let mut open = self.lock();
        let count = open.entry(name.to_owned()).or_default();
        if *count >= MAX_SESSIONS {
            let message = format!(
                "{MAX_SESSIONS} streams are open already for {name}: end one first, or wait until dead ones are cut"
            );
            return Err(Reject::new(Reason::TooManySessions, message));
        }
        *count += 1;
        Ok(Session { sessions: self.clone(), name: name.to_owned() })
    }

    // A panic elsewhere ends the process: counts that it left behind are of no use to anybody.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut open = self.sessions.lock();
        if let Some(count) = open.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_participant_has_so_many_streams_and_others_have_theirs() {
        let sessions = Sessions::default();
        let open: Vec<Session> = (0..MAX_SESSIONS).map(|_| sessions.open("push node/a").unwrap()).collect();
        let refused = sessions.open("push node/a").err().unwrap();
        assert_eq!(refused.reason, Reason::TooManySessions);
        let _other = sessions.open("push node/b").unwrap();
        drop(open);
        let _again = sessions.open("push node/a").unwrap();
        assert_eq!(sessions.lock().len(), 2, "what is closed is forgotten");
    }
}
