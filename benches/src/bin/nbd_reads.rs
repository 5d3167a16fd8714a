//! Random reads from an NBD export, so many of them in flight.
//!
//!     cargo run --release -p strongroom-benches --bin nbd_reads -- --uri URI [--within-mib N] [--from-mib N] [--in-flight 16]
//!         [--bytes 4096] [--seconds 10] [--seed 1]
//!
//! `--within-mib` keeps to a part of the disk, that is read once before the clock starts. Prints reads a second, and how long the
//! median and the slowest of a hundred took.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use engine::{NbdClient, NbdOptions, NbdUri};
use strongroom_benches::random::Random;

fn main() {
    let (mut uri, mut within_mib, mut from_mib, mut in_flight) = (None, 0_u64, 0_u64, 16_u64);
    let (mut bytes, mut seconds, mut seed) = (4096_u64, 10_u64, 1_u64);
    let mut arguments = std::env::args().skip(1);
    while let (Some(name), Some(value)) = (arguments.next(), arguments.next()) {
        let number = || value.parse().unwrap_or_else(|_| panic!("{name} {value}: not a number"));
        match name.as_str() {
            "--uri" => uri = Some(value),
            "--within-mib" => within_mib = number(),
            "--from-mib" => from_mib = number(),
            "--in-flight" => in_flight = number(),
            "--bytes" => bytes = number(),
            "--seconds" => seconds = number(),
            "--seed" => seed = number(),
            _ => panic!("unknown option {name}"),
        }
    }
    let uri = NbdUri::parse(&uri.expect("--uri URI is needed")).expect("an NBD URI");
    let client = NbdClient::connect(&uri, &[], NbdOptions::default()).expect("a server");
    let from = from_mib << 20;
    let span = if within_mib == 0 { client.about().bytes - from } else { within_mib << 20 };
    let length = u32::try_from(bytes).expect("a length below 4 GiB");
    if within_mib != 0 {
        for at in (from..from + span).step_by(1 << 20) {
            client.read(at, 1 << 20).expect("a read");
        }
    }

    let times = Mutex::new(Vec::new());
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..in_flight {
            let (client, times) = (&client, &times);
            scope.spawn(move || {
                let mut random = Random::of(seed, &[thread]);
                let mut own = Vec::new();
                while begin.elapsed() < Duration::from_secs(seconds) {
                    let at = from + random.below(span / bytes) * bytes;
                    let asked = Instant::now();
                    client.read(at, length).expect("a read");
                    own.push(asked.elapsed());
                }
                times.lock().unwrap_or_else(PoisonError::into_inner).extend(own);
            });
        }
    });
    let took = begin.elapsed().as_secs_f64();
    let mut times = times.into_inner().unwrap_or_else(PoisonError::into_inner);
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default().as_secs_f64() * 1e3;
    println!(
        "{:.0} reads/s of {bytes} bytes, {in_flight} in flight, over {} MiB; median {:.2} ms, 99 % within {:.2} ms",
        times.len() as f64 / took,
        span >> 20,
        at(50),
        at(99)
    );
}
