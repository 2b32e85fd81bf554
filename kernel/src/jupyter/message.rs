//! A message: ZeroMQ frames on the wire, JSON inside.
//!
//! ```text
//! identities of the receiver …  <IDS|MSG>  signature  header  parent header  metadata  content  buffers …
//! ```
//!
//! The signature is the HMAC-SHA256 of the four JSON frames, in hexadecimal digits.

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes as Frame;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use uuid::Uuid;
use zeromq::ZmqMessage;

const DELIMITER: &[u8] = b"<IDS|MSG>";
const PROTOCOL: &str = "5.4";
/// Header, parent header, metadata, content.
const PARTS: usize = 4;

/// Signs messages and checks signatures.
#[derive(Clone)]
pub struct Signer {
    /// `None`: messages are not signed.
    mac: Option<Hmac<Sha256>>,
    session: String,
}

impl Signer {
    /// A signer with the connection file's key.
    pub fn new(key: &str) -> Self {
        let mac = (!key.is_empty())
            .then(|| Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC takes keys of any length"));
        Self { mac, session: Uuid::new_v4().to_string() }
    }

    /// Reads a message.
    ///
    /// # Errors
    /// A wrong signature, missing frames, frames that are no JSON objects.
    pub fn decode(&self, message: ZmqMessage) -> Result<Message> {
        let frames = message.into_vec();
        let delimiter = frames.iter().position(|frame| frame[..] == *DELIMITER).context("no delimiter")?;
        let (identities, rest) = frames.split_at(delimiter);
        let [_, signature, parts @ ..] = rest else { bail!("no signature") };
        if parts.len() < PARTS {
            bail!("{} parts, not {PARTS}", parts.len());
        }
        let parts = &parts[..PARTS];
        if let Some(mut mac) = self.mac.clone() {
            parts.iter().for_each(|part| mac.update(part));
            let signature = hex::decode(signature).context("the signature is not hexadecimal")?;
            mac.verify_slice(&signature).map_err(|_| anyhow!("wrong signature"))?;
        }
        let mut values = Vec::with_capacity(PARTS);
        for part in parts {
            let value: Value = serde_json::from_slice(part).context("a part is no JSON")?;
            if !value.is_object() {
                bail!("a part is no JSON object");
            }
            values.push(value);
        }
        let content = values.pop().expect("four parts");
        Ok(Message { identities: identities.to_vec(), header: values.swap_remove(0), parent: json!({}), content })
    }

    /// The frames of a message, signed.
    pub fn encode(&self, message: &Message) -> ZmqMessage {
        let mut header = message.header.clone();
        // A reply belongs to the kernel's session, not to the client's.
        header["session"] = json!(self.session);
        let parts = [&header, &message.parent, &json!({}), &message.content]
            .map(|value| Frame::from(serde_json::to_vec(value).expect("its keys are strings")));
        let signature = self.mac.clone().map_or_else(String::new, |mut mac| {
            parts.iter().for_each(|part| mac.update(part));
            hex::encode(mac.finalize().into_bytes())
        });
        let mut frames = message.identities.clone();
        frames.extend([Frame::from_static(DELIMITER), Frame::from(signature)]);
        frames.extend(parts);
        ZmqMessage::try_from(frames).expect("there are frames")
    }
}

/// A message, checked.
#[derive(Debug, Clone)]
pub struct Message {
    identities: Vec<Frame>,
    header: Value,
    /// The header of the message that this one answers.
    parent: Value,
    /// What it says.
    pub content: Value,
}

impl Message {
    /// A message that answers none.
    pub fn new(kind: &str, content: Value) -> Self {
        Self { identities: Vec::new(), header: header(kind, &json!("kernel")), parent: json!({}), content }
    }

    /// `execute_request` and the like.
    pub fn kind(&self) -> &str {
        self.header["msg_type"].as_str().unwrap_or_default()
    }

    /// A message to all clients that belongs to this one.
    pub fn child(&self, kind: &str, content: Value) -> Self {
        let username = &self.header["username"];
        Self { identities: Vec::new(), header: header(kind, username), parent: self.header.clone(), content }
    }

    /// A message to the client that has sent this one.
    pub fn to_sender(&self, kind: &str, content: Value) -> Self {
        Self { identities: self.identities.clone(), ..self.child(kind, content) }
    }

    /// The reply to this request. Its kind follows from the request's.
    pub fn reply(&self, content: Value) -> Self {
        self.to_sender(&self.kind().replace("_request", "_reply"), content)
    }

    /// A field of the content that is text; empty if it is none.
    pub fn text(&self, field: &str) -> &str {
        self.content[field].as_str().unwrap_or_default()
    }

    /// A field of the content that is true or false.
    pub fn flag(&self, field: &str, default: bool) -> bool {
        self.content[field].as_bool().unwrap_or(default)
    }

    /// A field of the content that is a number; 0 if it is none.
    pub fn number(&self, field: &str) -> usize {
        self.content[field].as_u64().and_then(|number| usize::try_from(number).ok()).unwrap_or_default()
    }
}

fn header(kind: &str, username: &Value) -> Value {
    json!({
        "msg_id": Uuid::new_v4().to_string(),
        "msg_type": kind,
        "username": username,
        "date": chrono::Utc::now().to_rfc3339(),
        "version": PROTOCOL,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(message: ZmqMessage) -> Vec<Vec<u8>> {
        message.into_vec().into_iter().map(|frame| frame.to_vec()).collect()
    }

    fn decode(signer: &Signer, frames: &[Vec<u8>]) -> Result<Message> {
        let frames: Vec<Frame> = frames.iter().map(|frame| Frame::from(frame.clone())).collect();
        signer.decode(ZmqMessage::try_from(frames).expect("there are frames"))
    }

    #[test]
    fn what_is_encoded_is_decoded_with_the_same_key_only() {
        let signer = Signer::new("key");
        let request = Message::new("execute_request", json!({"code": "1", "silent": true, "cursor_pos": 3}));
        let wire = frames(signer.encode(&request));
        let read = decode(&signer, &wire).expect("signed with the same key");
        assert_eq!(
            (read.kind(), read.text("code"), read.flag("silent", false), read.number("cursor_pos")),
            ("execute_request", "1", true, 3)
        );
        assert_eq!(read.reply(json!({})).kind(), "execute_reply");
        let error = decode(&Signer::new("other"), &wire).expect_err("another key");
        assert_eq!(error.to_string(), "wrong signature");
        assert!(decode(&Signer::new(""), &wire).is_ok(), "an empty key checks nothing");
    }

    #[test]
    fn damaged_messages_are_refused() {
        let signer = Signer::new("key");
        let wire = frames(signer.encode(&Message::new("status", json!({}))));
        for cut in 0..wire.len() {
            let mut damaged = wire.clone();
            damaged.truncate(cut.max(1));
            assert!(decode(&signer, &damaged).is_err(), "{cut} frames");
        }
        for frame in 0..wire.len() {
            let mut damaged = wire.clone();
            damaged[frame] = b"[\"\xff".to_vec();
            assert!(decode(&signer, &damaged).is_err(), "frame {frame}");
        }
    }
}
