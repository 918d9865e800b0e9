//! The client's half of the protocol as a state machine: messages in, frames out. Knows no socket
//! and no model.
//!
//! The other half is `server/src/session.rs`.

use shared::protocol::codec::{ServerFrame, decode_server, encode_client};
use shared::protocol::limits::Limits;
use shared::protocol::message::{
    ClientMessage, Hello, PROTOCOL_VERSION, Predict, RefusalCode, Refused, ServerMessage,
    TrainSettings, Upload, UseAdapter, Welcome,
};
use shared::protocol::phase::Phase;

use crate::error::ClientError;

/// A connection's life at the client.
#[derive(Debug)]
pub struct Session {
    hello: Hello,
    phase: Phase,
    limits: Limits,
    trains_dense: bool,
    sent: u64,
    received: u64,
    uploads_in_flight: u16,
    steered: Option<u64>,
    answered: Option<u64>,
}

impl Session {
    /// A session that wants what `hello` says.
    pub fn new(hello: Hello) -> Self {
        Self {
            hello,
            phase: Phase::Handshake,
            limits: Limits::default(),
            trains_dense: false,
            sent: 0,
            received: 0,
            uploads_in_flight: 0,
            steered: None,
            answered: None,
        }
    }

    /// Where the session stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// What this session was opened for.
    pub fn agreed(&self) -> &Hello {
        &self.hello
    }

    /// Whether the dense layer of the task head is trained, as the server said.
    pub fn trains_dense(&self) -> bool {
        self.trains_dense
    }

    /// What the server accepts; its default until it has said so.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether another upload may be sent before an acknowledgement comes.
    pub fn may_upload(&self) -> bool {
        self.uploads_in_flight < self.limits.uploads_in_flight_max.max(1)
    }

    /// Uploads that wait for their acknowledgement.
    pub fn uploads_in_flight(&self) -> u16 {
        self.uploads_in_flight
    }

    /// The first frame.
    ///
    /// # Errors
    ///
    /// When it was sent before.
    pub fn hello(&mut self) -> Result<Vec<u8>, ClientError> {
        self.frame(&ClientMessage::Hello(self.hello.clone()), &[])
    }

    /// A frame that stores examples.
    ///
    /// # Errors
    ///
    /// When the phase does not allow it, or the batch is too large for the server.
    pub fn upload(&mut self, upload: Upload, payload: &[u8]) -> Result<Vec<u8>, ClientError> {
        let frame = self.frame(&ClientMessage::Upload(upload), payload)?;
        self.uploads_in_flight += 1;
        Ok(frame)
    }

    /// The frame that starts the run.
    ///
    /// # Errors
    ///
    /// When the phase does not allow it, or the settings are outside the server's limits.
    pub fn train(&mut self, settings: TrainSettings) -> Result<Vec<u8>, ClientError> {
        let problem = |error: &dyn std::fmt::Display| ClientError::Option {
            name: "training options",
            problem: error.to_string(),
        };
        settings
            .check(self.hello.n_classes, &self.limits)
            .map_err(|error| problem(&error))?;
        self.frame(&ClientMessage::Train(settings), &[])
    }

    /// A frame without payload that steers the run or ends the session.
    ///
    /// # Errors
    ///
    /// When the phase does not allow it.
    pub fn steer(&mut self, message: &ClientMessage) -> Result<Vec<u8>, ClientError> {
        let frame = self.frame(message, &[])?;
        self.steered = Some(self.sent);
        Ok(frame)
    }

    /// A frame that answers what a run asks for.
    ///
    /// # Errors
    ///
    /// When the phase does not allow it, or the frame is too large for the server.
    pub fn answer(
        &mut self,
        message: &ClientMessage,
        payload: &[u8],
    ) -> Result<Vec<u8>, ClientError> {
        let frame = self.frame(message, payload)?;
        self.answered = Some(self.sent);
        Ok(frame)
    }

    /// Whether a refusal only says that the run had ended before a `Pause`, `Continue`, `Cancel` or
    /// answer arrived.
    pub fn came_too_late(&self, refused: &Refused) -> bool {
        refused.code == RefusalCode::WrongPhase
            && refused.sequence.is_some()
            && [self.steered, self.answered].contains(&refused.sequence)
    }

