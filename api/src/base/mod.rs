//! What every room stands on. Imports no room.

mod audit;
mod batch;
mod bus;
mod clock;
mod cx;
mod db;
mod error;
mod event;
pub mod filter;
pub mod gql;
mod module;
mod outbound;
mod page;
mod revocation;
mod role;
mod secrets;
mod text;

pub use audit::Audited;
pub use batch::Batch;
pub use bus::Bus;
pub use clock::{Clock, Ids, Rng};
pub use cx::{Actor, Cx, Env, Origin};
pub use db::{Db, DbOptions, Role, Rows, Scope, System, Tx};
pub use error::{Error, ErrorCode, Result, Unavailable, UserError};
pub use event::{
    CAUSATION_DEPTH_MAX, Cause, LogPlace, NewEvent, OWN_MESSAGE, PARTITIONS, partition,
};
pub use module::{Fut, Hear, Module};
pub use outbound::Outbound;
pub use page::{
    Counter, FromEnd, Listing, PAGE_DEFAULT, PAGE_MAX, Page, PageArgs, SortBy, page, page_from_end,
    system_page,
};
pub use revocation::{REVOCATIONS, Revocations};
pub use role::MemberRole;
pub use secrets::{Secrets, fingerprint, hex};
pub use text::{cut, storable, storable_instant, storable_json};
