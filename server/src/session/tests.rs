//! The session without sockets, files or a trainer.

mod exchange_tests;
mod order_tests;

use shared::protocol::limits::Limits;
use shared::protocol::message::{
    AdapterSettings, AdapterTarget, BatchActivations, DoneReason, ExampleHeader, Judgement,
    PooledGradient, RefusalCode, TrainDone, Verdict,
};
use shared::protocol::refusal::{CLOSE_POLICY, CLOSE_TRY_LATER};
use shared::protocol::resume::{CONFIRM_MESSAGES, Resume, UNCOUNTED};

use super::*;

const BOTTOM: [u8; 32] = [7; 32];
/// One f32 row of two columns: 1.0, 2.0.
const ROW: [u8; 8] = [0, 0, 0x80, 0x3f, 0, 0, 0, 0x40];

fn offer() -> Offer {
    let limits = Limits {
        examples_max: 5,
        store_bytes_max: 40,
        steps_max: 100,
        ..Limits::default()
    };
    Offer {
        model_id: "tiny".into(),
        d_model: 2,
        cuts: vec![CutOffer {
            cut: 1,
            bottom_sha256: vec![[6; 32], BOTTOM],
        }],
        limits,
        device: "cpu".into(),
        trains_dense: false,
    }
}

fn hello() -> Hello {
    let targets = vec![AdapterTarget::Query];
    Hello {
        protocol_version: 1,
        model_id: "tiny".into(),
        bottom_sha256: BOTTOM,
        cut: 1,
        n_classes: 2,
        adapter: AdapterSettings {
            rank: 2,
            alpha: 4.0,
            dropout: 0.0,
            targets,
        },
        labels: LabelPlace::Server,
        bottom: BottomTraining::Frozen,
    }
}

fn tensor(rows: u32) -> TensorDescriptor {
    TensorDescriptor {
        dtype: ActivationDtype::F32,
        rows,
        columns: 2,
    }
}

fn upload(examples: &[(u32, Split)]) -> Upload {
    let header = |&(example_id, split): &(u32, Split)| ExampleHeader {
        example_id,
        split,
        label: Some(0),
        seq_length: 1,
    };
    let examples: Vec<_> = examples.iter().map(header).collect();
    let rows = u32::try_from(examples.len()).expect("a test's batch is small");
    Upload {
        examples,
        activations: tensor(rows),
    }
}

fn settings() -> TrainSettings {
    TrainSettings {
        epochs: 1,
        batch_size: 1,
        learning_rate: 1e-3,
        warmup_share: 0.0,
        weight_decay: 0.0,
        gradient_norm_max: 0.0,
        class_weights: vec![],
        patience: 0,
        validations_per_epoch: 1,
    }
}

fn predict() -> ClientMessage {
    ClientMessage::Predict(Predict {
        request_id: 1,
        seq_lengths: vec![1],
        activations: tensor(1),
    })
}

/// One row for step `step`.
fn activations(step: u32) -> BatchActivations {
    BatchActivations {
        step,
        seq_lengths: vec![1],
        activations: tensor(1),
        gradient_square: None,
    }
}

fn pooled_gradient(step: u32) -> PooledGradient {
    PooledGradient {
        step,
        gradient: tensor(1),
        gradient_square: Some(0.5),
    }
}

fn verdict(step: u32, judgement: Judgement) -> Verdict {
    Verdict { step, judgement }
}

const RESUME: Resume = Resume {
    session_token: [9; 16],
    received: 1,
};

const DONE: TrainDone = TrainDone {
    steps: 1,
    best_step: 1,
    reason: DoneReason::Finished,
};

/// A session with the numbering that a client would do.
struct Probe {
    session: Session,
    sequence: u64,
}

impl Probe {
    fn new() -> Self {
        Self {
            session: Session::new(Arc::new(offer()), [9; 16]),
            sequence: 0,
        }
    }

    fn at(phase: Phase) -> Self {
        let mut probe = Self::new();
        if phase == Phase::Handshake {
            return probe;
        }
        probe.say(ClientMessage::Hello(hello()));
        probe.store(&[(1, Split::Train), (2, Split::Validation)]);
        if phase == Phase::Collecting {
            return probe;
        }
        probe.say(ClientMessage::Train(settings()));
        match phase {
            Phase::Held => drop(probe.say(ClientMessage::Pause)),
            Phase::Trained => drop(probe.session.report(TrainerEvent::Done(DONE))),
            _ => {}
        }
        assert_eq!(probe.session.phase(), phase);
        probe
    }

