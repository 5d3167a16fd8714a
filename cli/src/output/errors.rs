//! `error:`, `where:`, `try:` — always these three, in this order.

use std::io::IsTerminal;

use anstyle::{AnsiColor, Style};

use crate::{args::ColorChoice, failure::Failure, output::WarningLine};

/// Colours of the labels.
#[derive(Clone, Copy, Debug)]
pub struct Palette {
    error: Style,
    warning: Style,
    advice: Style,
}

impl Palette {
    /// No colour.
    pub const PLAIN: Self = Self { error: Style::new(), warning: Style::new(), advice: Style::new() };

    /// What the person wants and the terminal can show.
    pub fn of(choice: ColorChoice) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
        let wanted = match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto if set("NO_COLOR") => false,
            ColorChoice::Auto => set("CLICOLOR_FORCE") || std::io::stderr().is_terminal(),
        };
        if !wanted {
            return Self::PLAIN;
        }
        Self {
            error: AnsiColor::Red.on_default().bold(),
            warning: AnsiColor::Yellow.on_default().bold(),
            advice: AnsiColor::Green.on_default().bold(),
        }
    }
}

/// The text of a failure. Causes only if asked for.
pub fn render_failure(failure: &Failure, palette: Palette, causes: bool) -> String {
    let Palette { error, advice, .. } = palette;
    let mut text = format!(
        "{error}error:{error:#} {}\nwhere: {}\n  {advice}try:{advice:#} {}\n",
        one_line(&failure.what),
        one_line(&failure.place),
        one_line(&failure.advice)
    );
    if causes {
        failure.causes.iter().for_each(|cause| text.push_str(&format!("caused by: {}\n", one_line(cause))));
    }
    text
}

/// The text of a warning.
pub fn render_warning(warning: &WarningLine, palette: Palette) -> String {
    let style = palette.warning;
    format!("{style}warning:{style:#} {}\n", one_line(&warning.message))
}

/// A name from a repository or file system may hold anything: nothing of it reaches the terminal as a control.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn failure() -> Failure {
        Failure {
            causes: vec!["the disk is on fire".to_owned()],
            ..Failure::new(
                Exit::Failed,
                "web01 disk0: read failed at byte 4096",
                "/images/web01.img",
                "look at the disk",
            )
        }
    }

    #[test]
    fn an_error_has_three_labels() {
        let text = render_failure(&failure(), Palette::PLAIN, false);
        assert_eq!(
            text,
            "error: web01 disk0: read failed at byte 4096\nwhere: /images/web01.img\n  try: look at the disk\n"
        );
    }

    #[test]
    fn causes_come_only_when_asked_for() {
        assert!(render_failure(&failure(), Palette::PLAIN, true).ends_with("caused by: the disk is on fire\n"));
    }

    #[test]
    fn no_control_character_reaches_the_terminal() {
        let failure = Failure { what: "a\x1b[2Jb\nc".to_owned(), ..failure() };
        assert!(render_failure(&failure, Palette::PLAIN, false).starts_with("error: a\u{fffd}[2Jb\u{fffd}c\n"));
    }
}
