//! Score networks, and the diffusions and flows that are trained with them.

mod conditions;
mod errors;
mod flows;
mod gene_tokens;
mod learns;
mod nets;
mod parity;
mod saved;
mod toys;
