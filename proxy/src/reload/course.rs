//! An attempt under way: who asked for it, and what is noted of it on the way. Knows no steps.

use super::status::{Phases, Trigger, Work};
use crate::{config::diagnostic::Diagnostic, telemetry::Timestamp};

/// One attempt under way.
pub(super) struct Course {
    pub(super) trigger: Trigger,
    pub(super) dry_run: bool,
    pub(super) at: Timestamp,
    pub(super) phases: Phases,
    pub(super) work: Work,
    /// What compiling found that does not refuse the tree.
    pub(super) warnings: Vec<Diagnostic>,
}

impl Course {
    /// One that begins now.
    pub(super) fn new(trigger: Trigger, dry_run: bool) -> Self {
        let (phases, work) = (Phases::default(), Work::default());
        Self { trigger, dry_run, at: Timestamp::now(), phases, work, warnings: Vec::new() }
    }
}
