//! Each operator against a model that a reader can check by eye.

mod aggregate;
mod as_of_join;
mod clocked;
mod final_rank;
mod interval_join;
mod join;
mod kernels;
mod lookup_join;
mod over;
mod rank;
mod retained;
mod session;
mod set_operation;
mod sink;
mod stateless;
mod window_aggregate;
mod window_join;
