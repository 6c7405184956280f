//! A service of gRPC and its client, both tonic's, the messages written by hand: four calls, one of each kind.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use futures_util::{StreamExt, future::BoxFuture, stream, stream::BoxStream};
use http::uri::PathAndQuery;
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    codegen::Service,
    server::{Grpc, NamedService},
    transport::{Channel, Server, server::TcpIncoming},
};
use tonic_prost::ProstCodec;

/// What is said, both ways.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Said {
    /// Words.
    #[prost(string, tag = "1")]
    pub text: String,
    /// A number.
    #[prost(uint64, tag = "2")]
    pub number: u64,
}

/// The service `test.Echo`:
///
/// | call | kind | answer |
/// |---|---|---|
/// | `Say` | unary | what was said; `fail`: status 9 with a text; `silent`: none; `timeout`: the deadline as it arrived |
/// | `Count` | server streaming | `number` messages, from 0; of `broken`, the last one is status 15 |
/// | `Sum` | client streaming | how many messages came, and the sum of their numbers |
/// | `Chat` | both | every message as it comes |
#[derive(Debug)]
pub struct Echo {
    /// Where it listens.
    pub address: SocketAddr,
    served: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Echo {
    /// Starts it on the runtime of the test.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let served = Arc::<AtomicUsize>::default();
        let service = EchoService(Arc::clone(&served));
        let serving = Server::builder().add_service(service).serve_with_incoming(TcpIncoming::from(listener));
        let task = tokio::spawn(async move { drop(serving.await) });
        Self { address, served, task }
    }

    /// Calls that it began to answer.
    pub fn served(&self) -> usize {
        self.served.load(Relaxed)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct EchoService(Arc<AtomicUsize>);

impl NamedService for EchoService {
    const NAME: &'static str = "test.Echo";
}

impl Service<http::Request<Body>> for EchoService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        self.0.fetch_add(1, Relaxed);
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::<Said, Said>::default());
            Ok(match request.uri().path() {
                "/test.Echo/Say" => grpc.unary(Handler(say), request).await,
                "/test.Echo/Count" => grpc.server_streaming(Handler(count), request).await,
                "/test.Echo/Sum" => grpc.client_streaming(Handler(sum), request).await,
                "/test.Echo/Chat" => grpc.streaming(Handler(chat), request).await,
                path => Status::unimplemented(path.to_owned()).into_http(),
            })
        })
    }
}

struct Handler<F>(F);

impl<F, M, R, Fut> Service<Request<M>> for Handler<F>
where
    F: FnMut(Request<M>) -> Fut,
    Fut: Future<Output = Result<Response<R>, Status>>,
{
    type Response = Response<R>;
    type Error = Status;
    type Future = Fut;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<M>) -> Fut {
        (self.0)(request)
    }
}

type Said2 = BoxStream<'static, Result<Said, Status>>;

async fn say(request: Request<Said>) -> Result<Response<Said>, Status> {
    let timeout = request.metadata().get("grpc-timeout").map(|value| value.to_str().unwrap_or_default().to_owned());
    let said = request.into_inner();
    match said.text.as_str() {
        "fail" => Err(Status::failed_precondition("not so: 50% ä")),
        "silent" => std::future::pending().await,
        "timeout" => Ok(Response::new(Said { text: timeout.unwrap_or_default(), number: 0 })),
        _ => Ok(Response::new(said)),
    }
}

async fn count(request: Request<Said>) -> Result<Response<Said2>, Status> {
    let Said { text, number } = request.into_inner();
    let said = (0..number).map(|number| Ok(Said { text: String::new(), number }));
    let end = (text == "broken").then(|| Err(Status::data_loss("it broke")));
    Ok(Response::new(stream::iter(said.chain(end)).boxed()))
}

async fn sum(request: Request<Streaming<Said>>) -> Result<Response<Said>, Status> {
    let (mut messages, mut count, mut sum) = (request.into_inner(), 0, 0);
    while let Some(said) = messages.message().await? {
        (count, sum) = (count + 1, sum + said.number);
    }
    Ok(Response::new(Said { text: format!("{count}"), number: sum }))
}

async fn chat(request: Request<Streaming<Said>>) -> Result<Response<Said2>, Status> {
    Ok(Response::new(request.into_inner().boxed()))
}

/// A client of `test.Echo`.
#[derive(Clone, Debug)]
pub struct Caller(tonic::client::Grpc<Channel>);

type Codec = ProstCodec<Said, Said>;

impl Caller {
    /// Connects without TLS.
    pub async fn connect(address: SocketAddr) -> Self {
        let endpoint = Channel::from_shared(format!("http://{address}")).expect("an address makes a URI");
        Self(tonic::client::Grpc::new(endpoint.connect().await.expect("the gateway accepts")))
    }

    /// Calls `Say` at this path, which is another where a test wants it.
    ///
    /// # Errors
    /// The status of the call.
    pub async fn say_at(&mut self, path: &'static str, request: Request<Said>) -> Result<Response<Said>, Status> {
        self.ready().await;
        self.0.unary(request, PathAndQuery::from_static(path), Codec::default()).await
    }

    /// Calls `Say`.
    ///
    /// # Errors
    /// The status of the call.
    pub async fn say(&mut self, text: &str) -> Result<String, Status> {
        let said = Said { text: text.into(), number: 0 };
        self.say_at("/test.Echo/Say", Request::new(said)).await.map(|said| said.into_inner().text)
    }

    /// Calls `Count`.
    ///
    /// # Errors
    /// The status of the call, where there is no stream.
    pub async fn count(&mut self, text: &str, number: u64) -> Result<Streaming<Said>, Status> {
        self.ready().await;
        let (said, path) = (Said { text: text.into(), number }, PathAndQuery::from_static("/test.Echo/Count"));
        self.0.server_streaming(Request::new(said), path, Codec::default()).await.map(Response::into_inner)
    }

    /// Calls `Sum`.
    ///
    /// # Errors
    /// The status of the call.
    pub async fn sum(&mut self, said: impl futures_util::Stream<Item = Said> + Send + 'static) -> Result<Said, Status> {
        self.ready().await;
        let path = PathAndQuery::from_static("/test.Echo/Sum");
        self.0.client_streaming(Request::new(said), path, Codec::default()).await.map(Response::into_inner)
    }

    /// Calls `Chat`.
    ///
    /// # Errors
    /// The status of the call, where there is no stream.
    pub async fn chat(
        &mut self,
        said: impl futures_util::Stream<Item = Said> + Send + 'static,
    ) -> Result<Streaming<Said>, Status> {
        self.ready().await;
        let path = PathAndQuery::from_static("/test.Echo/Chat");
        self.0.streaming(Request::new(said), path, Codec::default()).await.map(Response::into_inner)
    }

    async fn ready(&mut self) {
        self.0.ready().await.expect("the connection stands");
    }
}
