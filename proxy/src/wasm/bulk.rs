//! Filling and copying memory in steps. The engine looks for a tick where `memory.fill` or `memory.copy` begins and not while
//! it runs, so that one instruction may hold a worker for as long as megabytes take, with a page fault for each page: modules
//! get functions that do the same piece by piece (`bulk.wat`), and call them instead. Knows no ABI.

use std::sync::LazyLock;

use wasmparser::{
    BinaryReader, FunctionBody, FunctionSectionReader, ImportSectionReader, Operator, Result, TypeRef,
    TypeSectionReader,
};

/// Sections of a module.
const TYPES: u8 = 1;
const IMPORTS: u8 = 2;
const FUNCTIONS: u8 = 3;
const CODE: u8 = 10;
/// Sections of a component.
const MODULE: u8 = 1;
const COMPONENT: u8 = 4;

/// Components within components; what is deeper stays as it is.
const DEPTH_MAX: usize = 64;

/// The type of the functions: three numbers, and nothing comes back.
const TYPE: [u8; 6] = [0x60, 3, 0x7f, 0x7f, 0x7f, 0];
const CALL: u8 = 0x10;
/// What both instructions begin with.
const PREFIX: u8 = 0xfc;

// The bodies of the functions, in the order of `bulk.wat`: to fill, to copy. They name nothing but the first memory.
static STEPS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let module =
        wat::parse_str(include_str!("bulk.wat")).expect("the text is part of the program and is parsed in tests");
    bodies(&module).expect("what was made of the text is a module")
});

/// The same module or component with its large operations in steps; unchanged where it has none, or is not valid, which the
/// engine says better.
pub(super) fn in_steps(bytes: Vec<u8>) -> Vec<u8> {
    let is_component = bytes.get(4..8) == Some(&[0x0d, 0, 1, 0]);
    let changed = if is_component { component(&bytes, DEPTH_MAX) } else { module(&bytes) };
    changed.ok().flatten().unwrap_or(bytes)
}

fn component(bytes: &[u8], depth: usize) -> Result<Option<Vec<u8>>> {
    let (mut made, mut any) = (header(bytes), false);
    for (id, content) in sections(bytes)? {
        let changed = match id {
            MODULE => module(content)?,
            COMPONENT if depth > 0 => component(content, depth - 1)?,
            _ => None,
        };
        any |= changed.is_some();
        put(&mut made, id, changed.as_deref().unwrap_or(content));
    }
    Ok(any.then_some(made))
}

fn module(bytes: &[u8]) -> Result<Option<Vec<u8>>> {
    let sections = sections(bytes)?;
    let (mut types, mut functions) = (0_u32, 0_u32);
    for (id, content) in &sections {
        let reader = BinaryReader::new(content, 0);
        match *id {
            TYPES => {
                for group in TypeSectionReader::new(reader)? {
                    types += group?.types().len() as u32;
                }
            }
            IMPORTS => {
                for import in ImportSectionReader::new(reader)?.into_imports() {
                    functions += u32::from(matches!(import?.ty, TypeRef::Func(_) | TypeRef::FuncExact(_)));
                }
            }
            FUNCTIONS => functions += FunctionSectionReader::new(reader)?.count(),
            _ => {}
        }
    }
    let Some((_, code)) = sections.iter().find(|(id, _)| *id == CODE) else { return Ok(None) };
    let Some(code) = calling(code, functions)? else { return Ok(None) };
    let mut made = header(bytes);
    for (id, content) in &sections {
        match *id {
            TYPES => put(&mut made, TYPES, &more(content, 1, &TYPE)?),
            FUNCTIONS => {
                let mut of_type = Vec::new();
                STEPS.iter().for_each(|_| number(&mut of_type, types, 1));
                put(&mut made, FUNCTIONS, &more(content, STEPS.len(), &of_type)?);
            }
            CODE => put(&mut made, CODE, &code),
            id => put(&mut made, id, content),
        }
    }
    Ok(Some(made))
}

// The code with calls in the place of instructions, and the functions that they call, of which `first` is the first;
// nothing where it has no such instruction.
fn calling(code: &[u8], first: u32) -> Result<Option<Vec<u8>>> {
    let (mut made, mut any) = (Vec::with_capacity(code.len()), false);
    let mut reader = BinaryReader::new(code, 0);
    let count = reader.read_var_u32()?;
    number(&mut made, count + STEPS.len() as u32, 1);
    for _ in 0..count {
        let body = sized(&mut reader)?;
        let changed = if body.contains(&PREFIX) { called(body, first)? } else { None };
        any |= changed.is_some();
        put_sized(&mut made, changed.as_deref().unwrap_or(body));
    }
    STEPS.iter().for_each(|body| put_sized(&mut made, body));
    Ok(any.then_some(made))
}

