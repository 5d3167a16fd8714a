//! What Strongroom promises. One module per promise, one test per claim, its name is the claim.

mod bad_input;
mod damage;
mod file_systems;
mod house;
mod interruption;
mod memory;
mod model;
mod retention;
mod round_trip;
mod second_reader;
mod stress;
mod two_at_once;
mod vm_home;
