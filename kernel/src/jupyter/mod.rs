//! Jupyter's messaging protocol, version 5.4, over an [`Engine`](crate::engine::Engine).
//!
//! | file | what it does |
//! |---|---|
//! | `connection` | the connection file and the five sockets |
//! | `message` | messages: frames, signature, JSON |
//! | `server` | the sockets' loops; requests that are answered at once |
//! | `executor` | the thread of the engine: cells, completion, inspection, one after the other |
//! | `publisher` | what all clients see: status, output, results |
//! | `replies` | contents of replies |
//! | `completeness` | whether a cell is complete |
//! | `history` | the cells of this session |
//! | `text` | positions in a cell |
//!
//! <https://jupyter-client.readthedocs.io/en/stable/messaging.html>

mod completeness;
mod connection;
mod executor;
mod history;
mod message;
mod publisher;
mod replies;
mod server;
mod text;

pub use connection::ConnectionFile;
pub use server::serve;
