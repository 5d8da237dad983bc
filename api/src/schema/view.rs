//! Saved lists of contacts. They stand here because they show contacts.

use std::sync::Arc;

use async_graphql::{Context, ID, Json, Object, SimpleObject};
use entity::{ContactId, Id, contact, contact_view};
use futures_util::future::try_join_all;
use sea_orm::QueryFilter;
use serde_json::Value;

use super::contact::Contact;
use crate::{
    base::{
        Error, ErrorCode, Listing, PageArgs, Result,
        gql::{self, CxExt, UserErrors, outcome},
        instant::Instant,
        page,
    },
    job::Job,
    posthog::MetricFilter,
    view::{
        self as room, ContactViewCell, ContactViewColumn, ContactViewDeleteInput,
        ContactViewExportInput, ContactViewFilter, ContactViewOrder, ContactViewSaveInput,
        Definition, Sources,
    },
};

/// A saved list of contacts: which, in what order, and what is shown of each.
pub struct ContactView {
    row: contact_view::Model,
    definition: Arc<Definition>,
}

impl TryFrom<contact_view::Model> for ContactView {
    type Error = Error;

    fn try_from(row: contact_view::Model) -> Result<Self> {
        Ok(Self {
            definition: room::definition(&row)?.into(),
            row,
        })
    }
}

/// A saved list of contacts: which, in what order, and what is shown of each.
#[Object]
impl ContactView {
    /// The view's id.
    pub(super) async fn id(&self) -> ID {
        self.row.id.to_string().into()
    }
    /// What the tenant's code calls it; unique in the tenant.
    async fn key(&self) -> &str {
        &self.row.key
    }
    /// What the tenant's people call it.
    async fn name(&self) -> &str {
        &self.row.name
    }
    /// What it is for.
    async fn description(&self) -> Option<&str> {
        self.row.description.as_deref()
    }
    /// Which contacts, as it was saved, in the shape of `ContactFilter`; null: all.
    async fn filter(&self) -> async_graphql::Result<Option<Json<Value>>> {
        let filter = self.definition.filter.as_ref().map(serde_json::to_value);
        Ok(filter.transpose().map_err(Error::from)?.map(Json))
    }
    /// What a metric must be of them; null where nothing is asked of any.
    async fn metric_filter(&self) -> Option<MetricFilter> {
        self.definition.metric_filter.clone()
    }
    /// How they are sorted; null: the newest first.
    async fn order_by(&self) -> Option<ContactViewOrder> {
        self.definition.order_by.clone()
    }
    /// What is shown of each.
    async fn columns(&self) -> Vec<ContactViewColumn> {
        let columns = self.definition.columns.iter();
        columns.map(ContactViewColumn::from).collect()
    }
    /// When it was made.
    async fn created_at(&self) -> Instant {
        self.row.created_at.into()
    }
    /// When it was last saved.
    async fn updated_at(&self) -> Instant {
        self.row.updated_at.into()
    }
    /// The contacts, in the view's order. Null, with an error at its path, where PostHog is to rank them and does not, or the scope
    /// `analytics:read` is missing for that.
    async fn rows(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first so many of the list, at most 100; 25 where nothing is said.")]
        first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many of the list, at most 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
    ) -> Option<async_graphql::Result<Listing<ContactViewRow>>> {
        let args = PageArgs {
            first,
            after,
            last,
            before,
        };
        let found = async {
            let page = room::page_of(ctx.cx()?, self.row.id, &self.definition, args).await?;
            Ok(Some(page.keep(|row| {
                row.map(|row| ContactViewRow {
                    view: self.row.id,
                    row,
                    definition: Arc::clone(&self.definition),
                })
            })))
        };
        // Boxed: a ranking is waited for in it.
        Box::pin(gql::nullable(ctx, gql::CONTACTS_READ, found)).await
    }
}

/// A contact as a view shows it.
pub struct ContactViewRow {
    view: Id<contact_view::Entity>,
    row: contact::Model,
    definition: Arc<Definition>,
}

/// Ahead of the digits of the view's and of the contact's id: a row's own id.
const ROW: &str = "viewrow_";

/// A row's id, read: its view and its contact.
pub(super) fn row_id(id: &ID) -> Option<(Id<contact_view::Entity>, ContactId)> {
    let (view, contact) = id.strip_prefix(ROW)?.split_at_checked(26)?;
    Some((Id::of_digits(view)?, Id::of_digits(contact)?))
}

impl ContactView {
    /// The contact as the view shows it, whether it is in it now or not.
    pub(super) fn row_of(self, contact: contact::Model) -> ContactViewRow {
        ContactViewRow {
            view: self.row.id,
            row: contact,
            definition: self.definition,
        }
    }
}

