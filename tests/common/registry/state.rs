//! What the registry of the tests holds, and its answers as of the distribution-spec.

use super::http::{Answer, Request};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap, HashSet};

/// How clients prove who they are.
#[derive(Clone, Debug, Default)]
pub enum Auth {
    /// Not at all.
    #[default]
    None,
    /// `Basic` with this base64 of USER:PASSWORD.
    Basic(String),
    /// By tokens, which are had for this base64 of USER:PASSWORD, or for this refresh token; without either, to pull.
    Token {
        basic: String,
        refresh: String,
        /// `http://HOST` of another registry that gives the tokens; `None`: the same.
        realm: Option<String>,
    },
}

#[derive(Clone, Default)]
pub struct Repo {
    pub blobs: HashMap<String, Vec<u8>>,
    /// Media type and content by digest.
    pub manifests: HashMap<String, (String, Vec<u8>)>,
    pub tags: BTreeMap<String, String>,
}

pub struct State {
    pub host: String,
    pub auth: Auth,
    pub repos: HashMap<String, Repo>,
    uploads: HashSet<String>,
    /// Scopes by token.
    tokens: HashMap<String, Vec<String>>,
    count: usize,
    /// `expires_in` of tokens.
    pub token_seconds: u64,
    /// Whether manifests are taken whose blobs are missing.
    pub is_careless: bool,
}

/// `sha256:HEX`.
pub fn sha256(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    let hex: String = hash.iter().map(|b| format!("{b:02x}")).collect();
    format!("sha256:{hex}")
}

/// The answer for what is not there.
pub fn unknown(request: &Request) -> Answer {
    let code = match request.split() {
        Some((_, "manifests", _)) => "MANIFEST_UNKNOWN",
        Some((_, "tags", _)) => "NAME_UNKNOWN",
        _ => "BLOB_UNKNOWN",
    };
    Answer::error(404, code, &Value::Null)
}

impl State {
    pub fn new(host: String, auth: Auth) -> Self {
        Self {
            host,
            auth,
            repos: HashMap::new(),
            uploads: HashSet::new(),
            tokens: HashMap::new(),
            count: 0,
            token_seconds: 300,
            is_careless: false,
        }
    }

    pub fn repo(&mut self, name: &str) -> &mut Repo {
        self.repos.entry(name.to_owned()).or_default()
    }

    /// Puts a blob; returns its digest.
    pub fn put_blob(&mut self, name: &str, bytes: &[u8]) -> String {
        let digest = sha256(bytes);
        self.repo(name)
            .blobs
            .insert(digest.clone(), bytes.to_owned());
        digest
    }

    /// What tags of a repository lead to and the repository lacks, as `TAG DIGEST`.
    pub fn lacking(&mut self, name: &str) -> Vec<String> {
        let repo = self.repo(name);
        let mut lacking = Vec::new();
        for (tag, digest) in &repo.tags {
            let Some((_, bytes)) = repo.manifests.get(digest) else {
                lacking.push(format!("{tag} {digest}"));
                continue;
            };
            let manifest: Value = serde_json::from_slice(bytes).unwrap_or_default();
            let layers = manifest["layers"].as_array().into_iter().flatten();
            let named = layers.chain([&manifest["config"]]);
            let named = named.filter_map(|descriptor| descriptor["digest"].as_str());
            let gone = named.filter(|digest| !repo.blobs.contains_key(*digest));
            lacking.extend(gone.map(|digest| format!("{tag} {digest}")));
        }
        lacking
    }

    pub fn forget_tokens(&mut self) {
        self.tokens.clear();
    }

    pub fn answer(&mut self, request: &Request) -> Answer {
        if request.bare_path() == "/token" {
            return self.token(request);
        }
        if let Some(refusal) = self.refusal(request) {
            return refusal;
        }
        let Some((name, kind, rest)) = request.split() else {
            return Answer::new(if request.path == "/v2/" { 200 } else { 404 });
        };
        let is_post = request.method == "POST";
        match kind {
            "tags" => self.tags(request, name),
            "manifests" => self.manifest(request, name, rest),
            _ if rest.is_empty() || !rest.starts_with("uploads/") => self.blob(request, name, rest),
            _ if is_post => self.start_upload(request, name),
            _ => self.upload(request, name, rest),
        }
    }

