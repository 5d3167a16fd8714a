//! What Strongroom promises. One module per promise, one test per claim, its name is the claim.

mod bad_input;
mod changed_areas;
mod copy;
mod damage;
mod file_systems;
mod house;
mod interruption;
mod memory;
mod model;
mod nbd_lies;
mod nbd_restore;
mod nbd_source;
mod retention;
mod round_trip;
mod second_reader;
mod serve;
mod serve_boot;
mod serve_overlay;
mod stress;
mod two_at_once;
mod vcenter_sim;
mod vddk;
mod vm_home;
mod vsphere_client;
mod vsphere_restore;
