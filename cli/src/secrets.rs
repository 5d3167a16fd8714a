//! Where passwords and keys come from: flag, environment, prompt; one source at each level.

use std::{
    env, fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use repo_format::{RecoveryKey, SlotSecret};
use zeroize::Zeroizing;

use crate::{exit::Exit, failure::Failure, terminal};

/// The variable with the password itself. It is never passed on to a child.
pub const PASSWORD_VARIABLE: &str = "STRONGROOM_PASSWORD";
/// The same of the repository that is copied from.
pub const FROM_PASSWORD_VARIABLE: &str = "STRONGROOM_FROM_PASSWORD";
/// The same of the vCenter's user.
pub const VCENTER_PASSWORD_VARIABLE: &str = "STRONGROOM_VCENTER_PASSWORD";
/// More than any password, key file or recovery key has.
const SECRET_BYTES_MAX: u64 = 65_536;
/// zxcvbn's scale is 0 to 4; 3 is "safely unguessable" against an offline attack on a slow hash.
const STRENGTH_FLOOR: u8 = 3;

/// A way to open a key slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A file with a password.
    PasswordFile(PathBuf),
    /// A command that prints a password.
    PasswordCommand(String),
    /// A variable: [`PASSWORD_VARIABLE`], or that of the repository copied from.
    PasswordVariable(&'static str),
    /// A file whose bytes are the key.
    KeyFile(PathBuf),
    /// A file with a recovery key.
    RecoveryKeyFile(PathBuf),
    /// A person at a terminal.
    Prompt,
}

/// What the command line says; at most one may be set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretFlags {
    /// `--password-file`
    pub password_file: Option<PathBuf>,
    /// `--password-command`
    pub password_command: Option<String>,
    /// `--key-file`
    pub key_file: Option<PathBuf>,
    /// `--recovery-key-file`
    pub recovery_key_file: Option<PathBuf>,
}

/// A secret, and what a person should know about where it came from.
pub struct Secret {
    /// The secret.
    pub secret: SlotSecret,
    /// Warnings.
    pub warnings: Vec<String>,
}

/// Chooses the source: a flag before the environment, the environment before a prompt.
pub fn choose(
    flags: &SecretFlags,
    variable: &dyn Fn(&str) -> Option<String>,
    on_terminal: bool,
) -> Result<SecretSource, Failure> {
    let path = |value: String| PathBuf::from(value);
    let flags = [
        ("--password-file", flags.password_file.clone().map(SecretSource::PasswordFile)),
        ("--password-command", flags.password_command.clone().map(SecretSource::PasswordCommand)),
        ("--key-file", flags.key_file.clone().map(SecretSource::KeyFile)),
        ("--recovery-key-file", flags.recovery_key_file.clone().map(SecretSource::RecoveryKeyFile)),
    ];
    let variables = [
        (PASSWORD_VARIABLE, variable(PASSWORD_VARIABLE).map(|_| SecretSource::PasswordVariable(PASSWORD_VARIABLE))),
        ("STRONGROOM_PASSWORD_FILE", variable("STRONGROOM_PASSWORD_FILE").map(path).map(SecretSource::PasswordFile)),
        ("STRONGROOM_PASSWORD_COMMAND", variable("STRONGROOM_PASSWORD_COMMAND").map(SecretSource::PasswordCommand)),
        ("STRONGROOM_KEY_FILE", variable("STRONGROOM_KEY_FILE").map(path).map(SecretSource::KeyFile)),
        (
            "STRONGROOM_RECOVERY_KEY_FILE",
            variable("STRONGROOM_RECOVERY_KEY_FILE").map(path).map(SecretSource::RecoveryKeyFile),
        ),
    ];
    for level in [&flags[..], &variables[..]] {
        let mut given = level.iter().filter_map(|(name, source)| source.clone().map(|source| (*name, source)));
        match (given.next(), given.next()) {
            (Some((first, _)), Some((second, _))) => {
                return Err(Failure::invalid(
                    format!("{first} and {second} both say how to open the repository"),
                    "give one of them",
                ));
            }
            (Some((_, source)), None) => return Ok(source),
            (None, _) => {}
        }
    }
    if on_terminal {
        return Ok(SecretSource::Prompt);
    }
    Err(Failure::invalid("no password was given and there is no terminal to ask on", "--password-file FILE"))
}

