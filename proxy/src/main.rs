//! The `tidegate` binary: arguments to the library, its answer to the exit code.

mod allocator;

use std::{env, io, process::ExitCode};

use tidegate::{
    cli::{self, Console},
    program::Program,
};

#[global_allocator]
static ALLOCATOR: allocator::Mimalloc = allocator::Mimalloc;

fn main() -> ExitCode {
    let (out, err) = (&mut io::stdout(), &mut io::stderr());
    let program = Program { give_back: Some(allocator::give_back) };
    ExitCode::from(cli::main(env::args_os(), &program, &mut Console { out, err }))
}
