//! What crosses the bus: a head that says whose it is, and a body that is the user's.

mod call_head;
mod cost;
mod decode;
mod head;
mod plain;
mod reply_head;

use bytes::Bytes;

pub(crate) use call_head::{AnyHead, CallFrom, HeadPrefix, OriginRef, shown};
pub(crate) use cost::Cost;
pub(crate) use decode::{decode, encode, encode_with_room};
pub(crate) use head::{EventHead, Origin, WIRE, printable};
pub(crate) use reply_head::{ReplyHead, Verdict};

/// A message as a transport carries it: two pieces of JSON, each on one line, that are none of its business.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Whose it is, what it is called, which version it has.
    pub head: Bytes,
    /// What it says.
    pub body: Bytes,
}

impl Message {
    /// How long it is, in bytes.
    pub fn len(&self) -> usize {
        self.head.len() + self.body.len()
    }

    /// Is there nothing in it?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Both in one piece, for transports that carry one: the head, a line feed, the body. JSON that is written without
    /// blanks has no line feed in it.
    ///
    /// ```
    /// use logcontext_bus::transport::Message;
    ///
    /// let message = Message { head: "{}".into(), body: "17".into() };
    /// assert_eq!(message.to_frame(), b"{}\n17");
    /// assert_eq!(Message::from_frame(message.to_frame().into()), message);
    /// ```
    pub fn to_frame(&self) -> Vec<u8> {
        let mut frame = Vec::with_capacity(self.len() + 1);
        frame.extend_from_slice(&self.head);
        frame.push(b'\n');
        frame.extend_from_slice(&self.body);
        frame
    }

    /// The two pieces again, without a copy. Of something else, all is head: whoever reads that finds out.
    pub fn from_frame(mut frame: Bytes) -> Self {
        match frame.iter().position(|byte| *byte == b'\n') {
            Some(at) => {
                let head = frame.split_to(at);
                Self { head, body: frame.slice(1..) }
            }
            None => Self { head: frame, body: Bytes::new() },
        }
    }
}
