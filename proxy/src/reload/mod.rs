//! Reload: from a change to a new generation. The only writer: one loop, and in it the one place that swaps. A bad
//! tree is an answer, never an exit. Knows no HTTP and no YAML.

mod again;
mod board;
mod check;
mod course;
mod doors;
mod fallback;
mod load;
mod remembered;
mod sources;
pub mod status;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot};

use crate::{
    compile::{Compiled, Compiler},
    config::{self, Memo, diagnostic::Diagnostic, report},
    drain::Drain,
    fetch::Fetcher,
    last_good::{Keeper, LastGood},
    snapshot::{Current, Serving, Snapshot},
    source::{Source, Tree},
    worker::Workers,
};

use again::Again;
pub use board::Board;
use board::Seen;
use check::findings;
pub use check::{check, modules};
use course::Course;
use doors::Planned;
pub use doors::Sockets;
use fallback::Fallbacks;
use load::{Loaded, Refused};
pub use remembered::Remembered;
use sources::Sources;
use status::{Attempt, Outcome, Phase, Trigger};

// A worker takes prepared guests between two polls of its tasks: far below this on any machine that serves.
const ADOPT_DEADLINE: Duration = Duration::from_secs(10);

/// What the loop can be asked for.
pub enum Command {
    /// Load what the sources hold now.
    Reload {
        /// Who asks.
        trigger: Trigger,
        /// Everything but the swap.
        dry_run: bool,
        /// Where the outcome goes.
        answer: oneshot::Sender<Attempt>,
    },
    /// Check a tree that is not the sources'.
    Check {
        /// The tree, whole.
        tree: Tree,
        /// Where the findings go.
        answer: oneshot::Sender<Vec<Diagnostic>>,
    },
    /// Let go of the listening sockets, and load nothing any more.
    End {
        /// Told when it is done.
        answer: oneshot::Sender<()>,
    },
}

/// What the loop works with.
pub struct Reloader {
    /// Finds and makes parts.
    pub compiler: Compiler,
    /// Take what was prepared, and the swap.
    pub workers: Arc<Workers>,
    /// Knows who holds what.
    pub drain: Arc<Drain>,
    /// Where it says what it does.
    pub board: Arc<Board>,
    fetcher: Arc<Fetcher>,
    again: Again,
    fallbacks: Fallbacks,
    /// What the configuration that serves was made of.
    serving: Option<Loaded>,
    /// What was loaded last, whatever came of it.
    last: Option<Loaded>,
    keeper: Option<Arc<Keeper>>,
    sources: Sources,
    memo: Memo,
    sockets: Sockets,
    current: Option<Arc<Current>>,
    generation: u64,
    parts: Option<crate::identity::Identity>,
    ended: bool,
}

/// The first reading of the sources: what the process's own settings are taken from before there are workers.
pub struct First {
    sources: Sources,
    memo: Memo,
    course: Course,
    loaded: Loaded,
    /// What the sources hold, where the last good tree is taken instead.
    refused: Option<Refused>,
}

/// What a reloader works with besides its compiler and its sources.
pub struct Hands {
    /// Take what was prepared, and the swap.
    pub workers: Arc<Workers>,
    /// Knows who holds what.
    pub drain: Arc<Drain>,
    /// Where it says what it does.
    pub board: Arc<Board>,
    /// Fetches modules.
    pub fetcher: Arc<Fetcher>,
    /// Keeps what was applied, if anything does.
    pub keeper: Option<Arc<Keeper>>,
    /// What the last run knew of versions of plugins.
    pub remembered: Option<Remembered>,
}

impl First {
    /// Reads `sources` and checks what they hold. Where a remote one cannot be read, or holds what is refused, it is the
    /// last good tree.
    ///
    /// # Errors
    /// The findings as text for a terminal.
    pub async fn read(
        sources: Vec<Box<dyn Source>>,
        last_good: Option<LastGood>,
        fetcher: &Fetcher,
    ) -> Result<Self, String> {
        let (mut sources, mut memo) = (Sources::new(sources, last_good), Memo::default());
        let mut course = Course::new(Trigger::Start, false);
        let refused = match load::load(&mut sources, (&mut memo, None, fetcher), &mut course).await {
            Ok(loaded) => return Ok(Self { sources, memo, course, loaded, refused: None }),
            Err(refused) => refused,
        };
        let text = report::text(&refused.diagnostics, &refused.tree, false);
        match load::last_good(&mut sources, fetcher).await {
            Some(Ok(loaded)) => Ok(Self { sources, memo, course, loaded, refused: Some(refused) }),
            Some(Err(why)) => Err(format!("{text}{why}\n")),
            None => Err(text),
        }
    }

