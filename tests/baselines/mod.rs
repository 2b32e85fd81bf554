//! `predict::baselines` and the VAE as a predictor: against numpy and scikit-learn, on the reference table, on contexts, on
//! real cells, and on what does not apply.

mod cells;
mod common;
mod contexts;
mod invariance;
mod log_rate_sum;
mod networks;
mod parity;
mod reasons;
mod table;
