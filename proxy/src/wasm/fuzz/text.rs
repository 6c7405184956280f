//! Calls of functions as text: which, and with what, read off bytes. Knows no interface.

/// Decisions read off bytes; 0 where they have run out.
pub(super) struct Choices<'a>(std::slice::Iter<'a, u8>);

/// A function that a guest imports.
pub(super) struct Function {
    pub(super) module: String,
    pub(super) name: String,
    /// `i32` and the like.
    pub(super) takes: Vec<&'static str>,
    pub(super) gives: Vec<&'static str>,
    /// What it gives is a status, of which this is the last.
    pub(super) status_max: Option<u32>,
}

const CALLS_MAX: usize = 8;

impl<'a> Choices<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self(data.iter())
    }

    /// A number below another.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        // Two bytes, as there are more functions than one has values of.
        let mut byte = || self.0.next().map_or(0, |byte| usize::from(*byte));
        (byte() | byte() << 8) % limit.max(1)
    }

    // A kind, a length, a status, an address: on the edges of what is allowed, or anything.
    fn number(&mut self) -> i64 {
        match self.below(16) {
            kind @ 0..=7 => kind as i64,
            8 => 16,
            9 => 1024,
            10 => 200 + self.below(400) as i64,
            11 => 65_535,
            12 => 65_536,
            13 => -1,
            14 => i64::from(i32::MIN),
            _ => (self.below(1 << 16) << 16 | self.below(1 << 16)) as i64,
        }
    }

    fn argument(&mut self, kind: &str, params: usize) -> String {
        if kind == "i32" && params > 0 && self.below(3) == 0 {
            return format!("(local.get {})", self.below(params));
        }
        constant(kind, self.number())
    }

    /// Some calls of some functions, in a function that takes `params` numbers.
    pub(super) fn calls(&mut self, functions: &[Function], params: usize) -> String {
        let count = self.below(CALLS_MAX);
        (0..count).map(|_| self.call(functions, params)).collect()
    }

    fn call(&mut self, functions: &[Function], params: usize) -> String {
        let at = self.below(functions.len());
        let function = &functions[at];
        let arguments: Vec<_> = function.takes.iter().map(|kind| self.argument(kind, params)).collect();
        called(at, function, &arguments)
    }
}

/// A call of the function that was imported as number `at`, whose answer is looked at where it is a status.
pub(super) fn called(at: usize, function: &Function, arguments: &[String]) -> String {
    let call = format!("(call $f{at} {})", arguments.join(" "));
    match (function.status_max, function.gives.is_empty()) {
        (Some(max), _) => format!("(call $status {call} (i32.const {max}))\n"),
        (None, true) => call + "\n",
        (None, false) => format!("(drop {call})\n"),
    }
}

/// A number of a kind.
pub(super) fn constant(kind: &str, number: i64) -> String {
    if kind == "i32" { format!("(i32.const {})", number as i32) } else { format!("({kind}.const {number})") }
}

/// The imports.
pub(super) fn imports(functions: &[Function]) -> String {
    let one = |(at, function): (usize, &Function)| {
        let Function { module, name, .. } = function;
        format!("(import \"{module}\" \"{name}\" (func $f{at} {}))\n", signature(function))
    };
    functions.iter().enumerate().map(one).collect()
}

/// Parameters and results of a function.
pub(super) fn signature(Function { takes, gives, .. }: &Function) -> String {
    let list = |what: &str, kinds: &[&str]| kinds.iter().map(|kind| format!("({what} {kind})")).collect::<String>();
    list("param", takes) + &list("result", gives)
}

/// What ends in a trap of its own where a status is over the last.
pub(super) const STATUS: &str = "(func $status (param i32 i32)
    (if (i32.gt_u (local.get 0) (local.get 1)) (then (drop (i32.div_u (i32.const 1) (i32.const 0))))))\n";