    /// The settings of the process.
    pub fn process(&self) -> &config::spec::Process {
        &self.loaded.spec.gateway.process
    }
}

impl Reloader {
    /// Brings up the first generation.
    ///
    /// # Errors
    /// The attempt, refused.
    pub async fn begin(compiler: Compiler, hands: Hands, sockets: Sockets, first: First) -> Result<Self, Attempt> {
        let First { sources, memo, course, loaded, refused } = first;
        let Hands { workers, drain, board, fetcher, keeper, remembered } = hands;
        board.follows(sources.monitors());
        let mut reloader = Self {
            fallbacks: Fallbacks::new(&compiler, remembered),
            serving: None,
            last: None,
            compiler,
            workers,
            drain,
            board,
            fetcher,
            again: Again::default(),
            keeper,
            sources,
            memo,
            sockets,
            current: None,
            generation: 0,
            parts: None,
            ended: false,
        };
        let tree = loaded.tree.clone();
        let mut attempt = reloader.carry_on(Ok(loaded.clone()), course).await;
        if attempt.outcome == Outcome::Refused && reloader.fallbacks.disbelieve() {
            attempt = reloader.carry_on(Ok(loaded), Course::new(Trigger::Start, false)).await;
        }
        let refused = match (attempt.outcome, refused) {
            (Outcome::Applied, None) => return Ok(reloader),
            (Outcome::Applied, Some(refused)) => refused,
            // Its documents are in order, and a module or a plugin is not.
            (_, None) => {
                let fetcher = Arc::clone(&reloader.fetcher);
                let Some(Ok(loaded)) = load::last_good(&mut reloader.sources, &fetcher).await else {
                    return Err(attempt);
                };
                let again = reloader.carry_on(Ok(loaded), Course::new(Trigger::Start, false)).await;
                if again.outcome != Outcome::Applied {
                    return Err(attempt);
                }
                Refused { tree, diagnostics: attempt.diagnostics, passing: false }
            }
            (_, Some(_)) => return Err(attempt),
        };
        // Said last, so that it is what the status shows.
        reloader.carry_on(Err(refused), Course::new(Trigger::Start, false)).await;
        Ok(reloader)
    }

