//! The recorded bytes of a browser as requests and unmasked WebSocket messages.
//!
//! It reads what browsers send (RFC 9112, RFC 6455) and fails on anything else, so that nothing
//! passes by unread.

use anyhow::{Context, bail, ensure};

use super::recorder::Connection;

/// What a browser sent over one connection.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    /// Request lines, such as `GET /v1/catalogue HTTP/1.1`.
    pub request_lines: Vec<String>,
    /// All requests as they were sent: lines, headers, bodies.
    pub requests: Vec<u8>,
    /// All messages of the WebSocket, if it became one.
    pub messages: Vec<Message>,
}

/// One WebSocket message, or one control frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What kind.
    pub opcode: Opcode,
    /// Its content, unmasked and joined.
    pub payload: Vec<u8>,
    /// Whether its end is on record.
    pub complete: bool,
}

/// Kinds of messages. Source: RFC 6455, section 5.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// UTF-8.
    Text,
    /// Bytes.
    Binary,
    /// The end, with a code and a reason.
    Close,
    /// Asks for a pong.
    Ping,
    /// Answers a ping.
    Pong,
}

impl Traffic {
    /// Reads what was recorded of a connection.
    ///
    /// # Errors
    ///
    /// When it is not HTTP/1.1 and WebSocket, or the WebSocket is compressed.
    pub fn read(connection: &Connection) -> anyhow::Result<Self> {
        let mut traffic = Self::default();
        let mut rest = connection.from_browser.as_slice();
        while let Some(end) = find(rest, b"\r\n\r\n") {
            let head = std::str::from_utf8(&rest[..end])?;
            ensure!(
                header(head, "transfer-encoding").is_none(),
                "a chunked body"
            );
            let body: usize = header(head, "content-length").unwrap_or("0").parse()?;
            let end = rest.len().min((end + 4).saturating_add(body));
            traffic
                .request_lines
                .push(head.lines().next().unwrap_or_default().to_owned());
            traffic.requests.extend_from_slice(&rest[..end]);
            rest = &rest[end..];
            if header(head, "upgrade").is_some_and(|name| name.eq_ignore_ascii_case("websocket")) {
                ensure!(traffic.request_lines.len() == 1, "a late upgrade");
                ensure_plain_upgrade(&connection.answer)?;
                traffic.messages = messages(rest)?;
                return Ok(traffic);
            }
        }
        // A head that was not sent to its end.
        traffic.requests.extend_from_slice(rest);
        Ok(traffic)
    }

    /// Everything that can be read, in pieces that have a name.
    pub fn streams(&self) -> [(&'static str, Vec<u8>); 2] {
        let messages = self
            .messages
            .iter()
            .map(|message| message.payload.as_slice());
        let messages = messages.collect::<Vec<_>>().concat();
        [("requests", self.requests.clone()), ("messages", messages)]
    }
}

/// Makes sure that the daemon took the upgrade and no extension: frames then hold what was said.
fn ensure_plain_upgrade(answer: &[u8]) -> anyhow::Result<()> {
    let end = find(answer, b"\r\n\r\n").context("no answer to the upgrade")?;
    let head = std::str::from_utf8(&answer[..end])?;
    ensure!(head.starts_with("HTTP/1.1 101 "), "the upgrade was refused");
    ensure!(
        header(head, "sec-websocket-extensions").is_none(),
        "an extension of the WebSocket was agreed on"
    );
    Ok(())
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let mut named = fields.filter(|(key, _)| key.eq_ignore_ascii_case(name));
    named.next().map(|(_, value)| value.trim())
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|part| part == what)
}

/// Joins frames to messages; control frames may come between the parts of a message.
fn messages(mut rest: &[u8]) -> anyhow::Result<Vec<Message>> {
    let mut done = Vec::new();
    let mut open: Option<Message> = None;
    while let Some(frame) = Frame::take(&mut rest)? {
        let opcode = match frame.opcode {
            0 => {
                let open = open.as_mut().context("a continuation of nothing")?;
                open.payload.extend_from_slice(&frame.payload);
                open.complete = frame.is_last && frame.is_whole;
                None
            }
            1 => Some(Opcode::Text),
            2 => Some(Opcode::Binary),
            8 => Some(Opcode::Close),
            9 => Some(Opcode::Ping),
            10 => Some(Opcode::Pong),
            reserved => bail!("a frame of the reserved kind {reserved}"),
        };
        if let Some(opcode) = opcode {
            let message = Message {
                opcode,
                payload: frame.payload,
                complete: frame.is_last && frame.is_whole,
            };
            if !matches!(opcode, Opcode::Text | Opcode::Binary) {
                done.push(message);
                continue;
            }
            ensure!(open.is_none(), "a message within a message");
            open = Some(message);
        }
        if frame.is_last {
            done.extend(open.take());
        }
    }
    done.extend(open);
    Ok(done)
}

