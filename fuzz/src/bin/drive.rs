//! Runs targets without libFuzzer: `drive TARGET|all --seconds N --seed S [--input FILE]`.
//!
//! An input that makes a target panic, or take longer than [`SLOW`], is written to `fuzz/artifacts/` and named; the exit code
//! is then 1. The same seed makes the same inputs, so a run can be repeated.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use std::{
    collections::HashSet,
    env, fs, panic,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use strongroom_fuzz::{Mutator, Outcome, TARGETS, Target, inputs_of_vectors, seeds};

const CORPUS_MAX: usize = 4096;
const SLOW: Duration = Duration::from_secs(5);
const ATTEMPTS: usize = 3;

struct Request {
    targets: Vec<&'static Target>,
    seconds: u64,
    seed: u64,
    input: Option<PathBuf>,
}

fn main() -> ExitCode {
    let request = match read_arguments(env::args().skip(1)) {
        Ok(request) => request,
        Err(complaint) => {
            eprintln!("{complaint}\nusage: drive TARGET|all [--seconds N] [--seed S] [--input FILE]");
            TARGETS.iter().for_each(|target| eprintln!("  {}", target.name));
            return ExitCode::from(2);
        }
    };
    let mut failed = false;
    for target in &request.targets {
        match run(target, &request) {
            Ok(line) => println!("{line}"),
            Err(line) => {
                eprintln!("{line}");
                failed = true;
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn read_arguments(mut arguments: impl Iterator<Item = String>) -> Result<Request, String> {
    let name = arguments.next().ok_or("which target?")?;
    let targets: Vec<_> = TARGETS.iter().filter(|target| name == "all" || target.name == name).collect();
    if targets.is_empty() {
        return Err(format!("there is no target {name}"));
    }
    let mut request = Request { targets, seconds: 10, seed: 1, input: None };
    while let Some(option) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{option} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|error| format!("{option} {value}: {error}"));
        match option.as_str() {
            "--seconds" => request.seconds = number()?,
            "--seed" => request.seed = number()?,
            "--input" => request.input = Some(value.into()),
            _ => return Err(format!("there is no option {option}")),
        }
    }
    Ok(request)
}

/// A line about a target that held, or about the input that broke it.
fn run(target: &Target, request: &Request) -> Result<String, String> {
    if let Some(path) = &request.input {
        let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        return tried(target, &bytes).map(|outcome| format!("{}: {outcome:?}", target.name));
    }
    let mut corpus = seeds(target.name);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors");
    if let Some(object) = target.vectors {
        corpus.extend(inputs_of_vectors(&folder, object).map_err(|error| format!("{}: {error}", folder.display()))?);
    }
    corpus.push(Vec::new());
    let mut seen = HashSet::new();
    for input in &corpus {
        seen.insert(tried(target, input)?);
    }
    let mut mutator = Mutator::new(request.seed);
    let until = Instant::now() + Duration::from_secs(request.seconds);
    let mut runs = corpus.len();
    while Instant::now() < until {
        for _ in 0..64 {
            let input = mutator.input(&corpus);
            runs += 1;
            if seen.insert(tried(target, &input)?) && corpus.len() < CORPUS_MAX {
                corpus.push(input);
            }
        }
    }
    Ok(format!("{:18} {runs:>9} inputs, {:>4} outcomes, held", target.name, seen.len()))
}

fn tried(target: &Target, input: &[u8]) -> Result<Outcome, String> {
    // A busy machine may hold any run up; an input that is slow is slow each time.
    for _ in 0..ATTEMPTS {
        let started = Instant::now();
        match panic::catch_unwind(|| (target.run)(input)) {
            Ok(outcome) if started.elapsed() < SLOW => return Ok(outcome),
            Ok(_) => {}
            Err(_) => return Err(kept(target, input, "panicked")),
        }
    }
    Err(kept(target, input, "took too long"))
}

fn kept(target: &Target, input: &[u8], what: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("artifacts");
    let sum = input
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    let path = folder.join(format!("{}-{sum:016x}", target.name));
    match fs::create_dir_all(&folder).and_then(|()| fs::write(&path, input)) {
        Ok(()) => format!("{}: {what}; again with: drive {} --input {}", target.name, target.name, path.display()),
        Err(error) => format!("{}: {what}; the input could not be kept: {error}", target.name),
    }
}