/// The source by command line and environment of this process.
pub fn choose_here(flags: &SecretFlags) -> Result<SecretSource, Failure> {
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    choose(flags, &variable, terminal::can_ask())
}

/// The source for the repository that is copied from: its own flags and variables, never those of the other one.
pub fn choose_from(flags: &SecretFlags) -> Result<SecretSource, Failure> {
    let variable = |name: &str| {
        let name = name.replacen("STRONGROOM_", "STRONGROOM_FROM_", 1);
        env::var(name).ok().filter(|value| !value.is_empty())
    };
    match choose(flags, &variable, terminal::can_ask()) {
        Ok(SecretSource::PasswordVariable(_)) => Ok(SecretSource::PasswordVariable(FROM_PASSWORD_VARIABLE)),
        Err(failure) => Err(Failure {
            what: format!("the repository to copy from: {}", failure.what),
            advice: "--from-password-file FILE, or STRONGROOM_FROM_PASSWORD_FILE".to_owned(),
            ..failure
        }),
        other => other,
    }
}

/// The password of the vCenter's user: its own flags and variables.
pub fn read_vcenter_password(flags: &SecretFlags) -> Result<(Zeroizing<String>, Vec<String>), Failure> {
    let variable = |name: &str| {
        let name = name.strip_prefix(PASSWORD_VARIABLE).map(|rest| format!("{VCENTER_PASSWORD_VARIABLE}{rest}"))?;
        env::var(name).ok().filter(|value| !value.is_empty())
    };
    let source = match choose(flags, &variable, terminal::can_ask()) {
        Ok(SecretSource::PasswordVariable(_)) => SecretSource::PasswordVariable(VCENTER_PASSWORD_VARIABLE),
        Err(failure) => {
            return Err(Failure {
                what: format!("the vCenter's user: {}", failure.what),
                advice: "--vcenter-password-file FILE, or STRONGROOM_VCENTER_PASSWORD_FILE".to_owned(),
                ..failure
            });
        }
        Ok(SecretSource::Prompt) => {
            return terminal::ask_password("vCenter password: ").map(|typed| (typed, Vec::new()));
        }
        Ok(other) => other,
    };
    match read(&source, false)? {
        Secret { secret: SlotSecret::Password(password), warnings } => Ok((password, warnings)),
        Secret { .. } => {
            Err(Failure::invalid("a vCenter is logged in to by a password", "--vcenter-password-file FILE"))
        }
    }
}

/// Reads the secret. `new`: it is to be one, so a person types it twice.
pub fn read(source: &SecretSource, new: bool) -> Result<Secret, Failure> {
    match source {
        SecretSource::PasswordFile(path) => {
            let (bytes, warnings) = read_file(path, "password file")?;
            password(text_of(bytes, &path.display().to_string())?, path.display(), warnings)
        }
        SecretSource::PasswordCommand(line) => password(run(line)?, "--password-command", Vec::new()),
        SecretSource::PasswordVariable(name) => {
            let value = Zeroizing::new(env::var(name).unwrap_or_default());
            let warning = format!("{name} can be read by other programs of this user; a password file cannot");
            password(value, name, vec![warning])
        }
        SecretSource::KeyFile(path) => {
            let (bytes, warnings) = read_file(path, "key file")?;
            let secret = SlotSecret::key_file(bytes).map_err(|error| {
                Failure::new(Exit::Invalid, error, path.display(), "use a file of 32 to 65536 random bytes")
            })?;
            Ok(Secret { secret, warnings })
        }
        SecretSource::RecoveryKeyFile(path) => {
            let (bytes, warnings) = read_file(path, "recovery key file")?;
            let key = RecoveryKey::parse(&text_of(bytes, &path.display().to_string())?).map_err(|error| {
                Failure::new(Exit::Invalid, error, path.display(), "compare it with the paper, character by character")
            })?;
            Ok(Secret { secret: SlotSecret::RecoveryKey(key), warnings })
        }
        SecretSource::Prompt => read_typed("Password: ", new),
    }
}

