//! Tasks: begun by a call, looked at until they end.

use std::{
    thread,
    time::{Duration, Instant},
};

use engine::Kind;

use crate::{
    properties::{PropertyError, properties_of},
    session::Session,
    soap::{CallError, Element, Fault, FaultClass, ManagedObject, Method},
};

/// A server that cannot be asked about a task is asked on for so long: it may only be restarting.
const SILENCE_MAX: Duration = Duration::from_secs(10 * 60);

/// At most between two tries at something that is busy.
const BUSY_PAUSE_MAX: Duration = Duration::from_secs(30);

/// Why a task has no result.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// It could not be begun, or not be asked about.
    #[error(transparent)]
    Call(#[from] CallError),
    /// It failed.
    #[error("{method} on {on}: {fault}")]
    Fault {
        /// What was asked for.
        method: &'static str,
        /// On what.
        on: ManagedObject,
        /// Why it failed.
        fault: Box<Fault>,
    },
    /// It goes on, and nobody waits any longer.
    #[error("{method} on {on}: {task} has not ended within {} s", limit.as_secs())]
    TooSlow {
        /// What was asked for.
        method: &'static str,
        /// On what.
        on: ManagedObject,
        /// The task.
        task: ManagedObject,
        /// How long was waited.
        limit: Duration,
    },
    /// Its state cannot be read.
    #[error("{method}: {source}")]
    Property {
        /// What was asked for.
        method: &'static str,
        /// Why not.
        source: PropertyError,
    },
}

impl TaskError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Call(error) => error.kind(),
            Self::Fault { fault, .. } => fault.kind(),
            Self::TooSlow { .. } => Kind::Unavailable,
            Self::Property { source, .. } => source.kind(),
        }
    }

    /// The server's reason, if it gave one.
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Call(error) => error.fault(),
            Self::Fault { fault, .. } => Some(fault),
            Self::TooSlow { .. } | Self::Property { .. } => None,
        }
    }

    /// What the server's reason means, if it gave one.
    pub fn class(&self) -> Option<FaultClass> {
        self.fault().map(Fault::class)
    }

    /// Whether the effect may be there, or may still come about.
    pub fn may_have_happened(&self) -> bool {
        match self {
            Self::Call(error) => error.may_have_happened(),
            Self::Fault { .. } => false,
            Self::TooSlow { .. } | Self::Property { .. } => true,
        }
    }
}

/// Begins a task and waits at most `limit` for its end; its result, if it has one.
///
/// While the object is busy with something else, nothing has been done: that is waited for, as long as the session's pace says.
pub(crate) fn run_task(
    session: &Session,
    method: Method,
    on: &ManagedObject,
    params: &[Element],
    limit: Duration,
) -> Result<Option<Element>, TaskError> {
    let (begun, pace) = (Instant::now(), session.pace());
    let mut pause = pace.retry_first;
    loop {
        match run_once(session, method, on, params, limit) {
            Err(error) if error.class() == Some(FaultClass::Busy) && begun.elapsed() + pause < pace.busy_max => {
                thread::sleep(pause);
                pause = pause.saturating_mul(2).min(BUSY_PAUSE_MAX);
            }
            result => return result,
        }
    }
}

fn run_once(
    session: &Session,
    method: Method,
    on: &ManagedObject,
    params: &[Element],
    limit: Duration,
) -> Result<Option<Element>, TaskError> {
    let task = session.call_for(method, on, params, "task")?;
    let task = ManagedObject::of(&task).ok_or_else(|| session.incomplete(method, "task"))?;
    wait_for_task(session, method, on, &task, limit)
}

/// Waits at most `limit` for the end of a task.
pub(crate) fn wait_for_task(
    session: &Session,
    method: Method,
    on: &ManagedObject,
    task: &ManagedObject,
    limit: Duration,
) -> Result<Option<Element>, TaskError> {
    let (begun, pace) = (Instant::now(), session.pace());
    let mut heard = Instant::now();
    let mut pause = pace.task_look_first;
    loop {
        match look(session, method, on, task) {
            Ok(State::Ended(result)) => return Ok(result),
            Ok(State::GoesOn) => heard = Instant::now(),
            Err(error) if error.kind() == Kind::Unavailable && error.fault().is_none() => {
                if heard.elapsed() > SILENCE_MAX {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
        if begun.elapsed() > limit {
            return Err(TaskError::TooSlow { method: method.name(), on: on.clone(), task: task.clone(), limit });
        }
        thread::sleep(pause);
        pause = pause.saturating_mul(2).min(pace.task_look_max);
    }
}

enum State {
    GoesOn,
    Ended(Option<Element>),
}

fn look(session: &Session, method: Method, on: &ManagedObject, task: &ManagedObject) -> Result<State, TaskError> {
    let info = properties_of(session, task, &["info.state", "info.result", "info.error"])?;
    let of = |source| TaskError::Property { method: method.name(), source };
    match info.require("info.state").map_err(of)?.text() {
        "queued" | "running" => Ok(State::GoesOn),
        "success" => Ok(State::Ended(info.get("info.result").map_err(of)?.cloned())),
        "error" => {
            let fault = Box::new(Fault::of_localized(info.require("info.error").map_err(of)?));
            Err(TaskError::Fault { method: method.name(), on: on.clone(), fault })
        }
        other => Err(of(info.senseless("info.state", other))),
    }
}
