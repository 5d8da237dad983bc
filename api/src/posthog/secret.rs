//! Where a connection's secrets are sealed: each opens only in its own tenant's column.

use entity::TenantId;

pub fn token_place(tenant: TenantId) -> String {
    format!("posthog_connection.project_token/{}", tenant.uuid())
}

pub fn key_place(tenant: TenantId) -> String {
    format!("posthog_connection.personal_api_key/{}", tenant.uuid())
}
