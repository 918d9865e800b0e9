//! Sessions whose labels or bottom are at the client.

use shared::protocol::exchange::Square;
use shared::protocol::message::{Batch, Pooled};

use super::*;

/// A run asks for the activations of example 1 in step 1.
fn ask_for_activations() -> TrainerEvent {
    TrainerEvent::Ask(Ask::Activations {
        batch: Batch {
            step: 1,
            split: Split::Train,
            example_ids: vec![1],
        },
        seq_lengths: vec![1],
        square: Square::NotOwed,
    })
}

/// One row of what a head reads.
fn pooled(split: Split) -> (Pooled, Payload) {
    let pooled = Pooled {
        step: 1,
        split,
        example_ids: vec![1],
        pooled: tensor(1),
        gradient_square: None,
    };
    (pooled, Payload(ROW.to_vec()))
}

fn ask_for_gradient() -> TrainerEvent {
    let (pooled, payload) = pooled(Split::Train);
    let square = Square::Owed;
    TrainerEvent::Ask(Ask::Gradient {
        pooled,
        payload,
        square,
    })
}

fn ask_for_verdict(last: bool) -> TrainerEvent {
    let (pooled, payload) = pooled(Split::Validation);
    TrainerEvent::Ask(Ask::Verdict {
        pooled,
        payload,
        last,
    })
}

#[test]
fn an_answer_to_what_was_asked_goes_to_the_trainer_once() {
    let answer = || ClientMessage::BatchActivations(activations(1));
    let mut probe = Probe::at(Phase::Training);
    assert!(!probe.session.awaits_answer());
    let effects = probe.session.report(ask_for_activations());
    assert!(
        matches!(effects[..], [Effect::Send(ServerMessage::Batch(_))]),
        "{effects:?}"
    );
    assert!(probe.session.awaits_answer());
    // Held or not: what was asked for may be answered.
    probe.say(ClientMessage::Pause);
    let effects = probe.say_with(answer(), &ROW);
    assert!(
        matches!(&effects[..], [Effect::Answer { payload, .. }] if *payload == ROW),
        "{effects:?}"
    );
    assert!(!probe.session.awaits_answer());
    assert_eq!(
        refusal(&probe.say_with(answer(), &ROW)),
        (RefusalCode::NotAwaited, false)
    );
    probe.say(ClientMessage::Continue);
    let (gradient, payload) = pooled(Split::Train);
    let effects = probe.session.report(ask_for_gradient());
    let shown = Effect::SendTensor(ServerMessage::Pooled(gradient), payload);
    assert_eq!(effects, [shown]);
}

#[test]
fn an_answer_to_something_else_is_refused_and_the_right_one_still_taken() {
    let wrong = [
        (
            ClientMessage::BatchActivations(activations(2)),
            RefusalCode::NotAwaited,
        ),
        (
            ClientMessage::BatchActivations(BatchActivations {
                seq_lengths: vec![2],
                ..activations(1)
            }),
            RefusalCode::WrongShape,
        ),
        (
            ClientMessage::BatchActivations(BatchActivations {
                activations: tensor(2),
                ..activations(1)
            }),
            RefusalCode::WrongShape,
        ),
        (
            ClientMessage::BatchActivations(BatchActivations {
                gradient_square: Some(1.0),
                ..activations(1)
            }),
            RefusalCode::NotAwaited,
        ),
        (
            ClientMessage::PooledGradient(pooled_gradient(1)),
            RefusalCode::NotAwaited,
        ),
        (
            ClientMessage::Verdict(verdict(1, Judgement::Best)),
            RefusalCode::NotAwaited,
        ),
    ];
    let mut probe = Probe::at(Phase::Training);
    probe.session.report(ask_for_activations());
    for (message, code) in wrong {
        let payload = match message {
            ClientMessage::Verdict(_) => &[][..],
            _ => &ROW[..],
        };
        assert_eq!(refusal(&probe.say_with(message, payload)), (code, false));
    }
    let nan = [0, 0, 0xc0, 0x7f, 0, 0, 0, 0];
    let answer = || ClientMessage::BatchActivations(activations(1));
    assert_eq!(
        refusal(&probe.say_with(answer(), &nan)),
        (RefusalCode::NotFinite, false)
    );
    let effects = probe.say_with(answer(), &ROW);
    assert!(
        matches!(effects[..], [Effect::Answer { .. }]),
        "{effects:?}"
    );
}

#[test]
fn a_gradient_needs_the_share_of_the_norm_that_is_owed() {
    let mut probe = Probe::at(Phase::Training);
    probe.session.report(ask_for_gradient());
    for (square, code) in [
        (None, RefusalCode::NotAwaited),
        (Some(-1.0), RefusalCode::NotFinite),
        (Some(f32::INFINITY), RefusalCode::NotFinite),
    ] {
        let gradient = PooledGradient {
            gradient_square: square,
            ..pooled_gradient(1)
        };
        let effects = probe.say_with(ClientMessage::PooledGradient(gradient), &ROW);
        assert_eq!(refusal(&effects), (code, false));
    }
    let effects = probe.say_with(ClientMessage::PooledGradient(pooled_gradient(1)), &ROW);
    assert!(
        matches!(effects[..], [Effect::Answer { .. }]),
        "{effects:?}"
    );
}

