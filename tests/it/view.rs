//! Contact views: saved lists, their rows and cells, in the order of whatever they show, and as files.

mod export;
mod kit;
mod ranked;
mod rows;
mod save;
