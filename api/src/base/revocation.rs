//! Knowing when what is remembered of credentials no longer holds.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The channel on which PostgreSQL tells every process, at a commit, that a credential ended.
pub const REVOCATIONS: &str = "growthos_revocation";

/// Counts the revocations that this process knows of. What was read before the last one, or while others' could not be
/// heard, is not to be believed: so a look-up that was overtaken by a revocation leaves nothing behind that works.
#[derive(Debug, Default)]
pub struct Revocations {
    count: AtomicU64,
    heard: AtomicBool,
}

impl Revocations {
    /// What a look-up that begins now may be remembered under; `None` while other processes are not heard, when nothing may.
    pub fn now(&self) -> Option<u64> {
        self.heard
            .load(Ordering::SeqCst)
            .then(|| self.count.load(Ordering::SeqCst))
    }
    /// A credential ended here or elsewhere.
    pub fn happened(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
    }
    /// Whether other processes' revocations are heard from now on. Those that were missed until now are assumed.
    pub fn heard(&self, heard: bool) {
        self.happened();
        self.heard.store(heard, Ordering::SeqCst);
    }
    /// Counts one when it is dropped.
    pub(super) const fn at_the_end(&self) -> AtTheEnd<'_> {
        AtTheEnd(self)
    }
}

pub(super) struct AtTheEnd<'a>(&'a Revocations);

impl Drop for AtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.happened();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_before_a_revocation_is_not_believed_after_it() {
        let revocations = Revocations::default();
        assert_eq!(revocations.now(), None, "nobody listens");
        revocations.heard(true);
        let before = revocations.now();
        drop(revocations.at_the_end());
        assert!(before.is_some() && before != revocations.now());
        let before = revocations.now();
        revocations.heard(false);
        assert_eq!(revocations.now(), None);
        revocations.heard(true);
        assert!(before != revocations.now(), "what was missed is assumed");
    }
}
