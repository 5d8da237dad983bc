pub mod base;
pub mod schema;
pub mod tenant;
