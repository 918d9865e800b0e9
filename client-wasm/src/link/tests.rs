//! A link that is cut, by a server that keeps the same rules.

use futures_channel::mpsc::UnboundedReceiver;
use futures_util::StreamExt;
use futures_util::future::join;
use shared::protocol::codec::{decode_client, encode_server};
use shared::protocol::message::{
    AdapterSettings, AdapterTarget, BottomTraining, Hello, LabelPlace, PROTOCOL_VERSION, Refused,
    Welcome,
};
use shared::protocol::resume::CONFIRM_MESSAGES;

use super::*;
use crate::transport::memory::{MemoryTransport, dialled, pair};

/// More than are sent before anything has to be confirmed.
const PAUSES: u64 = CONFIRM_MESSAGES + 4;

fn hello() -> ClientMessage {
    ClientMessage::Hello(Hello {
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
        labels: LabelPlace::Server,
        bottom: BottomTraining::Frozen,
    })
}

fn welcome() -> ServerMessage {
    ServerMessage::Welcome(Welcome {
        protocol_version: PROTOCOL_VERSION,
        session_token: [7; 16],
        model_id: "m".to_owned(),
        bottom_sha256: [1; 32],
        cut: 0,
        d_model: 2,
        limits: Limits::default(),
        device: "cpu".to_owned(),
        trains_dense: false,
    })
}

/// One session at a server of this test.
#[derive(Default)]
struct Served {
    outbox: Outbox<Vec<u8>>,
    inbox: Inbox,
    /// What had an effect.
    done: Vec<ClientMessage>,
}

impl Served {
    /// Serves one connection until it is lost.
    async fn line(&mut self, mut line: MemoryTransport) -> Result<(), ClientError> {
        loop {
            while let Some(frame) = self.outbox.hand_over() {
                line.send(frame).await?;
            }
            let frame = line.receive().await?;
            let frame = decode_client(&frame, &Limits::default()).unwrap();
            match frame.message {
                ClientMessage::Hello(_) if !self.done.is_empty() && frame.sequence == 1 => {
                    // The welcome was lost: a new session, and nothing of the old one.
                    *self = Self::default();
                    self.act(hello());
                }
                ClientMessage::Resume(resume) => {
                    assert_eq!((frame.sequence, resume.session_token), (0, [7; 16]));
                    self.outbox.go_back(resume.received).unwrap();
                    let resumed = ServerMessage::Resumed(self.inbox.confirm());
                    line.send(encode_server(0, &resumed, &[]).unwrap()).await?;
                }
                ClientMessage::Received(received) => {
                    self.outbox.confirm(received.received).unwrap();
                }
                message => match self.inbox.arrival(frame.sequence) {
                    Arrival::Next => self.act(message),
                    Arrival::Again => {}
                    Arrival::OutOfOrder => panic!("{} is not next", frame.sequence),
                },
            }
        }
    }

    fn act(&mut self, message: ClientMessage) {
        let answer = match message {
            ClientMessage::Hello(_) => welcome(),
            _ => ServerMessage::Paused,
        };
        self.inbox.take(0);
        self.done.push(message);
        let sequence = self.outbox.next_sequence();
        self.outbox
            .push(encode_server(sequence, &answer, &[]).unwrap());
    }
}

/// Serves a client until it leaves, through a first connection that is cut after so many frames.
async fn serve(mut lines: UnboundedReceiver<MemoryTransport>, cut: usize) -> Vec<ClientMessage> {
    let mut served = Served::default();
    let mut cut = Some(cut);
    while let Some(line) = lines.next().await {
        let line = match cut.take() {
            Some(frames) => line.cut_after(frames),
            None => line,
        };
        let lost = served.line(line).await;
        assert!(lost.is_err_and(|error| error.is_loss()));
    }
    served.done
}

/// Says hello and `PAUSES` times "pause", one after the other's answer; gives how often it
/// connected again.
async fn talk(transport: MemoryTransport) -> Result<u32, ClientError> {
    let traffic = Rc::new(Cell::new(Traffic::default()));
    let mut link = Link::new(transport, traffic);
    let mut reconnected = 0;
    for sequence in 1..=PAUSES + 1 {
        let message = if sequence == 1 {
            hello()
        } else {
            ClientMessage::Pause
        };
        link.send(encode_client(sequence, &message, &[]).unwrap())
            .await?;
        let frame = loop {
            match link.receive().await? {
                Incoming::Frame(frame) => break frame,
                Incoming::News(Event::Reconnected) => reconnected += 1,
                Incoming::News(event) => {
                    assert!(matches!(event, Event::Reconnecting { .. }), "{event:?}");
                }
            }
        };
        // Every message of the server, once and in order.
        assert_eq!(sequence_of(&frame), Some(sequence));
    }
    Ok(reconnected)
}

fn once() -> Vec<ClientMessage> {
    let pauses = (0..PAUSES).map(|_| ClientMessage::Pause);
    std::iter::once(hello()).chain(pauses).collect()
}

/// Frames of a talk that nobody disturbs: each message and its answer, and one confirmation.
const FRAMES: usize = 2 * (PAUSES as usize + 1) + 1;

