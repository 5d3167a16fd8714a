//! The person at the terminal: questions go to standard error, answers come from the terminal itself.

use std::io::{self, BufRead, IsTerminal, Write};

use zeroize::Zeroizing;

use crate::{exit::Exit, failure::Failure};

/// Is there somebody to ask?
pub fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks for a password without showing it.
pub fn ask_password(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    let typed = rpassword::prompt_password(prompt).map(Zeroizing::new);
    typed.map_err(|error| {
        Failure::new(
            Exit::Invalid,
            format!("no password could be read: {error}"),
            "the terminal",
            "--password-file FILE",
        )
    })
}

/// Asks for a line.
pub fn ask_line(question: &str) -> Result<String, Failure> {
    let failed = |error: io::Error| {
        Failure::new(Exit::Invalid, format!("no answer could be read: {error}"), "the terminal", "run it on a terminal")
    };
    let mut out = io::stderr().lock();
    write!(out, "{question} ").and_then(|()| out.flush()).map_err(failed)?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(failed)?;
    Ok(line.trim().to_owned())
}

/// A consent that `--yes` gives, or a person; without either nothing is done.
pub fn consent(yes: bool, question: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !can_ask() {
        return Err(Failure::invalid(format!("consent is missing: {question}"), "add --yes if that is what you want"));
    }
    match ask_line(&format!("{question} [y/N]"))?.to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::new(
            Exit::Invalid,
            "not confirmed; nothing was changed",
            "the terminal",
            "answer y, or add --yes",
        )),
    }
}

/// Shows a secret to a person, in groups of four.
pub fn show_once(title: &str, secret: &str) -> Result<(), Failure> {
    let failed = |error: io::Error| {
        Failure::new(Exit::Failed, format!("nothing can be shown: {error}"), "the terminal", "--recovery-key-out FILE")
    };
    let mut out = io::stderr().lock();
    writeln!(out, "{title}\n").map_err(failed)?;
    let mut left = secret;
    while !left.is_empty() {
        let (group, rest) = left.split_at_checked(4).unwrap_or((left, ""));
        write!(out, " {group}").map_err(failed)?;
        left = rest;
    }
    writeln!(out, "\n").map_err(failed)
}
