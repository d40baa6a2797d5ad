//! HTTP in front of the routes: the token, the size of bodies, and errors that are JSON whatever happens.
//!
//! One thread does the waiting; what may block goes to threads of their own, at most `THREADS_MAX` of them. More requests than that wait
//! in line, which is the client's backpressure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{Query, RawPathParams, Request, State};
use axum::http::header::{
    ALLOW, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post};
use futures::StreamExt;

use super::problem::{ApiError, Place, Problem};
use super::routes::{Call, Method, ROUTES, Reply, Route};
use super::server::Server;
use crate::signals::StopRequest;

/// Bytes of a body; a query text is a few thousand.
pub(crate) const BODY_BYTES_MAX: usize = 1 << 20;
/// Of a body that is too large so much is read, and thrown away, so that its sender hears the answer.
const IGNORED_BYTES_MAX: usize = 256 << 20;
/// A body comes within this time.
const BODY_PATIENCE: Duration = Duration::from_secs(30);
/// Requests that are worked on at once.
const THREADS_MAX: usize = 128;
/// Between two looks whether the server is to end.
const LOOK: Duration = Duration::from_millis(50);
/// Answers that are under way when everything has stopped have so long to leave.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// Answers requests until somebody asks for the end and all jobs have stopped.
pub(crate) fn run(
    server: &Arc<Server>,
    listener: std::net::TcpListener,
    stop: &StopRequest,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(THREADS_MAX)
        .build()?;
    listener.set_nonblocking(true)?;
    let ended = runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let serving = axum::serve(listener, router(server.clone()));
        tokio::select! {
            ended = serving.into_future() => ended,
            () = end(server, stop) => Ok(()),
        }
    });
    runtime.shutdown_timeout(LAST_ANSWERS);
    ended
}

/// Waits for a signal, and then for the jobs; questions are answered meanwhile.
async fn end(server: &Arc<Server>, stop: &StopRequest) {
    while !stop.asked() {
        tokio::time::sleep(LOOK).await;
    }
    tracing::info!("ending: the jobs stop with a last checkpoint (again to end at once)");
    let of_thread = server.clone();
    // A thread that panicked has nothing more to wait for.
    drop(tokio::task::spawn_blocking(move || of_thread.end()).await);
    // Whoever waited for one of them hears that it has stopped.
    tokio::time::sleep(LOOK).await;
}

fn router(server: Arc<Server>) -> Router {
    let mut by_path: BTreeMap<&str, MethodRouter<Arc<Server>>> = BTreeMap::new();
    for route in ROUTES {
        let own = by_path.remove(route.path).unwrap_or_default();
        let handler = move |State(server): State<Arc<Server>>,
                            parameters: Result<RawPathParams, RawPathParamsRejection>,
                            request: Request| async move {
            answer(server, route, parameters, request).await
        };
        let method = match route.method {
            Method::Get => get(handler),
            Method::Post => post(handler),
            Method::Delete => delete(handler),
        };
        by_path.insert(route.path, own.merge(method));
    }
    let mut router = Router::new();
    for (path, methods) in by_path {
        router = router.route(path, methods);
    }
    router
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .with_state(server)
}

/// One request to a route, to its answer.
async fn answer(
    server: Arc<Server>,
    route: &'static Route,
    parameters: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
) -> Response {
    let started = Instant::now();
    let uri = request.uri().clone();
    let result = call(server.clone(), route, parameters, request).await;
    server.requests.fetch_add(1, Ordering::Relaxed);
    let status = match &result {
        Ok(reply) => reply.status,
        Err(error) => error.status,
    };
    tell(&server, route, &uri, started, status, result.as_ref().err());
    tracing::debug!(
        route = route.id,
        path = uri.path(),
        status,
        milliseconds = started.elapsed().as_millis() as u64,
        "answered"
    );
    match result {
        Ok(reply) => response(reply),
        Err(error) => refusal(&error),
    }
}

/// Tells a collector of a request that was to change something.
fn tell(
    server: &Server,
    route: &Route,
    uri: &Uri,
    started: Instant,
    status: u16,
    error: Option<&ApiError>,
) {
    if route.method == Method::Get {
        return;
    }
    // `/v1/jobs/{id}/…`; a new job has its name in the body.
    let job = uri.path().split('/').nth(3).unwrap_or_default();
    let problem = error.and_then(|error| error.problems.first());
    server.launcher.telemetry.asked(
        "weir.server.request",
        job,
        started.elapsed(),
        vec![
            ("weir.server.request", route.id.into()),
            ("http.route", route.path.into()),
            ("http.response.status_code", u64::from(status).into()),
        ],
        problem.map(|problem| problem.message.clone()),
    );
}

async fn call(
    server: Arc<Server>,
    route: &'static Route,
    parameters: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
) -> Result<Reply, ApiError> {
    if !route.open {
        check_token(&server, request.headers())?;
    }
    let (parts, body) = request.into_parts();
    let query = query_of(&parts.uri, route)?;
    let parameters = parameters.map_err(|error| {
        ApiError::malformed(
            Place::named("path", parts.uri.path()),
            format!("the path cannot be read: {error}"),
            "GET /openapi.json describes what is there; a job's name is letters, digits, `_`, `-` and `.`",
        )
    })?;
    let id = parameters
        .iter()
        .find(|(name, _)| *name == "id")
        .map(|(_, value)| value.to_owned())
        .unwrap_or_default();
    let body = read_body(&parts.headers, body).await?;
    if route.body.is_none() && !body.iter().all(u8::is_ascii_whitespace) {
        let place = Place {
            part: "body".to_owned(),
            ..Place::default()
        };
        return Err(ApiError::malformed(
            place,
            format!("{} takes no body", route.path),
            "send the request without one",
        ));
    }
    let call = Call { id, query, body };
    tokio::task::spawn_blocking(move || (route.handler)(&server, &call))
        .await
        .unwrap_or_else(|error| {
            tracing::error!(route = route.id, %error, "a request was not answered");
            Err(ApiError::mistake("the request could not be answered"))
        })
}

