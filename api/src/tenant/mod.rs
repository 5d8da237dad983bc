//! Tenants, their credentials, and who a credential speaks for.
//!
//! A tenant is born with one secret and one publishable key. Keys are stored as fingerprints: the whole key is
//! shown once, when it is made. A contact token is a JWT that the tenant's backend asks for and hands to one
//! contact's browser. Members and contacts may also bring a JWT of an issuer that the tenant registered ([`issuer`]).
//! [`Principals`] turns any of them into an [`Actor`](crate::base::Actor). What is managed is told by the audit log ([`audit`]).
//!
//! How a tenant's door stands is here too: [`Front`], and what it has used of its limits, [`Allowances`].
//!
//! Emits and hears nothing.

mod allowance;
mod audit;
mod commands;
mod front;
mod graphql;
mod issuer;
mod jwt;
mod key;
mod principal;
mod queries;
mod remembered;
mod rules;
mod token;

pub use allowance::{Allowances, Seat, Standing, Standings};
pub use audit::{AuditEntry, AuditQuery, Exported, export};
pub use commands::{
    CONTACT_TOKEN_LIFETIME_MAX, ContactToken, IssuedKey, NewKey, NewTenant, create_key,
    create_tenant, delete_tenant, mint_contact_token, resume_tenant, revoke_key, rotate_key,
    suspend_tenant,
};
pub use front::{Front, Fronts, Limits, NewLimits, front, is_in_browsers, set_limits};
pub use graphql::{
    ApiKey, FrontMutation, Tenant, TenantLimits, TenantMutation as Mutation, TenantQuery as Query,
};
pub use issuer::{Issuer, IssuerMutation, NewIssuer, Source, delete_issuer, issuers, save_issuer};
pub use principal::{Caller, Principals};
pub use queries::{api_keys, tenant, tenants};
pub use remembered::hear_revocations;
