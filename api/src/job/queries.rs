use entity::{Id, job};

use crate::base::{Result, Scope};

/// A job of the tenant.
pub async fn find(scope: &Scope, id: Id<job::Entity>) -> Result<Option<job::Model>> {
    scope.get(id).await
}
