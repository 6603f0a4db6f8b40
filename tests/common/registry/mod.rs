//! A registry of the tests' own, in memory, that misbehaves on demand: [`FaultyRegistry`].
//!
//! Speaks HTTP/1.1 with keep-alive on a port of 127.0.0.1, and no TLS. Knows blobs, uploads (POST, then PUT), mounts, ranges,
//! manifests, tags in pages, deletion, Basic and tokens. Each request is logged with what was answered.

mod debian;
mod http;
mod state;

pub use debian::DebianRegistry;
pub use http::{Answer, Request};
pub use state::{Auth, Repo, sha256};

use state::State;
use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// What a registry does instead of its duty.
#[derive(Clone, Debug)]
pub enum What {
    /// Answers with a status and, if given, `Retry-After`, after it has read the request.
    Status(u16, Option<&'static str>),
    /// Answers with a status and a body.
    Says(u16, String),
    /// Never answers.
    Stall,
    /// Sends so many bytes of the answer's body, and no more.
    StallAfter(usize),
    /// Sends the answer's body, a byte a hundredth of a second.
    Trickle,
    /// Sends so many bytes of the answer, headers included, and closes the connection.
    CutAfter(usize),
    /// Sends so many bytes of the answer's body and closes the connection.
    CutBody(usize),
    /// Reads so many bytes of the request's body and closes the connection.
    CutUpload(usize),
    /// Does what it is asked to, and closes the connection without an answer.
    LoseAnswer,
    /// Forgets all tokens before it looks at the request's.
    ExpireToken,
    /// Answers a mount with the beginning of an upload.
    DeclineMount,
    /// Sends the client to the same path of another server, `http://HOST`.
    RedirectTo(String),
    /// Has uploads go to another server, `http://HOST`.
    UploadTo(String),
    /// Has lost the blob or the manifest.
    Gone,
    /// Refuses to put a manifest under a tag that is there, as for an immutable tag.
    ImmutableTag,
    /// Changes a byte of the answer's body.
    WrongBody,
    /// Leaves out the last byte of the answer's body, and says so in `Content-Length`.
    ShortBody,
    /// Sends a body that does not end, in chunks.
    HugeBody,
    /// Sends a header that does not end.
    HugeHeader,
    /// Answers with what is no HTTP.
    Garbage,
    /// Knows no ranges.
    NoRange,
    /// Leaves the digest out of the headers.
    NoDigest,
    /// Says in an error what it was given as authorization, after so many dots.
    Echo(usize),
    /// Calls the page of tags its own next page.
    Circle,
    /// Calls this the next page of tags.
    LinkTo(&'static str),
}

type Predicate = Box<dyn Fn(&Request) -> bool + Send>;

struct Fault {
    at: Predicate,
    what: What,
    /// How many matching requests pass before.
    after: usize,
    /// How many requests are treated so.
    times: usize,
}

/// A request and the status of its answer; 0 where the connection was closed or stalls.
#[derive(Clone, Debug)]
pub struct Logged {
    pub method: String,
    /// Path and query.
    pub path: String,
    pub authorization: Option<String>,
    pub range: Option<String>,
    /// Bytes of the body that have come.
    pub body_bytes: usize,
    pub status: u16,
}

/// What is done before a request is answered.
struct Before {
    /// How many requests pass before.
    after: usize,
    act: Arc<dyn Fn() + Send + Sync>,
}

struct Shared {
    before: Mutex<Option<Before>>,
    state: Mutex<State>,
    faults: Mutex<Vec<Fault>>,
    log: Mutex<Vec<Logged>>,
    is_over: AtomicBool,
}

/// See the module. Ends when it is dropped.
pub struct FaultyRegistry {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl FaultyRegistry {
    /// Starts a registry that anybody may use.
    pub fn start() -> Self {
        Self::with(Auth::None)
    }

    /// Starts a registry that wants to know its clients.
    pub fn with(auth: Auth) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new(address.to_string(), auth)),
            before: Mutex::default(),
            faults: Mutex::default(),
            log: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let of_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if of_thread.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&of_thread);
                std::thread::spawn(move || {
                    let _ = serve(stream.unwrap(), &shared);
                });
            }
        });
        Self { address, shared }
    }

    /// HOST:PORT.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Treats the next `times` requests that match so.
    pub fn when(
        &self,
        at: impl Fn(&Request) -> bool + Send + 'static,
        times: usize,
        what: What,
    ) -> &Self {
        self.when_after(at, 0, times, what)
    }

    /// The same after `after` requests that match.
    pub fn when_after(
        &self,
        at: impl Fn(&Request) -> bool + Send + 'static,
        after: usize,
        times: usize,
        what: What,
    ) -> &Self {
        self.shared.faults.lock().unwrap().push(Fault {
            at: Box::new(at),
            what,
            after,
            times,
        });
        self
    }

    /// Treats request `nth` from now, counted from 0, so: looks for the scheme (`/v2/`) and for tokens do not count.
    pub fn nth(&self, nth: usize, what: What) -> &Self {
        self.when_after(Request::is_of_repository, nth, 1, what)
    }

    /// Does something before request `nth` from now is answered, counted as by [`Self::nth`]. The requests that this makes are
    /// answered meanwhile.
    pub fn before(&self, nth: usize, act: impl Fn() + Send + Sync + 'static) {
        *self.shared.before.lock().unwrap() = Some(Before {
            after: nth,
            act: Arc::new(act),
        });
    }

    /// Whether what was to be done before a request is still to come; forgets it.
    pub fn forget_before(&self) -> bool {
        self.shared.before.lock().unwrap().take().is_some()
    }

    /// Behaves well again.
    pub fn mend(&self) {
        self.shared.faults.lock().unwrap().clear();
    }

    /// Whether a fault is still to come.
    pub fn has_faults(&self) -> bool {
        !self.shared.faults.lock().unwrap().is_empty()
    }

    pub fn log(&self) -> Vec<Logged> {
        self.shared.log.lock().unwrap().clone()
    }

    /// The log without looks for the scheme and for tokens, as `METHOD PATH`.
    pub fn requests(&self) -> Vec<String> {
        let log = self.log();
        let own = log
            .iter()
            .filter(|r| r.path.starts_with("/v2/") && r.path != "/v2/");
        own.map(|r| format!("{} {}", r.method, r.path)).collect()
    }

    pub fn clear_log(&self) {
        self.shared.log.lock().unwrap().clear();
    }

    /// What the registry holds.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }
}

