//! Each operator against a model that a reader can check by eye.

mod aggregate;
mod as_of_join;
mod interval_join;
mod join;
mod kernels;
mod over;
mod rank;
mod retained;
mod session;
mod set_operation;
mod sink;
mod stateless;
mod window_aggregate;