    /// Gives a token for the scopes that the client may have.
    fn token(&mut self, request: &Request) -> Answer {
        let Auth::Token { basic, refresh, .. } = self.auth.clone() else {
            return Answer::new(404);
        };
        let given = request.header("authorization");
        let by_post = request.parameter("refresh_token");
        let is_known = given == Some(&format!("Basic {basic}")) || by_post == Some(refresh);
        if !is_known && (given.is_some() || request.method == "POST") {
            return Answer::error(401, "UNAUTHORIZED", &Value::Null);
        }
        let scopes = request.parameters("scope");
        let scopes = scopes.iter().flat_map(|scope| scope.split(' '));
        let scopes = scopes.map(|scope| match scope.rsplit_once(':') {
            Some((name, _)) if !is_known => format!("{name}:pull"),
            _ => scope.to_owned(),
        });
        self.count += 1;
        let token = format!("token-{}-{}", self.count, sha256(self.host.as_bytes()));
        self.tokens.insert(token.clone(), scopes.collect());
        let seconds = self.token_seconds;
        Answer::new(200).body(json!({"token": token, "expires_in": seconds}).to_string())
    }

    /// The answer to a request whose client may not ask so.
    fn refusal(&self, request: &Request) -> Option<Answer> {
        let given = request.header("authorization").unwrap_or_default();
        match &self.auth {
            Auth::None => None,
            Auth::Basic(pair) => (given != format!("Basic {pair}")).then(|| {
                let refusal = Answer::error(401, "UNAUTHORIZED", &Value::Null);
                refusal.header("WWW-Authenticate", "Basic realm=\"test\"")
            }),
            Auth::Token { realm, .. } => {
                let wanted = wanted(request);
                let token = given.strip_prefix("Bearer ").unwrap_or_default();
                let scopes = self.tokens.get(token);
                let is_right = scopes.is_some_and(|scopes| wanted.iter().all(|w| has(scopes, w)));
                let own = format!("http://{}", self.host);
                let realm = realm.as_ref().unwrap_or(&own);
                (!is_right).then(|| {
                    let scope = wanted.join(" ");
                    let text = format!(
                        "Bearer realm=\"{realm}/token\",service=\"test\",scope=\"{scope}\""
                    );
                    let refusal = Answer::error(401, "UNAUTHORIZED", &Value::Null);
                    refusal.header("WWW-Authenticate", text)
                })
            }
        }
    }

    fn tags(&mut self, request: &Request, name: &str) -> Answer {
        let Some(repo) = self.repos.get(name) else {
            return unknown(request);
        };
        let most = request.parameter("n").map_or(100, |n| n.parse().unwrap());
        let last = request.parameter("last").unwrap_or_default();
        let after = repo.tags.keys().filter(|tag| **tag > last);
        let page: Vec<_> = after.take(most).collect();
        let answer = Answer::new(200).body(json!({"name": name, "tags": page}).to_string());
        if page.len() < most {
            return answer;
        }
        let last = page.last().unwrap();
        let link = format!("</v2/{name}/tags/list?last={last}&n={most}>; rel=\"next\"");
        answer.header("Link", link)
    }

    fn manifest(&mut self, request: &Request, name: &str, reference: &str) -> Answer {
        if request.method == "PUT" {
            return self.put_manifest(request, name, reference);
        }
        let repo = self.repo(name);
        let digest = repo.tags.get(reference).cloned();
        let digest = digest.unwrap_or(reference.to_owned());
        let Some((media_type, bytes)) = repo.manifests.get(&digest).cloned() else {
            return unknown(request);
        };
        if request.method == "DELETE" {
            repo.manifests.remove(&digest);
            repo.tags.retain(|_, d| *d != digest);
            return Answer::new(202);
        }
        Answer::new(200)
            .header("Content-Type", media_type)
            .header("Docker-Content-Digest", digest)
            .body(bytes)
    }