impl Drop for FaultyRegistry {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

/// Serves the requests of a connection.
fn serve(stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    // So that no thread outlives its test for long.
    stream.set_read_timeout(Some(Duration::from_secs(120)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some(mut request) = Request::read_head(&mut reader)? {
        if let Some(act) = act_before(shared, &request) {
            act();
        }
        let fault = fault_for(shared, &request);
        let index = log(shared, &request);
        if let Some(What::CutUpload(most)) = fault {
            request.read_body(&mut reader, most)?;
            shared.log.lock().unwrap()[index].body_bytes = request.body.len();
            return Ok(());
        }
        request.read_body(&mut reader, usize::MAX)?;
        let answer = answer(shared, &request, fault.as_ref());
        {
            let mut log = shared.log.lock().unwrap();
            // A test may have cleared the log.
            if let Some(logged) = log.get_mut(index) {
                logged.body_bytes = request.body.len();
                logged.status = answer.status;
            }
        }
        let is_open = send(&stream, &mut reader, &request, answer, fault)?;
        if !is_open {
            return Ok(());
        }
    }
    // What Go's servers say to a TLS client.
    let _ = (&stream).write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nno HTTP\n");
    Ok(())
}

fn act_before(shared: &Shared, request: &Request) -> Option<Arc<dyn Fn() + Send + Sync>> {
    let mut before = shared.before.lock().unwrap();
    if let Some(Before { after: 0, .. }) = before.as_ref()
        && request.is_of_repository()
    {
        return before.take().map(|before| before.act);
    }
    if let Some(before) = before.as_mut()
        && request.is_of_repository()
    {
        before.after -= 1;
    }
    None
}

fn fault_for(shared: &Shared, request: &Request) -> Option<What> {
    let mut faults = shared.faults.lock().unwrap();
    let mut found = None;
    for fault in faults.iter_mut().filter(|fault| (fault.at)(request)) {
        if fault.after > 0 {
            fault.after -= 1;
        } else if found.is_none() && fault.times > 0 {
            fault.times -= 1;
            found = Some(fault.what.clone());
        }
    }
    faults.retain(|fault| fault.times > 0);
    found
}

fn log(shared: &Shared, request: &Request) -> usize {
    let mut log = shared.log.lock().unwrap();
    log.push(Logged {
        method: request.method.clone(),
        path: request.path.clone(),
        authorization: request.header("authorization").map(str::to_owned),
        range: request.header("range").map(str::to_owned),
        body_bytes: 0,
        status: 0,
    });
    log.len() - 1
}

/// The answer, as far as faults are matters of what is said.
fn answer(shared: &Shared, request: &Request, fault: Option<&What>) -> Answer {
    let mut state = shared.state.lock().unwrap();
    match fault {
        Some(What::Status(status, retry_after)) => {
            let mut answer = Answer::new(*status).body("come back later");
            if let Some(value) = retry_after {
                answer = answer.header("Retry-After", *value);
            }
            answer
        }
        Some(What::Says(status, body)) => Answer::new(*status).body(body.clone()),
        Some(What::Echo(before)) => {
            let said = request.header("authorization").unwrap_or_default();
            Answer::new(400).body(format!("{}{said}", ".".repeat(*before)))
        }
        Some(What::RedirectTo(server)) => {
            Answer::new(307).header("Location", format!("{server}{}", request.path))
        }
        Some(What::Gone) => state::unknown(request),
        Some(What::ExpireToken) => {
            state.forget_tokens();
            state.answer(request)
        }
        Some(What::DeclineMount) => state.begin_upload(request.repository()),
        Some(What::UploadTo(server)) => {
            let answer = state.answer(request);
            answer.map_header("Location", |path| format!("{server}{path}"))
        }
        Some(What::ImmutableTag) => state.refuse_tag(request),
        Some(What::NoRange) => state.answer(&request.without("range")),
        Some(What::NoDigest) => state.answer(request).without("Docker-Content-Digest"),
        Some(What::Circle) => {
            let answer = state.answer(request).without("Link");
            answer.header("Link", format!("<{}>; rel=\"next\"", request.path))
        }
        Some(What::LinkTo(url)) => {
            let answer = state.answer(request).without("Link");
            answer.header("Link", format!("<{url}>; rel=\"next\""))
        }
        Some(What::WrongBody) => {
            let mut answer = state.answer(request);
            if let Some(byte) = answer.body.last_mut() {
                *byte ^= 1;
            }
            answer
        }
        Some(What::ShortBody) => {
            let mut answer = state.answer(request);
            answer.body.pop();
            answer
        }
        _ => state.answer(request),
    }
}

/// Sends the answer as the fault has it. Tells whether the connection stays open.
fn send(
    mut stream: &TcpStream,
    reader: &mut impl Read,
    request: &Request,
    answer: Answer,
    fault: Option<What>,
) -> std::io::Result<bool> {
    let bytes = answer.bytes(request.method == "HEAD");
    let head = answer.head_bytes();
    match fault {
        Some(What::Stall) => stall(reader),
        Some(What::StallAfter(most)) => {
            stream.write_all(&bytes[..bytes.len().min(head + most)])?;
            stall(reader);
        }
        Some(What::Trickle) => {
            stream.write_all(&bytes[..head])?;
            for byte in &bytes[head..] {
                std::thread::sleep(Duration::from_millis(10));
                stream.write_all(std::slice::from_ref(byte))?;
            }
        }
        Some(What::CutAfter(most)) => stream.write_all(&bytes[..bytes.len().min(most)])?,
        Some(What::CutBody(most)) => stream.write_all(&bytes[..bytes.len().min(head + most)])?,
        Some(What::LoseAnswer) => {}
        Some(What::Garbage) => stream.write_all(b"220 mail.example ESMTP\r\n\r\n")?,
        Some(What::HugeBody) => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            let chunk = [b"10000\r\n", &[b' '; 0x10000][..], b"\r\n"].concat();
            while stream.write_all(&chunk).is_ok() {}
        }
        Some(What::HugeHeader) => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nX: ")?;
            while stream.write_all(&[b'x'; 0x10000]).is_ok() {}
        }
        _ => {
            stream.write_all(&bytes)?;
            return Ok(true);
        }
    }
    Ok(false)
}

/// Waits until the client has gone.
fn stall(reader: &mut impl Read) {
    let mut buffer = [0; 1024];
    while matches!(reader.read(&mut buffer), Ok(1..)) {}
}

/// Those of `faults` that are tried at the request with this number: a third, another one at each request; with
/// `ROOTSTRATA_FAULTS=all`, all.
pub fn tried<T>(faults: impl IntoIterator<Item = T>, nth: usize) -> Vec<T> {
    let all = std::env::var("ROOTSTRATA_FAULTS").is_ok_and(|value| value == "all");
    let faults = faults.into_iter().enumerate();
    let some = faults.filter(|(at, _)| all || (at + nth).is_multiple_of(3));
    some.map(|(_, fault)| fault).collect()
}
