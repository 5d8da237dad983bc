//! Tenants, their credentials, and who a credential speaks for.
//!
//! A tenant is born with one secret and one publishable key. Keys are stored as fingerprints: the whole key is
//! shown once, when it is made. A contact token is a JWT that the tenant's backend asks for and hands to one
//! contact's browser. [`Principals`] turns any of them into an [`Actor`](crate::base::Actor).
//!
//! Emits and hears nothing.

mod commands;
mod graphql;
mod principal;
mod queries;
mod rules;
mod token;

pub use commands::{
    CONTACT_TOKEN_LIFETIME_MAX, ContactToken, IssuedKey, NewKey, NewTenant, create_key,
    create_tenant, delete_tenant, mint_contact_token, resume_tenant, revoke_key, rotate_key,
    suspend_tenant,
};
pub use graphql::{ApiKey, Tenant, TenantMutation as Mutation, TenantQuery as Query};
pub use principal::{Caller, Principals};
pub use queries::{api_keys, tenant, tenants};
