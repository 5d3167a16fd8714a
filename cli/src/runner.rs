//! One run: read the command line, do it, say how it ended, in either form.

use std::{
    ffi::OsString,
    io::{self, Write},
    panic::{self, AssertUnwindSafe},
};

use crate::{
    args::{self, ColorChoice, Parsed},
    commands::{self, Done},
    exit::Exit,
    failure::Failure,
    output::{self, Ending, Palette},
    signals,
};

/// Runs a command line.
pub fn run(words: Vec<OsString>) -> Exit {
    match args::parse(&words) {
        Parsed::Text(text) => {
            let _ = io::stdout().lock().write_all(text.as_bytes());
            Exit::Done
        }
        Parsed::Wrong { command, json, failure } => {
            let voice = Voice { command, json, quiet: false, causes: false, palette: Palette::of(ColorChoice::Auto) };
            voice.end(Err(failure))
        }
        Parsed::Run(args) => {
            signals::listen();
            let voice = Voice {
                command: args.command.word(),
                json: args.global.json.is_some(),
                quiet: args.global.quiet,
                causes: args.global.verbose > 0,
                palette: Palette::of(args.global.color),
            };
            let done = panic::catch_unwind(AssertUnwindSafe(|| commands::run(&args))).unwrap_or_else(|_| Err(bug()));
            voice.end(done)
        }
    }
}

fn bug() -> Failure {
    Failure::new(
        Exit::Bug,
        "strongroom contradicted itself and stopped; what is committed is whole",
        format!("strongroom {}", env!("CARGO_PKG_VERSION")),
        "please report the lines above, with the command",
    )
}

/// How this run speaks.
struct Voice {
    command: &'static str,
    json: bool,
    quiet: bool,
    causes: bool,
    palette: Palette,
}

impl Voice {
    fn end(&self, outcome: Result<Done, Failure>) -> Exit {
        let done = outcome.unwrap_or_else(Done::failed);
        let mut err = io::stderr().lock();
        if !self.json {
            for warning in &done.warnings {
                let _ = err.write_all(output::render_warning(warning, self.palette).as_bytes());
            }
        }
        let said = self.say(&done);
        if !self.json
            && let Some(failure) = &done.failure
        {
            let _ = err.write_all(output::render_failure(failure, self.palette, self.causes).as_bytes());
        }
        match said {
            // A reader that has seen enough is no failure of the work.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe && done.exit == Exit::Done => {
                let failure = Failure::new(
                    Exit::Failed,
                    format!("the result cannot be written: {error}"),
                    "standard output",
                    "give it room",
                );
                let _ = err.write_all(output::render_failure(&failure, self.palette, self.causes).as_bytes());
                Exit::Failed
            }
            _ => done.exit,
        }
    }

    fn say(&self, done: &Done) -> io::Result<()> {
        if done.said {
            return Ok(());
        }
        let mut out = io::BufWriter::new(io::stdout().lock());
        if self.json {
            let ending = Ending {
                command: self.command,
                repository: done.repository.as_ref(),
                exit: done.exit,
                warnings: &done.warnings,
                failure: done.failure.as_ref(),
            };
            match &done.result {
                Some(result) => result.json(&ending, &mut out)?,
                None => output::json_without_result(&ending, &mut out)?,
            }
        } else if let Some(result) = &done.result
            && !(self.quiet
                && matches!(self.command, "init" | "backup" | "restore" | "verify")
                && done.exit == Exit::Done)
        {
            result.human(&mut out)?;
        }
        out.flush()
    }
}
