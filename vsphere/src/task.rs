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

/// Whoever wants the run to end waits for so long for what undoes or ends something.
const AFTER_STOP_MAX: Duration = Duration::from_secs(30);

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
    /// Somebody wanted the run to end.
    #[error("{method} on {on}: interrupted, {}", went_on(task.as_ref()))]
    Interrupted {
        /// What was asked for.
        method: &'static str,
        /// On what.
        on: ManagedObject,
        /// The task, which goes on; `None`: none was begun.
        task: Option<ManagedObject>,
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

fn went_on(task: Option<&ManagedObject>) -> String {
    match task {
        Some(task) => format!("and vCenter goes on with {task}"),
        None => "nothing was begun".to_owned(),
    }
}

impl TaskError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Call(error) => error.kind(),
            Self::Fault { fault, .. } => fault.kind(),
            Self::TooSlow { .. } => Kind::Unavailable,
            Self::Interrupted { .. } => Kind::Interrupted,
            Self::Property { source, .. } => source.kind(),
        }
    }

    /// The server's reason, if it gave one.
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Call(error) => error.fault(),
            Self::Fault { fault, .. } => Some(fault),
            Self::TooSlow { .. } | Self::Interrupted { .. } | Self::Property { .. } => None,
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
            Self::Interrupted { task, .. } => task.is_some(),
            Self::TooSlow { .. } | Self::Property { .. } => true,
        }
    }
}

/// How long a task is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    limit: Duration,
    after_stop: Duration,
}

impl Patience {
    /// For what may as well not be: once somebody wants the run to end it is not begun, and no longer waited for.
    pub(crate) const fn begin(limit: Duration) -> Self {
        Self { limit, after_stop: Duration::ZERO }
    }

    /// For what undoes or ends something: whoever wants the run to end waits for it a little.
    pub(crate) const fn finish(limit: Duration) -> Self {
        Self { limit, after_stop: AFTER_STOP_MAX }
    }
}

/// One wait.
struct Waiting<'s> {
    session: &'s Session,
    patience: Patience,
    begun: Instant,
    stop_seen: Option<Instant>,
}

impl<'s> Waiting<'s> {
    fn begin(session: &'s Session, patience: Patience) -> Self {
        Self { session, patience, begun: Instant::now(), stop_seen: None }
    }

    /// Whether somebody wanted the run to end, and long enough ago.
    fn is_stopped(&mut self) -> bool {
        if self.stop_seen.is_none() && self.session.stop().is_asked() {
            self.stop_seen = Some(Instant::now());
        }
        self.stop_seen.is_some_and(|seen| seen.elapsed() >= self.patience.after_stop)
    }

    fn is_over(&self) -> bool {
        self.begun.elapsed() > self.patience.limit
    }

    fn rest(&self, pause: Duration) {
        match self.stop_seen {
            // It was heard: what is left of the patience is waited for as before.
            Some(_) => thread::sleep(pause),
            None => self.session.stop().rest(pause),
        }
    }
}

/// Begins a task and waits for its end; its result, if it has one.
///
/// While the object is busy with something else, nothing has been done: that is waited for, as long as the session's pace says.
pub(crate) fn run_task(
    session: &Session,
    method: Method,
    on: &ManagedObject,
    params: &[Element],
    patience: Patience,
) -> Result<Option<Element>, TaskError> {
    let pace = session.pace();
    let mut waiting = Waiting::begin(session, patience);
    let mut pause = pace.retry_first;
    loop {
        if waiting.is_stopped() {
            return Err(TaskError::Interrupted { method: method.name(), on: on.clone(), task: None });
        }
        match run_once(session, method, on, params, patience) {
            Err(error)
                if error.class() == Some(FaultClass::Busy) && waiting.begun.elapsed() + pause < pace.busy_max =>
            {
                waiting.rest(pause);
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
    patience: Patience,
) -> Result<Option<Element>, TaskError> {
    let task = session.call_for(method, on, params, "task")?;
    let task = ManagedObject::of(&task).ok_or_else(|| session.incomplete(method, "task"))?;
    wait_for_task(session, method, on, &task, patience)
}

/// Waits for the end of a task.
pub(crate) fn wait_for_task(
    session: &Session,
    method: Method,
    on: &ManagedObject,
    task: &ManagedObject,
    patience: Patience,
) -> Result<Option<Element>, TaskError> {
    let pace = session.pace();
    let mut waiting = Waiting::begin(session, patience);
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
        if waiting.is_over() {
            let limit = patience.limit;
            return Err(TaskError::TooSlow { method: method.name(), on: on.clone(), task: task.clone(), limit });
        }
        if waiting.is_stopped() {
            return Err(TaskError::Interrupted { method: method.name(), on: on.clone(), task: Some(task.clone()) });
        }
        waiting.rest(pause);
        pause = pause.saturating_mul(2).min(pace.task_look_max);
    }
}

/// Waits until no `method` is under way on an object, whoever began it: what a killed run has asked for may still come.
///
/// What cannot be looked at is not waited for: whoever asks looks at the object itself next.
pub(crate) fn wait_until_idle(
    session: &Session,
    method: Method,
    on: &ManagedObject,
    patience: Patience,
) -> Result<(), TaskError> {
    let Ok(properties) = properties_of(session, on, &["recentTask"]) else { return Ok(()) };
    let tasks = properties.get("recentTask").ok().flatten().map(Element::children).unwrap_or_default();
    for task in tasks.iter().filter_map(ManagedObject::of) {
        let Ok(info) = properties_of(session, &task, &["info.descriptionId", "info.state"]) else { continue };
        let text = |path: &str| info.text(path).ok().flatten().unwrap_or_default().to_lowercase();
        // `VirtualMachine.createSnapshot` is what CreateSnapshot_Task has begun.
        let begun_by = method.name().trim_end_matches("_Task").to_lowercase();
        let is_it = text("info.descriptionId").rsplit('.').next() == Some(begun_by.as_str());
        if is_it && matches!(text("info.state").as_str(), "queued" | "running") {
            // How it ended does not matter: whether its effect is there does.
            let ended = wait_for_task(session, method, on, &task, patience);
            if let Err(error @ (TaskError::TooSlow { .. } | TaskError::Interrupted { .. })) = ended {
                return Err(error);
            }
        }
    }
    Ok(())
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