    /// The frame that asks for an adapter that the server keeps; its default without a key.
    ///
    /// # Errors
    ///
    /// When the phase does not allow it.
    pub fn use_adapter(&mut self, adapter: Option<[u8; 16]>) -> Result<Vec<u8>, ClientError> {
        self.frame(&ClientMessage::UseAdapter(UseAdapter { adapter }), &[])
    }

    /// A frame that asks for class probabilities.
    ///
    /// # Errors
    ///
    /// When the phase does not allow it.
    pub fn predict(&mut self, predict: Predict, payload: &[u8]) -> Result<Vec<u8>, ClientError> {
        self.frame(&ClientMessage::Predict(predict), payload)
    }

    /// Reads a frame of the server and moves on.
    ///
    /// # Errors
    ///
    /// When the frame is not readable, is out of order, does not agree with what was asked for, or
    /// is a refusal.
    pub fn receive<'a>(&mut self, frame: &'a [u8]) -> Result<ServerFrame<'a>, ClientError> {
        let unexpected = |what: &str| ClientError::Protocol(what.to_owned());
        let frame = decode_server(frame, &self.limits)
            .map_err(|error| ClientError::Protocol(error.to_string()))?;
        self.received += 1;
        if frame.sequence != self.received {
            return Err(unexpected("a frame is missing or came twice"));
        }
        match &frame.message {
            ServerMessage::Welcome(welcome) => self.welcomed(welcome)?,
            ServerMessage::Acknowledged(_) => {
                self.uploads_in_flight = self
                    .uploads_in_flight
                    .checked_sub(1)
                    .ok_or_else(|| unexpected("an acknowledgement of nothing"))?;
            }
            ServerMessage::TrainStarted { .. } | ServerMessage::Continued => {
                self.phase = Phase::Training;
            }
            ServerMessage::Paused => self.phase = Phase::Held,
            ServerMessage::TrainDone(_) => self.phase = Phase::Trained,
            ServerMessage::AdapterInUse(_) if self.phase == Phase::Collecting => {
                self.phase = Phase::Trained;
            }
            ServerMessage::AdapterInUse(_) => {
                return Err(unexpected("an adapter that was not asked for"));
            }
            ServerMessage::Refused(refused) => return Err(ClientError::Refused(refused.clone())),
            ServerMessage::Step(_)
            | ServerMessage::Validation(_)
            | ServerMessage::Prediction(_)
            | ServerMessage::PooledPrediction(_)
            | ServerMessage::Batch(_)
            | ServerMessage::Pooled(_)
            | ServerMessage::CutGradient(_) => {}
            ServerMessage::Resumed(_) | ServerMessage::Received(_) => {
                return Err(unexpected(
                    "a message about the connection that has a number",
                ));
            }
        }
        Ok(frame)
    }

    fn welcomed(&mut self, welcome: &Welcome) -> Result<(), ClientError> {
        let agreed = self.phase == Phase::Handshake
            && welcome.protocol_version == PROTOCOL_VERSION
            && welcome.model_id == self.hello.model_id
            && welcome.bottom_sha256 == self.hello.bottom_sha256
            && welcome.cut == self.hello.cut;
        if !agreed {
            return Err(ClientError::Protocol(
                "its welcome is not what was asked for".to_owned(),
            ));
        }
        self.limits = welcome.limits;
        self.trains_dense = welcome.trains_dense;
        self.phase = Phase::Collecting;
        Ok(())
    }

    fn frame(&mut self, message: &ClientMessage, payload: &[u8]) -> Result<Vec<u8>, ClientError> {
        if !self.phase.allows(message) {
            return Err(ClientError::NotYet(
                "this is not possible at this point of the session",
            ));
        }
        let frame = encode_client(self.sent + 1, message, payload)
            .map_err(|error| ClientError::Protocol(error.to_string()))?;
        if frame.len() as u64 > u64::from(self.limits.frame_bytes_max) {
            return Err(ClientError::Option {
                name: "batch",
                problem: format!(
                    "{} bytes; the server takes {}",
                    frame.len(),
                    self.limits.frame_bytes_max
                ),
            });
        }
        self.sent += 1;
        Ok(frame)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use shared::protocol::codec::encode_server;
    use shared::protocol::message::{
        AdapterInUse, AdapterSettings, AdapterTarget, BottomTraining, Judgement, LabelPlace,
        Verdict,
    };

    use super::*;

    fn hello() -> Hello {
        Hello {
            protocol_version: PROTOCOL_VERSION,
            model_id: "m".to_owned(),
            bottom_sha256: [1; 32],
            cut: 0,
            n_classes: 2,
            adapter: AdapterSettings {
                rank: 8,
                alpha: 16.0,
                dropout: 0.0,
                targets: vec![AdapterTarget::Query],
            },
            labels: LabelPlace::Client,
            bottom: BottomTraining::Frozen,
        }
    }

    fn welcome() -> Welcome {
        Welcome {
            protocol_version: PROTOCOL_VERSION,
            session_token: [0; 16],
            model_id: "m".to_owned(),
            bottom_sha256: [1; 32],
            cut: 0,
            d_model: 2,
            limits: Limits::default(),
            device: "cpu".to_owned(),
            trains_dense: true,
        }
    }

    #[test]
    fn nothing_but_hello_opens_a_session() {
        let mut session = Session::new(hello());
        assert!(session.steer(&ClientMessage::Pause).is_err());
        session.hello().unwrap();
        let frame = encode_server(1, &ServerMessage::Welcome(welcome()), &[]).unwrap();
        session.receive(&frame).unwrap();
        assert_eq!(session.phase(), Phase::Collecting);
        assert!(session.hello().is_err());
    }

    #[test]
    fn a_welcome_for_another_bottom_is_refused() {
        let mut session = Session::new(hello());
        let other = Welcome {
            bottom_sha256: [2; 32],
            ..welcome()
        };
        let frame = encode_server(1, &ServerMessage::Welcome(other), &[]).unwrap();
        assert!(matches!(
            session.receive(&frame),
            Err(ClientError::Protocol(_))
        ));
    }

    #[test]
    fn a_frame_that_comes_twice_is_noticed() {
        let mut session = Session::new(hello());
        let frame = encode_server(1, &ServerMessage::Welcome(welcome()), &[]).unwrap();
        session.receive(&frame).unwrap();
        assert!(session.receive(&frame).is_err());
    }

    #[test]
    fn an_adapter_of_the_server_predicts_without_a_run() {
        let mut session = Session::new(hello());
        assert!(session.use_adapter(None).is_err()); // nobody has been welcomed
        session.hello().unwrap();
        let frame = encode_server(1, &ServerMessage::Welcome(welcome()), &[]).unwrap();
        session.receive(&frame).unwrap();
        session.use_adapter(None).unwrap();
        assert_eq!(session.phase(), Phase::Collecting);
        let used = ServerMessage::AdapterInUse(AdapterInUse { adapter: [1; 16] });
        let frame = encode_server(2, &used, &[]).unwrap();
        session.receive(&frame).unwrap();
        assert_eq!(session.phase(), Phase::Trained);
        let frame = encode_server(3, &used, &[]).unwrap();
        let again = session.receive(&frame);
        assert!(matches!(again, Err(ClientError::Protocol(_))));
    }

    /// The server ends a run while an answer is on its way: its refusal is no error.
    #[test]
    fn an_answer_that_crosses_the_end_of_its_run_came_too_late() {
        let mut session = Session::new(hello());
        session.hello().unwrap();
        let frame = encode_server(1, &ServerMessage::Welcome(welcome()), &[]).unwrap();
        session.receive(&frame).unwrap();
        assert!(session.trains_dense());
        let verdict = ClientMessage::Verdict(Verdict {
            step: 1,
            judgement: Judgement::Best,
        });
        assert!(session.answer(&verdict, &[]).is_err()); // no run goes on
        let started = ServerMessage::TrainStarted { steps_total: 1 };
        let frame = encode_server(2, &started, &[]).unwrap();
        session.receive(&frame).unwrap();
        session.answer(&verdict, &[]).unwrap();
        let refused = |sequence, code| Refused::new(Some(sequence), code, &"late");
        assert!(session.came_too_late(&refused(2, RefusalCode::WrongPhase)));
        assert!(!session.came_too_late(&refused(1, RefusalCode::WrongPhase)));
        assert!(!session.came_too_late(&refused(2, RefusalCode::NotAwaited)));
    }
}
