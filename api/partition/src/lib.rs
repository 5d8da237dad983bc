//! Who is one person, and why: the partition of identifiers that a tenant's evidence asks for.
//!
//! Identifiers are nodes, observations that two of them belong to one person are edges. [`resolve`](resolve()) asks the edges,
//! the strongest first, and unites what no rule keeps apart: Kruskal's algorithm under constraints. The order is total and made of
//! what was observed alone, never of when or in which row it arrived; so the same evidence gives the same partition in whatever
//! order it came. A refused edge stays, dormant, with its [`Reason`].
//!
//! Pure: no database, no clock. What a caller must see to:
//!
//! * It may resolve the part of the graph that new evidence touches, rather than everything, as long as the part is closed: with a
//!   node come all its edges (dormant and retired ones too) and the nodes at their other ends, except that what lies behind a node
//!   that is [`Stitches::Blocked`] may be left out. A node that becomes blocked touches what it held together before.
//! * A [`Component`] without a root needs a new contact, unless its founder is blocked. The caller writes the root as the
//!   [`origin`](Node::origin) of those that the component [adopted](Component::adopted): contacts then stay distinct over the
//!   whole tenant, though each part is resolved alone.
//! * Stronger evidence that comes late may take an identifier from a component: splits are as ordinary as merges.
//!
//! [`why`](why()) answers what holds two identifiers together, and [`risk`] decides what may be applied without a review.

mod component;
mod evidence;
mod forest;
mod identifier;
mod order;
mod policy;
mod resolve;
pub mod risk;
mod why;

pub use component::Component;
pub use evidence::{Edge, EdgeKind, Standing};
pub use identifier::{Hold, Kind, Level, Node, Stitches};
pub use policy::{Directional, Limit, Policy};
pub use resolve::{Partition, Reason, Verdict, resolve};
pub use why::why;

#[cfg(test)]
mod tests;