/// Reads a secret that shall open a slot from now on: of a file, or typed twice.
pub fn read_new(password_file: Option<&Path>, key_file: Option<&Path>) -> Result<Secret, Failure> {
    let secret = match (password_file, key_file) {
        (Some(path), _) => read(&SecretSource::PasswordFile(path.to_owned()), true),
        (None, Some(path)) => read(&SecretSource::KeyFile(path.to_owned()), true),
        (None, None) if terminal::can_ask() => read_typed("New password: ", true),
        (None, None) => Err(Failure::invalid(
            "no new password was given and there is no terminal to ask on",
            "--new-password-file FILE",
        )),
    }?;
    check_strength(&secret.secret)?;
    Ok(secret)
}

fn read_typed(prompt: &str, twice: bool) -> Result<Secret, Failure> {
    let typed = terminal::ask_password(prompt)?;
    if twice && *terminal::ask_password("The same again: ")? != *typed {
        return Err(Failure::invalid("the two passwords differ", "type the same password twice"));
    }
    password(typed, "the terminal", Vec::new())
}

/// Refuses a new password that can be guessed.
pub fn check_strength(secret: &SlotSecret) -> Result<(), Failure> {
    let SlotSecret::Password(password) = secret else { return Ok(()) };
    let found = zxcvbn::zxcvbn(password, &["strongroom", "backup", "repository"]);
    if u8::from(found.score()) >= STRENGTH_FLOOR {
        return Ok(());
    }
    let why = found.feedback().and_then(|feedback| feedback.warning()).map(|warning| format!(": {warning}"));
    Err(Failure::invalid(
        format!("the password can be guessed{}", why.unwrap_or_default().trim_end_matches('.').to_lowercase()),
        "use four or more words that have nothing to do with each other, or a password manager",
    ))
}

fn password(text: Zeroizing<String>, place: impl std::fmt::Display, warnings: Vec<String>) -> Result<Secret, Failure> {
    let secret = SlotSecret::password(text).map_err(|_| {
        Failure::new(Exit::Invalid, "the password is empty", place, "the empty password does not exist: choose another")
    })?;
    Ok(Secret { secret, warnings })
}

fn read_file(path: &Path, what: &str) -> Result<(Zeroizing<Vec<u8>>, Vec<String>), Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(
            Exit::Invalid,
            format!("{what} cannot be read: {error}"),
            path.display(),
            "check the path and its permissions",
        )
    };
    let file = fs::File::open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    // Reserved once: a buffer that grows would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(SECRET_BYTES_MAX + 1).unwrap_or_default()));
    file.take(SECRET_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > SECRET_BYTES_MAX {
        let text = format!("{what} has more than {SECRET_BYTES_MAX} bytes");
        return Err(Failure::new(Exit::Invalid, text, path.display(), "name the right file"));
    }
    let open_to_others = about.is_file() && about.permissions().mode() & 0o077 != 0;
    let warning = format!("{}: others may read this {what}; chmod 600 it", path.display());
    Ok((bytes, open_to_others.then_some(warning).into_iter().collect()))
}

/// UTF-8, less one newline at the end.
fn text_of(mut bytes: Zeroizing<Vec<u8>>, place: &str) -> Result<Zeroizing<String>, Failure> {
    if bytes.ends_with(b"\n") {
        bytes.pop();
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(Failure::new(Exit::Invalid, "the secret is not UTF-8 text", place, "name the right file")),
    }
}

