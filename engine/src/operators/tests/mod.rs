//! Each operator against a model that a reader can check by eye.

mod aggregate;
mod join;
mod kernels;
mod set_operation;
mod sink;
mod stateless;
mod window_aggregate;
