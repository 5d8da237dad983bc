//! Gathers what the fields of one request ask for into one load.
//!
//! async-graphql's `DataLoader` starts its load from a timer on another thread: on a busy machine the timer fires while the
//! request is still handing in keys, and one page costs two loads. Here the first field to ask leads: it waits in
//! the request's own task until no sibling hands in another key. So a page costs one load, always.

use std::{
    collections::HashSet,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_graphql::dataloader::Loader;
use tokio::sync::oneshot;

/// Lets keys arrive that another loader's answer brings.
const GRACE: Duration = Duration::from_millis(1);
/// How many turns in a row must bring no key.
const CALM_TURNS: u32 = 4;

pub(super) struct Batch<L, K>
where
    K: Send + Sync + Hash + Eq + Clone + 'static,
    L: Loader<K>,
{
    loader: L,
    pending: Mutex<Pending<K, Answer<L, K>>>,
}

type Answer<L, K> = Result<Option<<L as Loader<K>>::Value>, <L as Loader<K>>::Error>;

struct Pending<K, A> {
    asked: Vec<(K, oneshot::Sender<A>)>,
    /// One of the askers gathers the others.
    led: bool,
}

impl<L, K> Batch<L, K>
where
    K: Send + Sync + Hash + Eq + Clone + 'static,
    L: Loader<K>,
{
    pub(super) const fn new(loader: L) -> Self {
        let pending = Pending {
            asked: Vec::new(),
            led: false,
        };
        Self {
            loader,
            pending: Mutex::new(pending),
        }
    }
    /// The loader's answer for `key`, loaded together with what the siblings ask for.
    pub(super) async fn ask(&self, key: K) -> Answer<L, K> {
        loop {
            let (sender, answer) = oneshot::channel();
            let leads = {
                let mut pending = self.pending();
                pending.asked.push((key.clone(), sender));
                !std::mem::replace(&mut pending.led, true)
            };
            if leads {
                self.lead().await;
            }
            if let Ok(answer) = answer.await {
                return answer;
            }
            // The leader was dropped, because its part of the request failed: ask again.
        }
    }
    async fn lead(&self) {
        let mut lead = Lead {
            batch: self,
            ended: false,
        };
        tokio::time::sleep(GRACE).await;
        let mut seen = 0;
        let mut calm = 0;
        while calm < CALM_TURNS {
            tokio::task::yield_now().await;
            let asked = self.pending().asked.len();
            calm = if asked == seen { calm + 1 } else { 0 };
            seen = asked;
        }
        let asked = lead.end();
        let keys: HashSet<K> = asked.iter().map(|(key, _)| key.clone()).collect();
        let keys: Vec<K> = keys.into_iter().collect();
        let loaded = self.loader.load(&keys).await;
        for (key, sender) in asked {
            let answer = match &loaded {
                Ok(values) => Ok(values.get(&key).cloned()),
                Err(error) => Err(error.clone()),
            };
            // An asker that is gone needs no answer.
            let _ = sender.send(answer);
        }
    }
    fn pending(&self) -> MutexGuard<'_, Pending<K, Answer<L, K>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the leadership, also when the leader is dropped while it gathers: the others then ask again.
struct Lead<'a, L: Loader<K>, K: Send + Sync + Hash + Eq + Clone + 'static> {
    batch: &'a Batch<L, K>,
    ended: bool,
}

impl<L: Loader<K>, K: Send + Sync + Hash + Eq + Clone + 'static> Lead<'_, L, K> {
    fn end(&mut self) -> Vec<(K, oneshot::Sender<Answer<L, K>>)> {
        let mut pending = self.batch.pending();
        self.ended = true;
        pending.led = false;
        std::mem::take(&mut pending.asked)
    }
}

impl<L: Loader<K>, K: Send + Sync + Hash + Eq + Clone + 'static> Drop for Lead<'_, L, K> {
    fn drop(&mut self) {
        if !self.ended {
            self.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use futures_util::future::join_all;

    use super::*;

    /// Doubles numbers, knows no 13, and notes its loads.
    #[derive(Default)]
    struct Doubles(Mutex<Vec<usize>>);

    impl Loader<u32> for Doubles {
        type Value = u32;
        type Error = ();

        async fn load(&self, keys: &[u32]) -> Result<HashMap<u32, u32>, ()> {
            self.0.lock().unwrap().push(keys.len());
            Ok(keys
                .iter()
                .filter(|key| **key != 13)
                .map(|key| (*key, key * 2))
                .collect())
        }
    }

    #[tokio::test]
    async fn siblings_share_one_load_however_many_they_are() {
        let batch = Batch::new(Doubles::default());
        let asks = (0..5_000).map(|n| {
            let batch = &batch;
            async move {
                // Some fields take a few turns before they ask.
                for _ in 0..n % 3 {
                    tokio::task::yield_now().await;
                }
                batch.ask(n / 2).await
            }
        });
        let answers = join_all(asks).await;
        assert_eq!(answers[4_999], Ok(Some(4_998)));
        assert_eq!(answers[26], Ok(None));
        assert_eq!(*batch.loader.0.lock().unwrap(), [2_500]);
    }

    #[tokio::test]
    async fn when_the_leader_is_dropped_another_leads() {
        let batch = Batch::new(Doubles::default());
        let mut first = Box::pin(batch.ask(1));
        let mut second = Box::pin(batch.ask(2));
        futures_util::future::poll_fn(|cx| {
            assert!(first.as_mut().poll(cx).is_pending());
            assert!(second.as_mut().poll(cx).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        drop(first);
        assert_eq!(second.await, Ok(Some(4)));
    }
}