#[tokio::test]
async fn a_talk_that_is_cut_anywhere_has_every_effect_once() {
    for cut in 0..=FRAMES {
        // The server's end is cut: what it had not read is lost.
        let (mine, lines) = dialled();
        let (reconnected, done) = join(talk(mine), serve(lines, cut)).await;
        let expected = u32::from(cut < FRAMES);
        assert_eq!(reconnected.unwrap(), expected, "cut after {cut}");
        assert!(done == once(), "cut after {cut}");
        // The client's end is cut: what it had not read is lost.
        let (mine, lines) = dialled();
        let (reconnected, done) = join(talk(mine.cut_after(cut)), serve(lines, usize::MAX)).await;
        assert_eq!(
            reconnected.unwrap(),
            expected,
            "cut after {cut} at the client"
        );
        assert!(done == once(), "cut after {cut} at the client");
    }
}

#[tokio::test]
async fn a_server_that_stays_away_is_given_up_after_a_bounded_number_of_attempts() {
    let (mine, mut theirs) = pair();
    theirs.close().await;
    drop(theirs);
    let mut link = Link::new(mine, Rc::default());
    for expected in 1..=ATTEMPTS_MAX {
        let Ok(Incoming::News(Event::Reconnecting { attempt, .. })) = link.receive().await else {
            panic!("no attempt {expected}")
        };
        assert_eq!(attempt, expected);
    }
    let error = link.receive().await.unwrap_err();
    assert_eq!(error.name(), "Disconnected");
}

/// Breaks when a server has to wait for a client that has given the session up.
#[tokio::test]
async fn a_link_that_meets_a_gap_closes_its_connection() {
    let (mine, mut theirs) = pair();
    let mut link = Link::new(mine, Rc::default());
    let second = encode_server(2, &welcome(), &[]).unwrap();
    theirs.send(second).await.unwrap();
    let error = link.receive().await.unwrap_err();
    assert_eq!(error.name(), "Protocol");
    // And not only when the link is dropped.
    assert!(theirs.receive().await.is_err());
    drop(link);
}

/// The answer of a server to a link that is welcomed, loses its connection and comes back.
async fn answered(answer: ServerMessage) -> ClientError {
    let (mine, mut lines) = dialled();
    let server = async {
        let mut line = lines.next().await.unwrap();
        line.receive().await.unwrap();
        let welcome = encode_server(1, &welcome(), &[]).unwrap();
        line.send(welcome).await.unwrap();
        drop(line);
        let mut line = lines.next().await.unwrap();
        line.receive().await.unwrap();
        let frame = encode_server(1, &answer, &[]).unwrap();
        line.send(frame).await.unwrap();
        lines // those that come further stay open, and nobody answers
    };
    let (ended, _lines) = join(talk(mine), server).await;
    ended.unwrap_err()
}

#[tokio::test]
async fn a_session_that_is_gone_is_not_asked_for_again() {
    let refused =
        |code| ServerMessage::Refused(Refused::new(Some(UNCOUNTED), code, &"no").closing());
    let error = answered(refused(RefusalCode::UnknownSession)).await;
    assert_eq!(error.name(), "SessionGone");
    let error = answered(refused(RefusalCode::OutOfOrder)).await;
    assert_eq!(error.name(), "Refused");
    let error = answered(ServerMessage::Paused).await;
    assert_eq!(error.name(), "Protocol");
    // No room now is no answer: it is tried again, until nobody answers for too long.
    let error = answered(refused(RefusalCode::Busy)).await;
    assert_eq!(error.name(), "Disconnected");
}

#[test]
fn what_was_closed_for_a_reason_is_not_opened_again() {
    let closed = |code| ClientError::Disconnected {
        reason: String::new(),
        code,
    };
    for code in [None, Some(1005), Some(1006), Some(1012), Some(1013)] {
        assert!(closed(code).is_loss(), "{code:?}");
    }
    for code in [1000, 1001, 1008, 1009, 1011] {
        assert!(!closed(Some(code)).is_loss(), "{code}");
    }
    assert!(!ClientError::SessionGone.is_loss());
}

#[test]
fn pauses_grow_to_a_bound_and_are_not_all_the_same() {
    assert_eq!((pause_millis(1, 0), pause_millis(1, 50)), (50, 100));
    assert_eq!((pause_millis(2, 0), pause_millis(2, 100)), (100, 200));
    assert_eq!(pause_millis(9, 0), 8_000);
    let bounds = 8_000..=16_000;
    for random in [0, 1, 7_999, u32::MAX] {
        assert!(bounds.contains(&pause_millis(ATTEMPTS_MAX, random)));
        assert!(bounds.contains(&pause_millis(u32::MAX, random)));
    }
    let longest = (1..=ATTEMPTS_MAX).map(|attempt| {
        let longest = |random| pause_millis(attempt, random);
        (0..=16_000).map(longest).max().unwrap()
    });
    // 0.1 + 0.2 + ... + 12.8, and twice 16 seconds.
    assert_eq!(longest.sum::<u32>(), 57_500);
}
