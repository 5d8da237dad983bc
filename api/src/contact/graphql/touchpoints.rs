//! Every visit that something brought, the oldest first.

use async_graphql::{Context, InputObject};
use entity::{ContactId, touchpoint};
use sea_orm::{
    Condition,
    sea_query::{BinOper, Expr, ExprTrait as _},
};

use super::{
    Loaders,
    types::{Touch, TouchKind},
};
use crate::{
    base::{Listing, PageArgs, storable},
    contact::{
        lists::{Lists, Narrow, OfContact, page_of},
        touch::QR_MEDIUM,
    },
};

/// Which visits. All that is given must hold.
#[derive(Debug, Default, InputObject)]
pub struct TouchpointFilter {
    /// What brought the visitor.
    kind: Option<TouchKind>,
    /// `utm_source` is this text, letter for letter.
    source: Option<String>,
    /// `utm_campaign` is this text, letter for letter.
    campaign: Option<String>,
}

impl TouchpointFilter {
    fn condition(&self) -> Condition {
        let is = |key: &str, text: &Option<String>| {
            text.clone().map(|text| field(key).eq(storable(text)))
        };
        Condition::all()
            .add_option(is("source", &self.source))
            .add_option(is("campaign", &self.campaign))
            .add_option(self.kind.map(of_kind))
    }
}

/// A field of the stored touch, as text.
fn field(key: &str) -> Expr {
    let touch = Expr::col((touchpoint::Entity, touchpoint::Column::Touch));
    touch.binary(BinOper::Custom("->>"), Expr::value(key))
}

/// [`Touch::kind`](crate::contact::touch::Touch::kind), as the database asks it.
fn of_kind(kind: TouchKind) -> Condition {
    let any = |keys: &[&str]| {
        keys.iter().fold(Condition::any(), |any, key| {
            any.add(field(key).is_not_null())
        })
    };
    let qr = any(&["qr"]).add(field("medium").eq(QR_MEDIUM));
    let referral = any(&["referralCode"]);
    let campaign = any(&[
        "source", "medium", "campaign", "term", "content", "clickIds",
    ]);
    // `medium` may be absent, and then is not equal to anything: unknown is no.
    let not = |condition: Condition| {
        let condition: Expr = condition.into();
        condition.if_null(false).not()
    };
    let all = Condition::all();
    match kind {
        TouchKind::Qr => all.add(qr),
        TouchKind::Referral => all.add(not(qr)).add(referral),
        TouchKind::Campaign => all.add(not(qr)).add(not(referral)).add(campaign),
        TouchKind::Referrer => all.add(not(qr)).add(not(referral)).add(not(campaign)),
    }
}

impl OfContact for touchpoint::Entity {
    const ID: Self::Column = touchpoint::Column::Id;
    const CONTACTS: &'static [Self::Column] = &[touchpoint::Column::ContactId];
    const AT: Self::Column = touchpoint::Column::OccurredAt;
    const NEWEST_FIRST: bool = false;
    fn lists(loaders: &Loaders) -> &Lists<Self> {
        &loaders.touchpoints
    }
}

/// A root's touches.
pub async fn touchpoints(
    ctx: &Context<'_>,
    root: ContactId,
    filter: TouchpointFilter,
    args: PageArgs,
) -> async_graphql::Result<Listing<Touch>> {
    let narrow = Narrow::new(&filter, filter.condition());
    let page = page_of::<touchpoint::Entity>(ctx, root, "touchpoints", narrow, args).await?;
    Ok(page.listing(|row| Touch::of(&row.touch, row.occurred_at)))
}