/// A contact as a view shows it.
#[Object]
impl ContactViewRow {
    /// The row's id.
    pub(super) async fn id(&self) -> ID {
        let digits = [self.view.digits(), self.row.id.digits()].concat();
        format!("{ROW}{}", String::from_utf8_lossy(&digits)).into()
    }
    /// The contact.
    async fn contact(&self) -> Contact {
        self.row.clone().into()
    }
    /// What is shown of it, a cell a column.
    async fn cells(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<ContactViewCell>> {
        let sources = Sources::of(ctx)?;
        let cells = self.definition.columns.iter().map(async |column| {
            let cell = sources.cell(&self.row, column).await?;
            Ok::<_, async_graphql::Error>(ContactViewCell::new(column, cell))
        });
        Box::pin(try_join_all(cells)).await
    }
}

#[derive(Default)]
pub(super) struct ViewQuery;

#[Object]
impl ViewQuery {
    /// One view, by its id or its key: exactly one of them. Null where there is none.
    #[graphql(visible = "gql::contacts_read")]
    async fn contact_view(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The view's id.")] id: Option<ID>,
        #[graphql(desc = "The view's key.")] key: Option<String>,
    ) -> Option<async_graphql::Result<ContactView>> {
        let found = async {
            let view = named(ctx, id, key).await?;
            Ok(view.map(ContactView::try_from).transpose()?)
        };
        gql::nullable(ctx, gql::CONTACTS_READ, found).await
    }
    /// The tenant's views, the newest first.
    #[graphql(guard = "gql::CONTACTS_READ", visible = "gql::contacts_read")]
    async fn contact_views(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first so many of the list, at most 100; 25 where nothing is said.")]
        first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many of the list, at most 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
        #[graphql(desc = "Which views.")] filter: Option<ContactViewFilter>,
    ) -> async_graphql::Result<Listing<ContactView>> {
        let cx = ctx.cx()?;
        let scope = cx.db();
        let filter = filter.unwrap_or_default();
        let list = format!("contactViews/{filter:?}");
        let rows = scope
            .find::<contact_view::Entity>()
            .filter(filter.condition());
        let args = PageArgs {
            first,
            after,
            last,
            before,
        };
        let page = page(cx, &list, rows, room::newest_first(), args).await?;
        Ok(page.try_listing(ContactView::try_from)?)
    }
}

async fn named(
    ctx: &Context<'_>,
    id: Option<ID>,
    key: Option<String>,
) -> Result<Option<contact_view::Model>> {
    let scope = ctx.cx()?.db();
    match (id, key) {
        (Some(id), None) => match Id::<contact_view::Entity>::parse(&id) {
            Some(id) => scope.get(id).await,
            None => Ok(None),
        },
        (None, Some(key)) => room::by_key(&scope, &key).one().await,
        _ => Err(Error::invalid(
            "id",
            "give the id or the key, exactly one of them",
        )),
    }
}

/// What became of a view.
#[derive(SimpleObject)]
struct ContactViewSavePayload {
    /// The view; null when nothing was saved.
    view: Option<ContactView>,
    #[graphql(flatten)]
    errors: UserErrors,
}

/// What became of the deletion.
#[derive(SimpleObject)]
struct ContactViewDeletePayload {
    /// The id of what is gone; null when nothing was deleted.
    deleted_id: Option<ID>,
    #[graphql(flatten)]
    errors: UserErrors,
}

/// The export that began.
#[derive(SimpleObject)]
struct ContactViewExportPayload {
    /// The job; once it has succeeded, its `download` leads to the file: CSV in UTF-8, a line a contact.
    job: Option<Job>,
    #[graphql(flatten)]
    errors: UserErrors,
}

#[derive(Default)]
pub(super) struct ViewMutation;

#[Object]
impl ViewMutation {
    /// Saves a view, whole: what is left out is empty.
    #[graphql(guard = "gql::CONTACTS_WRITE", visible = "gql::contacts_write")]
    async fn contact_view_save(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The view as it is to be.")] input: ContactViewSaveInput,
    ) -> async_graphql::Result<ContactViewSavePayload> {
        let saved = match input.saved() {
            Ok(new) => Box::pin(room::save(ctx.cx()?, &new)).await,
            Err(error) => Err(error),
        };
        let (view, errors) = outcome(saved)?;
        Ok(ContactViewSavePayload {
            view: view.map(ContactView::try_from).transpose()?,
            errors,
        })
    }
    /// Deletes a view. Exports of it that were begun go on.
    #[graphql(guard = "gql::CONTACTS_WRITE", visible = "gql::contacts_write")]
    async fn contact_view_delete(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The view.")] input: ContactViewDeleteInput,
    ) -> async_graphql::Result<ContactViewDeletePayload> {
        let deleted = match room::view_id(&input.id) {
            Ok(id) => ctx.cx()?.write(async |tx| room::delete(tx, id).await).await,
            Err(error) => Err(error),
        };
        let (deleted, errors) = outcome(deleted)?;
        Ok(ContactViewDeletePayload {
            deleted_id: deleted.map(|()| input.id),
            errors,
        })
    }
    /// Writes all rows of a view to a file, as it is now and as the caller may see it, for download.
    #[graphql(guard = "gql::CONTACTS_WRITE", visible = "gql::contacts_write")]
    async fn contact_view_export(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which view.")] input: ContactViewExportInput,
    ) -> async_graphql::Result<ContactViewExportPayload> {
        let cx = ctx.cx()?;
        let field = if input.id.is_some() { "id" } else { "key" };
        let begun = async {
            let view = named(ctx, input.id, input.key)
                .await?
                .ok_or_else(|| Error::user(ErrorCode::NotFound, field, "there is no such view"))?;
            let view = &view;
            cx.write(async |tx| room::export(tx, cx.actor(), view).await)
                .await
        };
        let (job, errors) = outcome(begun.await)?;
        Ok(ContactViewExportPayload {
            job: job.map(Job::from),
            errors,
        })
    }
}
