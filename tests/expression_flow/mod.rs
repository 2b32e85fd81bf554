//! The model `expression-flow`: cells gene by gene, from tokens of genes.

mod commands;
mod contract;
