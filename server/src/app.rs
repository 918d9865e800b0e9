//! What the daemon consists of, for `serve` and for tests that build it by hand.

use std::path::PathBuf;
use std::sync::Arc;

use crate::args::ServingArgs;
use crate::auth::Login;
use crate::catalogue::Catalogue;
use crate::limits::Timeouts;
use crate::listener::tls::Tls;
use crate::origin::Origin;
use crate::quota::QuotaLimits;
use crate::state::StateHandle;
use crate::store::DataDirectory;
use crate::trainer::TrainerHandle;

/// The names under which the daemon answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hosts {
    /// Only `localhost` and loopback addresses: a page elsewhere that points its own name here gets
    /// nothing.
    Loopback,
    /// Any: the daemon is meant to be reached under names that it does not know.
    Any,
}

/// Pages of other origins that are let in; the daemon's own page always is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins {
    /// May open sessions.
    pub sessions: Vec<Origin>,
    /// May open sessions, and read catalogue and artifacts: pages that are hosted elsewhere.
    pub hosted: Vec<Origin>,
}

impl From<&ServingArgs> for Origins {
    fn from(args: &ServingArgs) -> Self {
        Self {
            sessions: args.allow_origin.clone(),
            hosted: args.cors_origin.clone(),
        }
    }
}

/// Everything that `serve` needs.
#[derive(Debug)]
pub struct App {
    /// What is offered.
    pub catalogue: Catalogue,
    /// Where runs go.
    pub trainer: TrainerHandle,
    /// Where sessions keep their activations.
    pub data: DataDirectory,
    /// Tenants, tokens, jobs and their events.
    pub state: StateHandle,
    /// Who is let in without a token.
    pub login: Login,
    /// What one tenant may have.
    pub quotas: QuotaLimits,
    /// The built page.
    pub page: Option<PathBuf>,
    /// Under which names to answer.
    pub hosts: Hosts,
    /// Which other pages are let in.
    pub origins: Origins,
    /// What connections are encrypted with; none for plain HTTP.
    pub tls: Option<Arc<Tls>>,
    /// Connections at the same time, sessions among them.
    pub connections_max: usize,
    /// Sessions at the same time: each may hold disk, an adapter and a share of the trainer.
    pub sessions_max: usize,
    /// How long to wait for what.
    pub timeouts: Timeouts,
}
