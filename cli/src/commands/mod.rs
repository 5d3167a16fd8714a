//! One conductor per command: from arguments over the engine to a result.

mod backup;
mod completions;
mod copy;
mod demo;
mod diff;
mod forget;
mod generate;
mod init;
mod key;
mod list;
mod points;
mod prune;
mod repair;
mod restore;
mod serve;
mod show;
mod stats;
mod verify;
mod version;
mod vsphere;

use std::{fs, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

use crate::{
    args::{Args, Command, RetentionCommand},
    exit::Exit,
    failure::Failure,
    output::{Report, RepositoryLine, WarningLine},
};

/// How a command ended.
pub struct Done {
    /// The exit code.
    pub exit: Exit,
    /// The repository, if it was opened.
    pub repository: Option<RepositoryLine>,
    /// What a person should know.
    pub warnings: Vec<WarningLine>,
    /// What it gives.
    pub result: Option<Box<dyn Report>>,
    /// Why it did not end well; there may be a result all the same.
    pub failure: Option<Failure>,
    /// Its result is on standard output already.
    pub said: bool,
}

impl Done {
    /// It has a result.
    pub fn with(result: impl Report + 'static) -> Self {
        let result: Box<dyn Report> = Box::new(result);
        Self { result: Some(result), ..Self::empty(Exit::Done) }
    }

    /// It has failed.
    pub fn failed(failure: Failure) -> Self {
        Self { failure: Some(failure.clone()), ..Self::empty(failure.exit) }
    }

    /// Its result was written while it ran.
    fn already_said() -> Self {
        Self { said: true, ..Self::empty(Exit::Done) }
    }

    fn empty(exit: Exit) -> Self {
        Self { exit, repository: None, warnings: Vec::new(), result: None, failure: None, said: false }
    }

    fn in_repository(self, line: RepositoryLine) -> Self {
        Self { repository: Some(line), ..self }
    }

    fn with_warnings(mut self, warnings: impl IntoIterator<Item = WarningLine>) -> Self {
        self.warnings.extend(warnings);
        self
    }

    fn ending(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }

    /// The result stands, but it did not end well.
    fn but(self, failure: Failure) -> Self {
        Self { exit: failure.exit, failure: Some(failure), ..self }
    }
}

/// Runs a command.
pub fn run(args: &Args) -> Result<Done, Failure> {
    let global = &args.global;
    match &args.command {
        Command::Init(init) => init::run(global, init),
        Command::Backup(backup) => backup::run(global, backup),
        Command::List(list) => list::run(global, list),
        Command::Show(show) => show::run(global, show),
        Command::Diff(diff) => diff::run(global, diff),
        Command::Restore(restore) => restore::run(global, restore),
        Command::Serve(serve) => serve::run(global, serve),
        Command::Verify(verify) => verify::run(global, verify),
        Command::Stats(stats) => stats::run(global, stats),
        Command::Copy(args) => copy::run(global, args),
        Command::Repair(args) => repair::run(global, args),
        Command::Retention(RetentionCommand::Forget(args)) => forget::run(global, args),
        Command::Retention(RetentionCommand::Hold(args)) => forget::hold(global, args),
        Command::Retention(RetentionCommand::Release(args)) => forget::release(global, args),
        Command::Retention(RetentionCommand::Prune(args)) => prune::run(global, args),
        Command::Vsphere(args) => vsphere::run(global, &args.command),
        Command::Key(key) => key::run(global, &key.command),
        Command::Demo(demo) => demo::run(global, demo),
        Command::Completions(completions) => completions::run(completions),
        Command::Version => version::run(),
        Command::Generate(generate) => generate::run(&generate.what),
    }
}

fn warning(code: &str, message: impl Into<String>) -> WarningLine {
    WarningLine { code: code.to_owned(), message: message.into() }
}

/// Refuses a file that is there already, before anything is done.
fn check_absent(path: &Path, option: &str) -> Result<(), Failure> {
    if fs::symlink_metadata(path).is_ok() {
        return Err(Failure::new(
            Exit::Invalid,
            format!("{option}: the file exists"),
            path.display(),
            "name a new file, or move that one away",
        ));
    }
    Ok(())
}

/// What is written into the repository's folder would be taken for damage, or worse.
fn refuse_inside_repository(target: &Path, repository: &Path) -> Result<(), Failure> {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| absolute(path));
    let target = absolute(target);
    let nearest = target.ancestors().skip(1).find_map(|folder| fs::canonicalize(folder).ok());
    if nearest.is_some_and(|folder| folder.starts_with(real(repository))) {
        return Err(Failure::new(
            Exit::Invalid,
            "the target lies inside the repository",
            target.display(),
            "name a place outside it",
        ));
    }
    Ok(())
}

/// Makes a file that only its owner can read; never replaces one. Synced: what it holds may exist nowhere else.
fn write_private(path: &Path, bytes: &[u8], option: &str) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(Exit::Failed, format!("{option}: {error}"), path.display(), "name a file that can be made")
    };
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)
}
