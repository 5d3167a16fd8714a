//! What comes out of the process, and how it ends.

use std::{
    collections::VecDeque,
    io::{self, BufRead, BufReader, Read},
    ops::Range,
    os::unix::{net::UnixStream, process::ExitStatusExt},
    process::{Child, ExitStatus},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver},
    },
    thread,
    time::{Duration, Instant},
};

use super::super::{
    ProcessError, ReadError,
    control::{self, Reply},
    lines::{LastLines, LibraryLines},
};

/// Failed requests that somebody may still ask about.
const TROUBLES_MAX: usize = 256;
/// A failed request is told on another socket than its answer: how much later, at most.
const TROUBLE_DELAY: Duration = Duration::from_secs(2);
/// A process whose socket has closed is about to end.
const DYING: Duration = Duration::from_secs(2);
/// Longest line that is read, in bytes.
const LINE_BYTES_MAX: u64 = 4096;

/// Who hears lines.
type Hear = Option<Arc<dyn Fn(&str) + Send + Sync>>;

/// What has come out of it.
pub(super) struct Seen {
    lines: LastLines,
    hear: Hear,
    troubles: Mutex<VecDeque<(String, Range<u64>, ReadError)>>,
    arrived: Condvar,
    /// Outputs that have not ended.
    outputs: Mutex<usize>,
    ended: Condvar,
}

impl Seen {
    pub(super) fn new(hear: Hear) -> Self {
        Self {
            lines: LastLines::default(),
            hear,
            troubles: Mutex::default(),
            arrived: Condvar::new(),
            outputs: Mutex::new(0),
            ended: Condvar::new(),
        }
    }

    pub(super) fn lines(&self) -> LibraryLines {
        self.lines.all()
    }

    /// The failed request that `range` was part of.
    pub(super) fn trouble(&self, export: &str, range: &Range<u64>) -> Option<(u64, ReadError)> {
        let deadline = Instant::now() + TROUBLE_DELAY;
        let mut troubles = lock(&self.troubles);
        loop {
            let found = troubles.iter().rev().find(|(of, failed, _)| {
                of == export && failed.start < range.end.max(range.start + 1) && range.start < failed.end
            });
            if let Some((_, failed, error)) = found {
                return Some((failed.start, error.clone()));
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            troubles = self.arrived.wait_timeout(troubles, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn take_line(&self, line: &str) {
        self.lines.push(line);
        if let Some(hear) = &self.hear {
            hear(line);
        }
    }

    fn take_trouble(&self, export: String, range: Range<u64>, error: ReadError) {
        let mut troubles = lock(&self.troubles);
        troubles.push_back((export, range, error));
        while troubles.len() > TROUBLES_MAX {
            troubles.pop_front();
        }
        self.arrived.notify_all();
    }

    /// All that was written has been read, or a moment has passed: a child of the library may hold the other end.
    fn wait_for_outputs(&self) {
        let outputs = lock(&self.outputs);
        drop(self.ended.wait_timeout_while(outputs, DYING, |outputs| *outputs > 0));
    }

    fn read_lines(&self, output: impl Read) {
        let mut reader = BufReader::new(output);
        loop {
            let mut line = Vec::new();
            match reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => break,
                Ok(_) => self.take_line(String::from_utf8_lossy(&line).trim_end()),
            }
        }
        *lock(&self.outputs) -= 1;
        self.ended.notify_all();
    }
}

/// Reads all that the process says. The receiver ends with its control socket.
pub(super) fn listen(child: &mut Child, mut replies: UnixStream, seen: &Arc<Seen>) -> io::Result<Receiver<Reply>> {
    let outputs: [Option<Box<dyn Read + Send>>; 2] = [
        child.stdout.take().map(|output| Box::new(output) as Box<dyn Read + Send>),
        child.stderr.take().map(|output| Box::new(output) as Box<dyn Read + Send>),
    ];
    for output in outputs.into_iter().flatten() {
        let seen = Arc::clone(seen);
        *lock(&seen.outputs) += 1;
        thread::Builder::new().name("vddk lines".to_owned()).spawn(move || seen.read_lines(output))?;
    }
    let (sender, receiver) = mpsc::channel();
    let seen = Arc::clone(seen);
    let reading = move || {
        while let Ok(reply) = control::read_reply(&mut replies) {
            match reply {
                Reply::Trouble { export, start, end, failure } => {
                    seen.take_trouble(export, start..end, failure.into());
                }
                reply => {
                    if sender.send(reply).is_err() {
                        break;
                    }
                }
            }
        }
    };
    thread::Builder::new().name("vddk replies".to_owned()).spawn(reading)?;
    Ok(receiver)
}

/// The running process. Ended with this value.
pub(super) struct Watched {
    child: Mutex<Child>,
    seen: Arc<Seen>,
}

impl Watched {
    pub(super) fn new(child: Child, seen: Arc<Seen>) -> Self {
        Self { child: Mutex::new(child), seen }
    }

    /// How it ended; one that goes on is ended, after `silent_for` without an answer.
    pub(super) fn ended(&self, silent_for: Duration) -> ProcessError {
        let mut child = lock(&self.child);
        let how = match wait_for(&mut child, DYING) {
            Some(status) => described(status),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                format!("gave no answer for {} s and was ended", silent_for.as_secs_f32())
            }
        };
        drop(child);
        self.seen.wait_for_outputs();
        ProcessError::Ended { how, lines: self.seen.lines() }
    }

    /// Waits for its end, at most `patience`, and then ends it.
    pub(super) fn end(&self, patience: Duration) {
        let mut child = lock(&self.child);
        if wait_for(&mut child, patience).is_none() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

fn wait_for(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let begun = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if begun.elapsed() >= patience {
            return None;
        }
        thread::sleep(pause.min(patience));
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

fn described(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("ended by signal {signal}"),
        (None, Some(code)) => format!("ended with code {code}"),
        (None, None) => "ended".to_owned(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
