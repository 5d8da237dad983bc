//! Who somebody is, and why.

use std::collections::BTreeSet;

use async_graphql::{Context, ID, Object};
use entity::{ContactId, contact_evidence, identity_block, identity_policy, merge_proposal};
use sea_orm::{ColumnTrait, QueryFilter};
use serde_json::Value;

use crate::schema::contact::Contact;
use crate::{
    base::{
        Listing, PageArgs, SortBy,
        gql::{self, CxExt, outcome},
        page,
    },
    contact::{self, ContactKey, Loaders},
};

use super::{
    contact_ids_of,
    objects::{
        ContactMergePreview, ContactResolution, Evidence, IdentityBlock, IdentityPolicy,
        MergeProposal, MergeProposalState, TraitConflict,
    },
};
#[derive(Default)]
pub(crate) struct IdentityQuery;

#[Object]
impl IdentityQuery {
    /// Whose an identifier is, and why; null where it is nobody's.
    #[graphql(guard = "gql::CONTACTS_READ", visible = "gql::contacts_read")]
    async fn resolve(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The identifier.")] by: ContactKey,
    ) -> async_graphql::Result<Option<ContactResolution>> {
        let (kind, value) = by.parts();
        let Ok((value, _)) = contact::normalize(kind, value) else {
            // It is no such identifier, so nobody has it.
            return Ok(None);
        };
        let cx = ctx.cx()?;
        let found = cx
            .write(async |tx| contact::resolve(tx, kind, &value).await)
            .await?;
        let Some(found) = found else { return Ok(None) };
        let root = Loaders::of(ctx)?.roots.ask(found.contact).await?;
        let evidence = |rows: Vec<contact_evidence::Model>| {
            rows.into_iter().map(Evidence::from).collect::<Vec<_>>()
        };
        Ok(root.map(|root| ContactResolution {
            contact: root.into(),
            identifier: found.identifier.into(),
            why: evidence(found.path),
            dormant: evidence(found.dormant),
        }))
    }
    /// What `contactMerge` would do with these contacts. Nothing is changed.
    #[graphql(guard = "gql::CONTACTS_WRITE", visible = "gql::contacts_write")]
    async fn contact_merge_preview(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The contacts, 2 to 10.")] contact_ids: Vec<ID>,
    ) -> async_graphql::Result<ContactMergePreview> {
        let cx = ctx.cx()?;
        let done = match contact_ids_of(&contact_ids) {
            Ok(ids) => {
                let preview = cx.write(async |tx| contact::preview(tx, &ids).await).await;
                match preview {
                    Ok(preview) => Ok((conflicts(ctx, &ids).await?, preview)),
                    Err(error) => Err(error),
                }
            }
            Err(error) => Err(error),
        };
        let (done, errors) = outcome(done)?;
        let Some((conflicts, preview)) = done else {
            return Ok(ContactMergePreview {
                survivor: None,
                absorbed_ids: vec![],
                identifier_count: 0,
                conflicts: vec![],
                errors,
            });
        };
        let survivor = Loaders::of(ctx)?.roots.ask(preview.survivor).await?;
        Ok(ContactMergePreview {
            survivor: survivor.map(Contact::from),
            absorbed_ids: preview
                .absorbed
                .iter()
                .map(|id| id.to_string().into())
                .collect(),
            identifier_count: preview.identifiers,
            conflicts,
            errors,
        })
    }
    /// Merges that wait for a person, and those that were decided, the riskiest first.
    #[graphql(guard = "gql::CONTACTS_READ", visible = "gql::contacts_read")]
    async fn merge_proposals(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first so many of the list, at most 100; 25 where nothing is said.")]
        first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many of the list, at most 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
        #[graphql(desc = "Only those that stand here; those that wait where nothing is said.")]
        state: Option<MergeProposalState>,
    ) -> async_graphql::Result<Listing<MergeProposal>> {
        let cx = ctx.cx()?;
        let state: merge_proposal::State = state.unwrap_or(MergeProposalState::NeedsReview).into();
        let scope = cx.db();
        let rows = scope
            .find::<merge_proposal::Entity>()
            .filter(merge_proposal::Column::State.eq(state));
        let sort = SortBy {
            column: merge_proposal::Column::Risk,
            descending: true,
        };
        let args = PageArgs {
            first,
            after,
            last,
            before,
        };
        let list = format!("mergeProposals/{state:?}");
        Ok(page(cx, &list, rows, sort, args)
            .await?
            .listing(MergeProposal::from))
    }
    /// Values that stand for nobody, the latest first.
    #[graphql(guard = "gql::CONTACTS_READ", visible = "gql::contacts_read")]
    async fn identity_blocks(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first so many of the list, at most 100; 25 where nothing is said.")]
        first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many of the list, at most 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
    ) -> async_graphql::Result<Listing<IdentityBlock>> {
        let cx = ctx.cx()?;
        let scope = cx.db();
        let sort = SortBy {
            column: identity_block::Column::CreatedAt,
            descending: true,
        };
        let args = PageArgs {
            first,
            after,
            last,
            before,
        };
        let rows = scope.find::<identity_block::Entity>();
        Ok(page(cx, "identityBlocks", rows, sort, args)
            .await?
            .listing(IdentityBlock::from))
    }
    /// What the tenant asks of evidence before it joins people.
    #[graphql(guard = "gql::TENANT_READ", visible = "gql::tenant_read")]
    async fn identity_policy(&self, ctx: &Context<'_>) -> async_graphql::Result<IdentityPolicy> {
        let scope = ctx.cx()?.db();
        Ok(IdentityPolicy(
            scope.find::<identity_policy::Entity>().one().await?,
        ))
    }
}

/// Traits on which contacts differ.
async fn conflicts(
    ctx: &Context<'_>,
    ids: &[ContactId],
) -> async_graphql::Result<Vec<TraitConflict>> {
    let cx = ctx.cx()?;
    let traits = contact::visible_traits(&cx.db(), cx.actor(), ids).await?;
    let said: Vec<_> = ids.iter().filter_map(|id| traits.get(id)).collect();
    let keys: BTreeSet<&String> = said.iter().flat_map(|traits| traits.keys()).collect();
    let conflict = |key: &String| {
        let values: Vec<&Value> = said.iter().filter_map(|traits| traits.get(key)).collect();
        let differ = values.windows(2).any(|pair| pair[0] != pair[1]);
        differ.then(|| TraitConflict {
            key: key.clone(),
            values: values
                .into_iter()
                .cloned()
                .map(async_graphql::Json)
                .collect(),
        })
    };
    Ok(keys.into_iter().filter_map(conflict).collect())
}
