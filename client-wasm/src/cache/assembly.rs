//! A file that comes together: bytes from an earlier visit first, then bytes from the server, and a
//! sum that grows with them.

use sha2::{Digest, Sha256};

/// A file of known length and sum, of which some bytes are here.
#[derive(Debug)]
pub(super) struct Assembly {
    sha256: [u8; 32],
    bytes_total: u64,
    content: Vec<u8>,
    sum: Sha256,
    holds_kept: bool,
}

/// What has to happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Bytes are missing from here on.
    Fetch {
        /// The first that is missing.
        from: u64,
    },
    /// It is whole and right.
    Use,
    /// It is not right, and some of it is from an earlier visit: begin again without that.
    Anew,
    /// All of it came from the server just now, and it is not what the catalogue names.
    Refuse,
}

/// The file would be longer than the catalogue says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLong;

impl Assembly {
    pub(super) fn new(sha256: [u8; 32], bytes_total: u64) -> Self {
        Self {
            sha256,
            bytes_total,
            content: Vec::new(),
            sum: Sha256::new(),
            holds_kept: false,
        }
    }

    /// Bytes that are here.
    pub(super) fn bytes(&self) -> u64 {
        self.content.len() as u64
    }

    /// Adds bytes of an earlier visit.
    pub(super) fn keep(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        self.holds_kept = true;
        self.extend(bytes)
    }

    /// Adds bytes that the server sends; none of them where they are too many.
    pub(super) fn extend(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        let missing = self.bytes_total.saturating_sub(self.bytes());
        if bytes.len() as u64 > missing {
            return Err(TooLong);
        }
        // Doubles as a vector does, but never beyond the file: only what has come reserves memory.
        let room = self.content.capacity() - self.content.len();
        if bytes.len() > room {
            let missing = usize::try_from(missing).unwrap_or(usize::MAX);
            let more = bytes.len().max(self.content.len()).min(missing);
            self.content.reserve_exact(more);
        }
        self.content.extend_from_slice(bytes);
        self.sum.update(bytes);
        Ok(())
    }

    /// Forgets all bytes.
    pub(super) fn restart(&mut self) {
        *self = Self::new(self.sha256, self.bytes_total);
    }

    pub(super) fn step(&self) -> Step {
        let from = self.bytes();
        if from < self.bytes_total {
            Step::Fetch { from }
        } else if self.sum.clone().finalize()[..] == self.sha256 {
            Step::Use
        } else if self.holds_kept {
            Step::Anew
        } else {
            Step::Refuse
        }
    }

    /// The file.
    pub(super) fn into_content(self) -> Vec<u8> {
        self.content
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Source: FIPS 180-4, example of one block.
    const ABC: [u8; 32] = [
        0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22,
        0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00,
        0x15, 0xad,
    ];

    #[test]
    fn bytes_of_two_visits_make_the_file() {
        let mut file = Assembly::new(ABC, 3);
        file.keep(b"a").unwrap();
        assert_eq!(file.step(), Step::Fetch { from: 1 });
        file.extend(b"bc").unwrap();
        assert_eq!(file.step(), Step::Use);
        assert_eq!(file.into_content(), b"abc");
    }

    #[test]
    fn whose_bytes_are_wrong_decides_what_follows() {
        let mut file = Assembly::new(ABC, 3);
        file.keep(b"x").unwrap();
        file.extend(b"bc").unwrap();
        assert_eq!(file.step(), Step::Anew);
        file.restart();
        assert_eq!(file.step(), Step::Fetch { from: 0 });
        file.extend(b"xbc").unwrap();
        assert_eq!(file.step(), Step::Refuse);
    }

    #[test]
    fn more_than_was_announced_is_not_taken() {
        let mut file = Assembly::new(ABC, 3);
        assert_eq!(file.extend(b"abcd"), Err(TooLong));
        assert_eq!(file.bytes(), 0);
        file.extend(b"abc").unwrap();
        assert_eq!(file.extend(b"d"), Err(TooLong));
        assert_eq!(file.step(), Step::Use);
    }

    #[test]
    fn memory_follows_the_bytes_and_not_the_claim() {
        let mut file = Assembly::new(ABC, u64::MAX);
        file.extend(&[0; 1000]).unwrap();
        assert!(file.content.capacity() < 4096);
        let mut file = Assembly::new(ABC, 1500);
        file.extend(&[0; 1000]).unwrap();
        file.extend(&[0; 500]).unwrap();
        assert_eq!(file.content.capacity(), 1500);
    }
}
