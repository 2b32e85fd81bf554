//! `eval::baselines`: against numpy and scikit-learn, on the reference table, on contexts and on what does not apply.

mod common;
mod parity;
mod table;
