//! The progress bar: on a terminal only, on standard error, so that results stay clean.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar for the step at hand.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar that shows nothing if `quiet` or if standard error is no terminal.
    pub(crate) fn new(quiet: bool) -> Self {
        let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr_with_hz(5) };
        Self { bar: ProgressBar::with_draw_target(Some(0), target) }
    }

    /// Starts a step of `len` units.
    pub(crate) fn step(&self, name: &'static str, len: u64) {
        self.bar.reset();
        self.bar.set_length(len);
        // The template is a constant; without it the bar is only plainer.
        if let Ok(style) = ProgressStyle::with_template("{prefix:>12} {bar:30} {pos}/{len} {msg}") {
            self.bar.set_style(style);
        }
        self.bar.set_prefix(name);
        self.bar.set_message("");
    }

    /// Shows how far the step is.
    pub(crate) fn at(&self, position: u64) {
        self.bar.set_position(position);
    }

    /// Shows a load: time in tenths of seconds as position, and the current rate.
    pub(crate) fn load(&self, elapsed: Duration, per_s: f64) {
        self.bar.set_position(elapsed.as_secs());
        self.bar.set_message(format!("s  {per_s:.0} messages/s"));
    }

    /// Removes the bar.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
