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
pub mod instant;
mod module;
mod outbound;
mod page;
pub mod plan;
mod revocation;
mod role;
mod secrets;
mod text;
mod turn;

pub use audit::Audited;
pub use batch::Batch;
pub use bus::Bus;
pub use clock::{Clock, Ids, Rng};
pub use cx::{Actor, Cx, Env, Note, Origin};
pub use db::{
    Cells, Db, DbOptions, EachSelect, LogMonth, MEMBER, Planning, ROOT, Read, Role, Rows, Scope,
    System, Tx,
};
pub use error::{Error, ErrorCode, Result, Unavailable, UserError};
pub use event::{
    CAUSATION_DEPTH_MAX, Cause, LogPlace, NewEvent, OWN_MESSAGE, PARTITIONS, partition,
};
pub use module::{Due, Fold, Fut, Hear, Held, Module, Regrouped, Settle};
pub use outbound::Outbound;
pub use page::{
    Counter, Cursors, Edge, FromEnd, Listing, PAGE_DEFAULT, PAGE_MAX, Page, PageArgs, PageInfo,
    SortBy, Window, page, page_from_end, page_select, system_page,
};
pub use revocation::{REVOCATIONS, Revocations};
pub use role::MemberRole;
pub use secrets::{Secrets, fingerprint, hex};
pub use text::{cut, storable, storable_instant, storable_json};
pub use turn::{Source, SourceItem, Turn};
