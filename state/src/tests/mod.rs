//! Tests of the whole crate: the same suite on both backends.

mod budget;
mod changed;
mod contract;
mod gate;
mod keys;
mod multimap;
mod sorted;
mod store;
pub(crate) mod support;
