//! What a Proxy-Wasm module exports, with the types that the versions of the ABI give it. Everything is optional.

use wasmtime::{Instance, Result, Store, TypedFunc, WasmParams, WasmResults};

use super::data::Data;

/// A callback without an answer, by the number of what it takes.
pub(super) type Tell<P> = TypedFunc<P, ()>;
/// A callback that answers with a number.
pub(super) type Ask<P> = TypedFunc<P, u32>;

/// The callback for what came back of a call: context, token, fields, bytes of the body, trailers.
pub(super) type OnHttpCallResponse = Tell<(u32, u32, u32, u32, u32)>;

/// The callback for what came back of a command of Redis: context, token, whether it failed, bytes of the answer.
pub(super) type OnRedisCallResponse = Tell<(u32, u32, u32, u32)>;

/// A callback of calls and streams of gRPC: context, token, and a number: of fields, of bytes, or the status.
pub(super) type OnGrpc = Tell<(u32, u32, u32)>;

/// Which callback: none where the module does not export it.
pub(super) type Export<P, R> = for<'a> fn(&'a Exports) -> Option<&'a TypedFunc<P, R>>;

/// What a callback takes.
pub(super) trait Params: WasmParams + Sync + 'static {}
impl<P: WasmParams + Sync + 'static> Params for P {}

/// What a callback answers.
pub(super) trait Returned: WasmResults + Sync + 'static {}
impl<R: WasmResults + Sync + 'static> Returned for R {}

/// The callbacks of one VM.
pub(super) struct Exports {
    pub(super) on_context_create: Option<Tell<(u32, u32)>>,
    pub(super) on_vm_start: Option<Ask<(u32, u32)>>,
    pub(super) on_configure: Option<Ask<(u32, u32)>>,
    pub(super) on_tick: Option<Tell<(u32,)>>,
    pub(super) on_request: Phases,
    pub(super) on_response: Phases,
    pub(super) on_done: Option<Ask<(u32,)>>,
    pub(super) on_log: Option<Tell<(u32,)>>,
    pub(super) on_delete: Option<Tell<(u32,)>>,
    pub(super) on_queue_ready: Option<Tell<(u32, u32)>>,
    pub(super) on_http_call_response: Option<OnHttpCallResponse>,
    pub(super) on_redis_call_response: Option<OnRedisCallResponse>,
    pub(super) on_grpc_receive_initial_metadata: Option<OnGrpc>,
    pub(super) on_grpc_receive: Option<OnGrpc>,
    pub(super) on_grpc_receive_trailing_metadata: Option<OnGrpc>,
    pub(super) on_grpc_close: Option<OnGrpc>,
}

/// The callbacks of one direction.
pub(super) struct Phases {
    pub(super) headers: Option<OnHeaders>,
    pub(super) body: Option<Ask<(u32, u32, u32)>>,
    pub(super) trailers: Option<Ask<(u32, u32)>>,
}

/// Version 0.1.0 has no flag for the end of the stream; SDKs of its time export either.
pub(super) enum OnHeaders {
    Two(Ask<(u32, u32)>),
    Three(Ask<(u32, u32, u32)>),
}

impl Exports {
    /// Those of `instance`.
    ///
    /// # Errors
    /// Where one has another type.
    pub(super) fn of(store: &mut Store<Data>, instance: &Instance) -> Result<Self> {
        let on_request = Phases::of(store, instance, "request")?;
        let on_response = Phases::of(store, instance, "response")?;
        Ok(Self {
            on_request,
            on_response,
            on_context_create: find(store, instance, "proxy_on_context_create")?,
            on_vm_start: find(store, instance, "proxy_on_vm_start")?,
            on_configure: find(store, instance, "proxy_on_configure")?,
            on_tick: find(store, instance, "proxy_on_tick")?,
            on_done: find(store, instance, "proxy_on_done")?,
            on_log: find(store, instance, "proxy_on_log")?,
            on_delete: find(store, instance, "proxy_on_delete")?,
            on_queue_ready: find(store, instance, "proxy_on_queue_ready")?,
            on_http_call_response: find(store, instance, "proxy_on_http_call_response")?,
            on_redis_call_response: find(store, instance, "proxy_on_redis_call_response")?,
            on_grpc_receive_initial_metadata: find(store, instance, "proxy_on_grpc_receive_initial_metadata")?,
            on_grpc_receive: find(store, instance, "proxy_on_grpc_receive")?,
            on_grpc_receive_trailing_metadata: find(store, instance, "proxy_on_grpc_receive_trailing_metadata")?,
            on_grpc_close: find(store, instance, "proxy_on_grpc_close")?,
        })
    }
}

impl Phases {
    /// The callback for the head that takes two numbers.
    pub(super) const fn two(&self) -> Option<&Ask<(u32, u32)>> {
        match &self.headers {
            Some(OnHeaders::Two(export)) => Some(export),
            _ => None,
        }
    }

    /// The callback for the head that takes three.
    pub(super) const fn three(&self) -> Option<&Ask<(u32, u32, u32)>> {
        match &self.headers {
            Some(OnHeaders::Three(export)) => Some(export),
            _ => None,
        }
    }

    fn of(store: &mut Store<Data>, instance: &Instance, side: &str) -> Result<Self> {
        let name = format!("proxy_on_{side}_headers");
        let three = instance.get_func(&mut *store, &name).is_some_and(|func| func.ty(&*store).params().len() == 3);
        let headers = if three {
            find(store, instance, &name)?.map(OnHeaders::Three)
        } else {
            find(store, instance, &name)?.map(OnHeaders::Two)
        };
        Ok(Self {
            headers,
            body: find(store, instance, &format!("proxy_on_{side}_body"))?,
            trailers: find(store, instance, &format!("proxy_on_{side}_trailers"))?,
        })
    }
}

/// An export, if it is there.
///
/// # Errors
/// Where it has another type.
pub(super) fn find<P: WasmParams, R: WasmResults>(
    store: &mut Store<Data>,
    instance: &Instance,
    name: &str,
) -> Result<Option<TypedFunc<P, R>>> {
    let func = instance.get_func(&mut *store, name);
    func.map(|func| func.typed(&*store).map_err(|error| error.context(format!("its export {name}")))).transpose()
}
