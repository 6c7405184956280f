//! Between the generated bindings and the [`Table`] trait: one adapter, the same for every table.

use std::{any::Any, cell::RefCell, marker::PhantomData, rc::Rc};

use super::{
    Request, Route, Table,
    bindings::{
        exports::tidegate::table::routing::Guest,
        tidegate::table::types::{self, Definition},
    },
};
use crate::{Problems, result::settings};

thread_local! {
    // A guest holds one table, made by its first call.
    static MADE: RefCell<Option<Rc<dyn Any>>> = const { RefCell::new(None) };
}

/// Stands for a table where the bindings want a type of the whole component.
pub struct ExportedTable<T>(PhantomData<T>);

impl<T: Table> Guest for ExportedTable<T> {
    fn table(config: String) -> Result<Definition, Vec<types::Problem>> {
        let made = settings(&config).and_then(T::new).and_then(|table| Ok((table.routes()?, table)));
        let (routes, table) = made.map_err(problems)?;
        let selects = table.selects();
        let route = |route: Route| types::Route { definition: route.definition(), name: route.name };
        let definition = Definition { routes: routes.into_iter().map(route).collect(), selects };
        MADE.set(Some(Rc::new(table)));
        Ok(definition)
    }

    fn select() -> Result<Option<String>, String> {
        let made = MADE.with_borrow(|made| made.clone());
        let table = made.and_then(|made| made.downcast::<T>().ok()).ok_or("no table was made")?;
        table.select(&Request::default()).map_err(|error| error.to_string())
    }
}

fn problems(problems: Problems) -> Vec<types::Problem> {
    let problem = |problem: crate::Problem| types::Problem { pointer: problem.pointer, message: problem.message };
    problems.into_iter().map(problem).collect()
}
