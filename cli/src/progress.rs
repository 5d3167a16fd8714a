//! What is seen while the engine works: bars on a terminal, plain lines, JSON lines, or nothing. All on standard error.

use std::{
    collections::VecDeque,
    io::{self, IsTerminal, Write},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use engine::{Event, Monitor, Step};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::{args::ProgressChoice, output::WarningLine, signals, units};

/// At most this many JSON lines a second come out.
const TICK: Duration = Duration::from_millis(500);
const PLAIN_EVERY: Duration = Duration::from_secs(60);
/// The stretch that a rate is taken over.
const RATE_OVER: Duration = Duration::from_secs(15);

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Bars.
    Bar,
    /// Lines for people.
    Plain,
    /// Lines for programs.
    Json,
    /// Nothing.
    None,
}

impl Mode {
    /// What was asked for, and what fits the place it goes to. Away from a terminal there is silence unless asked.
    pub fn of(choice: ProgressChoice, quiet: bool) -> Self {
        match choice {
            _ if quiet => Self::None,
            ProgressChoice::Auto if io::stderr().is_terminal() => Self::Bar,
            ProgressChoice::Auto | ProgressChoice::None => Self::None,
            ProgressChoice::Bar => Self::Bar,
            ProgressChoice::Plain => Self::Plain,
            ProgressChoice::Json => Self::Json,
        }
    }
}

/// Watches one run of the engine.
pub struct Progress {
    shared: Arc<Shared>,
    ticker: Option<JoinHandle<()>>,
}

struct Shared {
    mode: Mode,
    done_bytes: AtomicU64,
    new_bytes: AtomicU64,
    ended: AtomicBool,
    state: Mutex<State>,
}

struct State {
    phase: &'static str,
    total_bytes: u64,
    disk: Option<Disk>,
    samples: VecDeque<(Instant, u64)>,
    bars: Option<Bars>,
    warnings: Vec<WarningLine>,
    last_plain: Instant,
}

struct Disk {
    vm: String,
    name: String,
    total_bytes: u64,
    done_before: u64,
}

struct Bars {
    all: ProgressBar,
    disk: ProgressBar,
    _both: MultiProgress,
}

#[derive(Serialize)]
struct Line<'l> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<&'l str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vm: Option<&'l str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disk: Option<&'l str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    figures: Option<Figures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'l str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'l str>,
}

#[derive(Clone, Copy, Serialize)]
struct Figures {
    done_bytes: u64,
    total_bytes: u64,
    rate_bytes_per_second: u64,
    eta_seconds: Option<u64>,
    new_bytes: u64,
}

impl Progress {
    /// Begins to watch.
    pub fn start(mode: Mode) -> Self {
        let state = State {
            phase: "",
            total_bytes: 0,
            disk: None,
            samples: VecDeque::new(),
            bars: (mode == Mode::Bar).then(Bars::new),
            warnings: Vec::new(),
            last_plain: Instant::now(),
        };
        let shared = Arc::new(Shared {
            mode,
            done_bytes: AtomicU64::new(0),
            new_bytes: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            state: Mutex::new(state),
        });
        let watched = Arc::clone(&shared);
        let ticker = thread::Builder::new().name("progress".to_owned()).spawn(move || {
            while !watched.ended.load(Ordering::Relaxed) {
                watched.tick();
                thread::park_timeout(TICK);
            }
        });
        Self { shared, ticker: ticker.ok() }
    }

    /// Ends the watch; gives the warnings that the engine had.
    pub fn finish(mut self) -> Vec<WarningLine> {
        self.stop();
        std::mem::take(&mut self.shared.state().warnings)
    }

