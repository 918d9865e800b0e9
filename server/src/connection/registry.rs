//! Which sessions can be resumed, and the way to each.
//!
//! A session is owned by one task from its beginning to its end. A connection that wants to resume
//! it is handed over to that task, whether it waits for its client or still serves an older
//! connection: so there is no moment at which two connections, or none, have the session.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use subtle::ConstantTimeEq;
use tokio::sync::mpsc;

use super::line::Line;
use crate::state::TenantId;

/// A connection that goes on with a session.
#[derive(Debug)]
pub(super) struct TakeOver {
    /// The connection.
    pub(super) line: Line,
    /// The last message that its client has processed.
    pub(super) received: u64,
}

/// The way to one session.
struct Entry {
    tenant: TenantId,
    token: [u8; 16],
    way: mpsc::Sender<TakeOver>,
}

impl fmt::Debug for Entry {
    /// Whoever has the token has the session.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({:?})", self.tenant)
    }
}

#[derive(Debug, Default)]
struct Entries {
    next: u64,
    by_number: HashMap<u64, Entry>,
}

/// The sessions that can be resumed.
#[derive(Debug, Default)]
pub struct Registry(Mutex<Entries>);

impl Registry {
    /// Enters a session until what this gives is dropped.
    pub(super) fn enter(self: &Arc<Self>, tenant: TenantId, token: [u8; 16]) -> Entered {
        let (way, takeovers) = mpsc::channel(1);
        let mut entries = self.entries();
        let number = entries.next;
        entries.next += 1;
        let entry = Entry { tenant, token, way };
        entries.by_number.insert(number, entry);
        Entered {
            registry: Arc::clone(self),
            number,
            takeovers,
        }
    }

    /// The way to a session of a tenant; none for a token that nobody has, and for one of another
    /// tenant.
    ///
    /// Each token is compared, and each in constant time: how long it takes tells how many sessions
    /// there are, and nothing of their tokens.
    pub(super) fn find(
        &self,
        tenant: TenantId,
        token: &[u8; 16],
    ) -> Option<mpsc::Sender<TakeOver>> {
        let entries = self.entries();
        let mut found = None;
        for entry in entries.by_number.values() {
            let is_same = bool::from(entry.token.as_slice().ct_eq(token.as_slice()));
            if is_same & (entry.tenant == tenant) {
                found = Some(entry.way.clone());
            }
        }
        found
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session's entry.
#[derive(Debug)]
pub(super) struct Entered {
    registry: Arc<Registry>,
    number: u64,
    takeovers: mpsc::Receiver<TakeOver>,
}

impl Entered {
    /// Waits for a connection that goes on with the session. Nothing is lost when this is dropped.
    pub(super) async fn taken_over(&mut self) -> TakeOver {
        match self.takeovers.recv().await {
            Some(takeover) => takeover,
            // The registry holds the other end as long as this is here.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.registry.entries().by_number.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: TenantId = TenantId(1);
    const OTHER: TenantId = TenantId(2);

    #[tokio::test]
    async fn a_session_is_found_by_its_token_and_tenant_until_it_ends() {
        let registry = Arc::new(Registry::default());
        let first = registry.enter(ONE, [1; 16]);
        let second = registry.enter(ONE, [2; 16]);
        assert!(registry.find(ONE, &[1; 16]).is_some());
        assert!(registry.find(ONE, &[2; 16]).is_some());
        let mut near = [1; 16];
        near[15] = 0;
        assert!(registry.find(ONE, &near).is_none());
        // The token of somebody else is one that nobody has.
        assert!(registry.find(OTHER, &[1; 16]).is_none());
        let way = registry.find(ONE, &[1; 16]);
        drop(first);
        assert!(registry.find(ONE, &[1; 16]).is_none());
        assert!(way.is_some_and(|way| way.is_closed()));
        drop(second);
        assert!(registry.entries().by_number.is_empty());
    }
}
