//! Traits in the schema: what they mean, and what was said of one.

use async_graphql::{Context, Enum, ID, InputObject, Json, Object, SimpleObject};
use entity::{
    ContactId,
    trait_definition::{self, Kind, Policy},
    trait_observation, trait_schema,
};
use sea_orm::ColumnTrait as _;
use serde_json::Value;

use super::{
    commands::{self, NewDefinition},
    queries::readable,
    rules::Definitions,
};
use crate::{
    base::{
        Error, Listing, PageArgs, Result, SortBy,
        gql::{self, CxExt as _, UserErrors, outcome},
        instant::Instant,
        page, storable,
    },
    contact::{
        graphql::Loaders,
        lists::{Lists, Narrow, OfContact, page_of},
    },
};

const KEY_CHARS_MAX: usize = 200;

/// What a trait's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "Kind")]
pub enum TraitType {
    /// Texts.
    String,
    /// Numbers.
    Number,
    /// True or false.
    Boolean,
    /// Texts that name a day or an instant: `2026-01-31`, `2026-01-31T09:00:00Z`.
    Date,
    /// Lists.
    List,
    /// Objects.
    Object,
}

/// Which of several values of a trait wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "Policy")]
pub enum TraitPolicy {
    /// The latest.
    MostRecent,
    /// That of the most trusted source; of the same trust, the latest.
    SourcePriority,
}

/// What is known of one trait of the tenant's contacts.
pub struct TraitDefinition(trait_definition::Model);

impl From<trait_definition::Model> for TraitDefinition {
    fn from(row: trait_definition::Model) -> Self {
        Self(row)
    }
}

/// What is known of one trait of the tenant's contacts.
#[Object]
impl TraitDefinition {
    /// The definition's id.
    pub(crate) async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }
    /// The trait's name.
    async fn key(&self) -> &str {
        &self.0.key
    }
    /// What its values are: what the first one was, unless it was said otherwise.
    async fn r#type(&self) -> TraitType {
        self.0.kind.into()
    }
    /// Whether it tells who somebody is: then only who holds the scope `contacts:pii`, and the contact itself, may see it.
    async fn pii(&self) -> bool {
        self.0.pii
    }
    /// What it is about.
    async fn description(&self) -> Option<&str> {
        self.0.description.as_deref()
    }
    /// Which of several values wins.
    async fn policy(&self) -> TraitPolicy {
        self.0.policy.into()
    }
    /// The sources that are told apart, the most trusted first; all others come after them.
    async fn sources(&self) -> async_graphql::Result<Vec<String>> {
        Ok(serde_json::from_value(self.0.sources.clone())?)
    }
    /// Whether winners are still being chosen anew since the policy changed.
    async fn settling(&self) -> bool {
        self.0.settle_at.is_some()
    }
    /// When it was first seen, or defined.
    async fn created_at(&self) -> Instant {
        self.0.created_at.into()
    }
    /// When it was last seen, to the day.
    async fn last_seen_at(&self) -> Instant {
        self.0.last_seen_at.into()
    }
}

/// How strictly contacts are held to what is known of traits.
#[derive(SimpleObject)]
struct TraitSchema {
    /// Since when unknown traits and values of another type are refused; null: they are not.
    locked_at: Option<Instant>,
}

impl From<trait_schema::Model> for TraitSchema {
    fn from(row: trait_schema::Model) -> Self {
        Self {
            locked_at: row.locked_at.map(Instant),
        }
    }
}

/// One value of one trait, as it came from one source.
#[derive(SimpleObject)]
pub struct TraitObservation {
    /// The trait's name.
    key: String,
    /// The value; null where the trait was unset.
    value: Option<Json<Value>>,
    /// Where it came from.
    source: String,
    /// Whether it was said only in case that there was no value.
    once: bool,
    /// When it was first said.
    first_observed_at: Instant,
    /// When it was last said.
    observed_at: Instant,
}

impl From<trait_observation::Model> for TraitObservation {
    fn from(row: trait_observation::Model) -> Self {
        Self {
            key: row.key,
            value: Some(row.value).filter(|value| !value.is_null()).map(Json),
            source: row.source,
            once: row.rank == 0,
            first_observed_at: row.first_observed_at.into(),
            observed_at: row.observed_at.into(),
        }
    }
}

impl OfContact for trait_observation::Entity {
    const ID: Self::Column = trait_observation::Column::Id;
    const CONTACTS: &'static [Self::Column] = &[trait_observation::Column::ContactId];
    const AT: Self::Column = trait_observation::Column::ObservedAt;
    const NEWEST_FIRST: bool = true;
    fn lists(loaders: &Loaders) -> &Lists<Self> {
        &loaders.observations
    }
}

/// What was said of a root's traits, or of one of them, the newest first; without those that the caller may not see.
pub async fn history(
    ctx: &Context<'_>,
    root: ContactId,
    key: Option<String>,
    args: PageArgs,
) -> async_graphql::Result<Listing<TraitObservation>> {
    use trait_observation::Column;
    let cx = ctx.cx()?;
    let key = key.map(storable);
    let narrow = readable(&cx.db(), cx.actor(), Column::Key)
        .add_option(key.as_deref().map(|key| Column::Key.eq(key)));
    let narrow = Narrow::new(&key, narrow);
    let page = page_of::<trait_observation::Entity>(ctx, root, "traits", narrow, args).await?;
    Ok(page.listing(TraitObservation::from))
}

