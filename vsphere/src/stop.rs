//! Waiting that an operator can end.

use std::{
    fmt,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// A wait is looked up from this often.
const SLICE: Duration = Duration::from_millis(100);

/// Tells whether somebody wants the run to end.
#[derive(Clone, Default)]
pub struct Stop(Option<Arc<dyn Fn() -> bool + Send + Sync>>);

impl Stop {
    /// Asks `asked`, often: a signal's flag.
    pub fn when(asked: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(asked)))
    }

    /// Whether somebody wants the run to end.
    pub fn is_asked(&self) -> bool {
        self.0.as_ref().is_some_and(|asked| asked())
    }

    /// Rests for so long, or until somebody wants the run to end.
    pub(crate) fn rest(&self, pause: Duration) {
        let begun = Instant::now();
        while !self.is_asked() {
            let left = pause.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(SLICE));
        }
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Stop").field(&self.is_asked()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_rest_ends_soon_after_somebody_asks() {
        let asked = AtomicUsize::new(0);
        let stop = Stop::when(move || asked.fetch_add(1, Ordering::Relaxed) >= 2);
        let begun = Instant::now();
        stop.rest(Duration::from_secs(3600));
        assert!(begun.elapsed() < Duration::from_secs(60));
        Stop::default().rest(Duration::from_millis(1));
    }
}
