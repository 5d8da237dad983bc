//! Nudges: what is saved, decided, offered, told by clients, and streamed.

mod decision;
mod events;
mod interaction;
pub(crate) mod kit;
mod list;
mod save;
mod slow;
mod stream;
