//! Whole downloads over a server that fails at chosen bytes and a place that keeps what it can.

#![allow(clippy::unwrap_used)]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use futures_util::FutureExt;
use proptest::collection::vec;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::obtain::FRUITLESS_MAX;
use super::*;

/// What happens to one answer.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// The connection is lost after so many bytes of the body.
    Cut(usize),
    /// There is no answer.
    Silence,
    /// An answer without a file.
    Status(u16),
    /// The whole file, whatever was asked for, lost after so many bytes.
    WholeCut(usize),
    /// A part from elsewhere.
    OtherPart,
}

/// A server and a place to keep things.
struct World {
    sent: Vec<u8>,
    named: FileEntry,
    faults: RefCell<VecDeque<Fault>>,
    piece_bytes: usize,
    asked: RefCell<Vec<u64>>,
    bytes_sent: Rc<Cell<u64>>,
    kept: Rc<RefCell<Vec<u8>>>,
    room_bytes: usize,
    waits: RefCell<Vec<u32>>,
}

impl World {
    fn new(content: &[u8]) -> Self {
        let sum = Sha256::digest(content);
        Self {
            sent: content.to_vec(),
            named: FileEntry {
                path: "/v1/artifacts/file?sha256=00".to_owned(),
                sha256: sum.iter().map(|byte| format!("{byte:02x}")).collect(),
                bytes: content.len() as u64,
            },
            faults: RefCell::default(),
            piece_bytes: 7,
            asked: RefCell::default(),
            bytes_sent: Rc::default(),
            kept: Rc::default(),
            room_bytes: usize::MAX,
            waits: RefCell::default(),
        }
    }

    fn keeping(self, kept: &[u8]) -> Self {
        self.kept.replace(kept.to_vec());
        self
    }

    fn with_faults(self, faults: impl IntoIterator<Item = Fault>) -> Self {
        self.faults.borrow_mut().extend(faults);
        self
    }

    fn visit(&self) -> Result<Vec<u8>, Unobtained> {
        let sha256 = self.named.digest().unwrap();
        obtain(self, &self.named, sha256, "file", |_| {})
            .now_or_never()
            .expect("nothing here waits")
    }

    fn kept(&self) -> Vec<u8> {
        self.kept.borrow().clone()
    }

    fn asked(&self) -> Vec<u64> {
        self.asked.borrow().clone()
    }
}

impl Files for World {
    type Body = Pieces;
    type Kept = Place;

    async fn catalogue(&self) -> Result<Vec<u8>, Unfetched> {
        Err(Unfetched::Status(404))
    }

    async fn open(&self, file: &FileEntry, from: u64) -> Result<Answer<Pieces>, Unfetched> {
        self.asked.borrow_mut().push(from);
        let total = file.bytes;
        let start = usize::try_from(from).unwrap();
        let range = |from: u64| format!("bytes {from}-{}/{total}", total - 1);
        let part = if from == 0 {
            (200, None, &self.sent[..])
        } else {
            (206, Some(range(from)), &self.sent[start..])
        };
        let fault = self.faults.borrow_mut().pop_front();
        let (answer, cut) = match fault {
            None => (part, None),
            Some(Fault::Cut(at)) => (part, Some(at)),
            Some(Fault::Silence) => return Err(Unfetched::Lost("silence".to_owned())),
            Some(Fault::Status(status)) => ((status, None, &[][..]), None),
            Some(Fault::WholeCut(at)) => ((200, None, &self.sent[..]), Some(at)),
            Some(Fault::OtherPart) => ((206, Some(range(0)), &self.sent[..]), None),
        };
        let (status, content_range, bytes) = answer;
        let come = &bytes[..cut.unwrap_or(bytes.len()).min(bytes.len())];
        Ok(Answer {
            status,
            content_range,
            body: Pieces {
                pieces: come.chunks(self.piece_bytes).map(<[u8]>::to_vec).collect(),
                is_lost: cut.is_some(),
                sent: Rc::clone(&self.bytes_sent),
            },
        })
    }

