//! A page as its server sends it.

use std::collections::BTreeSet;
use std::io::Read;
use std::time::Duration;

use ureq::Agent;
use ureq::http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING};
use ureq::http::{Response, StatusCode};

use super::{Entry, Place, RELEASE_BYTES_MAX, VerifyError};
use crate::origin::Origin;

/// How long a server may take to take a connection, and to go on with an answer.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Forms that a server sends in place of a file, by the ends of their names.
const FORMS: [(&str, &str); 2] = [(".br", "br"), (".gz", "gzip")];

/// A file as it is.
const PLAIN: &str = "identity";

/// Asks an origin.
pub(super) struct Served {
    origin: String,
    agent: Agent,
}

impl Served {
    pub(super) fn at(origin: &Origin) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // What another origin has is not what this one serves.
            .max_redirects(0)
            .timeout_connect(Some(SILENCE_MAX))
            .timeout_per_read(Some(SILENCE_MAX))
            .build();
        Self {
            origin: origin.as_str().to_owned(),
            agent: config.into(),
        }
    }

    fn get(&self, name: &str, encoding: &str) -> Result<Response<ureq::Body>, VerifyError> {
        let asked = self
            .agent
            .get(format!("{}/{name}", self.origin))
            .header(ACCEPT_ENCODING, encoding)
            .header(CACHE_CONTROL, "no-cache");
        asked.call().map_err(|source| failed(name, source))
    }
}

impl Place for Served {
    fn read(&self, name: &str) -> Result<Vec<u8>, VerifyError> {
        let mut answer = self.get(name, PLAIN)?;
        if answer.status() != StatusCode::OK {
            let status = ureq::Error::StatusCode(answer.status().as_u16());
            return Err(failed(name, status));
        }
        let body = answer.body_mut().with_config().limit(RELEASE_BYTES_MAX);
        body.read_to_vec().map_err(|source| failed(name, source))
    }

    /// A compressed form is asked for as browsers do, by the file's name; where the server, or a
    /// proxy before it, sends another form, by its own.
    fn entry(&self, name: &str) -> Result<Option<Entry>, VerifyError> {
        let form = FORMS
            .iter()
            .find_map(|(end, encoding)| Some((name.strip_suffix(end)?, *encoding)));
        let mut answer = None;
        if let Some((file, encoding)) = form {
            let sent = self.get(file, encoding)?;
            let is_form = sent.headers().get(CONTENT_ENCODING);
            if is_form.is_some_and(|sent| sent == encoding) {
                answer = Some(sent);
            }
        }
        let mut answer = match answer {
            Some(answer) => answer,
            None => self.get(name, PLAIN)?,
        };
        if answer.status() != StatusCode::OK {
            return Ok(None);
        }
        let entry = Entry::of(answer.body_mut().as_reader().by_ref());
        let entry = entry.map_err(|source| failed(name, source.into()))?;
        Ok(Some(entry))
    }

    /// A server is asked for files, not for lists of them: more than the release has may be there.
    fn names(&self) -> &BTreeSet<String> {
        const { &BTreeSet::new() }
    }
}

fn failed(name: &str, source: ureq::Error) -> VerifyError {
    VerifyError::Fetch {
        name: name.to_owned(),
        source: Box::new(source),
    }
}
