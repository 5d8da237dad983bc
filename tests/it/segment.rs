//! Segments: who is in, why, since when, and what follows from what happens.

mod kit;
mod live;
mod random;
mod rules;
mod save;
