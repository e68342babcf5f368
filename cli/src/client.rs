//! The collector's HTTP API: loopback, bearer token, bounded answers, deadlines.

use crate::failure::Failure;
use crate::secret::{self, Readers, SecretError};
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

/// Whether an URL names this host. There is no TLS here: elsewhere the token would cross the network in the clear.
fn is_loopback(url: &str) -> bool {
    let host = |rest: &str| {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default().to_owned();
        match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((v6, _)) => v6.to_owned(),
            None => authority.rsplit_once(':').map_or(authority.clone(), |(host, _)| host.to_owned()),
        }
    };
    url.strip_prefix("http://").map(host).is_some_and(|host| {
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

impl Client {
    /// Reads the token; opens nothing yet.
    ///
    /// # Errors
    ///
    /// [`Failure::Unauthorised`] without a readable token, [`Failure::UnusableFile`] if others can read it,
    /// [`Failure::InTheClear`] if the collector is elsewhere.
    pub(crate) fn new(args: &ClientArgs) -> anyhow::Result<Self> {
        let url =
            args.url.clone().or_else(|| std::env::var("VEDETTE_URL").ok()).unwrap_or_else(|| DEFAULT_URL.to_owned());
        let file = args
            .token_file
            .clone()
            .or_else(|| std::env::var_os("VEDETTE_TOKEN_FILE").map(PathBuf::from))
            .ok_or_else(|| Failure::Unauthorised("no API token was given".to_owned()))?;
        if !is_loopback(&url) {
            return Err(Failure::InTheClear(url).into());
        }
        let token = secret::read(&file, Readers::Group).map_err(|error| match error {
            SecretError::Io(error) => Failure::Unauthorised(format!("{}: {error}", file.display())),
            SecretError::Open { .. } => secret::unusable(&file, &error),
        })?;
        let token = String::from_utf8_lossy(&token).trim().to_owned();
        let config = Agent::config_builder().timeout_global(Some(DEADLINE)).http_status_as_error(false).build();
        Ok(Self { agent: config.into(), url: url.trim_end_matches('/').to_owned(), token })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_stays_on_this_host() {
        for here in ["http://127.0.0.1:4711", "http://localhost", "http://[::1]:4711/api", "http://127.1.2.3/"] {
            assert!(is_loopback(here), "{here}");
        }
        for elsewhere in [
            "http://collector.example:4711",
            "http://10.0.0.1:4711",
            "https://127.0.0.1:4711",
            "http://127.0.0.1@evil.example/",
            "http://localhost.evil.example",
            "127.0.0.1:4711",
            "http://[2001:db8::1]",
            "",
        ] {
            assert!(!is_loopback(elsewhere), "{elsewhere}");
        }
    }
}