    fn stop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        if let Some(ticker) = self.ticker.take() {
            ticker.thread().unpark();
            let _ = ticker.join();
        }
        if let Some(bars) = self.shared.state().bars.take() {
            bars.disk.finish_and_clear();
            bars.all.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Monitor for Progress {
    fn event(&self, event: &Event<'_>) {
        let shared = &self.shared;
        let done = shared.done_bytes.load(Ordering::Relaxed);
        let mut state = shared.state();
        match event {
            Event::Phase { name, total_bytes } => {
                shared.done_bytes.store(0, Ordering::Relaxed);
                state.phase = name;
                state.total_bytes = *total_bytes;
                state.samples.clear();
            }
            Event::DiskStarted { vm, disk, bytes, data_bytes } => {
                let total_bytes = data_bytes.unwrap_or(*bytes);
                if shared.mode == Mode::Plain {
                    tell(&format!("{vm} {disk}: {} of {} hold data", units::size(total_bytes), units::size(*bytes)));
                }
                state.disk =
                    Some(Disk { vm: (*vm).to_owned(), name: (*disk).to_owned(), total_bytes, done_before: done });
            }
            Event::DiskFinished { vm, disk, read_bytes, stored_bytes } => {
                if shared.mode == Mode::Plain {
                    let (read, stored) = (units::size(*read_bytes), units::size(*stored_bytes));
                    tell(&format!("{vm} {disk}: done, read {read}, stored {stored}"));
                }
                state.disk = None;
            }
            Event::Warning { code, message } => {
                if shared.mode == Mode::Json {
                    let line = Line { code: Some(code), message: Some(message), ..Line::of("warning") };
                    tell(&serde_json::to_string(&line).unwrap_or_default());
                }
                state.warnings.push(WarningLine { code: (*code).to_owned(), message: message.clone() });
            }
        }
    }

    fn advance(&self, step: Step) {
        self.shared.done_bytes.fetch_add(step.done_bytes, Ordering::Relaxed);
        self.shared.new_bytes.fetch_add(step.new_bytes, Ordering::Relaxed);
    }

    fn interrupted(&self) -> bool {
        signals::stopped()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tick(&self) {
        let wanted = signals::report_wanted();
        let mut state = self.state();
        let done_bytes = self.done_bytes.load(Ordering::Relaxed);
        let now = Instant::now();
        state.samples.push_back((now, done_bytes));
        while state.samples.front().is_some_and(|(at, _)| now.duration_since(*at) > RATE_OVER) {
            state.samples.pop_front();
        }
        let (rate_bytes_per_second, eta_seconds) = rate_and_eta(&state.samples, state.total_bytes);
        let figures = Figures {
            done_bytes,
            total_bytes: state.total_bytes,
            rate_bytes_per_second,
            eta_seconds,
            new_bytes: self.new_bytes.load(Ordering::Relaxed),
        };
        if let Some(bars) = &state.bars {
            bars.show(&state, figures);
        }
        let minute = now.duration_since(state.last_plain) >= PLAIN_EVERY;
        if wanted || (self.mode == Mode::Plain && minute) {
            let text = format!("{}: {}", place(&state), plain(figures));
            match &state.bars {
                Some(bars) => bars.all.suspend(|| tell(&text)),
                None => tell(&text),
            }
            state.last_plain = now;
        }
        if self.mode == Mode::Json && !state.phase.is_empty() {
            let disk = state.disk.as_ref();
            let line = Line {
                phase: Some(state.phase),
                vm: disk.map(|disk| disk.vm.as_str()),
                disk: disk.map(|disk| disk.name.as_str()),
                figures: Some(figures),
                ..Line::of("progress")
            };
            tell(&flat(&line));
        }
    }
}

impl Line<'_> {
    fn of(kind: &'static str) -> Self {
        Self { kind, phase: None, vm: None, disk: None, figures: None, code: None, message: None }
    }
}

/// The figures stand beside the other fields, not inside one.
fn flat(line: &Line<'_>) -> String {
    let mut value = serde_json::to_value(line).unwrap_or_default();
    if let Some(object) = value.as_object_mut()
        && let Some(serde_json::Value::Object(figures)) = object.remove("figures")
    {
        object.extend(figures);
    }
    value.to_string()
}

impl Bars {
    fn new() -> Self {
        let both = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(4));
        let style = ProgressStyle::with_template("{prefix:<20!} {wide_bar} {percent:>3}%  {msg}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        let disk = both.add(ProgressBar::new(0).with_style(style.clone()));
        let all = both.add(ProgressBar::new(0).with_style(style).with_prefix("all"));
        Self { all, disk, _both: both }
    }

    fn show(&self, state: &State, figures: Figures) {
        if let Some(disk) = &state.disk {
            self.disk.set_length(disk.total_bytes);
            self.disk.set_prefix(format!("{} {}", disk.vm, disk.name));
            self.disk.set_position(figures.done_bytes.saturating_sub(disk.done_before).min(disk.total_bytes));
        }
        if state.total_bytes > 0 {
            self.all.set_length(state.total_bytes);
            self.all.set_position(figures.done_bytes.min(state.total_bytes));
        }
        self.all.set_prefix(if state.phase.is_empty() { "all" } else { state.phase });
        self.all.set_message(plain(figures));
    }
}

/// Bytes a second over the samples, and seconds until the end; no guess before there is a rate.
fn rate_and_eta(samples: &VecDeque<(Instant, u64)>, total_bytes: u64) -> (u64, Option<u64>) {
    let (Some((begun, first)), Some((now, last))) = (samples.front(), samples.back()) else { return (0, None) };
    let milliseconds = u64::try_from(now.duration_since(*begun).as_millis()).unwrap_or(u64::MAX);
    let rate = last.saturating_sub(*first).saturating_mul(1000).checked_div(milliseconds).unwrap_or(0);
    (rate, total_bytes.saturating_sub(*last).checked_div(rate).filter(|_| total_bytes > 0))
}

fn plain(figures: Figures) -> String {
    let Figures { done_bytes, total_bytes, rate_bytes_per_second, eta_seconds, new_bytes } = figures;
    let eta = eta_seconds.map_or_else(|| "-".to_owned(), units::duration);
    let (done, total, rate) = (units::size(done_bytes), units::size(total_bytes), units::size(rate_bytes_per_second));
    format!("{done} of {total}  {rate}/s  ETA {eta}  new {}", units::size(new_bytes))
}

fn place(state: &State) -> String {
    match &state.disk {
        Some(disk) => format!("{} {}", disk.vm, disk.name),
        None if state.phase.is_empty() => "begun".to_owned(),
        None => state.phase.to_owned(),
    }
}

fn tell(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_taken_over_the_window_and_gives_the_eta() {
        let begun = Instant::now();
        let samples = VecDeque::from([(begun, 1_000), (begun + Duration::from_secs(2), 5_000)]);
        assert_eq!(rate_and_eta(&samples, 9_000), (2_000, Some(2)));
        assert_eq!(rate_and_eta(&samples, 0), (2_000, None));
        assert_eq!(rate_and_eta(&VecDeque::new(), 9_000), (0, None));
    }

    #[test]
    fn a_json_line_has_its_figures_beside_its_type() {
        let figures =
            Figures { done_bytes: 1, total_bytes: 2, rate_bytes_per_second: 3, eta_seconds: None, new_bytes: 4 };
        let line = flat(&Line { phase: Some("backup"), figures: Some(figures), ..Line::of("progress") });
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["type"], "progress");
        assert_eq!(value["total_bytes"], 2);
        assert!(value.get("figures").is_none() && value["eta_seconds"].is_null());
    }

    #[test]
    fn away_from_a_terminal_there_is_silence() {
        assert_eq!(Mode::of(ProgressChoice::Json, true), Mode::None);
        assert_eq!(Mode::of(ProgressChoice::Plain, false), Mode::Plain);
    }
}
