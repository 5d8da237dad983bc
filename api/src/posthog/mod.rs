//! The observation layer.

pub mod flag;