    async fn kept(&self, _file: &FileEntry, _label: &str) -> Option<Place> {
        Some(Place {
            bytes: Rc::clone(&self.kept),
            room_bytes: self.room_bytes,
        })
    }

    async fn wait(&self, millis: u32) {
        self.waits.borrow_mut().push(millis);
    }
}

struct Pieces {
    pieces: VecDeque<Vec<u8>>,
    is_lost: bool,
    sent: Rc<Cell<u64>>,
}

impl Body for Pieces {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Unfetched> {
        match self.pieces.pop_front() {
            Some(piece) => {
                self.sent.set(self.sent.get() + piece.len() as u64);
                Ok(Some(piece))
            }
            None if self.is_lost => Err(Unfetched::Lost("cut".to_owned())),
            None => Ok(None),
        }
    }
}

struct Place {
    bytes: Rc<RefCell<Vec<u8>>>,
    room_bytes: usize,
}

impl Kept for Place {
    fn bytes(&self) -> u64 {
        self.bytes.borrow().len() as u64
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<usize, NotKept> {
        let bytes = self.bytes.borrow();
        let rest = &bytes[usize::try_from(at).unwrap()..];
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), NotKept> {
        let mut kept = self.bytes.borrow_mut();
        if kept.len() + bytes.len() > self.room_bytes {
            return Err(NotKept);
        }
        kept.extend_from_slice(bytes);
        Ok(())
    }

    fn clear(&mut self) -> Result<(), NotKept> {
        self.bytes.borrow_mut().clear();
        Ok(())
    }
}

const CONTENT: &[u8] = b"the first part of a model, in as many bytes as this";

proptest! {
    /// Breaks when a byte is asked for twice, or not at all, wherever connections are cut.
    #[test]
    fn a_download_that_is_cut_anywhere_is_completed_by_the_rest(
        content in vec(any::<u8>(), 1..2000),
        had in any::<prop::sample::Index>(),
        cuts in vec(0_usize..2000, 0..FRUITLESS_MAX as usize),
        piece_bytes in 1_usize..300,
    ) {
        let had = had.index(content.len());
        let mut world = World::new(&content)
            .keeping(&content[..had])
            .with_faults(cuts.into_iter().map(Fault::Cut));
        world.piece_bytes = piece_bytes;
        prop_assert_eq!(&world.visit().unwrap(), &content);
        prop_assert_eq!(&world.kept(), &content);
        prop_assert_eq!(world.bytes_sent.get(), (content.len() - had) as u64);
        prop_assert_eq!(world.asked()[0], had as u64);
        prop_assert!(world.asked().is_sorted());
    }

    /// Breaks when bytes that somebody has changed are used, or stay.
    #[test]
    fn what_is_kept_and_wrong_is_dropped_and_fetched_again(
        content in vec(any::<u8>(), 1..500),
        length in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        flip in 1_u8..=255,
    ) {
        let length = 1 + length.index(content.len());
        let mut kept = content[..length].to_vec();
        kept[place.index(length)] ^= flip;
        let world = World::new(&content).keeping(&kept);
        prop_assert_eq!(&world.visit().unwrap(), &content);
        prop_assert_eq!(&world.kept(), &content);
        prop_assert_eq!(world.asked().last().copied(), Some(0));
    }

    /// Breaks when what stands there is taken for a prefix because of its length alone.
    #[test]
    fn whatever_is_kept_the_file_is_right(
        content in vec(any::<u8>(), 0..300),
        kept in vec(any::<u8>(), 0..600),
    ) {
        let world = World::new(&content).keeping(&kept);
        prop_assert_eq!(&world.visit().unwrap(), &content);
        prop_assert_eq!(&world.kept(), &content);
    }

    /// Breaks when a full disk ends a visit, or leaves something that is no prefix.
    #[test]
    fn a_file_for_which_there_is_no_room_is_used_and_not_kept(room_bytes in 0..CONTENT.len()) {
        let mut world = World::new(CONTENT);
        world.room_bytes = room_bytes;
        prop_assert_eq!(world.visit().unwrap(), CONTENT);
        prop_assert_eq!(world.kept(), b"");
    }
}

#[test]
fn a_second_visit_asks_for_nothing() {
    let world = World::new(CONTENT);
    assert_eq!(world.visit().unwrap(), CONTENT);
    assert_eq!(world.asked(), [0]);
    assert_eq!(world.visit().unwrap(), CONTENT);
    assert_eq!(world.asked(), [0]);
}

#[test]
fn a_server_that_sends_other_bytes_is_found_out_and_nothing_stays() {
    let mut world = World::new(CONTENT);
    world.sent[9] ^= 1;
    assert_eq!(world.visit(), Err(Unobtained::Wrong));
    assert_eq!(world.kept(), b"");
    // The same where a good beginning was here: it is not believed to be the cause twice.
    let mut world = World::new(CONTENT).keeping(&CONTENT[..5]);
    world.sent[9] ^= 1;
    assert_eq!(world.visit(), Err(Unobtained::Wrong));
    assert_eq!(world.asked(), [5, 0]);
    let mut longer = World::new(CONTENT);
    longer.sent.push(0);
    assert_eq!(longer.visit(), Err(Unobtained::Wrong));
}

#[test]
fn a_download_that_is_given_up_goes_on_at_the_next_visit() {
    let silence = vec![Fault::Silence; FRUITLESS_MAX as usize];
    let faults = [Fault::Cut(20)].into_iter().chain(silence);
    let world = World::new(CONTENT).with_faults(faults);
    let given_up = world.visit().unwrap_err();
    assert!(matches!(
        given_up,
        Unobtained::Unfetched(Unfetched::Lost(_))
    ));
    // The cut brought bytes, so it counts as the first fruitless answer after them.
    assert_eq!(world.waits.take(), [250, 500, 1000, 2000]);
    assert_eq!(world.kept(), &CONTENT[..20]);
    world.faults.take();
    world.asked.take();
    assert_eq!(world.visit().unwrap(), CONTENT);
    assert_eq!(world.asked(), [20]);
    assert_eq!(world.bytes_sent.get(), CONTENT.len() as u64);
}

#[test]
fn a_server_without_ranges_sends_the_whole_and_is_not_asked_for_ever() {
    let whole = Fault::WholeCut(usize::MAX);
    let world = World::new(CONTENT)
        .keeping(&CONTENT[..5])
        .with_faults([whole]);
    assert_eq!(world.visit().unwrap(), CONTENT);
    assert_eq!(world.kept(), CONTENT);
    let always = World::new(CONTENT).with_faults(vec![Fault::WholeCut(30); 100]);
    assert!(always.visit().is_err());
    assert_eq!(always.asked().len(), FRUITLESS_MAX as usize);
}

#[test]
fn a_part_from_elsewhere_is_not_put_in() {
    for fault in [Fault::OtherPart, Fault::Status(416)] {
        let world = World::new(CONTENT)
            .keeping(&CONTENT[..5])
            .with_faults([fault]);
        assert_eq!(world.visit().unwrap(), CONTENT);
        assert_eq!(world.asked(), [5, 0]);
    }
}

#[test]
fn what_the_server_will_not_send_is_asked_for_once() {
    let world = World::new(CONTENT).with_faults([Fault::Status(404)]);
    let refused = Unobtained::Unfetched(Unfetched::Status(404));
    assert_eq!(world.visit(), Err(refused));
    assert_eq!(world.asked(), [0]);
    // A server that is busy may be free soon.
    let world = World::new(CONTENT).with_faults([Fault::Status(503)]);
    assert_eq!(world.visit().unwrap(), CONTENT);
}