#[derive(Default)]
pub struct TraitQuery;

#[Object]
impl TraitQuery {
    /// Every trait that the tenant's contacts have, or that was defined; the first seen first.
    #[graphql(guard = "gql::CONTACTS_READ", visible = "gql::contacts_read")]
    async fn trait_definitions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first so many of the list, at most 100; 25 where nothing is said.")]
        first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many of the list, at most 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
    ) -> async_graphql::Result<Listing<TraitDefinition>> {
        let cx = ctx.cx()?;
        let scope = cx.db();
        let args = PageArgs {
            first,
            after,
            last,
            before,
        };
        let sort = SortBy {
            column: trait_definition::Column::CreatedAt,
            descending: false,
        };
        let rows = scope.find::<trait_definition::Entity>();
        let page = page(cx, "trait definitions", rows, sort, args).await?;
        Ok(page.listing(TraitDefinition::from))
    }
    /// How strictly contacts are held to what is known of traits.
    #[graphql(guard = "gql::CONTACTS_READ", visible = "gql::contacts_read")]
    async fn trait_schema(&self, ctx: &Context<'_>) -> async_graphql::Result<TraitSchema> {
        let row = ctx.cx()?.db().find::<trait_schema::Entity>().one().await?;
        Ok(row.map_or(TraitSchema { locked_at: None }, TraitSchema::from))
    }
}

/// What a trait means. What is left out stays as it is.
#[derive(InputObject)]
struct TraitDefinitionSaveInput {
    /// The trait's name, 1 to 200 characters. One that was never seen is made known.
    key: String,
    /// What its values are; needed for one that was never seen.
    r#type: Option<TraitType>,
    /// Whether it tells who somebody is.
    pii: Option<bool>,
    /// What it is about, at most 1,000 characters.
    description: Option<String>,
    /// Which of several values wins.
    policy: Option<TraitPolicy>,
    /// With `SOURCE_PRIORITY`: 1 to 20 sources, the most trusted first, such as `["api", "capture"]`.
    sources: Option<Vec<String>>,
}

impl TraitDefinitionSaveInput {
    fn new_definition(self) -> Result<NewDefinition> {
        let chars = self.key.chars().count();
        if !(1..=KEY_CHARS_MAX).contains(&chars) {
            return Err(Error::invalid(
                "key",
                format!("a trait's name has 1 to {KEY_CHARS_MAX} characters, not {chars}"),
            ));
        }
        let policy = match (self.policy, self.sources) {
            (Some(policy), sources) => Some((policy.into(), sources.unwrap_or_default())),
            (None, None) => None,
            (None, Some(_)) => return Err(Error::invalid("policy", "sources need a policy")),
        };
        Ok(NewDefinition {
            key: storable(self.key),
            kind: self.r#type.map(Kind::from),
            pii: self.pii,
            description: self.description.map(storable),
            policy,
        })
    }
}

/// What became of a trait's definition.
#[derive(SimpleObject)]
struct TraitDefinitionSavePayload {
    /// The definition, as it is now; null where the input is wrong.
    trait_definition: Option<TraitDefinition>,
    #[graphql(flatten)]
    errors: UserErrors,
}

/// How strictly contacts are to be held to what is known of traits.
#[derive(InputObject)]
struct TraitSchemaSaveInput {
    /// Whether unknown traits and values of another type are refused.
    locked: bool,
}

/// How strictly contacts are held to what is known of traits.
#[derive(SimpleObject)]
struct TraitSchemaSavePayload {
    /// How it is now; null where the input is wrong.
    trait_schema: Option<TraitSchema>,
    #[graphql(flatten)]
    errors: UserErrors,
}

#[derive(Default)]
pub struct TraitMutation;

#[Object]
impl TraitMutation {
    /// Says what a trait means. Where that changes which values win, the winners are chosen anew in the background.
    #[graphql(guard = "gql::TENANT_WRITE", visible = "gql::tenant_write")]
    async fn trait_definition_save(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The trait, and what it means.")] input: TraitDefinitionSaveInput,
    ) -> async_graphql::Result<TraitDefinitionSavePayload> {
        let cx = ctx.cx()?;
        let done = async {
            let new = input.new_definition()?;
            let new = &new;
            cx.write(async |tx| commands::save(tx, new).await).await
        };
        let done = done.await;
        cx.env().memory.forget::<Definitions>(cx.tenant());
        let (row, errors) = outcome(done)?;
        Ok(TraitDefinitionSavePayload {
            trait_definition: row.map(TraitDefinition::from),
            errors,
        })
    }
    /// Locks what is known of traits, or opens it. While it is locked, unknown traits and values of another type are refused; in
    /// what PostHog's clients send they are left out. Every process knows within a second.
    #[graphql(guard = "gql::TENANT_WRITE", visible = "gql::tenant_write")]
    async fn trait_schema_save(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whether it is locked.")] input: TraitSchemaSaveInput,
    ) -> async_graphql::Result<TraitSchemaSavePayload> {
        let cx = ctx.cx()?;
        let done = cx
            .write(async |tx| commands::lock(tx, input.locked).await)
            .await;
        cx.env().memory.forget::<Definitions>(cx.tenant());
        let (row, errors) = outcome(done)?;
        Ok(TraitSchemaSavePayload {
            trait_schema: row.map(TraitSchema::from),
            errors,
        })
    }
}
