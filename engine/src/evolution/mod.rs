//! An edited query goes on from the state of the old one.

pub(crate) mod bootstrap;