/// The one line that a command prints; split by shell rules, run without a shell.
fn run(line: &str) -> Result<Zeroizing<String>, Failure> {
    let failed = |what: String| {
        Failure::new(
            Exit::Failed,
            what,
            format!("--password-command {line:?}"),
            "run the command by hand and look at what it says",
        )
    };
    let words = shell_words::split(line).map_err(|error| {
        Failure::invalid(format!("--password-command {line:?}: {error}"), "quote it as a shell would want it")
    })?;
    let Some((program, arguments)) = words.split_first() else {
        return Err(Failure::invalid("--password-command is empty", "name the command that prints the password"));
    };
    let mut child = Command::new(program);
    let child = child
        .args(arguments)
        .env_remove(PASSWORD_VARIABLE)
        .env_remove(FROM_PASSWORD_VARIABLE)
        .env_remove(VCENTER_PASSWORD_VARIABLE)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let output = child.output().map_err(|error| failed(format!("the password command cannot be run: {error}")))?;
    let printed = Zeroizing::new(output.stdout);
    if !output.status.success() {
        return Err(failed(format!("the password command ended with {}", output.status)));
    }
    let text = text_of(printed, "--password-command")?;
    if text.contains('\n') {
        return Err(failed("the password command printed more than one line".to_owned()));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(flags: &SecretFlags, variables: &[(&str, &str)], on_terminal: bool) -> Result<SecretSource, Failure> {
        let variable =
            |name: &str| variables.iter().find(|(found, _)| *found == name).map(|(_, value)| (*value).to_owned());
        choose(flags, &variable, on_terminal)
    }

    #[test]
    fn a_flag_wins_over_the_environment_and_that_over_a_prompt() {
        let flags = SecretFlags { password_file: Some("f".into()), ..SecretFlags::default() };
        let none = SecretFlags::default();
        let variables = [("STRONGROOM_KEY_FILE", "k")];
        assert_eq!(chosen(&flags, &variables, true), Ok(SecretSource::PasswordFile("f".into())));
        assert_eq!(chosen(&none, &variables, true), Ok(SecretSource::KeyFile("k".into())));
        assert_eq!(
            chosen(&none, &[(PASSWORD_VARIABLE, "x")], true),
            Ok(SecretSource::PasswordVariable(PASSWORD_VARIABLE))
        );
        assert_eq!(chosen(&none, &[], true), Ok(SecretSource::Prompt));
        assert_eq!(chosen(&none, &[], false).unwrap_err().exit, Exit::Invalid);
    }

    #[test]
    fn two_sources_at_one_level_are_refused_by_name() {
        let both =
            SecretFlags { password_file: Some("f".into()), key_file: Some("k".into()), ..SecretFlags::default() };
        let failure = chosen(&both, &[], true).unwrap_err();
        assert_eq!(failure.what, "--password-file and --key-file both say how to open the repository");
        let variables = [(PASSWORD_VARIABLE, "x"), ("STRONGROOM_PASSWORD_FILE", "f")];
        assert_eq!(chosen(&SecretFlags::default(), &variables, true).unwrap_err().exit, Exit::Invalid);
    }

    fn password_of(secret: Result<Secret, Failure>) -> String {
        match secret.map(|secret| secret.secret) {
            Ok(SlotSecret::Password(password)) => password.to_string(),
            _ => panic!("no password"),
        }
    }

    #[test]
    fn one_newline_at_the_end_is_no_part_of_a_password() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), " two\n\n").unwrap();
        assert_eq!(password_of(read(&SecretSource::PasswordFile(file.path().into()), false)), " two\n");
    }

    #[test]
    fn a_file_that_others_may_read_is_warned_about() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "secret").unwrap();
        let source = SecretSource::PasswordFile(file.path().into());
        assert!(read(&source, false).is_ok_and(|secret| secret.warnings.is_empty()));
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read(&source, false).is_ok_and(|secret| secret.warnings.len() == 1));
    }

    #[test]
    fn a_command_runs_without_a_shell_and_gives_one_line() {
        let command = |line: &str| read(&SecretSource::PasswordCommand(line.to_owned()), false);
        assert_eq!(password_of(command("printf '%s' 'a $HOME b'")), "a $HOME b");
        for line in ["false", "printf 'a\\nb\\n'", "/no/such/program"] {
            assert!(command(line).is_err_and(|failure| failure.exit == Exit::Failed), "{line}");
        }
        assert!(command("'open").is_err_and(|failure| failure.exit == Exit::Invalid));
        assert!(command("true").is_err_and(|failure| failure.what == "the password is empty"));
    }

    #[test]
    fn weak_passwords_are_refused_and_others_pass() {
        let check = |text: &str| check_strength(&SlotSecret::Password(Zeroizing::new(text.to_owned())));
        for weak in ["a", "password", "Strongroom1", "qwertz12345"] {
            assert!(check(weak).is_err(), "{weak}");
        }
        assert!(check("copper violin harvest quietly").is_ok());
    }
}
