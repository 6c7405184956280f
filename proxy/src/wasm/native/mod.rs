//! The native ABI: what the gateway provides to plugins of the WIT world `tidegate:plugin`, and how it calls them.
//! Knows no pools and no policies.

mod ahead;
mod bindings;
mod body;
mod exchange;
mod http;
mod names;
mod services;
mod upstream;

use wasmtime::{
    Result, Store,
    component::{
        Component, ComponentExportIndex, ComponentNamedList, HasSelf, Instance, Lift, Linker, Lower, Resource,
        ResourceAny, TypedFunc, types::ComponentItem,
    },
};

pub(super) use ahead::Ahead;
pub(super) use bindings::tidegate::plugin::types;
pub(super) use http::{fields, final_status};
pub(super) use names::Names;

use super::{guest::Data, provided::PROVIDED};
use types::{BodyMode, BodyVerdict, Declaration, Outcome, Phases, Problem, Verdict};

pub(super) use handles::{RequestHandle, ResponseHandle};

mod handles {
    #![allow(unreachable_pub, reason = "the generated code re-exports them, and wants them public")]

    /// Stands for the request of the present call: there is one at most, so the handle says nothing.
    pub enum RequestHandle {}
    /// Stands for the response of the present call.
    pub enum ResponseHandle {}
}

/// Everything that plugins may import.
pub(super) fn linker(engine: &wasmtime::Engine) -> Result<Linker<Data>> {
    let mut linker = Linker::new(engine);
    bindings::Imports::add_to_linker::<_, HasSelf<Data>>(&mut linker, |data| data)?;
    Ok(linker)
}

/// The functions that a guest waits in, by interface; `bindings` makes these, and no others, asynchronous.
const WAITING: [(&str, &str); 3] =
    [("tidegate:plugin/body@", "next"), ("tidegate:plugin/clock@", "sleep"), ("tidegate:plugin/upstream@", "call")];

/// Whether `component` imports a function that its guests may wait in.
pub(super) fn waits(component: &Component, engine: &wasmtime::Engine) -> bool {
    component.component_type().imports(engine).any(|(interface, item)| match item.ty {
        ComponentItem::ComponentInstance(functions) => WAITING.iter().any(|(module, function)| {
            interface.starts_with(module) && functions.get_export(engine, function).is_some()
        }),
        _ => false,
    })
}

type Create = TypedFunc<(String,), (Result<ResourceAny, Vec<Problem>>,)>;
type Declare = TypedFunc<(ResourceAny,), (Declaration,)>;
/// A method of a plugin that is called for an exchange; the error is the plugin's own.
pub(super) type Phase<P, R> = TypedFunc<P, (Result<R, String>,)>;

/// What a phase takes.
pub(super) trait Params: ComponentNamedList + Lower + Send + Sync {}
impl<P: ComponentNamedList + Lower + Send + Sync> Params for P {}

/// What a phase returns.
pub(super) trait Returned: Lift + Send + Sync + 'static {}
impl<R: Lift + Send + Sync + 'static> Returned for R {}

/// A phase that sees a head.
pub(super) type OnHead<H> = Phase<(ResourceAny, Resource<H>), Verdict>;
/// A phase that sees a whole body, and its head.
pub(super) type OnBody<H> = Phase<(ResourceAny, Resource<H>, Vec<u8>), BodyVerdict>;
/// A phase that sees a chunk of a body.
pub(super) type OnChunk = Phase<(ResourceAny, Vec<u8>, bool), BodyVerdict>;
/// The phase that sees how it ended.
pub(super) type OnEnd = Phase<(ResourceAny, Outcome), ()>;

/// Where a component's exports are; found once a module.
#[derive(Clone)]
pub(super) struct Indices {
    create: ComponentExportIndex,
    declare: Option<ComponentExportIndex>,
    on_request: Option<ComponentExportIndex>,
    on_request_body: Option<ComponentExportIndex>,
    on_request_chunk: Option<ComponentExportIndex>,
    on_response: Option<ComponentExportIndex>,
    on_response_body: Option<ComponentExportIndex>,
    on_response_chunk: Option<ComponentExportIndex>,
    on_end: Option<ComponentExportIndex>,
}

/// The exports of one guest.
pub(super) struct Exports {
    pub(super) create: Create,
    pub(super) declare: Option<Declare>,
    pub(super) on_request: Option<OnHead<RequestHandle>>,
    pub(super) on_request_body: Option<OnBody<RequestHandle>>,
    pub(super) on_request_chunk: Option<OnChunk>,
    pub(super) on_response: Option<OnHead<ResponseHandle>>,
    pub(super) on_response_body: Option<OnBody<ResponseHandle>>,
    pub(super) on_response_chunk: Option<OnChunk>,
    pub(super) on_end: Option<OnEnd>,
}

