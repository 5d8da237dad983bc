use entity::{api_key, tenant};
use sea_orm::{ColumnTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait};

use crate::base::{Result, Rows, Scope, System};

/// The tenant whose rows these are.
pub async fn tenant(db: &Scope) -> Result<Option<tenant::Model>> {
    db.get::<tenant::Entity>(db.tenant()).await
}

/// The tenant's keys, oldest first; revoked and expired ones too.
pub async fn api_keys(db: &Scope) -> Result<Vec<api_key::Model>> {
    db.find::<api_key::Entity>()
        .order_by_asc(api_key::Column::CreatedAt)
        .order_by_asc(api_key::Column::Id)
        .all()
        .await
}

/// All tenants there are: for the operator and the command line alone.
pub fn tenants(system: &System) -> Rows<'_, tenant::Entity> {
    system.find::<tenant::Entity>()
}

/// The key with this fingerprint, unless its tenant is suspended.
pub(super) async fn key_by_fingerprint(
    system: &System,
    fingerprint: &str,
) -> Result<Option<api_key::Model>> {
    system
        .find::<api_key::Entity>()
        .filter(api_key::Column::Hash.eq(fingerprint))
        .filter(
            api_key::Column::TenantId.in_subquery(
                system
                    .find::<tenant::Entity>()
                    .select_only()
                    .column(tenant::Column::Id)
                    .filter(tenant::Column::SuspendedAt.is_null())
                    .into_query(),
            ),
        )
        .one()
        .await
}
