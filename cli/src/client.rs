//! The collector's HTTP API: loopback, bearer token, bounded answers, deadlines.

use crate::failure::Failure;
use anyhow::Context as _;
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;
use ureq::Agent;

const DEADLINE: Duration = Duration::from_secs(15);
/// Largest answer taken, bytes.
const ANSWER_BYTES_MAX: u64 = 32 << 20;
const DEFAULT_URL: &str = "http://127.0.0.1:4711";

/// Where the collector is and what lets us in.
#[derive(clap::Args)]
pub(crate) struct ClientArgs {
    /// The collector's API [default: $VEDETTE_URL or http://127.0.0.1:4711].
    #[arg(long, global = true, value_name = "URL")]
    url: Option<String>,
    /// File with the collector's API token [default: $VEDETTE_TOKEN_FILE].
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// A caller of the API.
pub(crate) struct Client {
    agent: Agent,
    url: String,
    token: String,
}

impl Client {
    /// Reads the token; opens nothing yet.
    ///
    /// # Errors
    ///
    /// [`Failure::Unauthorised`] without a readable token.
    pub(crate) fn new(args: &ClientArgs) -> anyhow::Result<Self> {
        let url =
            args.url.clone().or_else(|| std::env::var("VEDETTE_URL").ok()).unwrap_or_else(|| DEFAULT_URL.to_owned());
        let file = args
            .token_file
            .clone()
            .or_else(|| std::env::var_os("VEDETTE_TOKEN_FILE").map(PathBuf::from))
            .ok_or_else(|| Failure::Unauthorised("no API token was given".to_owned()))?;
        let token = std::fs::read_to_string(&file)
            .map_err(|error| Failure::Unauthorised(format!("{}: {error}", file.display())))?;
        let config = Agent::config_builder().timeout_global(Some(DEADLINE)).http_status_as_error(false).build();
        Ok(Self { agent: config.into(), url: url.trim_end_matches('/').to_owned(), token: token.trim().to_owned() })
    }

    /// GET.
    pub(crate) fn get(&self, path: &str) -> anyhow::Result<Value> {
        let request = self.agent.get(format!("{}{path}", self.url)).header("authorization", self.bearer());
        self.answer(request.call())
    }

    /// POST with a JSON body.
    pub(crate) fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.agent.post(format!("{}{path}", self.url)).header("authorization", self.bearer());
        self.answer(request.header("content-type", "application/json").send(body.to_string()))
    }

    /// PUT with a JSON body.
    pub(crate) fn put(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.agent.put(format!("{}{path}", self.url)).header("authorization", self.bearer());
        self.answer(request.header("content-type", "application/json").send(body.to_string()))
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }

    fn answer(&self, reply: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> anyhow::Result<Value> {
        let unreachable =
            |error: ureq::Error| Failure::Unreachable { url: self.url.clone(), reason: error.to_string() };
        let mut reply = reply.map_err(unreachable)?;
        let status = reply.status().as_u16();
        let text = reply.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string().map_err(unreachable)?;
        let reason = || {
            let parsed: Option<Value> = serde_json::from_str(&text).ok();
            parsed.and_then(|body| body["error"].as_str().map(str::to_owned)).unwrap_or_else(|| text.trim().to_owned())
        };
        match status {
            200..=299 => serde_json::from_str(&text).context("the collector's answer is not JSON"),
            401 | 403 => Err(Failure::Unauthorised(reason()).into()),
            _ => Err(Failure::Refused { status, reason: reason() }.into()),
        }
    }
}
