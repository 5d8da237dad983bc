//! `Contact.timeline`: one stream of everything about a contact, over all rooms.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use async_graphql::{Context, ID, Json, Object, dataloader::Loader};
use entity::ContactId;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::node::{self, Found, Node};
use crate::{
    base::{
        Between, Counter, Cx, Error, Instance, Listing, PageArgs, Result, Scope, Seeing,
        TimelineRow, TimelineWanted, Window, gql::CxExt as _, instant::Instant, page_merged,
    },
    contact,
};

/// One thing that happened to a contact, or that was done or said of it.
pub(super) struct TimelineItem {
    row: TimelineRow,
}

/// One thing that happened to a contact, or that was done or said of it.
#[Object]
impl TimelineItem {
    /// The id of what it shows.
    async fn id(&self) -> ID {
        (self.row.source.id)(self.row.id).into()
    }
    /// What it is: `CONSENT`, `EVENT`, `MERGE`, `NUDGE`, `TOUCH` or `TRAIT`, and what later modules add.
    async fn kind(&self) -> &str {
        self.row.source.kind
    }
    /// When it happened.
    async fn at(&self) -> Instant {
        self.row.at.into()
    }
    /// What happened, in a few words.
    async fn title(&self) -> String {
        (self.row.source.title)(&self.row.details)
    }
    /// What there is to say of it: an object, by the kind.
    async fn details(&self) -> Json<&Map<String, Value>> {
        Json(&self.row.details)
    }
    /// The object that it shows, where that has an id of its own.
    async fn node(&self, ctx: &Context<'_>) -> Option<async_graphql::Result<Node>> {
        let id = (self.row.source.id)(self.row.id).into();
        node::find(ctx, &id).await.transpose()
    }
}

/// One request's timelines.
pub(super) struct Timelines(pub(super) Cx);

/// A part of one root's timeline.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Part {
    root: ContactId,
    wanted: TimelineWanted,
}

/// How long a root's timeline is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Length {
    root: ContactId,
    kinds: Vec<&'static str>,
}

impl Timelines {
    fn seeing<'a>(&'a self, scope: &'a Scope) -> Seeing<'a> {
        Seeing {
            scope,
            actor: self.0.actor(),
            modules: self.0.env().modules,
        }
    }
}

fn uuids(roots: &BTreeSet<ContactId>) -> Vec<Uuid> {
    roots.iter().map(|root| root.uuid()).collect()
}

impl Loader<Part> for Timelines {
    type Value = Vec<TimelineRow>;
    type Error = Arc<Error>;

    async fn load(&self, parts: &[Part]) -> Result<HashMap<Part, Vec<TimelineRow>>, Arc<Error>> {
        let mut alike: HashMap<&TimelineWanted, BTreeSet<ContactId>> = HashMap::new();
        for part in parts {
            alike.entry(&part.wanted).or_default().insert(part.root);
        }
        let scope = self.0.db();
        let mut loaded = HashMap::new();
        for (wanted, roots) in alike {
            let ids = uuids(&roots);
            let members = contact::members(&scope, &ids);
            let mut found = self
                .seeing(&scope)
                .timelines(&ids, &members, wanted)
                .await?;
            for root in roots {
                let part = Part {
                    root,
                    wanted: wanted.clone(),
                };
                loaded.insert(part, found.remove(&root.uuid()).unwrap_or_default());
            }
        }
        Ok(loaded)
    }
}

impl Loader<Length> for Timelines {
    type Value = u64;
    type Error = Arc<Error>;

    async fn load(&self, lengths: &[Length]) -> Result<HashMap<Length, u64>, Arc<Error>> {
        let mut alike: HashMap<&[&'static str], BTreeSet<ContactId>> = HashMap::new();
        for length in lengths {
            alike.entry(&length.kinds).or_default().insert(length.root);
        }
        let scope = self.0.db();
        let mut loaded = HashMap::new();
        for (kinds, roots) in alike {
            let members = contact::members(&scope, &uuids(&roots));
            let counts = self.seeing(&scope).timeline_counts(&members, kinds).await?;
            for root in roots {
                let length = Length {
                    root,
                    kinds: kinds.to_vec(),
                };
                let count = counts.get(&root.uuid()).copied();
                loaded.insert(length, count.unwrap_or_default());
            }
        }
        Ok(loaded)
    }
}

/// A page of a root's timeline, the newest first.
pub(super) async fn of_contact(
    ctx: &Context<'_>,
    root: ContactId,
    kinds: Option<Vec<String>>,
    args: PageArgs,
) -> async_graphql::Result<Listing<TimelineItem>> {
    let cx = ctx.cx()?;
    let found: &Arc<Found> = ctx.data_opt().ok_or(Error::Forbidden)?;
    let kinds = known(cx, kinds.unwrap_or_default())?;
    let list = format!("timeline of {}/{kinds:?}", root.uuid());
    let window = Window::of(&args)?;
    let part = Part {
        root,
        wanted: TimelineWanted {
            kinds: kinds.clone(),
            between: Between::of(cx, &list, &args)?,
            rows: window.rows(),
            oldest: window.is_backward(),
        },
    };
    let rows = found.timelines.ask(part).await?.unwrap_or_default();
    let found = Arc::clone(found);
    let counter: Counter = Arc::new(move || {
        let found = Arc::clone(&found);
        let kinds = kinds.clone();
        Box::pin(async move {
            let length = found.timeline_lengths.ask(Length { root, kinds }).await?;
            Ok(length.unwrap_or_default())
        })
    });
    let instance = |row: &TimelineRow| -> Instance { (row.at, row.id) };
    let page = page_merged(cx, &list, rows, instance, &args, counter)?;
    Ok(page.listing(|row| TimelineItem { row }))
}

/// The kinds as rooms declare them, in one order; a kind that no room declares is a mistake.
fn known(cx: &Cx, asked: Vec<String>) -> Result<Vec<&'static str>> {
    let declared: BTreeSet<&'static str> = cx
        .env()
        .modules
        .iter()
        .flat_map(|module| module.timeline)
        .map(|source| source.kind)
        .collect();
    let mut kinds = BTreeSet::new();
    for kind in asked {
        let Some(known) = declared.get(kind.as_str()) else {
            let all: Vec<&str> = declared.into_iter().collect();
            let message = format!("a kind is one of {}", all.join(", "));
            return Err(Error::invalid("kinds", message));
        };
        kinds.insert(*known);
    }
    Ok(kinds.into_iter().collect())
}