    /// Serves until nobody can ask any more.
    pub async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        while !self.ended {
            tokio::select! {
                command = inbox.recv() => match command {
                    Some(command) => self.obey(command, &mut inbox).await,
                    None => return,
                },
                () = self.sources.changed() => drop(self.attempt(Trigger::Watch, false).await),
                () = self.fallbacks.distress() => self.fall_back().await,
                () = self.again.due() => drop(self.attempt(Trigger::Retry, false).await),
            }
        }
        // What the last exchanges need (the engine's ticks, the states) stays until nobody can ask any more.
        while inbox.recv().await.is_some() {}
    }

    // Requests that came in while an attempt ran are one attempt: it reads the sources after all of them.
    async fn obey(&mut self, command: Command, inbox: &mut mpsc::Receiver<Command>) {
        let mut waiting = Vec::new();
        let mut next = Some(command);
        while let Some(command) = next.take() {
            match command {
                Command::Reload { trigger, dry_run: false, answer } => {
                    waiting.push((trigger, answer));
                    next = inbox.try_recv().ok();
                }
                Command::Reload { trigger, dry_run: true, answer } => {
                    drop(answer.send(self.attempt(trigger, true).await));
                }
                Command::Check { tree, answer } => drop(answer.send(self.check(tree).await)),
                Command::End { answer } => {
                    self.ended = true;
                    self.sockets.release();
                    answer.send(()).unwrap_or(());
                }
            }
        }
        if let Some((trigger, _)) = waiting.first().filter(|_| !self.ended) {
            let attempt = self.attempt(*trigger, false).await;
            for (trigger, answer) in waiting {
                drop(answer.send(Attempt { trigger, ..attempt.clone() }));
            }
        }
    }

    async fn check(&mut self, tree: Tree) -> Vec<Diagnostic> {
        match load::check(tree, &self.fetcher).await {
            Ok(loaded) => findings(&mut self.compiler, loaded).await.0,
            Err(refused) => refused.diagnostics,
        }
    }

    async fn attempt(&mut self, trigger: Trigger, dry_run: bool) -> Attempt {
        let mut course = Course::new(trigger, dry_run);
        if trigger.is_asked() {
            self.sources.refresh();
        }
        let means = (&mut self.memo, self.last.as_ref(), &*self.fetcher);
        let loaded = load::load(&mut self.sources, means, &mut course).await;
        if let Ok(loaded) = &loaded {
            self.last = Some(loaded.clone());
        }
        if !dry_run {
            self.again.after(loaded.as_ref().err().is_some_and(|refused| refused.passing));
        }
        self.carry_on(loaded, course).await
    }

    async fn carry_on(&mut self, loaded: Result<Loaded, Refused>, mut course: Course) -> Attempt {
        let before = self.generation;
        let (outcome, diagnostics, seen) = match loaded {
            Err(Refused { tree, diagnostics, .. }) => (Outcome::Refused, diagnostics, Seen::refused(tree)),
            Ok(mut loaded) => {
                let advanced = self.advance(&loaded, &mut course).await;
                if advanced.is_ok() && !course.dry_run {
                    self.fallbacks.serve(&loaded, &self.compiler);
                    self.board.fell_back(self.fallbacks.shown(), &[]);
                    self.fallbacks.keep().await;
                    self.serving = Some(loaded.clone());
                }
                let (outcome, more) = match advanced {
                    Ok(outcome) => (outcome, std::mem::take(&mut course.warnings)),
                    Err(errors) => (Outcome::Refused, errors),
                };
                let mut diagnostics = std::mem::take(&mut loaded.warnings);
                diagnostics.extend(more);
                (outcome, diagnostics, Seen::from(loaded))
            }
        };
        let attempt = Attempt {
            at: course.at,
            trigger: course.trigger,
            outcome,
            dry_run: course.dry_run,
            generation_before: before,
            generation: self.generation,
            report: report::text(&diagnostics, &seen.tree, false),
            diagnostics,
            phases_ms: course.phases,
            work: course.work,
        };
        self.keep(&attempt, &seen);
        self.board.attempted(&attempt, seen);
        attempt
    }

    // What the sources themselves hold, and was taken: nothing that stands in for it.
    fn keep(&self, attempt: &Attempt, seen: &Seen) {
        let taken = attempt.outcome != Outcome::Refused && !attempt.dry_run && seen.degraded.is_empty();
        if let Some(keeper) = self.keeper.as_ref().filter(|_| taken) {
            keeper.keep(&seen.tree, attempt.generation, seen.identity);
        }
    }

    // From a checked tree to a swap, or to the reason why there is none.
    async fn advance(&mut self, loaded: &Loaded, course: &mut Course) -> Result<Outcome, Vec<Diagnostic>> {
        let serving = self.current.as_ref().map(|current| current.load());
        let stable = serving.as_ref().map(|serving| &*serving.stable);
        let began = Instant::now();
        let (spec, modules) = self.fallbacks.instead(loaded);
        let compiled = self.compiler.compile(&spec, &modules, stable).await;
        course.phases.add(Phase::Compile, began.elapsed());
        let mut compiled = compiled?;
        course.warnings.append(&mut compiled.warnings);
        course.work.built = compiled.built;
        if self.parts == Some(compiled.identity) {
            return Ok(Outcome::Unchanged);
        }
        let began = Instant::now();
        let planned = self.sockets.plan(&loaded.spec, self.workers.count())?;
        if course.dry_run {
            return Ok(Outcome::Applied);
        }
        let Compiled { spec, listeners, tracer, adoptions, identity, kept, .. } = compiled;
        let adopted = self.workers.adopt(adoptions, ADOPT_DEADLINE).await;
        course.phases.add(Phase::Warm, began.elapsed());
        adopted.map_err(|why| vec![not_adopted(&why)])?;
        let began = Instant::now();
        self.generation += 1;
        let shown = board::shown(&listeners);
        let snapshot = Snapshot {
            generation: self.generation,
            identity: loaded.identity,
            spec,
            ledger: self.drain.open(self.generation, self.workers.count(), loaded.spec.gateway.generation_age_max),
            listeners,
            tracer,
        };
        self.parts = Some(identity);
        // Before the swap, so that workers are the last to let go of the old generation: what only it held is free then, and they
        // are told to sweep when it is buried.
        self.compiler.keep(kept);
        drop(serving);
        self.swap(snapshot, planned).await;
        course.phases.add(Phase::Swap, began.elapsed());
        self.board.serves(self.generation, loaded, (self.sockets.addresses(), shown));
        Ok(Outcome::Applied)
    }

    // The one place that swaps.
    async fn swap(&mut self, snapshot: Snapshot, planned: Planned) {
        let changes = self.sockets.commit(planned);
        let serving = Serving { stable: Arc::new(snapshot), candidate: None };
        let current = match &self.current {
            Some(current) => {
                current.swap(serving);
                Arc::clone(current)
            }
            None => Arc::clone(self.current.insert(Arc::new(Current::new(serving)))),
        };
        self.workers.switch(&current, changes).await;
        self.board.watch(&current);
    }
}

fn not_adopted(why: &str) -> Diagnostic {
    Diagnostic::error("worker-not-ready", format!("a worker could not take the new generation: {why}"))
        .hint("the old generation serves on; reload again, and report it if it stays")
}
