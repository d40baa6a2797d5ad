//! `weir serve`: requests good and bad, a server that is killed with 20 jobs, upgrades, and the commands that ask it.

mod bad_requests;
mod kill;
mod life;
mod place;