    fn say_with<'a>(&mut self, message: ClientMessage, payload: &'a [u8]) -> Vec<Effect<'a>> {
        let sequence = if message.is_counted() {
            self.sequence += 1;
            self.sequence
        } else {
            UNCOUNTED
        };
        self.session.handle(ClientFrame {
            sequence,
            message,
            payload,
        })
    }

    fn say(&mut self, message: ClientMessage) -> Vec<Effect<'static>> {
        self.say_with(message, &[])
    }

    fn store(&mut self, examples: &[(u32, Split)]) -> Vec<Effect<'static>> {
        let upload = upload(examples);
        let payload = ROW.repeat(examples.len());
        let effects = self.say_with(ClientMessage::Upload(upload.clone()), &payload);
        assert!(matches!(effects[..], [Effect::Store { .. }]), "{effects:?}");
        self.session.stored(self.sequence, &upload)
    }
}

/// Code and whether the connection ends.
fn refusal(effects: &[Effect<'_>]) -> (RefusalCode, bool) {
    match effects {
        [Effect::Send(ServerMessage::Refused(refused))] => {
            assert!(!refused.closes);
            (refused.code, false)
        }
        [
            Effect::Send(ServerMessage::Refused(refused)),
            Effect::Close(code),
        ] => {
            assert!(refused.closes);
            assert_eq!(*code, refused.code.close_code());
            (refused.code, true)
        }
        other => panic!("not a refusal: {other:?}"),
    }
}

#[test]
fn a_session_from_hello_to_goodbye() {
    let mut probe = Probe::new();
    let effects = probe.say(ClientMessage::Hello(hello()));
    let [Effect::Send(ServerMessage::Welcome(welcome))] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(
        (welcome.session_token, welcome.d_model, welcome.cut),
        ([9; 16], 2, 1)
    );
    let effects = probe.store(&[(1, Split::Train), (2, Split::Validation)]);
    let acknowledged = Acknowledged {
        sequence: 2,
        examples_stored: 2,
    };
    assert_eq!(
        effects,
        [Effect::Send(ServerMessage::Acknowledged(acknowledged))]
    );
    let effects = probe.say(ClientMessage::Train(settings()));
    assert!(matches!(&effects[..], [Effect::Start(run)] if run.hello == hello()));
    let effects = probe.session.report(TrainerEvent::Done(DONE));
    assert_eq!(effects, [Effect::Send(ServerMessage::TrainDone(DONE))]);
    let effects = probe.say_with(predict(), &ROW);
    assert!(
        matches!(effects[..], [Effect::Predict { sequence: 4, .. }]),
        "{effects:?}"
    );
    let effects = probe
        .session
        .predicted(4, 1, Ok(Predicted::Probabilities(vec![0.25, 0.75])));
    assert!(
        matches!(effects[..], [Effect::Send(ServerMessage::Prediction(_))]),
        "{effects:?}"
    );
    assert_eq!(
        probe.say(ClientMessage::Goodbye),
        [Effect::Close(CLOSE_DONE)]
    );
    assert_eq!(probe.say(ClientMessage::Goodbye), []);
}

#[test]
fn every_message_in_every_wrong_phase_is_refused_and_survived() {
    let messages = || {
        [
            ClientMessage::Hello(hello()),
            ClientMessage::Upload(upload(&[(3, Split::Train)])),
            ClientMessage::Train(settings()),
            ClientMessage::Pause,
            ClientMessage::Continue,
            ClientMessage::Cancel,
            predict(),
            ClientMessage::Goodbye,
            ClientMessage::BatchActivations(activations(1)),
            ClientMessage::PooledGradient(pooled_gradient(1)),
            ClientMessage::Verdict(verdict(1, Judgement::Best)),
            ClientMessage::Resume(RESUME),
            ClientMessage::Received(Received { received: 0 }),
            ClientMessage::UseAdapter(UseAdapter { adapter: None }),
        ]
    };
    let mut refused = 0;
    for phase in Phase::ALL {
        for message in messages() {
            if phase.allows(&message) {
                continue;
            }
            refused += 1;
            let mut probe = Probe::at(phase);
            let (code, closes) = refusal(&probe.say(message));
            assert_eq!(
                (code, closes),
                (RefusalCode::WrongPhase, phase == Phase::Handshake)
            );
            assert_eq!(probe.session.phase(), phase);
        }
    }
    // Hello 4, Upload 4, Train 3, Pause 4, Continue 4, Cancel 3, Predict 4, Goodbye 1, 3 for each of
    // the three answers, Resume 4, Received 1, UseAdapter 4.
    assert_eq!(refused, 45);
}

#[test]
fn a_hello_that_disagrees_ends_at_the_door() {
    type Spoil = fn(&mut Hello);
    let cases: [(Spoil, RefusalCode); 5] = [
        (
            |hello| hello.protocol_version = 2,
            RefusalCode::WrongVersion,
        ),
        (
            |hello| hello.model_id = "other".into(),
            RefusalCode::UnknownModel,
        ),
        (|hello| hello.cut = 0, RefusalCode::UnknownCut),
        (
            |hello| hello.bottom_sha256[31] = 8,
            RefusalCode::WrongBottom,
        ),
        (|hello| hello.n_classes = 1, RefusalCode::BadSettings),
    ];
    for (change, expected) in cases {
        let mut hello = hello();
        change(&mut hello);
        let mut probe = Probe::new();
        assert_eq!(
            refusal(&probe.say(ClientMessage::Hello(hello))),
            (expected, true)
        );
        assert_eq!(probe.session.phase(), Phase::Handshake);
    }
}

#[test]
fn a_gap_ends_the_session() {
    for sequence in [0, 4, u64::MAX] {
        let mut probe = Probe::at(Phase::Collecting);
        let frame = ClientFrame {
            sequence,
            message: ClientMessage::Goodbye,
            payload: &[],
        };
        assert_eq!(
            refusal(&probe.session.handle(frame)),
            (RefusalCode::OutOfOrder, true)
        );
        assert_eq!(probe.say(ClientMessage::Goodbye), []);
    }
}

#[test]
fn an_id_is_used_once_also_within_a_batch() {
    let mut probe = Probe::at(Phase::Collecting);
    for ids in [[3, 3], [3, 1]] {
        let twice = upload(&ids.map(|id| (id, Split::Train)));
        let effects = probe.say_with(ClientMessage::Upload(twice), &[]);
        assert_eq!(refusal(&effects), (RefusalCode::DuplicateExample, false));
    }
    probe.store(&[(3, Split::Train)]);
}

#[test]
fn an_upload_that_could_not_be_stored_may_be_sent_again() {
    let mut probe = Probe::at(Phase::Collecting);
    let effects = probe.say_with(ClientMessage::Upload(upload(&[(3, Split::Train)])), &ROW);
    assert!(matches!(effects[..], [Effect::Store { .. }]));
    let fault = Fault::Store(std::io::Error::other("full"));
    let effects = probe.session.not_done(Some(probe.sequence), &fault);
    assert_eq!(refusal(&effects), (RefusalCode::Internal, false));
    probe.store(&[(3, Split::Train)]);
}

#[test]
fn the_store_is_bounded() {
    let mut probe = Probe::at(Phase::Collecting);
    // 2 of 5 examples and 16 of 40 bytes are taken.
    let four = upload(&[3, 4, 5, 6].map(|id| (id, Split::Train)));
    let effects = probe.say_with(ClientMessage::Upload(four), &[]);
    assert_eq!(refusal(&effects), (RefusalCode::LimitExceeded, false));
    let mut wide = upload(&[(3, Split::Train)]);
    wide.examples[0].seq_length = 4;
    wide.activations.rows = 4;
    let payload = ROW.repeat(4);
    let effects = probe.say_with(ClientMessage::Upload(wide), &payload);
    assert_eq!(refusal(&effects), (RefusalCode::LimitExceeded, false));
    probe.store(&[3, 4, 5].map(|id| (id, Split::Train)));
}

#[test]
fn a_run_needs_both_splits_and_a_bounded_length() {
    let mut probe = Probe::new();
    probe.say(ClientMessage::Hello(hello()));
    probe.store(&[(1, Split::Train)]);
    let train = |settings| ClientMessage::Train(settings);
    assert_eq!(
        refusal(&probe.say(train(settings()))),
        (RefusalCode::BadSettings, false)
    );
    probe.store(&[(2, Split::Validation)]);
    let long = TrainSettings {
        epochs: 101,
        ..settings()
    };
    assert_eq!(
        refusal(&probe.say(train(long))),
        (RefusalCode::LimitExceeded, false)
    );
    assert_eq!(probe.session.phase(), Phase::Collecting);
}

/// Breaks when somebody else's hold leaves a run that its own client cannot continue.
#[test]
fn a_run_that_is_held_from_outside_is_continued_by_its_client() {
    let mut probe = Probe::at(Phase::Training);
    let effects = probe.session.report(TrainerEvent::Paused);
    assert_eq!(effects, [Effect::Send(ServerMessage::Paused)]);
    assert_eq!(probe.session.phase(), Phase::Held);
    assert_eq!(probe.say(ClientMessage::Continue), [Effect::Continue]);
    let effects = probe.session.report(TrainerEvent::Continued);
    assert_eq!(effects, [Effect::Send(ServerMessage::Continued)]);
    assert_eq!(probe.session.phase(), Phase::Training);
}

#[test]
fn a_failed_run_leaves_the_examples() {
    let mut probe = Probe::at(Phase::Training);
    let effects = probe.session.report(TrainerEvent::Failed);
    let [Effect::Send(ServerMessage::Refused(refused))] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(
        (refused.sequence, refused.code),
        (Some(3), RefusalCode::Internal)
    );
    let effects = probe.say(ClientMessage::Train(settings()));
    assert!(matches!(effects[..], [Effect::Start(_)]), "{effects:?}");
}

#[test]
fn predictions_are_bounded_and_hold_a_new_run_back() {
    let mut probe = Probe::at(Phase::Trained);
    for _ in 0..PREDICTIONS_IN_FLIGHT_MAX {
        assert!(matches!(
            probe.say_with(predict(), &ROW)[..],
            [Effect::Predict { .. }]
        ));
    }
    assert_eq!(
        refusal(&probe.say_with(predict(), &ROW)),
        (RefusalCode::LimitExceeded, false)
    );
    let train = || ClientMessage::Train(settings());
    assert_eq!(
        refusal(&probe.say(train())),
        (RefusalCode::LimitExceeded, false)
    );
    for _ in 0..PREDICTIONS_IN_FLIGHT_MAX {
        let answer = Predicted::Probabilities(vec![]);
        probe.session.predicted(4, 1, Ok(answer));
    }
    assert!(matches!(probe.say(train())[..], [Effect::Start(_)]));
}

#[test]
fn a_client_that_is_always_wrong_is_sent_away() {
    let mut probe = Probe::at(Phase::Collecting);
    for _ in 1..REFUSALS_MAX {
        assert_eq!(
            refusal(&probe.say(ClientMessage::Pause)),
            (RefusalCode::WrongPhase, false)
        );
    }
    assert_eq!(
        refusal(&probe.say(ClientMessage::Pause)),
        (RefusalCode::WrongPhase, true)
    );
}

#[test]
fn bytes_that_are_no_frame_end_the_session() {
    let mut probe = Probe::at(Phase::Collecting);
    let effects = probe.session.unreadable(Fault::Text.refuse(None));
    assert_eq!(refusal(&effects), (RefusalCode::MalformedFrame, true));
    assert_eq!(effects[1], Effect::Close(CLOSE_POLICY));
    let full = Fault::SessionsTaken { sessions_max: 1 }.refuse(None);
    assert_eq!(full.code.close_code(), CLOSE_TRY_LATER);
}

fn use_adapter(adapter: Option<[u8; 16]>) -> ClientMessage {
    ClientMessage::UseAdapter(UseAdapter { adapter })
}

/// Breaks when an adapter predicts before it was found, or a session without a run cannot predict.
#[test]
fn a_session_predicts_with_an_adapter_that_was_found() {
    let mut probe = Probe::new();
    probe.say(ClientMessage::Hello(hello()));
    let expected = Effect::UseAdapter {
        sequence: 2,
        adapter: None,
        fit: AdapterFit {
            model_id: "tiny".to_owned(),
            cut: 1,
            n_classes: 2,
        },
    };
    assert_eq!(probe.say(use_adapter(None)), [expected]);
    assert_eq!(probe.session.phase(), Phase::Collecting);
    let effects = probe.session.adapter_found(2, Err(Fault::UnknownAdapter));
    assert_eq!(refusal(&effects), (RefusalCode::UnknownAdapter, false));
    assert_eq!(probe.session.phase(), Phase::Collecting);
    let effects = probe.say(use_adapter(Some([3; 16])));
    assert!(
        matches!(effects[..], [Effect::UseAdapter { adapter: Some(AdapterKey(key)), .. }] if key == [3; 16]),
        "{effects:?}"
    );
    let effects = probe.session.adapter_found(3, Ok(AdapterKey([3; 16])));
    let adapter = [3; 16];
    assert_eq!(
        effects,
        [Effect::Send(ServerMessage::AdapterInUse(AdapterInUse {
            adapter
        }))]
    );
    assert_eq!(probe.session.phase(), Phase::Trained);
    let effects = probe.say_with(predict(), &ROW);
    assert!(
        matches!(effects[..], [Effect::Predict { .. }]),
        "{effects:?}"
    );
}

#[test]
fn an_adapter_in_parts_is_not_the_servers_to_use() {
    type Spoil = fn(&mut Hello);
    let cases: [Spoil; 2] = [
        |hello| hello.labels = LabelPlace::Client,
        |hello| hello.bottom = BottomTraining::Lora,
    ];
    for spoil in cases {
        let mut probe = Probe::new();
        let mut hello = hello();
        spoil(&mut hello);
        probe.say(ClientMessage::Hello(hello));
        let refused = refusal(&probe.say(use_adapter(None)));
        assert_eq!(refused, (RefusalCode::BadSettings, false));
        assert_eq!(probe.session.phase(), Phase::Collecting);
    }
}
