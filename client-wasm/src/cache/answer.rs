//! What an answer means for a file of which some bytes are here already. Source: RFC 9110, sections
//! 13.1.5 (`If-Range`), 14.4 (`Content-Range`) and 15.3.7 (206).

/// What follows from an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Its body begins where it was asked to.
    Continues,
    /// Its body is the whole file: what is here is of no use.
    Whole,
    /// The server cannot go on from there: ask for the whole file.
    AskAnew,
    /// It may be otherwise soon.
    AskAgain,
    /// It will not send the file.
    Refused,
}

const OK: u16 = 200;
const PARTIAL: u16 = 206;
const RANGE_NOT_SATISFIABLE: u16 = 416;
/// Too many requests, bad gateway, unavailable, gateway timeout: states that pass.
const PASSING: [u16; 4] = [429, 502, 503, 504];

/// Judges the answer to a question for `bytes_total - from` bytes.
pub(super) fn judge(
    status: u16,
    content_range: Option<&str>,
    from: u64,
    bytes_total: u64,
) -> Verdict {
    match status {
        OK if from == 0 => Verdict::Continues,
        OK => Verdict::Whole,
        PARTIAL if content_range.and_then(range) == Some((from, bytes_total)) => Verdict::Continues,
        PARTIAL | RANGE_NOT_SATISFIABLE if from > 0 => Verdict::AskAnew,
        status if PASSING.contains(&status) => Verdict::AskAgain,
        _ => Verdict::Refused,
    }
}

/// First byte and length of the whole, from `bytes 4-9/10`.
fn range(header: &str) -> Option<(u64, u64)> {
    let (part, total) = header.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = part.split_once('-')?;
    let (first, last, total): (u64, u64, u64) =
        (first.parse().ok()?, last.parse().ok()?, total.parse().ok()?);
    (first <= last && last < total).then_some((first, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_taken_only_where_it_was_asked_for() {
        let part = |header| judge(206, header, 4, 10);
        assert_eq!(part(Some("bytes 4-9/10")), Verdict::Continues);
        // Less than all of the rest: what is still missing is asked for next.
        assert_eq!(part(Some("bytes 4-6/10")), Verdict::Continues);
        for other in [
            "bytes 3-9/10",
            "bytes 4-9/11",
            "bytes 4-9/*",
            "bytes */10",
            "bytes 9-4/10",
            "bytes 4-10/10",
            "lines 4-9/10",
        ] {
            assert_eq!(part(Some(other)), Verdict::AskAnew, "{other}");
        }
        assert_eq!(part(None), Verdict::AskAnew);
    }

    #[test]
    fn every_status_has_a_consequence() {
        assert_eq!(judge(200, None, 0, 10), Verdict::Continues);
        assert_eq!(judge(200, None, 4, 10), Verdict::Whole);
        assert_eq!(judge(416, Some("bytes */10"), 4, 10), Verdict::AskAnew);
        assert_eq!(judge(416, None, 0, 10), Verdict::Refused); // nothing smaller can be asked for
        assert_eq!(judge(206, None, 0, 10), Verdict::Refused);
        assert_eq!(judge(503, None, 4, 10), Verdict::AskAgain);
        for status in [304, 401, 404, 500] {
            assert_eq!(judge(status, None, 4, 10), Verdict::Refused, "{status}");
        }
    }
}
