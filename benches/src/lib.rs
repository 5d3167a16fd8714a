//! What the benches share: deterministic randomness, content that behaves like that of real disks, samples of it, and the index.

pub mod content;
pub mod index;
pub mod random;
pub mod sample;
