//! Bytes to the server and back. Knows no message.

#[cfg(target_arch = "wasm32")]
pub mod browser;
pub mod memory;
#[cfg(not(target_arch = "wasm32"))]
pub mod native;
pub mod observed;

use std::fmt;

use rand::TryRng;
use rand::rngs::SysRng;

use crate::error::ClientError;

/// A connection that carries whole frames in both directions.
///
/// Its futures need not be `Send`: in the browser nothing is, and natively one task drives one
/// connection.
#[allow(async_fn_in_trait)]
pub trait Transport {
    /// Hands a frame over; waits while the connection is backed up.
    ///
    /// # Errors
    ///
    /// `ClientError::Disconnected` when the connection has ended.
    async fn send(&mut self, frame: Vec<u8>) -> Result<(), ClientError>;

    /// Waits for the next frame. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// `ClientError::Disconnected` when the connection has ended.
    async fn receive(&mut self) -> Result<Vec<u8>, ClientError>;

    /// Says goodbye to the other side's transport.
    async fn close(&mut self);

    /// Lets other tasks of this thread run, so that a person's "stop" is seen between two batches.
    async fn breathe(&mut self);

    /// Connects to the same server again, in place of a connection that was lost, to go on with a
    /// session. After a failure, and when its future is dropped, it can be asked again.
    ///
    /// # Errors
    ///
    /// `ClientError::Disconnected` when nobody answers; `TokenNeeded` and `TurnedAway` when the
    /// server does, and will not let this client in.
    async fn reopen(&mut self) -> Result<(), ClientError>;

    /// Waits so many milliseconds.
    async fn wait(millis: u32);
}

/// Lets other tasks of this thread run: in a browser its event loop, where a person's "stop" waits.
pub(crate) async fn breathe() {
    #[cfg(target_arch = "wasm32")]
    crate::browser::sleep(0).await;
    #[cfg(not(target_arch = "wasm32"))]
    tokio::task::yield_now().await;
}

/// The path of the session's endpoint.
pub const SESSION_PATH: &str = "/v1/session";

/// What a connection is called in the server's log, so that one who runs the server finds it there.
///
/// Drawn anew for each connection and derived from nothing: it says no more than the connection
/// does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId(u128);

impl TraceId {
    /// Draws an id.
    ///
    /// # Errors
    ///
    /// `ClientError::NoRandomness` when the system has none.
    pub fn draw() -> Result<Self, ClientError> {
        let mut bytes = [0; 16];
        SysRng
            .try_fill_bytes(&mut bytes)
            .map_err(|_| ClientError::NoRandomness)?;
        Ok(Self(u128::from_le_bytes(bytes)))
    }

    /// As the value of a `traceparent` header. Source:
    /// <https://www.w3.org/TR/trace-context/#traceparent-header>.
    pub fn traceparent(self) -> String {
        // The parent must not be zero. The last digit says that nobody has recorded it.
        format!("00-{self}-{:016x}-00", 1)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The error of a connection that the server has closed.
fn closed(code: u16, trace: TraceId) -> ClientError {
    ClientError::Disconnected {
        reason: format!("closed with code {code}; request {trace}"),
        code: Some(code),
    }
}

/// The error of a connection that has ended.
pub(crate) fn disconnected(reason: impl Into<String>) -> ClientError {
    ClientError::Disconnected {
        reason: reason.into(),
        code: None,
    }
}

#[cfg(test)]
mod tests {
    use super::TraceId;

    #[test]
    fn an_id_is_written_as_servers_read_it() {
        let id = TraceId(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
        let expected = "00-0af7651916cd43dd8448eb211c80319c-0000000000000001-00";
        assert_eq!(id.traceparent(), expected);
        assert_ne!(TraceId::draw().ok(), TraceId::draw().ok());
    }
}
