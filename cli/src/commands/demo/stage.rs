//! Types commands, shows them, and tells how each step ended.

use std::{
    fmt::Display,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

use super::LOOK_EVERY;
use crate::{exit::Exit, failure::Failure, output::DemoStep, signals};

const PASSWORD_FILE: &str = "password";

/// The words as a person would type them: quoted only where a shell would otherwise read them differently.
fn typed(words: &[&str]) -> String {
    let plain = |word: &str| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./=:@~%+,".contains(&byte));
    let typed = |word: &&str| match plain(word) {
        true => (*word).to_owned(),
        false => shell_words::quote(word).into_owned(),
    };
    words.iter().map(typed).collect::<Vec<String>>().join(" ")
}

/// Where the tour is played.
pub struct Stage {
    folder: PathBuf,
    program: PathBuf,
    aloud: bool,
    steps: Vec<DemoStep>,
}

/// What a command said.
pub struct Said {
    document: Value,
    text: String,
}

impl Stage {
    /// Prepares password, folders and environment.
    pub fn new(folder: &Path, aloud: bool) -> Result<Self, Failure> {
        let failed = |what: String| Failure::new(Exit::Failed, what, folder.display(), "--dir DIR");
        let program =
            std::env::current_exe().map_err(|error| failed(format!("this program does not find itself: {error}")))?;
        let mut random = [0_u8; 16];
        getrandom::fill(&mut random).map_err(|error| failed(format!("no randomness: {error}")))?;
        let password: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        super::super::write_private(&folder.join(PASSWORD_FILE), password.as_bytes(), "the demo's password file")?;
        let stage = Self { folder: folder.to_owned(), program, aloud, steps: Vec::new() };
        stage.say(&format!("$ cd {}", folder.display()));
        stage.say("$ export STRONGROOM_REPOSITORY=repository STRONGROOM_PASSWORD_FILE=password");
        Ok(stage)
    }

    /// Where everything is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What has been shown.
    pub fn into_steps(self) -> Vec<DemoStep> {
        self.steps
    }

    /// One step: its number and claim, the commands, and whether the claim held.
    pub fn step(&mut self, claim: &str, play: impl FnOnce(&Self) -> Result<String, Failure>) -> Result<(), Failure> {
        self.say(&format!("\n{:2}  {claim}", self.steps.len() + 1));
        let outcome = if signals::stopped() { Err(self.interrupted()) } else { play(self) };
        self.steps.push(DemoStep { name: claim.to_owned(), ok: outcome.is_ok() });
        match outcome {
            Ok(seen) => {
                self.say(&format!("    {seen:<78} ok"));
                Ok(())
            }
            Err(failure) => {
                self.say("    failed");
                Err(failure)
            }
        }
    }

    /// Types a command that must end well.
    pub fn type_in(&self, words: &[&str]) -> Result<Said, Failure> {
        self.type_in_expecting(words, Exit::Done)
    }

    /// Types a command that must end so.
    pub fn type_in_expecting(&self, words: &[&str], wanted: Exit) -> Result<Said, Failure> {
        let line = format!("strongroom {}", typed(words));
        self.say(&format!("    $ {line}"));
        let said = self.run(words, wanted, &line)?;
        Ok(said)
    }

    fn run(&self, words: &[&str], wanted: Exit, line: &str) -> Result<Said, Failure> {
        let mut command = Command::new(&self.program);
        // Nothing of the caller's own settings may reach the sample repository, and nothing of it the caller's folders.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("STRONGROOM_")) {
            command.env_remove(name);
        }
        command
            .current_dir(&self.folder)
            .env("STRONGROOM_REPOSITORY", "repository")
            .env("STRONGROOM_PASSWORD_FILE", PASSWORD_FILE)
            .env("STRONGROOM_CACHE_DIR", self.folder.join("cache"))
            .env("STRONGROOM_STATE_DIR", self.folder.join("state"))
            .args(words)
            .args(["--json", "--progress", "none"])
            .stdin(Stdio::null())
            .stderr(Stdio::inherit());
        let output = command.output().map_err(|error| self.broken(&error))?;
        if signals::stopped() {
            return Err(self.interrupted());
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let document: Value = serde_json::from_str(&text).unwrap_or_default();
        if output.status.code() == Some(i32::from(wanted.code())) {
            return Ok(Said { document, text });
        }
        let why = document.pointer("/error/error").and_then(Value::as_str).unwrap_or("it gave no document");
        Err(self.failed(&format!("{line} ended with {}, wanted {}: {why}", output.status, wanted.code())))
    }

    /// Time of the newest point of a VM.
    pub fn newest_time(&self, vm: &str) -> Result<u64, Failure> {
        let said = self.run(&["list", vm], Exit::Done, "strongroom list")?;
        let newest = said.array("/result/points").last().and_then(|point| point.get("time_ms")?.as_u64());
        newest.ok_or_else(|| self.failed("list shows no point"))
    }

    /// Waits until the clock shows a time.
    pub fn wait_until(&self, time_ms: u64) -> Result<(), Failure> {
        loop {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
            if now >= u128::from(time_ms) {
                return Ok(());
            }
            if signals::stopped() {
                return Err(self.interrupted());
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Fails unless `holds`.
    pub fn check(&self, holds: bool, otherwise: &str) -> Result<(), Failure> {
        if holds { Ok(()) } else { Err(self.failed(otherwise)) }
    }

    /// A claim did not hold.
    pub fn failed(&self, what: &str) -> Failure {
        Failure::new(Exit::Failed, what, self.folder.display(), "run strongroom demo --keep and report what it shows")
    }

    /// The machine did not let us.
    pub fn broken(&self, error: &dyn Display) -> Failure {
        Failure::new(Exit::Failed, error, self.folder.display(), "give it 1 GiB of room: --dir DIR")
    }

    fn interrupted(&self) -> Failure {
        Failure::new(signals::interrupted_exit(), "interrupted", self.folder.display(), "run strongroom demo again")
    }

    fn say(&self, line: &str) {
        if self.aloud {
            let _ = writeln!(io::stdout().lock(), "{line}");
        }
    }
}

impl Said {
    /// A number of the document.
    pub fn number(&self, pointer: &str) -> u64 {
        self.document.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
    }

    /// The first digits of an id in it.
    pub fn short(&self, pointer: &str) -> String {
        let id = self.document.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        id.get(..8).unwrap_or(id).to_owned()
    }

    /// A list in it.
    pub fn array(&self, pointer: &str) -> &[Value] {
        self.document.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// A field summed up over the disks.
    pub fn sum(&self, field: &str) -> u64 {
        self.array("/result/disks").iter().filter_map(|disk| disk.get(field)?.as_u64()).sum()
    }

    /// All of it.
    pub fn text(&self) -> &str {
        &self.text
    }
}