#[test]
fn a_verdict_ends_a_pass_exactly_when_it_is_over() {
    let judgements = [
        Judgement::Unfinished,
        Judgement::Best,
        Judgement::NotBest,
        Judgement::Stop,
    ];
    for last in [false, true] {
        for judgement in judgements {
            let mut probe = Probe::at(Phase::Training);
            probe.session.report(ask_for_verdict(last));
            let effects = probe.say(ClientMessage::Verdict(verdict(1, judgement)));
            if last == (judgement != Judgement::Unfinished) {
                assert!(
                    matches!(effects[..], [Effect::Answer { .. }]),
                    "{effects:?}"
                );
            } else {
                assert_eq!(refusal(&effects), (RefusalCode::NotAwaited, false));
            }
        }
    }
}

#[test]
fn the_end_of_a_run_awaits_nothing() {
    for event in [TrainerEvent::Done(DONE), TrainerEvent::Failed] {
        let mut probe = Probe::at(Phase::Training);
        probe.session.report(ask_for_activations());
        probe.session.report(event);
        assert!(!probe.session.awaits_answer());
        let effects = probe.say_with(ClientMessage::BatchActivations(activations(1)), &ROW);
        assert_eq!(refusal(&effects), (RefusalCode::WrongPhase, false));
    }
}

#[test]
fn labels_are_where_hello_said() {
    for (labels, label) in [
        (LabelPlace::Server, None),
        (LabelPlace::Client, Some(0)),
        (LabelPlace::Server, Some(2)),
    ] {
        let mut probe = Probe::new();
        probe.say(ClientMessage::Hello(Hello { labels, ..hello() }));
        let mut upload = upload(&[(3, Split::Train)]);
        upload.examples[0].label = label;
        let effects = probe.say_with(ClientMessage::Upload(upload), &ROW);
        assert_eq!(refusal(&effects), (RefusalCode::BadLabel, false));
    }
}

#[test]
fn class_weights_are_refused_where_labels_stay_at_the_client() {
    let mut probe = Probe::new();
    let labels = LabelPlace::Client;
    probe.say(ClientMessage::Hello(Hello { labels, ..hello() }));
    for (id, split) in [(1, Split::Train), (2, Split::Validation)] {
        let mut upload = upload(&[(id, split)]);
        upload.examples[0].label = None;
        let effects = probe.say_with(ClientMessage::Upload(upload.clone()), &ROW);
        assert!(matches!(effects[..], [Effect::Store { .. }]), "{effects:?}");
        probe.session.stored(probe.sequence, &upload);
    }
    let weighted = TrainSettings {
        class_weights: vec![1.0, 2.0],
        ..settings()
    };
    assert_eq!(
        refusal(&probe.say(ClientMessage::Train(weighted))),
        (RefusalCode::BadSettings, false)
    );
    let effects = probe.say(ClientMessage::Train(settings()));
    assert!(matches!(effects[..], [Effect::Start(_)]), "{effects:?}");
}

#[test]
fn a_trained_bottom_uploads_headers_and_its_batches_must_fit_a_frame() {
    let mut offer = offer();
    offer.limits.frame_bytes_max = 16 + 64 * 1024 + 8; // two rows of two f16
    let mut probe = Probe {
        session: Session::new(Arc::new(offer), [9; 16]),
        sequence: 0,
    };
    let bottom = BottomTraining::Lora;
    probe.say(ClientMessage::Hello(Hello { bottom, ..hello() }));
    let mut headers = upload(&[(1, Split::Train), (2, Split::Train), (3, Split::Validation)]);
    let rows = ROW.repeat(3);
    let effects = probe.say_with(ClientMessage::Upload(headers.clone()), &rows);
    assert_eq!(refusal(&effects), (RefusalCode::WrongShape, false));
    headers.activations = tensor(0);
    headers.examples[0].seq_length = 2;
    let effects = probe.say(ClientMessage::Upload(headers.clone()));
    assert!(matches!(effects[..], [Effect::Store { .. }]), "{effects:?}");
    probe.session.stored(probe.sequence, &headers);
    let pairs = TrainSettings {
        batch_size: 2,
        ..settings()
    };
    assert_eq!(
        refusal(&probe.say(ClientMessage::Train(pairs))),
        (RefusalCode::LimitExceeded, false)
    );
    let effects = probe.say(ClientMessage::Train(settings()));
    assert!(matches!(effects[..], [Effect::Start(_)]), "{effects:?}");
}

#[test]
fn a_prediction_is_pooled_where_the_head_is_at_the_client() {
    let mut probe = Probe::at(Phase::Trained);
    probe.say_with(predict(), &ROW);
    let answer = Predicted::Pooled(vec![1.0, 2.0]);
    let effects = probe.session.predicted(4, 1, Ok(answer));
    let prediction = PooledPrediction {
        request_id: 1,
        pooled: tensor(1),
    };
    let shown = ServerMessage::PooledPrediction(prediction);
    assert_eq!(effects, [Effect::SendTensor(shown, Payload(ROW.to_vec()))]);
}