struct Frame {
    opcode: u8,
    is_last: bool,
    is_whole: bool,
    payload: Vec<u8>,
}

impl Frame {
    /// Takes the next frame; of the last one perhaps only a part is on record.
    fn take(rest: &mut &[u8]) -> anyhow::Result<Option<Self>> {
        let bytes = *rest;
        let (Some(first), Some(second)) = (bytes.first(), bytes.get(1)) else {
            return Ok(None);
        };
        ensure!(first & 0x70 == 0, "a frame of an extension");
        ensure!(second & 0x80 != 0, "a frame of a browser without a mask");
        let (length_bytes, short) = match second & 0x7f {
            126 => (2, None),
            127 => (8, None),
            short => (0, Some(u64::from(short))),
        };
        let mask_at = 2 + length_bytes;
        let (Some(length), Some(mask)) = (bytes.get(2..mask_at), bytes.get(mask_at..mask_at + 4))
        else {
            return Ok(None);
        };
        let long = length
            .iter()
            .fold(0, |sum, byte| (sum << 8) | u64::from(*byte));
        let length = usize::try_from(short.unwrap_or(long))?;
        let masked = &bytes[mask_at + 4..];
        let there = length.min(masked.len());
        let unmask = |(byte, mask): (&u8, &u8)| byte ^ mask;
        let payload = masked[..there].iter().zip(mask.iter().cycle()).map(unmask);
        *rest = &masked[there..];
        Ok(Some(Self {
            opcode: first & 0x0f,
            is_last: first & 0x80 != 0,
            is_whole: there == length,
            payload: payload.collect(),
        }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const UPGRADE: &[u8] = b"GET /v1/session HTTP/1.1\r\nUpgrade: websocket\r\n\r\n";
    const ANSWER: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";

    fn socket(frames: &[u8], answer: &[u8]) -> anyhow::Result<Vec<Message>> {
        let connection = Connection {
            from_browser: [UPGRADE, frames].concat(),
            answer: answer.to_vec(),
        };
        Traffic::read(&connection).map(|traffic| traffic.messages)
    }

    fn message(opcode: Opcode, payload: &[u8], complete: bool) -> Message {
        Message {
            opcode,
            payload: payload.to_vec(),
            complete,
        }
    }

    /// The masked "Hello" of RFC 6455, section 5.7.
    const HELLO: &[u8] = &[
        0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
    ];

    #[test]
    fn a_masked_frame_is_read() {
        let expected = [message(Opcode::Text, b"Hello", true)];
        assert_eq!(socket(HELLO, ANSWER).unwrap(), expected);
    }

    #[test]
    fn parts_are_joined_around_a_ping() {
        let frames = [
            &[0x02, 0x82, 0, 0, 0, 0, b'a', b'b'][..],
            &[0x89, 0x81, 1, 0, 0, 0, b'q'],
            &[0x80, 0x81, 0, 0, 0, 0, b'c'],
        ];
        let expected = [
            message(Opcode::Ping, b"p", true),
            message(Opcode::Binary, b"abc", true),
        ];
        assert_eq!(socket(&frames.concat(), ANSWER).unwrap(), expected);
    }

    #[test]
    fn long_lengths_are_read() {
        let payload = vec![7; 65_536];
        let short = [&[0x82, 0xfe, 1, 0, 0, 0, 0, 0][..], &payload[..256]].concat();
        let head = [0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        let long = [&head[..], &payload[..]].concat();
        let read = socket(&[short, long].concat(), ANSWER).unwrap();
        let lengths: Vec<_> = read.iter().map(|message| message.payload.len()).collect();
        assert_eq!(lengths, [256, 65_536]);
    }

    #[test]
    fn a_part_of_a_frame_is_shown() {
        let expected = [message(Opcode::Text, b"Hel", false)];
        assert_eq!(socket(&HELLO[..9], ANSWER).unwrap(), expected);
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        let compressed = [&[0xc1][..], &HELLO[1..]].concat();
        assert!(socket(&compressed, ANSWER).is_err());
        assert!(socket(&[0x81, 0x01, b'a'], ANSWER).is_err());
        assert!(socket(HELLO, b"HTTP/1.1 403 Forbidden\r\n\r\n").is_err());
        let agreed = b"HTTP/1.1 101 Ok\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
        assert!(socket(HELLO, agreed).is_err());
    }

    #[test]
    fn requests_follow_each_other_with_their_bodies() {
        let sent =
            b"POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET /b?c HTTP/1.1\r\n\r\nGET /d";
        let connection = Connection {
            from_browser: sent.to_vec(),
            answer: Vec::new(),
        };
        let traffic = Traffic::read(&connection).unwrap();
        assert_eq!(
            traffic.request_lines,
            ["POST /a HTTP/1.1", "GET /b?c HTTP/1.1"]
        );
        assert_eq!(traffic.requests, sent);
    }
}
