//! The causal VAE: its criterion of independence, its gradients, known truths, the contract of all models.

mod contract;
mod gradients;
mod hsic;
mod recovery;