fn called(body: &[u8], first: u32) -> Result<Option<Vec<u8>>> {
    let mut operators = FunctionBody::new(BinaryReader::new(body, 0)).get_operators_reader()?;
    let (mut made, mut done) = (Vec::new(), 0);
    while !operators.eof() {
        let at = operators.original_position();
        let which = match operators.read()? {
            Operator::MemoryFill { mem: 0 } => 0,
            Operator::MemoryCopy { dst_mem: 0, src_mem: 0 } => 1,
            _ => continue,
        };
        let end = operators.original_position();
        made.extend_from_slice(&body[done..at]);
        made.push(CALL);
        // As long as the instruction, where it can be: what is known of addresses, such as lines of a source, stays right.
        number(&mut made, first + which, end - at - 1);
        done = end;
    }
    if done == 0 {
        return Ok(None);
    }
    made.extend_from_slice(&body[done..]);
    Ok(Some(made))
}

fn header(bytes: &[u8]) -> Vec<u8> {
    bytes[..8.min(bytes.len())].to_vec()
}

fn sections(bytes: &[u8]) -> Result<Vec<(u8, &[u8])>> {
    let mut reader = BinaryReader::new(bytes, 0);
    reader.read_bytes(8)?;
    let mut sections = Vec::new();
    while !reader.eof() {
        sections.push((reader.read_u8()?, sized(&mut reader)?));
    }
    Ok(sections)
}

fn bodies(module: &[u8]) -> Result<Vec<Vec<u8>>> {
    let sections = sections(module)?;
    let code = sections.iter().find(|(id, _)| *id == CODE).map_or(&[][..], |(_, code)| code);
    let mut reader = BinaryReader::new(code, 0);
    (0..reader.read_var_u32()?).map(|_| sized(&mut reader).map(<[u8]>::to_vec)).collect()
}

fn sized<'a>(reader: &mut BinaryReader<'a>) -> Result<&'a [u8]> {
    let length = reader.read_var_u32()? as usize;
    reader.read_bytes(length)
}

// The content of a section with `count` things more in its list.
fn more(content: &[u8], count: usize, things: &[u8]) -> Result<Vec<u8>> {
    let mut reader = BinaryReader::new(content, 0);
    let before = reader.read_var_u32()?;
    let mut made = Vec::with_capacity(content.len() + things.len() + 1);
    number(&mut made, before + count as u32, 1);
    made.extend_from_slice(reader.read_bytes(reader.bytes_remaining())?);
    made.extend_from_slice(things);
    Ok(made)
}

fn put(made: &mut Vec<u8>, id: u8, content: &[u8]) {
    made.push(id);
    put_sized(made, content);
}

fn put_sized(made: &mut Vec<u8>, content: &[u8]) {
    // A file has 64 MiB at most.
    number(made, content.len() as u32, 1);
    made.extend_from_slice(content);
}

