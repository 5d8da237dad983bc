//! Tenants, their credentials, and who a credential speaks for.
//!
//! A tenant is born with one secret and one publishable key. Keys are stored as fingerprints: the whole key is
//! shown once, when it is made. A contact token is a JWT that the tenant's backend asks for and hands to one
//! contact's browser. [`Principals`] turns any of them into an [`Actor`](crate::base::Actor).
//!
//! How a tenant's door stands is here too: [`Front`], and what it has used of its limits, [`Allowances`].
//!
//! Emits and hears nothing.

mod allowance;
mod commands;
mod front;
mod graphql;
mod principal;
mod queries;
mod rules;
mod token;

pub use allowance::{Allowances, Seat, Standing, Standings};
pub use commands::{
    CONTACT_TOKEN_LIFETIME_MAX, ContactToken, IssuedKey, NewKey, NewTenant, create_key,
    create_tenant, delete_tenant, mint_contact_token, resume_tenant, revoke_key, rotate_key,
    suspend_tenant,
};
pub use front::{Front, Fronts, Limits, NewLimits, front, is_in_browsers, set_limits};
pub use graphql::{
    ApiKey, FrontMutation, Tenant, TenantLimits, TenantMutation as Mutation, TenantQuery as Query,
};
pub use principal::{Caller, Principals};
pub use queries::{api_keys, tenant, tenants};