    fn put_manifest(&mut self, request: &Request, name: &str, reference: &str) -> Answer {
        let Ok(manifest) = serde_json::from_slice::<Value>(&request.body) else {
            return Answer::error(400, "MANIFEST_INVALID", &Value::Null);
        };
        let digest = sha256(&request.body);
        let is_digest = reference.contains(':');
        if is_digest && reference != digest {
            return Answer::error(400, "DIGEST_INVALID", &Value::Null);
        }
        let is_careless = self.is_careless;
        let repo = self.repo(name);
        let list = |name: &str| manifest[name].as_array().cloned().unwrap_or_default();
        let mut named = list("layers");
        named.extend(list("manifests"));
        named.extend(manifest.get("config").cloned());
        let digests = named.iter().filter_map(|d| d["digest"].as_str());
        let is_there = |d: &str| repo.blobs.contains_key(d) || repo.manifests.contains_key(d);
        let missing: Vec<_> = digests.filter(|d| !is_there(d)).collect();
        if !missing.is_empty() && !is_careless {
            let error = |d: &&str| json!({"code": "MANIFEST_BLOB_UNKNOWN", "message": "blob unknown", "detail": {"digest": d}});
            let errors: Vec<_> = missing.iter().map(error).collect();
            return Answer::new(400).body(json!({"errors": errors}).to_string());
        }
        let media_type = request.header("content-type").unwrap().to_owned();
        let content = (media_type, request.body.clone());
        repo.manifests.insert(digest.clone(), content);
        if !is_digest {
            repo.tags.insert(reference.to_owned(), digest.clone());
        }
        Answer::new(201).header("Docker-Content-Digest", digest)
    }

    /// Puts a manifest, unless its tag is there.
    pub fn refuse_tag(&mut self, request: &Request) -> Answer {
        let (name, _, tag) = request.split().unwrap();
        let is_there = self.repo(name).tags.contains_key(tag);
        if request.method == "PUT" && is_there {
            return Answer::error(400, "TAG_INVALID", &json!("the tag is immutable"));
        }
        self.answer(request)
    }

    fn blob(&mut self, request: &Request, name: &str, digest: &str) -> Answer {
        let Some(bytes) = self.repo(name).blobs.get(digest) else {
            return unknown(request);
        };
        let answer = Answer::new(200).header("Docker-Content-Digest", digest);
        let Some(range) = request.header("range") else {
            return answer.body(bytes.clone());
        };
        let (first, last) = range
            .strip_prefix("bytes=")
            .unwrap()
            .split_once('-')
            .unwrap();
        let first: usize = first.parse().unwrap();
        let end = last.parse::<usize>().map_or(bytes.len(), |last| last + 1);
        let end = end.min(bytes.len());
        if first >= end {
            return Answer::new(416);
        }
        let told = format!("bytes {first}-{}/{}", end - 1, bytes.len());
        let part = bytes[first..end].to_vec();
        Answer::new(206).header("Content-Range", told).body(part)
    }

    fn start_upload(&mut self, request: &Request, name: &str) -> Answer {
        if let (Some(digest), Some(from)) = (request.parameter("mount"), request.parameter("from"))
            && let Some(bytes) = self.repo(&from).blobs.get(&digest).cloned()
        {
            self.repo(name).blobs.insert(digest, bytes);
            return Answer::new(201);
        }
        self.begin_upload(name)
    }

    pub fn begin_upload(&mut self, name: &str) -> Answer {
        self.count += 1;
        let upload = format!("uploads/u{}", self.count);
        self.uploads.insert(upload.clone());
        let location = format!("/v2/{name}/blobs/{upload}?_state=a%2Fb%3D");
        Answer::new(202).header("Location", location)
    }

    fn upload(&mut self, request: &Request, name: &str, upload: &str) -> Answer {
        if !self.uploads.remove(upload) {
            return Answer::error(404, "BLOB_UPLOAD_UNKNOWN", &Value::Null);
        }
        if request.method == "DELETE" {
            return Answer::new(204);
        }
        let is_right = request.parameter("_state").as_deref() == Some("a/b=");
        let digest = request.parameter("digest");
        if !is_right || digest != Some(sha256(&request.body)) {
            return Answer::error(400, "DIGEST_INVALID", &Value::Null);
        }
        self.put_blob(name, &request.body);
        Answer::new(201)
    }
}

/// The scopes that a request needs.
fn wanted(request: &Request) -> Vec<String> {
    let action = match request.method.as_str() {
        "GET" | "HEAD" => "pull",
        "DELETE" if request.path.contains("/manifests/") => "delete",
        _ => "push",
    };
    let name = request.repository();
    if name.is_empty() {
        return Vec::new();
    }
    let from = request.parameter("from").filter(|from| from != name);
    let mut wanted = vec![format!("repository:{name}:{action}")];
    wanted.extend(from.map(|from| format!("repository:{from}:pull")));
    wanted
}

fn has(scopes: &[String], wanted: &str) -> bool {
    let (name, action) = wanted.rsplit_once(':').unwrap();
    let mut scopes = scopes.iter().filter_map(|scope| scope.rsplit_once(':'));
    scopes.any(|(n, actions)| n == name && actions.split(',').any(|a| a == action))
}