// A number in LEB128, of so many bytes at least.
fn number(made: &mut Vec<u8>, mut number: u32, bytes_min: usize) {
    let mut bytes = 1;
    while number > 0x7f || bytes < bytes_min {
        made.push(number as u8 & 0x7f | 0x80);
        number >>= 7;
        bytes += 1;
    }
    made.push(number as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wasmtime::{Config, Engine, Instance, Memory, Module, Store, UpdateDeadline, component::Component};

    use super::*;

    const TEXT: &str = "(module (memory (export \"memory\") 8)
        (func (export \"fill\") (param i32 i32 i32) (memory.fill (local.get 0) (local.get 1) (local.get 2)))
        (func (export \"copy\") (param i32 i32 i32) (memory.copy (local.get 0) (local.get 1) (local.get 2))))";
    const PAGES: u32 = 8;

    /// A guest, and how often the engine looked for a tick.
    struct Guest {
        store: Store<usize>,
        instance: Instance,
        memory: Memory,
    }

    impl Guest {
        fn new(bytes: &[u8]) -> Self {
            let engine = Engine::new(Config::new().epoch_interruption(true)).unwrap();
            let module = Module::from_binary(&engine, bytes).unwrap();
            let mut store = Store::new(&engine, 0);
            store.epoch_deadline_callback(|mut store| {
                *store.data_mut() += 1;
                Ok(UpdateDeadline::Continue(0))
            });
            let instance = Instance::new(&mut store, &module, &[]).unwrap();
            let memory = instance.get_memory(&mut store, "memory").unwrap();
            Self { store, instance, memory }
        }

        // Whether it came to its end, and how often the engine looked.
        fn call(&mut self, name: &str, params: (u32, u32, u32)) -> (bool, usize) {
            *self.store.data_mut() = 0;
            self.store.set_epoch_deadline(0);
            let call = self.instance.get_typed_func::<(u32, u32, u32), ()>(&mut self.store, name).unwrap();
            let ended = call.call(&mut self.store, params).is_ok();
            (ended, *self.store.data())
        }
    }

    fn both() -> (Guest, Guest) {
        let plain = wat::parse_str(TEXT).unwrap();
        let stepped = in_steps(plain.clone());
        assert_ne!(plain, stepped);
        (Guest::new(&plain), Guest::new(&stepped))
    }

    #[test]
    fn the_engine_looks_for_a_tick_at_each_step_of_a_large_operation() {
        let (mut plain, mut stepped) = both();
        for name in ["fill", "copy"] {
            let params = (0, 7, (PAGES - 1) * 65_536);
            let ((_, before), (_, now)) = (plain.call(name, params), stepped.call(name, params));
            assert!(before <= 3 && now >= PAGES as usize - 2, "{name}: {before} and {now}");
        }
    }

    fn operations() -> impl Strategy<Value = Vec<(bool, (u32, u32, u32))>> {
        let end = PAGES * 65_536;
        let near = move |at: u32| (0..200_u32).prop_map(move |by| (at + by).saturating_sub(100));
        let place = prop_oneof![0..end, near(0), near(65_536), near(131_072), near(end), Just(u32::MAX)];
        let length = prop_oneof![0..end, near(65_536), near(131_072), near(end), Just(0), Just(u32::MAX)];
        prop::collection::vec((any::<bool>(), (place.clone(), place, length)), 1..8)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn memory_is_the_same_afterwards_and_so_is_what_traps(operations in operations()) {
            let (mut plain, mut stepped) = both();
            for guest in [&mut plain, &mut stepped] {
                let pattern = (0..PAGES * 65_536).map(|at| (at % 251) as u8).collect::<Vec<_>>();
                guest.memory.write(&mut guest.store, 0, &pattern).unwrap();
            }
            for (fills, params) in operations {
                let name = if fills { "fill" } else { "copy" };
                prop_assert_eq!(plain.call(name, params).0, stepped.call(name, params).0, "{} {:?}", name, params);
                let same = plain.memory.data(&plain.store) == stepped.memory.data(&stepped.store);
                prop_assert!(same, "{} {:?}", name, params);
            }
        }
    }

    #[test]
    fn a_module_of_many_functions_calls_the_right_ones_and_addresses_stay() {
        for functions in [1, 126, 20_000] {
            let text = TEXT.replacen("(memory ", &format!("{} (memory ", "(func)".repeat(functions)), 1);
            let plain = wat::parse_str(text).unwrap();
            let mut guest = Guest::new(&in_steps(plain));
            assert!(guest.call("fill", (0, 7, 131_073)).0 && guest.call("copy", (200_000, 0, 131_073)).0);
            assert_eq!(guest.memory.data(&guest.store)[331_072..331_074], [7, 0], "{functions}");
        }
        let plain = wat::parse_str(TEXT).unwrap();
        let (before, now) = (bodies(&plain).unwrap(), bodies(&in_steps(plain)).unwrap());
        let lengths = |bodies: &[Vec<u8>]| bodies.iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(lengths(&before), lengths(&now[..before.len()]), "a call is as long as what it stands for");
    }

    #[test]
    fn modules_within_components_are_changed_too() {
        let nested = format!("(component (core {} (component (core {}))", &TEXT[1..], &TEXT[1..]);
        let plain = wat::parse_str(nested).unwrap();
        let stepped = in_steps(plain.clone());
        let engine = Engine::new(Config::new().wasm_component_model(true)).unwrap();
        Component::from_binary(&engine, &stepped).unwrap();
        let added = STEPS.iter().map(Vec::len).sum::<usize>();
        assert!(stepped.len() > plain.len() + 2 * added, "both");
    }

    #[test]
    fn what_has_no_such_instruction_or_is_not_valid_stays_as_it_is() {
        let plain = wat::parse_str("(module (func (drop (i32.const 0xfc))))").unwrap();
        assert_eq!(in_steps(plain.clone()), plain);
        let whole = wat::parse_str(TEXT).unwrap();
        for length in 0..whole.len() {
            let cut = whole[..length].to_vec();
            assert_eq!(in_steps(cut.clone()), cut, "{length}");
        }
    }
}
