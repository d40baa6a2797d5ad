//! `weir serve`: requests good and bad, a server that is killed with 20 jobs, upgrades, the commands that ask it, and what a
//! collector of OpenTelemetry gets of it and of runs without it.

mod bad_requests;
mod kill;
mod life;
mod place;
mod telemetry;
