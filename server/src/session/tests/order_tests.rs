//! Messages that come twice, and those that are about the connection.

use super::*;

/// Breaks when an upload that is sent again after a lost connection is stored, or refused, again.
#[test]
fn what_comes_twice_has_one_effect() {
    let mut probe = Probe::at(Phase::Collecting);
    probe.store(&[(3, Split::Train)]);
    let again = || ClientMessage::Upload(upload(&[(3, Split::Train)]));
    for sequence in [1, 2, 3] {
        let frame = ClientFrame {
            sequence,
            message: again(),
            payload: &ROW,
        };
        assert_eq!(probe.session.handle(frame), []);
    }
    assert_eq!(probe.session.phase(), Phase::Collecting);
    let stored = probe.store(&[(4, Split::Train)]);
    let acknowledged = Acknowledged {
        sequence: 4,
        examples_stored: 4,
    };
    assert_eq!(
        stored,
        [Effect::Send(ServerMessage::Acknowledged(acknowledged))]
    );
    assert_eq!(probe.session.resumed(), Received { received: 4 });
}

#[test]
fn a_message_about_the_connection_has_no_number() {
    let received = Received { received: 1 };
    let mut probe = Probe::at(Phase::Collecting);
    let effects = probe.say(ClientMessage::Received(received));
    assert_eq!(effects, [Effect::Confirmed(received)]);
    // The next one is counted as if nothing had been between.
    probe.store(&[(3, Split::Train)]);
    let frame = ClientFrame {
        sequence: probe.sequence + 1,
        message: ClientMessage::Received(received),
        payload: &[],
    };
    assert_eq!(
        refusal(&probe.session.handle(frame)),
        (RefusalCode::OutOfOrder, true)
    );
}

#[test]
fn a_new_session_is_not_one_that_is_resumed() {
    let mut probe = Probe::new();
    assert!(!probe.session.can_be_resumed());
    assert_eq!(
        refusal(&probe.say(ClientMessage::Resume(RESUME))),
        (RefusalCode::UnknownSession, true)
    );
}

#[test]
fn a_session_can_be_resumed_until_somebody_ends_it() {
    for phase in Phase::ALL {
        let probe = Probe::at(phase);
        assert_eq!(probe.session.can_be_resumed(), phase != Phase::Handshake);
    }
    let mut probe = Probe::at(Phase::Collecting);
    probe.say(ClientMessage::Goodbye);
    assert!(!probe.session.can_be_resumed());
    let mut probe = Probe::at(Phase::Training);
    probe.session.unreadable(Fault::Text.refuse(None));
    assert!(!probe.session.can_be_resumed());
}

#[test]
fn a_client_is_told_from_time_to_time_what_arrived() {
    let mut probe = Probe::at(Phase::Collecting);
    assert_eq!(probe.session.owed(), None);
    while probe.sequence < CONFIRM_MESSAGES {
        probe.say(ClientMessage::Pause); // refused, and processed
    }
    let received = CONFIRM_MESSAGES;
    assert_eq!(probe.session.owed(), Some(Received { received }));
    assert_eq!(probe.session.owed(), None);
}
