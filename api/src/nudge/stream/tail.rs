//! The one reader of the log for all subscriptions of a process.

use std::{collections::HashMap, sync::Arc, time::Duration};

use entity::{ContactId, Id, nudge, nudge_delivery, nudge_version};
use moka::future::Cache;
use sea_orm::{ColumnTrait, QueryFilter, QuerySelect};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::{LINE, Line, Shelf, Streams, shared};
use crate::{
    base::{Env, LogPlace, Result},
    nudge::{OFFERED, WITHDRAWN, queries},
};

/// What contacts are told, and what makes two of them one.
const FOLLOWED: [&str; 3] = [OFFERED, WITHDRAWN, MERGED];
const MERGED: &str = "contact.merged";

/// Events that are read at once.
const BATCH_ROWS: u64 = 500;

/// Reads follow each other no faster: a burst of events is read together.
const READ_GAP: Duration = Duration::from_millis(5);

/// Without a ring the log is read so often. The bell may ring before an event is settled, because an older
/// transaction is still open: so the gaps grow to this from [`READ_GAP`] after each ring.
const READ_GAP_IDLE: Duration = Duration::from_secs(1);

/// After a failed read.
const READ_GAP_FAILED: Duration = Duration::from_secs(1);

/// Versions kept with their nudges; they never change, and few run at once.
const VERSIONS_KEPT: u64 = 1_000;

type Kept = (Arc<nudge_version::Model>, Arc<nudge::Model>);

impl Streams {
    /// Feeds every subscription until `stopping`: one query a wake, whatever their number, and none at all
    /// while nobody listens.
    pub async fn run(self: Arc<Self>, env: Arc<Env>, stopping: CancellationToken) {
        let tail = Tail {
            hub: Arc::clone(&self),
            env,
            versions: Cache::new(VERSIONS_KEPT),
        };
        stopping.run_until_cancelled(tail.follow()).await;
        self.stop();
    }
}

struct Tail {
    hub: Arc<Streams>,
    env: Arc<Env>,
    versions: Cache<Id<nudge_version::Entity>, Kept>,
}

impl Tail {
    async fn follow(&self) {
        let mut bell = self.env.bus.listen();
        let mut place = None;
        let mut gap = READ_GAP;
        loop {
            if self.hub.rest() {
                place = None;
                self.hub.joined.notified().await;
                continue;
            }
            bell.mark_unchanged();
            let read_at = Instant::now();
            match self.step(place).await {
                Ok((at, is_full)) => {
                    place = Some(at);
                    if is_full {
                        continue;
                    }
                }
                Err(error) => {
                    tracing::warn!(
                        error = format!("{:#}", anyhow::Error::new(error)),
                        "the nudge stream cannot read the log, it tries again"
                    );
                    gap = READ_GAP_FAILED;
                }
            }
            // The bus lives as long as the process: a bell that fails is a ring.
            gap = match timeout(gap, bell.changed()).await {
                Ok(_) => READ_GAP,
                Err(_) => (gap * 2).min(READ_GAP_IDLE),
            };
            sleep_until(read_at + READ_GAP).await;
        }
    }

    /// Reads what is behind `place`, or finds where to begin; gives the place reached, and whether there is
    /// more at once.
    async fn step(&self, place: Option<LogPlace>) -> Result<(LogPlace, bool)> {
        let system = self.env.db.system();
        let Some(place) = place else {
            let end = system.log_end().await?;
            self.hub.stand(end);
            return Ok((end, true));
        };
        let lines: Vec<Line> = system
            .log_of_after(&FOLLOWED, place)
            .limit(BATCH_ROWS)
            .select_only()
            .columns(LINE)
            .project()
            .await?;
        let reached = lines.last().map_or(place, Line::place);
        let mut told = place;
        let mut rest = &lines[..];
        // Whoever is joined by a merge hears of both from then on, so what stands before it is told before.
        while let Some(at) = rest.iter().position(|line| line.name == MERGED) {
            told = rest[at].place();
            self.tell(&rest[..at], told).await?;
            self.merge(&rest[at]).await?;
            rest = &rest[at + 1..];
        }
        if reached > told {
            self.tell(rest, reached).await?;
        }
        Ok((reached, lines.len() as u64 == BATCH_ROWS))
    }

    async fn tell(&self, lines: &[Line], to: LogPlace) -> Result<()> {
        let heard: Vec<_> = lines
            .iter()
            .filter_map(|line| Some((line, (line.tenant_id, line.contact_id?))))
            .filter(|(_, (tenant, contact))| self.hub.listens(*tenant, *contact))
            .collect();
        let shelf = self
            .shelf(
                heard
                    .iter()
                    .filter_map(|(line, _)| line.delivery())
                    .collect(),
            )
            .await?;
        let frames = heard
            .iter()
            .filter_map(|(line, listener)| Some((*listener, shelf.frame(line)?)));
        self.hub.tell(frames, to);
        Ok(())
    }

    /// The rows that a batch speaks of, of all tenants: each frame goes to its own tenant's contact alone.
    async fn shelf(&self, deliveries: Vec<Id<nudge_delivery::Entity>>) -> Result<Shelf> {
        if deliveries.is_empty() {
            return Ok(Shelf::default());
        }
        let deliveries = self
            .env
            .db
            .system()
            .find::<nudge_delivery::Entity>()
            .filter(nudge_delivery::Column::Id.is_in(deliveries))
            .all()
            .await?;
        let mut shelf = Shelf::default();
        for (version, nudge) in self.versions(&deliveries).await? {
            shelf.versions.insert(version.id, version);
            shelf.nudges.insert(nudge.id, nudge);
        }
        shelf.deliveries = deliveries.into_iter().map(|row| (row.id, row)).collect();
        Ok(shelf)
    }

    async fn versions(&self, deliveries: &[nudge_delivery::Model]) -> Result<Vec<Kept>> {
        let mut wanted: Vec<_> = deliveries.iter().map(|row| row.nudge_version_id).collect();
        wanted.sort();
        wanted.dedup();
        let mut found = vec![];
        let mut missing = vec![];
        for id in wanted {
            match self.versions.get(&id).await {
                Some(kept) => found.push(kept),
                None => missing.push(id),
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        let system = self.env.db.system();
        let versions = system
            .find::<nudge_version::Entity>()
            .filter(nudge_version::Column::Id.is_in(missing))
            .all()
            .await?;
        let nudges = system
            .find::<nudge::Entity>()
            .filter(nudge::Column::Id.is_in(versions.iter().map(|version| version.nudge_id)))
            .all()
            .await?;
        let nudges: HashMap<_, _> = shared(nudges, |row: &nudge::Model| row.id);
        for version in versions {
            let Some(nudge) = nudges.get(&version.nudge_id) else {
                continue;
            };
            let kept = (Arc::new(version), Arc::clone(nudge));
            self.versions.insert(kept.0.id, kept.clone()).await;
            found.push(kept);
        }
        Ok(found)
    }

    /// Whoever listens to one contact of a family that a merge made hears all of it.
    async fn merge(&self, line: &Line) -> Result<()> {
        let Some(contact): Option<ContactId> = line.contact_id else {
            return Ok(());
        };
        if !self.hub.hears(line.tenant_id) {
            return Ok(());
        }
        match queries::family(&self.env.db.tenant(line.tenant_id), contact).await {
            Ok(family) => self.hub.join_families(line.tenant_id, &family),
            // Erased since.
            Err(crate::base::Error::NotFound) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