impl Indices {
    /// The exports of `component`; `Err` names what a plugin cannot do without.
    pub(super) fn of(component: &Component) -> Result<Self, String> {
        let handler = component.get_export_index(None, PROVIDED.handler_name.as_str());
        let handler = handler.ok_or_else(|| format!("it does not export {}", PROVIDED.handler_name))?;
        let export = |name: &str| component.get_export_index(Some(&handler), name);
        let create = export("[static]plugin.create");
        Ok(Self {
            create: create
                .ok_or_else(|| format!("it does not export {}#[static]plugin.create", PROVIDED.handler_name))?,
            declare: export("[method]plugin.declare"),
            on_request: export("[method]plugin.on-request"),
            on_request_body: export("[method]plugin.on-request-body"),
            on_request_chunk: export("[method]plugin.on-request-chunk"),
            on_response: export("[method]plugin.on-response"),
            on_response_body: export("[method]plugin.on-response-body"),
            on_response_chunk: export("[method]plugin.on-response-chunk"),
            on_end: export("[method]plugin.on-end"),
        })
    }

    /// The same, of a guest, with their types checked.
    pub(super) fn bind(&self, store: &mut Store<Data>, instance: &Instance) -> Result<Exports> {
        let create = Self::func(store, instance, Some(&self.create))?;
        Ok(Exports {
            create: create.expect("an index was given"),
            declare: Self::func(store, instance, self.declare.as_ref())?,
            on_request: Self::func(store, instance, self.on_request.as_ref())?,
            on_request_body: Self::func(store, instance, self.on_request_body.as_ref())?,
            on_request_chunk: Self::func(store, instance, self.on_request_chunk.as_ref())?,
            on_response: Self::func(store, instance, self.on_response.as_ref())?,
            on_response_body: Self::func(store, instance, self.on_response_body.as_ref())?,
            on_response_chunk: Self::func(store, instance, self.on_response_chunk.as_ref())?,
            on_end: Self::func(store, instance, self.on_end.as_ref())?,
        })
    }

    fn func<P, R>(
        store: &mut Store<Data>,
        instance: &Instance,
        index: Option<&ComponentExportIndex>,
    ) -> Result<Option<TypedFunc<P, R>>>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        index.map(|index| instance.get_typed_func(&mut *store, index)).transpose()
    }

    /// What a plugin that does not declare anything is called for: what it exports.
    pub(super) fn declaration(&self) -> Declaration {
        let phase = |export: &Option<_>, phase| if export.is_some() { phase } else { Phases::empty() };
        let phases = phase(&self.on_request, Phases::REQUEST)
            | phase(&self.on_response, Phases::RESPONSE)
            | phase(&self.on_end, Phases::END);
        let mode = |chunk: &Option<_>, body: &Option<_>| match (chunk, body) {
            (Some(_), _) => Some(BodyMode::Streamed),
            (None, Some(_)) => Some(BodyMode::Buffered(u32::MAX)),
            (None, None) => None,
        };
        Declaration {
            phases,
            request_body: mode(&self.on_request_chunk, &self.on_request_body),
            response_body: mode(&self.on_response_chunk, &self.on_response_body),
        }
    }

    /// The method that a declaration asks for and the component does not export.
    pub(super) fn lacks(&self, declared: &Declaration) -> Option<&'static str> {
        let phases = [
            (Phases::REQUEST, "on-request", &self.on_request),
            (Phases::RESPONSE, "on-response", &self.on_response),
            (Phases::END, "on-end", &self.on_end),
        ];
        let phase = phases.iter().find(|(phase, _, export)| declared.phases.contains(*phase) && export.is_none());
        let body = |mode: &Option<BodyMode>, chunk: (&'static str, &Option<_>), whole: (&'static str, &Option<_>)| {
            let (name, export) = match mode {
                Some(BodyMode::Streamed) => chunk,
                Some(BodyMode::Buffered(_)) => whole,
                None => return None,
            };
            export.is_none().then_some(name)
        };
        let request = (("on-request-chunk", &self.on_request_chunk), ("on-request-body", &self.on_request_body));
        let response = (("on-response-chunk", &self.on_response_chunk), ("on-response-body", &self.on_response_body));
        phase
            .map(|(_, name, _)| *name)
            .or_else(|| body(&declared.request_body, request.0, request.1))
            .or_else(|| body(&declared.response_body, response.0, response.1))
    }
}