fn check_token(server: &Server, headers: &HeaderMap) -> Result<(), ApiError> {
    let offered = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    let what = match offered {
        Some(offered) if server.token.matches(offered) => return Ok(()),
        Some(_) => "the token is not that of this server",
        None => "the request carries no token",
    };
    server.refused.fetch_add(1, Ordering::Relaxed);
    Err(ApiError::new(
        401,
        Problem::new(
            "J0081",
            Place::named("header", "authorization"),
            what,
            "send the header `Authorization: Bearer TOKEN`; the server's token stands in DATA/token, unless it was started with \
             another one",
        ),
    ))
}

fn query_of(uri: &Uri, route: &Route) -> Result<BTreeMap<String, String>, ApiError> {
    let Query(query): Query<BTreeMap<String, String>> =
        Query::try_from_uri(uri).map_err(|error| {
            ApiError::malformed(
                Place::named("query", uri.query().unwrap_or_default()),
                format!("what stands behind the `?` cannot be read: {error}"),
                "write it as name=value, joined by `&`, each name once",
            )
        })?;
    let known: Vec<&str> = route.query.iter().map(|(name, _)| *name).collect();
    if let Some(name) = query.keys().find(|name| !known.contains(&name.as_str())) {
        let help = match known.is_empty() {
            true => "leave it out: this takes none".to_owned(),
            false => format!("there are {}", known.join(", ")),
        };
        return Err(ApiError::malformed(
            Place::named("query", name.as_str()),
            format!("there is no parameter `{name}` here"),
            &help,
        ));
    }
    Ok(query)
}

/// The whole body, or 413.
async fn read_body(headers: &HeaderMap, body: Body) -> Result<Vec<u8>, ApiError> {
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|bytes| bytes > IGNORED_BYTES_MAX) {
        return Err(too_large());
    }
    let reading = async {
        let mut stream = body.into_data_stream();
        let mut read = Vec::new();
        let mut seen = 0usize;
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(|error| cut(&error.to_string()))?;
            seen += piece.len();
            if seen > IGNORED_BYTES_MAX {
                break;
            }
            if seen <= BODY_BYTES_MAX {
                read.extend_from_slice(&piece);
            } else {
                read = Vec::new();
            }
        }
        if seen > BODY_BYTES_MAX {
            return Err(too_large());
        }
        Ok(read)
    };
    tokio::time::timeout(BODY_PATIENCE, reading)
        .await
        .unwrap_or_else(|_| Err(cut("it did not come in time")))
}

fn body_place() -> Place {
    Place {
        part: "body".to_owned(),
        ..Place::default()
    }
}

fn cut(why: &str) -> ApiError {
    ApiError::malformed(
        body_place(),
        format!("the body cannot be read: {why}"),
        "send it whole, at once",
    )
}

fn too_large() -> ApiError {
    ApiError::new(
        413,
        Problem::new(
            "J0084",
            body_place(),
            format!("the body is larger than {BODY_BYTES_MAX} bytes"),
            "a request carries the text of a query; data come through tables",
        ),
    )
}

async fn unknown(State(server): State<Arc<Server>>, request: Request) -> Response {
    server.requests.fetch_add(1, Ordering::Relaxed);
    // Who has no token learns nothing of what is there.
    if let Err(error) = check_token(&server, request.headers()) {
        return refusal(&error);
    }
    let path = request.uri().path();
    refusal(&ApiError::new(
        404,
        Problem::new(
            "J0089",
            Place::named("path", path),
            format!("there is nothing at {path}"),
            "GET /openapi.json describes what is there",
        ),
    ))
}

async fn wrong_method(State(server): State<Arc<Server>>, request: Request) -> Response {
    server.requests.fetch_add(1, Ordering::Relaxed);
    if let Err(error) = check_token(&server, request.headers()) {
        return refusal(&error);
    }
    let path = request.uri().path();
    refusal(&ApiError::new(
        405,
        Problem::new(
            "J0089",
            Place::named("path", path),
            format!("{} is not what {path} takes", request.method()),
            "GET /openapi.json says which methods it takes",
        ),
    ))
}

fn response(reply: Reply) -> Response {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::OK);
    let mut response = (status, reply.body).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    if let Some(offset) = reply.next_offset {
        headers.insert(
            HeaderName::from_static("weir-next-offset"),
            HeaderValue::from(offset),
        );
    }
    response
}

fn refusal(error: &ApiError) -> Response {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, format!("{}\n", error.body())).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    match error.status {
        401 => drop(headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
        405 => drop(
            headers
                .entry(ALLOW)
                .or_insert(HeaderValue::from_static("GET, POST, DELETE")),
        ),
        _ => {}
    }
    response
}
