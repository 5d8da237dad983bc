//! What every room stands on. Imports no room.

mod audit;
mod batch;
mod bus;
mod clock;
mod csv;
mod cx;
mod db;
mod error;
mod event;
pub mod filter;
pub mod gql;
pub mod instant;
mod kept;
mod memory;
mod module;
mod outbound;
mod page;
pub mod plan;
mod revocation;
mod role;
mod secrets;
mod text;
mod timeline;
mod turn;

pub use audit::Audited;
pub use batch::Batch;
pub use bus::Bus;
pub use clock::{Clock, Ids, Rng};
pub use csv::{CsvCell, csv_lines};
pub use cx::{Actor, Cx, Env, Note, Origin};
pub(crate) use db::key;
pub use db::{
    Cells, Db, DbOptions, EachSelect, LogMonth, MEMBER, Member, Planning, ROOT, Read, Role, Rows,
    Scope, System, Tx,
};
pub use error::{Error, ErrorCode, Result, Unavailable, UserError};
pub use event::{
    CAUSATION_DEPTH_MAX, Cause, LogPlace, NewEvent, OWN_MESSAGE, PARTITIONS, partition,
};
pub use kept::Kept;
pub use memory::Memory;
pub use module::{
    AT, CONTACT, Due, Erase, Export, Fold, Fut, Hear, Held, Mention, Module, Regrouped, Settle,
    State,
};
pub use outbound::Outbound;
pub use page::{
    Between, Counter, Cursors, Edge, FromEnd, HangsOn, Instance, Listed, Listing, PAGE_DEFAULT,
    PAGE_MAX, Page, PageArgs, PageInfo, Place, SortBy, SortKey, Window, page, page_from_end,
    page_merged, page_placed, page_select, places, system_page,
};
pub use revocation::{REVOCATIONS, Revocations};
pub use role::MemberRole;
pub use secrets::{Secrets, fingerprint, hex};
pub use text::{cut, storable, storable_instant, storable_json};
pub use timeline::{Detail, Seeing, TimelineRow, TimelineSource, TimelineWanted, type_id};
pub use turn::{Source, SourceItem, Turn};
